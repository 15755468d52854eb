"""Networks of the sources written down step by step, as oracles for sizes that no golden has."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

Tensors = Mapping[str, Tensor]


def pair_maps(a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Maps of two lists of cells (N, C) and (M, C) by loops over all pairs: (N,) and (M,)."""
    unit_a, unit_b = (cells / (np.linalg.norm(cells.mean(0)) * len(cells)) for cells in (a, b))
    table = np.array([[float(x @ y) for y in unit_b] for x in unit_a])
    return table.sum(1), table.sum(0)


def rollout(attention: list[Tensor], start: int = 0) -> Tensor:
    """The matrix (N, N) of attentions (A, N, N): heads averaged, identity added, rows of sum 1."""
    total = torch.eye(attention[0].shape[1], dtype=torch.float64)
    for weights in attention[start:]:
        mixed = weights.double().mean(0) + torch.eye(weights.shape[1], dtype=torch.float64)
        total = (mixed / mixed.sum(1, keepdim=True)) @ total
    return total


def vision_transformer(t: Tensors, image: Tensor, heads: int) -> tuple[Tensor, list[Tensor]]:
    """Tokens after the head (N, D) of an image (1, 3, H, W) without CLS token, and attentions (A, N, N)."""
    patch = t["transformer.embeddings.patch_embeddings.weight"]
    x = F.conv2d(image, patch, t["transformer.embeddings.patch_embeddings.bias"], stride=patch.shape[2])
    x = x[0].flatten(1).T + t["transformer.embeddings.position_embeddings"][0, 1:]

    def norm(x: Tensor, name: str) -> Tensor:
        return F.layer_norm(x, x.shape[1:], t[f"{name}.weight"], t[f"{name}.bias"], eps=1e-6)

    def affine(x: Tensor, name: str) -> Tensor:
        return x @ t[f"{name}.weight"].T + t[f"{name}.bias"]

    recorded = []
    depth = len({name.split(".")[3] for name in t if ".layer." in name})
    for i in range(depth):
        layer = f"transformer.encoder.layer.{i}."
        y = norm(x, layer + "attention_norm")
        q, k, v = (
            affine(y, f"{layer}attn.{part}").unflatten(1, (heads, -1)).transpose(0, 1)
            for part in ("query", "key", "value")
        )
        weights = (q @ k.transpose(1, 2) / math.sqrt(q.shape[2])).softmax(2)
        recorded.append(weights)
        x = x + affine((weights @ v).transpose(0, 1).flatten(1), layer + "attn.out")
        y = norm(x, layer + "ffn_norm")
        x = x + affine(F.gelu(affine(y, layer + "ffn.fc1")), layer + "ffn.fc2")
    return affine(norm(x, "transformer.encoder.encoder_norm"), "head"), recorded


def published_resnet_v2(t: Tensors, image: Tensor) -> Tensor:
    """Cells after the head (N, D) of Black et al.'s ResNetV2 on an image (1, 3, H, W)."""

    def convolution(x: Tensor, name: str, stride: int = 1) -> Tensor:
        w = t[f"{name}.weight"].double()
        variance, mean = torch.var_mean(w, dim=(1, 2, 3), keepdim=True, correction=0)
        return F.conv2d(x, (w - mean) / (variance + 1e-10).sqrt(), stride=stride, padding=w.shape[2] // 2)

    def norm(x: Tensor, name: str) -> Tensor:
        weight, bias = (t[f"{name}.{leaf}"].double() for leaf in ("weight", "bias"))
        return F.group_norm(x, 32, weight, bias).relu()

    x = F.max_pool2d(F.pad(convolution(image.double(), "root.conv", 2), (1, 1, 1, 1)), 3, 2)
    for name in sorted({name.rsplit(".", 2)[0] for name in t if name.startswith("body.")}):
        stride = 2 if name.endswith("unit01") and "block1" not in name else 1
        active = norm(x, f"{name}.gn1")
        short = convolution(active, f"{name}.downsample", stride) if f"{name}.downsample.weight" in t else x
        y = convolution(norm(convolution(active, f"{name}.conv1"), f"{name}.gn2"), f"{name}.conv2", stride)
        x = short + convolution(norm(y, f"{name}.gn3"), f"{name}.conv3")
    cells = norm(x, "head.gn")[0].flatten(1).T
    return cells @ t["head.conv.weight"].double().flatten(1).T + t["head.conv.bias"].double()


def slim_resnet_v2(arrays: Mapping[str, np.ndarray], images: Tensor, *, training: bool) -> Tensor:
    """Last maps (B, C, h, w) of TF-slim's ResNetV2 on BGR images less their mean image (B, 3, H, W)."""
    t = {name.partition("/")[2]: torch.from_numpy(array) for name, array in arrays.items()}

    def norm(x: Tensor, name: str) -> Tensor:
        mean, variance = t[f"{name}/moving_mean"], t[f"{name}/moving_variance"]
        if training:
            mean, variance = x.mean((0, 2, 3)), x.var((0, 2, 3), correction=0)
        scale = t[f"{name}/gamma"] / (variance + 1e-5).sqrt()
        return ((x - mean[:, None, None]) * scale[:, None, None] + t[f"{name}/beta"][:, None, None]).relu()

    def convolution(x: Tensor, name: str, stride: int = 1) -> Tensor:
        w = t[f"{name}/weights"].permute(3, 2, 0, 1)
        return F.conv2d(x, w, t.get(f"{name}/biases"), stride, w.shape[2] // 2)

    x = convolution(images, "conv1", 2)
    x = F.max_pool2d(F.pad(x, (0, 1, 0, 1), value=-torch.inf), 3, 2)
    blocks = sorted({name.split("/")[0] for name in t if name.startswith("block")})
    for block in blocks:
        n = len({name.split("/")[1] for name in t if name.startswith(f"{block}/")})
        for unit in range(1, n + 1):
            name, stride = f"{block}/unit_{unit}/bottleneck_v2", 2 if unit == n and block != blocks[-1] else 1
            active = norm(x, f"{name}/preact")
            short = convolution(active, f"{name}/shortcut") if f"{name}/shortcut/weights" in t else x
            y = norm(convolution(active, f"{name}/conv1"), f"{name}/conv1/BatchNorm")
            y = norm(convolution(y, f"{name}/conv2", stride), f"{name}/conv2/BatchNorm")
            x = short[:, :, ::stride, ::stride] + convolution(y, f"{name}/conv3")
    return norm(x, "postnorm")


def context_scores(t: Tensors, query: Tensor, items: Tensor, anchors: Tensor, heads: int) -> Tensor:
    """CSA's scores (K,) of items (K, D); the query is the first item and the first anchor."""
    x = torch.cat([query[None], items]) @ torch.cat([query[None], anchors]).T
    x = F.linear(x, t["topk_proj.weight"], t["topk_proj.bias"])
    for i in range(len({name.split(".")[1] for name in t if name.startswith("blocks.")})):
        block = f"blocks.{i}."
        y = F.layer_norm(x, x.shape[1:], t[block + "norm1.weight"], t[block + "norm1.bias"])
        y = F.linear(y, t[block + "attn.qkv.weight"], t[block + "attn.qkv.bias"])
        q, k, v = y.unflatten(1, (3, heads, -1)).permute(1, 2, 0, 3)
        y = ((q @ k.transpose(1, 2)) * q.shape[2] ** -0.5).softmax(2) @ v
        x = x + F.linear(
            y.transpose(0, 1).flatten(1), t[block + "attn.proj.weight"], t[block + "attn.proj.bias"]
        )
        y = F.layer_norm(x, x.shape[1:], t[block + "norm2.weight"], t[block + "norm2.bias"])
        y = F.gelu(F.linear(y, t[block + "mlp.fc1.weight"], t[block + "mlp.fc1.bias"]))
        x = x + F.linear(y, t[block + "mlp.fc2.weight"], t[block + "mlp.fc2.bias"])
    x = F.normalize(x, dim=1)
    return x[1:] @ x[0]


def inferred_distance(levels: list[tuple[Tensor, Tensor]], certain: list[tuple[Tensor, Tensor]], t: Tensors,
                      n_links: int = 128) -> float:  # fmt: skip
    """AVSL's distance of two images: nodes (D,) and certainties (D,) of both at each level."""
    inferred = None
    for i, ((a, b), (ca, cb)) in enumerate(zip(levels, certain, strict=True)):
        own = (a / a.norm() - b / b.norm()).square()
        if inferred is None:
            inferred = own
            continue
        links = t[f"link_{i - 1}to{i}"].relu()
        links = links * (links >= links.topk(min(n_links, len(links)), dim=0).values[-1])
        below = inferred @ (links / (links.sum(0) + 1e-8))
        gate = (10 * (ca * cb * t[f"prob_coef_{i}"] + t[f"prob_bias_{i}"])).sigmoid()
        inferred = own * gate + below * (1 - gate)
    assert inferred is not None
    return float(inferred.sum())


def avsl_levels(t: Tensors, maps: list[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
    """Nodes (D,) and certainties (D,) of one image at each level, from its maps (C, h, w)."""
    nodes, certainties = [], []
    for i, features in enumerate(maps):
        weight, bias = t[f"conv1x1_{i}.weight"].flatten(1), t[f"conv1x1_{i}.bias"]
        nodes.append(weight @ (features.mean((1, 2)) + features.amax((1, 2))) + bias)
        flat, n = features.flatten(1), features[0].numel()
        peaks = torch.zeros_like(flat).scatter(
            1, flat.argmax(1, keepdim=True), flat.amax(1, keepdim=True) * n
        )
        cam = (weight @ (flat + peaks) + bias[:, None]).unflatten(1, features.shape[1:])
        cam = (cam - cam.amin(2, keepdim=True)).flatten(1)
        certainties.append(F.normalize(cam, dim=1, p=1).std(1))
    return nodes, certainties


def gem_embedding(
    features: torch.nn.Module, image: Tensor, power: float, scales: tuple[float, ...]
) -> Tensor:
    """Radenović et al.'s embedding (D,) of an image (1, 3, H, W), merged from several scales."""
    total = torch.zeros(())
    for scale in scales:
        x = image if scale == 1 else F.interpolate(image, scale_factor=scale, mode="bilinear")
        pooled = features(x)[0].clamp(min=1e-6).pow(power).mean((1, 2)).pow(1 / power)
        total = total + (pooled / (pooled.norm() + 1e-6)).pow(power)
    merged = (total / len(scales)).pow(1 / power) if len(scales) > 1 else total.pow(1 / power)
    return merged / merged.norm()
