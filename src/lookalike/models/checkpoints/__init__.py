"""Checkpoints of the original research codes as networks on timm backbones.

One module per layout: vision transformers and ResNetV2 of Black et al. (WACV 2022), the retrieval
networks of Radenović et al. (TPAMI 2019), those of TF-slim (the demo of WACV 2019), AVSL and its
baselines (Zhang et al., CVPR 2022), and BN-Inception, their second backbone. Sizes are read off the
tensors. Tensors that a layout does not explain are refused.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from lookalike.errors import CheckpointError
from lookalike.models.checkpoints import (
    avsl,
    bn_inception,
    image_retrieval,
    resnet_v2,
    slim_resnet_v2,
    vision_transformer,
)
from lookalike.models.checkpoints.files import Contents, read_checkpoint
from lookalike.models.checkpoints.slim_resnet_v2 import with_mean_image
from lookalike.models.checkpoints.tensorflow import is_tensorflow
from lookalike.models.saving import LoadedModel
from lookalike.models.wrappers import without_wrappers

__all__ = [
    "CHECKPOINT_SUFFIXES",
    "is_checkpoint",
    "load_checkpoint",
    "no_heads",
    "no_whitening",
    "with_mean_image",
]

CHECKPOINT_SUFFIXES = (".pth", ".pt", ".ckpt", ".npz", ".safetensors", ".index")

_PREFIXES = (
    "ema_model.", "model_ema.", "ema.", "teacher.", "student.",
    "model.", "net.", "network.", "backbone.", "encoder.",
)  # fmt: skip
_LAYOUTS = (vision_transformer, resnet_v2, slim_resnet_v2, image_retrieval, bn_inception, avsl)


def is_checkpoint(path: Path) -> bool:
    """Whether a path is a file, or what the names of a TensorFlow checkpoint's files begin with."""
    return path.is_file() or is_tensorflow(path)


def load_checkpoint(
    path: Path,
    *,
    pooling: str | None = None,
    input_size: tuple[int, int] | None = None,
    mean_image: Path | None = None,
    whitening: str | None = None,
    heads: int | None = None,
) -> LoadedModel:
    """Load the network of a checkpoint file, named after the file.

    ``pooling`` ("cls" or "mean") applies to vision transformers, see ``vision_transformer``;
    "mean" leaves the logits of TF-slim's networks out; the files of other layouts determine their
    pooling. ``input_size`` (H, W) is for the original authors' vision transformers, whose positions are
    then zoomed as in their code; others keep their own. TF-slim's networks need a ``mean_image``, see
    ``with_mean_image``. ``whitening`` is one that a retrieval network carries, see ``image_retrieval``.
    ``heads`` is the number of attention heads of a vision transformer, by default one for 64 dimensions.
    Raises CheckpointError for a file that can't be read, an unknown layout, and
    tensors that are missing, left over or of odd sizes.
    """
    contents = read_checkpoint(path)
    for inner in _with_parts(contents):
        for layout in _LAYOUTS:
            if not layout.matches(inner):
                continue
            loaded: LoadedModel = (
                vision_transformer.build(inner, pooling, input_size, heads)
                if layout is vision_transformer
                else layout.build(inner, pooling)
            )
            if heads is not None and layout is not vision_transformer:
                raise no_heads(loaded.name)
            if layout is slim_resnet_v2 and mean_image is None:
                raise CheckpointError(
                    f"{path} is a network of the WACV 2019 demo, which takes pictures less a mean image; "
                    "give its file (such as hotels_meanIm.npy) as --mean-image, or mean_image="
                )
            if whitening is not None:
                if layout is not image_retrieval:
                    raise no_whitening(loaded.name, whitening)
                loaded = image_retrieval.with_carried_whitening(loaded, contents, whitening)
            return loaded if mean_image is None else with_mean_image(loaded, mean_image)
    raise _unknown(contents)


def no_whitening(model: str, whitening: str) -> CheckpointError:
    """The error for a whitening that is asked of a model that carries none."""
    return CheckpointError(
        f"whitening {whitening!r} is asked of {model}, which carries none; only retrieval networks of "
        "Radenović et al. do. Leave it out, or learn one with 'lookalike models whiten'"
    )


def no_heads(model: str) -> CheckpointError:
    """The error for a number of attention heads that is given for a model that says it itself."""
    return CheckpointError(
        f"the number of attention heads is given for vision transformers of a checkpoint file, and {model} "
        "is none; leave it out"
    )


def _with_parts(contents: Contents, depth: int = 2) -> Iterator[Contents]:
    """The contents, then what lies below the usual prefixes of training code, averaged weights first."""
    yield contents
    for prefix in _PREFIXES if depth else ():
        if tensors := without_wrappers(contents.below(prefix), str(contents.path)):
            yield from _with_parts(replace(contents, tensors=tensors), depth - 1)


def _unknown(contents: Contents) -> CheckpointError:
    known = "; ".join(f"{layout.NAME} ({layout.EXPECTED})" for layout in _LAYOUTS)
    return CheckpointError(
        f"{contents.path} does not say which network its weights are of; if it is one of timm's, name it: "
        f"lookalike models make TIMM-NAME FOLDER --weights {contents.path} (or Embedder.from_timm(name, "
        f"weights=...)). It has {len(contents.tensors)} tensors of no known layout: {contents.some_names()}. "
        f"Layouts that are known without a name: {known}"
    )
