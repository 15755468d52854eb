"""Checkpoints of the original research codes as networks on timm backbones.

One module per layout: vision transformers and ResNetV2 of Black et al. (WACV 2022), the retrieval
networks of Radenović et al. (TPAMI 2019), and AVSL (Zhang et al., CVPR 2022). Sizes are read off
the tensors. Tensors that a layout does not explain are refused.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from lookalike.errors import CheckpointError
from lookalike.models.checkpoints import avsl, image_retrieval, resnet_v2, vision_transformer
from lookalike.models.checkpoints.files import Contents, read_checkpoint
from lookalike.models.saving import LoadedModel
from lookalike.models.wrappers import without_wrappers

__all__ = ["CHECKPOINT_SUFFIXES", "load_checkpoint"]

CHECKPOINT_SUFFIXES = (".pth", ".pt", ".ckpt", ".npz", ".safetensors")

_PREFIXES = (
    "ema_model.", "model_ema.", "ema.", "teacher.", "student.",
    "model.", "net.", "network.", "backbone.", "encoder.",
)  # fmt: skip
_LAYOUTS = (vision_transformer, resnet_v2, image_retrieval, avsl)


def load_checkpoint(path: Path, *, pooling: str | None = None) -> LoadedModel:
    """Load the network of a checkpoint file, named after the file.

    ``pooling`` ("cls" or "mean") applies to vision transformers, see ``vision_transformer``;
    the files of other layouts determine their pooling. Raises CheckpointError for a file
    that can't be read, an unknown layout, and tensors that are missing, left over or of odd sizes.
    """
    contents = read_checkpoint(path)
    for inner in _with_parts(contents):
        for layout in _LAYOUTS:
            if layout.matches(inner):
                loaded: LoadedModel = layout.build(inner, pooling)
                return loaded
    raise _unknown(contents)


def _with_parts(contents: Contents, depth: int = 2) -> Iterator[Contents]:
    """The contents, then what lies below the usual prefixes of training code, averaged weights first."""
    yield contents
    for prefix in _PREFIXES if depth else ():
        if tensors := without_wrappers(contents.below(prefix), str(contents.path)):
            yield from _with_parts(replace(contents, tensors=tensors), depth - 1)


def _unknown(contents: Contents) -> CheckpointError:
    known = "; ".join(f"{layout.NAME} ({layout.EXPECTED})" for layout in _LAYOUTS)
    return CheckpointError(
        f"{contents.path} has {len(contents.tensors)} tensors of no known layout: {contents.some_names()}. "
        f"Known are {known}. Weights of a timm model, as safetensors, are loaded with "
        "Embedder.from_timm(name, weights=...) or 'lookalike models make'"
    )
