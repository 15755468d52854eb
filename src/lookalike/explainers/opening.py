"""Loading the model of an explanation from a name or a file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lookalike.errors import UnsupportedMethodError
from lookalike.explainers.black_box import EmbedsImages
from lookalike.models.cache import load_cached
from lookalike.models.embedder import Embedder
from lookalike.models.loading import ONNX_SUFFIX, split_output
from lookalike.models.onnx import OnnxEmbedder


def load_any(model: str | Path, **changes: Any) -> Embedder | OnnxEmbedder:
    """Load an embedder by name, cached per process, or an ONNX file as a black box.

    ``changes`` are options of ``Embedder.load``, or ``output``, the name of an ONNX model's embedding; with
    any of them the cache is not used. Raises
    UnknownModelError, CheckpointError, and UnsupportedMethodError for a change that ONNX excludes.
    """
    if not is_onnx(model):
        if changes.pop("output", None) is not None:
            raise UnsupportedMethodError(
                f"only an ONNX model has outputs by name; load {model} without naming one"
            )
        is_changed = any(value is not None for value in changes.values())
        return Embedder.load(model, **changes) if is_changed else load_cached(model)
    if any(
        changes.pop(name, None) is not None
        for name in ("pooling", "precision", "mean_image", "whitening", "heads")
    ):
        raise UnsupportedMethodError(
            f"pooling, precision, mean image, whitening and heads of an ONNX model are fixed; load {model} "
            "without changes"
        )
    return OnnxEmbedder(model, **changes)


def is_onnx(model: str | Path) -> bool:
    """Whether the name is that of an ONNX file, with or without one of its outputs."""
    return split_output(model)[0].suffix.lower() == ONNX_SUFFIX


def opened(model: str | Path | Embedder | EmbedsImages) -> Embedder | EmbedsImages:
    """Return the model, loaded if it is a name or a file."""
    return load_any(model) if isinstance(model, str | Path) else model


def opened_with_shares(model: str | Path | Embedder | EmbedsImages, purpose: str) -> Embedder:
    """Return the model, loaded if needed, for a purpose that requires shares.

    Raises UnsupportedMethodError, with ``purpose`` in the message, for a black box such as ONNX.
    """
    embedder = opened(model)
    if not isinstance(embedder, Embedder):
        raise UnsupportedMethodError(
            f"{purpose} needs the layers of a model and {embedder.name} only returns embeddings; "
            "leave it out or use another model"
        )
    return embedder
