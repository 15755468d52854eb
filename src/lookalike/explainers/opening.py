"""The model of an explanation: a name, a file, or one that is loaded."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lookalike.errors import UnsupportedMethodError
from lookalike.explainers.occlusion import EmbedsImages
from lookalike.models.cache import load_cached
from lookalike.models.embedder import Embedder
from lookalike.models.onnx import OnnxEmbedder


def load_any(model: str | Path, **changes: Any) -> Embedder | OnnxEmbedder:
    """An embedder by name, loaded once per process, or an ONNX file as a black box.

    ``changes`` as in ``Embedder.load``; with any of them the model is loaded anew.
    """
    if not str(model).endswith(".onnx"):
        is_changed = any(value is not None for value in changes.values())
        return Embedder.load(model, **changes) if is_changed else load_cached(model)
    normalization = changes.pop("normalization", None)
    if any(value is not None for value in changes.values()):
        raise UnsupportedMethodError(
            f"pooling and input size of an ONNX model are fixed; load {model} without changing them"
        )
    return OnnxEmbedder(model, normalization=normalization)


def opened(model: str | Path | Embedder | EmbedsImages) -> Embedder | EmbedsImages:
    """The model itself, loaded where it is a name or a file."""
    return load_any(model) if isinstance(model, str | Path) else model


def opened_with_shares(model: str | Path | Embedder | EmbedsImages, purpose: str) -> Embedder:
    """The model, which must be one whose shares can be computed.

    Raises UnsupportedMethodError for a black box; ``purpose`` names in the message what needs shares.
    """
    embedder = opened(model)
    if not isinstance(embedder, Embedder):
        raise UnsupportedMethodError(
            f"{purpose} needs a model that can be looked into; {embedder.name} can only be asked for "
            "embeddings, so leave it out"
        )
    return embedder
