"""Find the images that match, rank them better, and see why."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lookalike import render, scenes
    from lookalike.errors import (
        CheckpointError,
        DatasetError,
        FilterError,
        GalleryError,
        LookalikeError,
        ModelMismatchError,
        ModelOutputError,
        TrainingError,
        UnknownModelError,
        UnknownNameError,
        UnreadableImageError,
        UnsupportedMethodError,
    )
    from lookalike.evaluation import Evaluation, evaluate
    from lookalike.explainers import difference, explain, place_matches, verify
    from lookalike.gallery import Gallery, Hit, SearchResult
    from lookalike.models.embedder import Embedder
    from lookalike.models.loading import list_models
    from lookalike.models.onnx import OnnxEmbedder
    from lookalike.rerankers import rerank
    from lookalike.training import TrainingResult, fit
    from lookalike.types import (
        CellMatch,
        CellSimilarity,
        Difference,
        Explanation,
        GeometricMatch,
        Geometry,
        GraphExplanation,
        ImageMap,
        Picture,
        Progress,
        Ranking,
        Reading,
        Shares,
    )

__version__ = "0.2.0"

# Public names and where they live; looked up on first use, so that importing stays quick.
_HOMES = {
    "lookalike.errors": (
        "CheckpointError",
        "DatasetError",
        "FilterError",
        "GalleryError",
        "LookalikeError",
        "ModelMismatchError",
        "ModelOutputError",
        "TrainingError",
        "UnknownModelError",
        "UnknownNameError",
        "UnreadableImageError",
        "UnsupportedMethodError",
    ),
    "lookalike.explainers": ("difference", "explain", "place_matches", "verify"),
    "lookalike.evaluation": ("Evaluation", "evaluate"),
    "lookalike.gallery": ("Gallery", "Hit", "SearchResult"),
    "lookalike.models.embedder": ("Embedder",),
    "lookalike.models.loading": ("list_models",),
    "lookalike.models.onnx": ("OnnxEmbedder",),
    "lookalike.rerankers": ("rerank",),
    "lookalike.training": ("TrainingResult", "fit"),
    "lookalike.types": (
        "CellMatch",
        "CellSimilarity",
        "Difference",
        "Explanation",
        "Geometry",
        "GeometricMatch",
        "GeometricMatch",
        "GraphExplanation",
        "ImageMap",
        "Picture",
        "Progress",
        "Ranking",
        "Reading",
        "Shares",
    ),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}
_MODULES = ("render", "scenes")

__all__ = [
    "CellMatch",
    "CellSimilarity",
    "CheckpointError",
    "DatasetError",
    "Difference",
    "Embedder",
    "Evaluation",
    "Explanation",
    "FilterError",
    "Gallery",
    "GalleryError",
    "GeometricMatch",
    "Geometry",
    "GraphExplanation",
    "Hit",
    "ImageMap",
    "LookalikeError",
    "ModelMismatchError",
    "ModelOutputError",
    "OnnxEmbedder",
    "Picture",
    "Progress",
    "Ranking",
    "Reading",
    "SearchResult",
    "Shares",
    "TrainingError",
    "TrainingResult",
    "UnknownModelError",
    "UnknownNameError",
    "UnreadableImageError",
    "UnsupportedMethodError",
    "__version__",
    "difference",
    "evaluate",
    "explain",
    "fit",
    "list_models",
    "place_matches",
    "render",
    "rerank",
    "scenes",
    "verify",
]


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return importlib.import_module(f"lookalike.{name}")
    if name in _HOME_OF:
        return getattr(importlib.import_module(_HOME_OF[name]), name)
    raise AttributeError(f"module 'lookalike' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
