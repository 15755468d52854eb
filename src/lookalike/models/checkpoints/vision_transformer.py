"""Vision transformers: checkpoints of Black et al., WACV 2022, and the original authors' files.

Black et al., *Visualizing Paired Image Similarity in Transformer Networks*: torch files with
separate query, key and value layers, 64 dimensions a head unless the caller says otherwise (their files do
not), and an affine head on every token. The
embedding is the mean over the patch tokens (then the CLS token does not enter the network at all)
or the CLS token; the files of both modes hold the same tensors. The JAX names and layouts of
Dosovitskiy et al., ICLR 2021 (``.npz``), are read too.

The mode is decided, in this order, by

1. the caller's ``pooling``, "cls" or "mean";
2. the file: without a CLS token or without a position for it, the mean;
3. "cls" or "mean" as a word of the file name (``vit_p16_cls.pth``);
4. the source: the original authors' classifiers were trained on the CLS token, all others are
   taken as Black et al. publish theirs, with the mean.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from lookalike.errors import CheckpointError
from lookalike.images import Preprocessing
from lookalike.models.backbones import create_backbone, load_weights
from lookalike.models.checkpoints.files import Contents
from lookalike.models.heads import affine_layer
from lookalike.models.network import assemble
from lookalike.models.saving import LoadedModel
from lookalike.ops.zooming import zoomed_grid

NAME = "vision transformers of Black et al., WACV 2022, and of the original authors"
EXPECTED = "transformer.embeddings.patch_embeddings.weight, or embedding/kernel, ..."

_HEAD_WIDTH = 64  # dimensions of one attention head, where the file does not say it
_CLASSIFIERS = (1000, 21841, 21843)  # outputs of ImageNet classifiers: no embedding, left out

# Layer names, lower case, "/" read as ".", in the order: torch as published, JAX.
_OUTER = {
    "embeddings.patch_embeddings": "patch_embed.proj",
    "embedding": "patch_embed.proj",
    "embeddings.position_embeddings": "pos_embed",
    "posembed_input.pos_embedding": "pos_embed",
    "embeddings.cls_token": "cls_token",
    "cls": "cls_token",
    "encoder_norm": "norm",
    "head": "head",
    "pre_logits": "pre_logits",
}
_INNER = {
    "attention_norm": "norm1",
    "layernorm_0": "norm1",
    "ffn_norm": "norm2",
    "layernorm_1": "norm2",
    "layernorm_2": "norm2",
    "attn.query": "attn.query",
    "attn.key": "attn.key",
    "attn.value": "attn.value",
    "attn.out": "attn.proj",
    "ffn.fc1": "mlp.fc1",
    "ffn.fc2": "mlp.fc2",
    **{
        f"multiheaddotproductattention_{number}.{jax}": f"attn.{ours}"
        for number in (0, 1)
        for jax, ours in (("query", "query"), ("key", "key"), ("value", "value"), ("out", "proj"))
    },
    **{f"mlpblock_{number}.dense_{i}": f"mlp.fc{i + 1}" for number in (0, 3) for i in (0, 1)},
}
_BLOCK = re.compile(r"(?:layers?\.|blocks?\.|encoderblock_)(\d+)\.(.+)")
_LEAVES = {"weight": "weight", "kernel": "weight", "scale": "weight", "bias": "bias"}


@dataclass(frozen=True)
class _Sizes:
    width: int
    depth: int
    n_heads: int
    hidden: int  # width inside the MLP
    patch: int  # pixels
    n_positions: int  # patches only
    has_cls: bool  # whether the file holds a CLS token and a position for it

    @property
    def side(self) -> int:
        """Pixels of the square input."""
        return math.isqrt(self.n_positions) * self.patch


def matches(contents: Contents) -> bool:
    """Whether the file has a patch embedding named as in one of the two sources, and blocks."""
    names = {_translate(name) for name in contents.tensors}
    has_blocks = any(name is not None and name.startswith("blocks.0.") for name in names)
    return "patch_embed.proj.weight" in names and has_blocks


def build(
    contents: Contents,
    pooling: str | None,
    input_size: tuple[int, int] | None = None,
    heads: int | None = None,
) -> LoadedModel:
    """Build the network on a timm vision transformer, with ``heads`` of attention where given.

    With an input size (H, W) the positions of the original authors' files are zoomed as in their code;
    other files keep the size of theirs. Raises CheckpointError for unexpected names and sizes.
    """
    is_jax = any("kernel" in name for name in contents.tensors)
    tensors = _translated(contents)
    sizes = _sizes(contents, tensors, heads)
    head = _head(tensors, sizes.width, has_classifier=is_jax)
    mode = _mode(contents, sizes, pooling, is_original=is_jax and not len(head))
    size = (sizes.side, sizes.side)
    if is_jax and input_size is not None and not any(side % sizes.patch for side in input_size):
        size = input_size
        tensors["pos_embed"] = _zoomed(tensors["pos_embed"], sizes, size)
    backbone = create_backbone(
        f"vit_base_patch{32 if sizes.patch == 32 else 16}_224",
        img_size=size,
        patch_size=sizes.patch,
        embed_dim=sizes.width,
        depth=sizes.depth,
        num_heads=sizes.n_heads,
        mlp_ratio=_mlp_ratio(sizes),
        class_token=mode == "cls",
        global_pool="token" if mode == "cls" else "avg",
        fc_norm=False,  # the last norm comes before the pooling
    )
    load_weights(backbone, _for_timm(tensors, sizes, with_cls=mode == "cls"))
    preprocessing = Preprocessing("squash", size, interpolation="bilinear")
    if is_jax and not len(head):
        half = (0.5, 0.5, 0.5)
        preprocessing = Preprocessing(
            "squash", preprocessing.input_size, interpolation="bilinear", mean=half, std=half
        )
    network = assemble(backbone, {"name": mode}, head, preprocessing)
    return LoadedModel(network, preprocessing, contents.path.stem, has_published_maps=True)


# --- names ------------------------------------------------------------------------------------


def _translate(name: str) -> str | None:
    """timm's name of a tensor, with query, key and value separate; None if unknown."""
    plain = name.replace("/", ".").lower().removeprefix("transformer.").removeprefix("encoder.")
    block = _BLOCK.fullmatch(plain)
    layer, _, leaf = (block[2] if block else plain).rpartition(".")
    if leaf in _LEAVES:
        leaf = "." + _LEAVES[leaf]
    else:
        layer, leaf = (block[2] if block else plain), ""
    known = (_INNER if block else _OUTER).get(layer)
    if known is None:
        return None
    return f"blocks.{int(block[1])}.{known}{leaf}" if block else known + leaf


def _translated(contents: Contents) -> dict[str, Tensor]:
    tensors: dict[str, Tensor] = {}
    for name, tensor in contents.tensors.items():
        ours = _translate(name)
        if ours is None or ours in tensors:
            raise CheckpointError(
                f"{contents.path} looks like a vision transformer, but {name} {tuple(tensor.shape)} is no "
                f"part of the layout ({EXPECTED}); hybrids and other variants are not read"
            )
        tensors[ours] = _torch_layout(name, ours, tensor)
    return tensors


def _torch_layout(name: str, ours: str, tensor: Tensor) -> Tensor:
    """The tensor in torch's layout (out, in); JAX keeps kernels as (in, out), with a separate head axis."""
    if ours.endswith("bias"):
        return tensor.flatten()
    if not name.endswith("kernel"):
        return tensor
    match tensor.ndim:
        case 2:
            return tensor.T
        case 3 if ours.endswith("proj.weight"):  # (A, d, D)
            return tensor.flatten(0, 1).T
        case 3:  # (D, A, d)
            return tensor.flatten(1).T
        case 4:  # (h, w, in, out)
            return tensor.permute(3, 2, 0, 1)
    return tensor


# --- sizes ------------------------------------------------------------------------------------


def _sizes(contents: Contents, tensors: Mapping[str, Tensor], heads: int | None) -> _Sizes:
    try:
        width, channels, patch, patch_width = tensors["patch_embed.proj.weight"].shape
        _, n_positions, position_width = tensors["pos_embed"].shape
        hidden = tensors["blocks.0.mlp.fc1.weight"].shape[0]
    except (KeyError, ValueError) as error:
        raise CheckpointError(
            f"{contents.path} looks like a vision transformer, but its patch embedding, position embedding "
            f"or first MLP is missing or has other axes ({error}); found {contents.some_names()}"
        ) from error
    has_cls = "cls_token" in tensors and _is_square(n_positions - 1)
    n_patches = n_positions - 1 if has_cls else n_positions
    if channels != 3 or patch != patch_width or position_width != width or not _is_square(n_patches):
        raise CheckpointError(
            f"{contents.path}: a patch embedding of {tuple(tensors['patch_embed.proj.weight'].shape)} and "
            f"{n_positions} positions of width {position_width} do not fit together; expected (D, 3, P, P), "
            "and a square number of positions of width D, with or without one more for the CLS token"
        )
    n_heads = _n_heads(contents, width, heads)
    numbers = {int(name.split(".")[1]) for name in tensors if name.startswith("blocks.")}
    depth = len(numbers)
    if numbers != set(range(depth)):
        raise CheckpointError(
            f"{contents.path}: expected blocks numbered from 0 without gaps, found {depth} numbered up to "
            f"{max(numbers)}; the file is damaged or only a part of a model"
        )
    return _Sizes(width, depth, n_heads, hidden, patch, n_patches, has_cls)


def _n_heads(contents: Contents, width: int, asked: int | None) -> int:
    if asked is not None and (asked < 1 or width % asked):
        raise CheckpointError(
            f"{contents.path} has tokens of width {width}, which {asked} heads do not divide"
        )
    for name, tensor in contents.tensors.items():
        if name.endswith("query/kernel") and tensor.ndim == 3:
            if asked not in (None, int(tensor.shape[1])):
                raise CheckpointError(
                    f"{contents.path} says {tensor.shape[1]} attention heads, not {asked}; leave heads out"
                )
            return int(tensor.shape[1])
    if asked is not None:
        return asked
    if width % _HEAD_WIDTH:
        raise CheckpointError(
            f"{contents.path} has tokens of width {width}, no multiple of the {_HEAD_WIDTH} dimensions that "
            "each attention head of the published networks has; say the number of heads (--heads, heads=)"
        )
    return width // _HEAD_WIDTH


def _is_square(n: int) -> bool:
    return n > 0 and math.isqrt(n) ** 2 == n


def _mlp_ratio(sizes: _Sizes) -> float:
    """The ratio from which timm, which rounds down, recovers the MLP's width."""
    ratio = sizes.hidden / sizes.width
    return ratio if int(sizes.width * ratio) == sizes.hidden else math.nextafter(ratio, math.inf)


# --- mode, head, weights ----------------------------------------------------------------------


def _mode(contents: Contents, sizes: _Sizes, pooling: str | None, *, is_original: bool) -> str:
    if pooling == "cls" and not sizes.has_cls:
        raise CheckpointError(
            f"{contents.path} has no CLS token with a position of its own ({sizes.n_positions} positions), "
            "so pooling 'cls' is impossible; use 'mean'"
        )
    if pooling in ("cls", "mean"):
        return pooling
    if not sizes.has_cls:
        return "mean"
    words = re.split(r"[^a-z]+", contents.path.stem.lower())
    for word in ("cls", "mean"):
        if word in words:
            return word
    return "cls" if is_original else "mean"


def _head(tensors: dict[str, Tensor], width: int, *, has_classifier: bool) -> nn.Sequential:
    """The head on tokens as a head on their mean, with which an affine layer commutes.

    Empty where the file has no head, an identity, or, in the original authors' files, an ImageNet classifier.
    """
    weight, bias = tensors.get("head.weight"), tensors.get("head.bias")
    if weight is None or (has_classifier and weight.shape[0] in _CLASSIFIERS):
        return nn.Sequential()
    if weight.ndim != 2 or weight.shape[1] != width or (bias is not None and bias.shape != weight.shape[:1]):
        raise CheckpointError(
            f"expected a head of weight (D, {width}) and bias (D,), found {tuple(weight.shape)} and "
            f"{None if bias is None else tuple(bias.shape)}; the file is damaged or of another layout"
        )
    is_identity = weight.shape[0] == weight.shape[1] and torch.equal(weight, torch.eye(weight.shape[0]))
    if is_identity and (bias is None or not bias.any()):
        return nn.Sequential()
    return nn.Sequential(affine_layer(weight, bias))


def _for_timm(tensors: Mapping[str, Tensor], sizes: _Sizes, *, with_cls: bool) -> dict[str, Tensor]:
    """Weights with query, key and value as one layer, and the CLS token only ``with_cls``."""
    weights = {name: t for name, t in tensors.items() if not re.search(r"\.(query|key|value)\.", name)}
    for i in range(sizes.depth):
        for leaf in ("weight", "bias"):
            names = [f"blocks.{i}.attn.{part}.{leaf}" for part in ("query", "key", "value")]
            if all(name in tensors for name in names):  # load_weights names what is missing
                weights[f"blocks.{i}.attn.qkv.{leaf}"] = torch.cat([tensors[name] for name in names])
    if not with_cls:
        weights.pop("cls_token", None)
        weights["pos_embed"] = tensors["pos_embed"][:, int(sizes.has_cls) :]
    return weights


def _zoomed(positions: Tensor, sizes: _Sizes, size: tuple[int, int]) -> Tensor:
    """Position embeddings (1, n, D) for an input of another size (H, W); that of the CLS token is kept."""
    own, n_first = math.isqrt(sizes.n_positions), int(sizes.has_cls)
    first, of_patches = positions[:, :n_first], positions[0, n_first:]
    grid = zoomed_grid(
        of_patches.reshape(own, own, sizes.width), (size[0] // sizes.patch, size[1] // sizes.patch)
    )
    return torch.cat([first, grid.flatten(0, 1)[None]], dim=1)
