"""Checkpoints in the layouts of Black et al. (WACV 2022), with made-up weights."""

import numpy as np
import torch

WIDTH, HIDDEN, DEPTH, PATCH, GRID, OUTPUT = 128, 200, 2, 8, 3, 10
HEADS = 2


def published(seed=0, *, n_positions=GRID**2 + 1, head=True):
    """A vision transformer with the published names, random weights."""
    shapes = {
        "transformer.embeddings.cls_token": (1, 1, WIDTH),
        "transformer.embeddings.position_embeddings": (1, n_positions, WIDTH),
        "transformer.embeddings.patch_embeddings.weight": (WIDTH, 3, PATCH, PATCH),
        "transformer.embeddings.patch_embeddings.bias": (WIDTH,),
        "transformer.encoder.encoder_norm.weight": (WIDTH,),
        "transformer.encoder.encoder_norm.bias": (WIDTH,),
    }
    if head:
        shapes |= {"head.weight": (OUTPUT, WIDTH), "head.bias": (OUTPUT,)}
    for i in range(DEPTH):
        layer = f"transformer.encoder.layer.{i}."
        for part in ("query", "key", "value", "out"):
            shapes |= {f"{layer}attn.{part}.weight": (WIDTH, WIDTH), f"{layer}attn.{part}.bias": (WIDTH,)}
        for norm in ("attention_norm", "ffn_norm"):
            shapes |= {f"{layer}{norm}.weight": (WIDTH,), f"{layer}{norm}.bias": (WIDTH,)}
        shapes |= {f"{layer}ffn.fc1.weight": (HIDDEN, WIDTH), f"{layer}ffn.fc1.bias": (HIDDEN,)}
        shapes |= {f"{layer}ffn.fc2.weight": (WIDTH, HIDDEN), f"{layer}ffn.fc2.bias": (WIDTH,)}
    generator = torch.Generator().manual_seed(seed)
    return {name: 0.1 * torch.randn(shape, generator=generator) for name, shape in shapes.items()}


def in_jax(tensors):
    """The same network with the names and layouts of the original authors."""
    names = {
        "transformer.embeddings.cls_token": "cls",
        "transformer.embeddings.position_embeddings": "Transformer/posembed_input/pos_embedding",
        "transformer.embeddings.patch_embeddings": "embedding",
        "transformer.encoder.encoder_norm": "Transformer/encoder_norm",
        "head": "head",
    }
    inner = {
        "attn.query": "MultiHeadDotProductAttention_1/query",
        "attn.key": "MultiHeadDotProductAttention_1/key",
        "attn.value": "MultiHeadDotProductAttention_1/value",
        "attn.out": "MultiHeadDotProductAttention_1/out",
        "attention_norm": "LayerNorm_0",
        "ffn_norm": "LayerNorm_2",
        "ffn.fc1": "MlpBlock_3/Dense_0",
        "ffn.fc2": "MlpBlock_3/Dense_1",
    }
    arrays = {}
    for name, tensor in tensors.items():
        array = tensor.numpy()
        if name in names:
            arrays[names[name]] = array
            continue
        layer, _, leaf = name.rpartition(".")
        if ".layer." in layer:
            number, _, part = layer.partition(".layer.")[2].partition(".")
            jax = f"Transformer/encoderblock_{number}/{inner[part]}"
        else:
            jax = names[layer]
        per_head = WIDTH // HEADS
        if "norm" in layer:
            leaf = "scale" if leaf == "weight" else leaf
        elif leaf == "weight":
            leaf = "kernel"
            array = array.transpose(2, 3, 1, 0) if array.ndim == 4 else array.T
            if layer.endswith("attn.out"):
                array = array.reshape(HEADS, per_head, WIDTH)
            elif "attn." in layer:
                array = array.reshape(WIDTH, HEADS, per_head)
        elif "attn." in layer and not layer.endswith("out"):
            array = array.reshape(HEADS, per_head)
        arrays[f"{jax}/{leaf}"] = np.ascontiguousarray(array)
    return arrays


def made_weights(shapes, seed):
    """The recipe of the golden: one generator for all names in sorted order."""
    generator = np.random.Generator(np.random.PCG64(seed))
    weights = {}
    for name in sorted(shapes):
        normal = generator.standard_normal(shapes[name]).astype(np.float32)
        if normal.ndim >= 2:
            values = normal * (1 / np.prod(normal.shape[1:])) ** 0.5
        else:
            values = 1 + 0.1 * normal if name.endswith("weight") else 0.1 * normal
        weights[name] = torch.from_numpy(values.astype(np.float32))
    return weights


def shapes_of(units, base, output=None):
    """Names and shapes of a network with stem width ``base``: 64 at width factor 1."""
    shapes = {"root.conv.weight": (base, 3, 7, 7)}
    channels = base
    for stage, n in enumerate(units):
        middle, out = base * 2**stage, 4 * base * 2**stage
        for unit in range(n):
            prefix = f"body.block{stage + 1}.unit{unit + 1:02d}."
            shapes |= {prefix + "conv1.weight": (middle, channels, 1, 1)}
            shapes |= {prefix + "conv2.weight": (middle, middle, 3, 3)}
            shapes |= {prefix + "conv3.weight": (out, middle, 1, 1)}
            for i, width in enumerate((channels, middle, middle), start=1):
                shapes |= {f"{prefix}gn{i}.weight": (width,), f"{prefix}gn{i}.bias": (width,)}
            if unit == 0:
                shapes |= {prefix + "downsample.weight": (out, channels, 1, 1)}
            channels = out
    shapes |= {"head.gn.weight": (channels,), "head.gn.bias": (channels,)}
    if output is not None:
        shapes |= {"head.conv.weight": (output, channels, 1, 1), "head.conv.bias": (output,)}
    return shapes
