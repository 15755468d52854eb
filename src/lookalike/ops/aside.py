"""Directions that something adds to embeddings, and embeddings without them."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor, eye, float64, linalg
from torch.nn import functional as F


def directions_added(
    changes: Float[Tensor, "N D"], controls: Float[Tensor, "M D"], most: int
) -> Float[Tensor, "K D"]:
    """Orthonormal directions, ``most`` at most, in which changes are larger than their controls.

    ``changes`` are embeddings with something less those without it; ``controls`` are what the same treatment
    does where it is absent; M may be 0. The directions are the main axes of the difference of both second
    moments, so those in which pictures lose their own content are left alone.
    """
    own, other = changes.double(), controls.double()
    excess = own.T @ own / len(own) - other.T @ other / max(len(other), 1)
    values, axes = linalg.eigh(excess)
    kept = values[-most:] > 1e-9
    found: Tensor = axes[:, -most:][:, kept].flip(1).T.contiguous().to(changes.dtype)
    return found


def projection_without(directions: Float[Tensor, "K D"]) -> Float[Tensor, "D D"]:
    """The matrix that removes what lies along directions; they need not be orthogonal. float64.

    >>> import torch
    >>> projection_without(torch.tensor([[2.0, 0.0]])).tolist()
    [[0.0, 0.0], [0.0, 1.0]]
    """
    _, values, axes = linalg.svd(directions.double(), full_matrices=False)
    spanned = axes[values > 1e-6 * values.max()] if len(values) else axes
    rest: Tensor = eye(directions.shape[1], dtype=float64) - spanned.T @ spanned
    return rest


def without_directions(units: Float[Tensor, "N D"], directions: Float[Tensor, "K D"]) -> Float[Tensor, "N D"]:
    """Unit embeddings without what lies along the directions, of unit length again."""
    return F.normalize(units @ projection_without(directions).to(units), dim=1)
