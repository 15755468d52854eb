"""Random perturbations of descriptors, so that a re-ranker learns for more embeddings than given."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

WHITENED_FROM = 1000  # rows from which principal components are computed


def perturbed(vectors: Tensor, generator: torch.Generator) -> Tensor:
    """Make another embedding of the same images, from (N, D) to unit rows (N, D').

    Applies at random: a power of each channel, removal of a part of the mean, a random projection or a
    partial whitening to fewer dimensions, and noise.
    """

    def between(low: float, high: float) -> float:
        return low + (high - low) * float(torch.rand((), generator=generator))

    if bernoulli(0.3, generator):
        vectors = vectors.sign() * vectors.abs().pow(between(0.4, 1.0))
    vectors = F.normalize(vectors, dim=1)
    if bernoulli(0.5, generator):
        vectors = vectors - between(0, 1) * vectors.mean(0)
    kind = between(0, 1)
    if kind < 0.3:
        width = int(between(48, 512))
        vectors = vectors @ torch.randn(vectors.shape[1], width, generator=generator)
    elif kind < 0.6:
        vectors = _whitened(vectors, int(between(32, 256)), between(0, 0.9), generator)
    if bernoulli(0.3, generator):
        noise = torch.randn(vectors.shape, generator=generator)
        vectors = vectors + between(0.2, 0.8) * vectors.std() * noise
    return F.normalize(vectors, dim=1)


def domain_shifted(queries: Tensor, others: Tensor, generator: torch.Generator) -> Tensor:
    """Shift queries as if taken under other conditions than the gallery, such as photos of reproductions.

    To each of the queries (B, D) a part of another image (N, D) is added, as by clutter, and to all the
    same direction, as by another camera. Returns unit rows (B, D).
    """
    strange = others[torch.randint(len(others), (len(queries),), generator=generator)]
    common = F.normalize(others[:2].sum(0) - others[2:4].sum(0), dim=0)
    clutter, shift = 0.8 * torch.rand(2, generator=generator)
    return F.normalize(queries + clutter * strange + shift * common, dim=1)


def _whitened(vectors: Tensor, width: int, strength: float, generator: torch.Generator) -> Tensor:
    """Project on the first principal components, divided by their deviation to the power ``strength``."""
    some = vectors[torch.randperm(len(vectors), generator=generator)[:WHITENED_FROM]]
    mean = some.mean(0)
    covariance = (some - mean).T @ (some - mean)
    values, components = torch.linalg.eigh(covariance)
    values, components = values[-width:].clamp(min=1e-9), components[:, -width:]
    deviations = (values / values[-1]).sqrt().clamp(min=1e-3)
    result: Tensor = (vectors - mean) @ (components / deviations.pow(strength))
    return result


def bernoulli(p: float, generator: torch.Generator) -> bool:
    """Draw True with probability p."""
    return float(torch.rand((), generator=generator)) < p
