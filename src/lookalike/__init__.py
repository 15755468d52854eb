"""Find the images that match, rank them better, and see why."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lookalike import render, scenes
    from lookalike.errors import LookalikeError
    from lookalike.explainers import difference, explain, place_matches
    from lookalike.gallery import Gallery, Hit
    from lookalike.models.embedder import Embedder
    from lookalike.types import CellSimilarity, Difference, Explanation, Geometry, Picture, Shares

__version__ = "0.1.0"

# Public names and where they live; looked up on first use, so that importing stays quick.
_HOMES = {
    "CellSimilarity": "lookalike.types",
    "Difference": "lookalike.types",
    "Embedder": "lookalike.models.embedder",
    "Explanation": "lookalike.types",
    "Gallery": "lookalike.gallery",
    "Geometry": "lookalike.types",
    "Hit": "lookalike.gallery",
    "LookalikeError": "lookalike.errors",
    "Picture": "lookalike.types",
    "Shares": "lookalike.types",
    "difference": "lookalike.explainers",
    "explain": "lookalike.explainers",
    "place_matches": "lookalike.explainers",
}
_MODULES = {"render", "scenes"}

__all__ = [
    "CellSimilarity",
    "Difference",
    "Embedder",
    "Explanation",
    "Gallery",
    "Geometry",
    "Hit",
    "LookalikeError",
    "Picture",
    "Shares",
    "__version__",
    "difference",
    "explain",
    "place_matches",
    "render",
    "scenes",
]


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return importlib.import_module(f"lookalike.{name}")
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'lookalike' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
