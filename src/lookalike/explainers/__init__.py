"""Explanation methods for the similarity of two images; one final class per method."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

from lookalike.errors import UnsupportedMethodError, check_name
from lookalike.explainers.avsl import Avsl
from lookalike.explainers.base import Explainer
from lookalike.explainers.black_box import EmbedsImages
from lookalike.explainers.cell_matches import place_matches, shares_at
from lookalike.explainers.gradcam import GradCam
from lookalike.explainers.gradient_input import GradientInput
from lookalike.explainers.integrated_gradients import IntegratedGradients
from lookalike.explainers.leave_one_out import LeaveOneOut
from lookalike.explainers.leave_tokens_out import LeaveTokensOut
from lookalike.explainers.legrad import LeGrad
from lookalike.explainers.occlusion import Occlusion
from lookalike.explainers.opening import load_any, opened
from lookalike.explainers.rise import Rise
from lookalike.explainers.rollout import ConservingRollout, Rollout
from lookalike.explainers.shares import SharesExplainer, difference
from lookalike.explainers.transport import TransportExplainer
from lookalike.explainers.verifying import verify
from lookalike.models.embedder import Embedder, ImageSource
from lookalike.types import Explanation

__all__ = [
    "EXPLAINERS",
    "Avsl",
    "ConservingRollout",
    "EmbedsImages",
    "Explainer",
    "GradCam",
    "GradientInput",
    "IntegratedGradients",
    "LeGrad",
    "LeaveOneOut",
    "LeaveTokensOut",
    "Occlusion",
    "Rise",
    "Rollout",
    "SharesExplainer",
    "TransportExplainer",
    "difference",
    "explain",
    "load_any",
    "make_explainer",
    "place_matches",
    "shares_at",
    "verify",
]

EXPLAINERS = {
    explainer.name: explainer
    for explainer in (
        SharesExplainer,
        Rollout,
        ConservingRollout,
        GradCam,
        GradientInput,
        IntegratedGradients,
        LeGrad,
        LeaveTokensOut,
        Occlusion,
        LeaveOneOut,
        Rise,
        TransportExplainer,
        Avsl,
    )
}
_OF_ANY_MODEL: tuple[type[Occlusion | LeaveOneOut | Rise], ...] = (Occlusion, LeaveOneOut, Rise)


def explain(
    query: ImageSource,
    match: ImageSource,
    *,
    model: str | Path | Embedder | EmbedsImages = "mini",
    method: str = "shares",
    **options: Any,
) -> Explanation:
    """Explain a model's similarity of two images by a method of ``EXPLAINERS``.

    ``model`` is a name as in ``Embedder.load``, an ONNX file, or a loaded embedder; ``options``
    go to the method. Raises UnreadableImageError, UnknownModelError, CheckpointError,
    UnsupportedMethodError, and UnknownNameError for an unknown method.
    """
    return make_explainer(opened(model), method, **options)(query, match)


def make_explainer(model: Embedder | EmbedsImages, method: str, **options: Any) -> Explainer:
    """The explainer of that name, ready for any number of pairs."""
    check_name("method", method, EXPLAINERS)
    if unknown := sorted(set(options) - set(inspect.signature(EXPLAINERS[method]).parameters)):
        raise UnsupportedMethodError(f"method {method!r} has no option {', '.join(unknown)}; leave it out")
    for of_any_model in _OF_ANY_MODEL:
        if method == of_any_model.name:
            return of_any_model(model, **options)
    if not isinstance(model, Embedder):
        raise UnsupportedMethodError(
            f"method {method!r} needs the layers of a model and {model.name} only returns embeddings; "
            f"use method {' or '.join(repr(each.name) for each in _OF_ANY_MODEL)}"
        )
    explainer: Explainer = EXPLAINERS[method](model, **options)
    return explainer
