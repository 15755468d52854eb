"""Checkpoints of the original research codes as networks on timm backbones.

One module per layout: vision transformers and ResNetV2 of Black et al. (WACV 2022), the retrieval
networks of Radenović et al. (TPAMI 2019), and AVSL (Zhang et al., CVPR 2022). Sizes are read off
the tensors. Tensors that a layout does not explain are refused.
"""

from __future__ import annotations

from pathlib import Path

from lookalike.errors import CheckpointError
from lookalike.models.checkpoints import avsl, image_retrieval, resnet_v2, vision_transformer
from lookalike.models.checkpoints.files import Contents, read_checkpoint
from lookalike.models.saving import LoadedModel

__all__ = ["CHECKPOINT_SUFFIXES", "load_checkpoint"]

CHECKPOINT_SUFFIXES = (".pth", ".pt", ".ckpt", ".npz", ".safetensors")

_LAYOUTS = (vision_transformer, resnet_v2, image_retrieval, avsl)


def load_checkpoint(
    path: Path, *, pooling: str | None = None, input_size: tuple[int, int] | None = None
) -> LoadedModel:
    """Load the network of a checkpoint file, named after the file.

    ``pooling`` ("cls" or "mean") applies to vision transformers, see ``vision_transformer``;
    the files of other layouts determine their pooling. ``input_size`` (H, W) is for the original authors'
    vision transformers, whose positions are then zoomed as in their code; others keep their own. Raises
    CheckpointError for a file that can't be read, an unknown layout, and tensors that are missing, left
    over or of odd sizes.
    """
    contents = read_checkpoint(path)
    for layout in _LAYOUTS:
        if layout.matches(contents):
            if layout is vision_transformer:
                return vision_transformer.build(contents, pooling, input_size)
            loaded: LoadedModel = layout.build(contents, pooling)
            return loaded
    raise _unknown(contents)


def _unknown(contents: Contents) -> CheckpointError:
    known = "; ".join(f"{layout.NAME} ({layout.EXPECTED})" for layout in _LAYOUTS)
    return CheckpointError(
        f"{contents.path} has {len(contents.tensors)} tensors of no known layout: {contents.some_names()}. "
        f"Known are {known}. Weights of a timm model, as safetensors, are loaded with "
        "Embedder.from_timm(name, weights=...) or 'lookalike models make'"
    )
