"""Explanation methods for the similarity of two images; one final class per method."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

from lookalike.errors import UnsupportedMethodError
from lookalike.explainers.avsl import Avsl
from lookalike.explainers.base import Explainer
from lookalike.explainers.gradcam import GradCam
from lookalike.explainers.occlusion import EmbedsImages, Occlusion
from lookalike.explainers.opening import load_any, opened
from lookalike.explainers.rollout import ConservingRollout, Rollout
from lookalike.explainers.shares import SharesExplainer, difference, explain_shares, place_matches
from lookalike.models.embedder import Embedder, ImageSource
from lookalike.types import Explanation

__all__ = [
    "EXPLAINERS",
    "Avsl",
    "ConservingRollout",
    "EmbedsImages",
    "Explainer",
    "GradCam",
    "Occlusion",
    "Rollout",
    "SharesExplainer",
    "difference",
    "explain",
    "explain_shares",
    "load_any",
    "make_explainer",
    "place_matches",
]

EXPLAINERS = {
    explainer.name: explainer
    for explainer in (SharesExplainer, Rollout, ConservingRollout, GradCam, Occlusion, Avsl)
}


def explain(
    query: ImageSource,
    match: ImageSource,
    *,
    model: str | Path | Embedder | EmbedsImages = "mini",
    method: str = "shares",
    **options: Any,
) -> Explanation:
    """Explain a model's similarity of two images by a method of ``EXPLAINERS``.

    Images are paths, bytes, PIL images or (H, W, 3) uint8 RGB arrays. ``model`` is a name as in
    ``Embedder.load``, an ONNX file, or a loaded embedder; ``options`` are passed to the method. Returns
    maps of both images on the feature grid, (h, w) float32, signed. Raises UnreadableImageError,
    UnknownModelError, CheckpointError, and UnsupportedMethodError if the method does not fit the model.
    """
    return make_explainer(opened(model), method, **options)(query, match)


def make_explainer(model: Embedder | EmbedsImages, method: str, **options: Any) -> Explainer:
    """Return the explainer for a method; it can be called with any number of pairs.

    Raises UnsupportedMethodError for an unknown method or option and for a model that does not fit.
    """
    if method not in EXPLAINERS:
        raise UnsupportedMethodError(f"method must be one of {', '.join(EXPLAINERS)}; got {method!r}")
    if unknown := sorted(set(options) - set(inspect.signature(EXPLAINERS[method]).parameters)):
        raise UnsupportedMethodError(f"method {method!r} has no option {', '.join(unknown)}; leave it out")
    if method == Occlusion.name:
        return Occlusion(model, **options)
    if not isinstance(model, Embedder):
        raise UnsupportedMethodError(
            f"method {method!r} needs the layers of a model and {model.name} only returns embeddings; "
            "use method 'occlusion'"
        )
    explainer: Explainer = EXPLAINERS[method](model, **options)
    return explainer
