"""Images as nodes, and the graph that joins the nodes of neighboring levels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F


@dataclass(frozen=True)
class Nodes:
    """B images at L levels, low to high."""

    embeddings: tuple[Tensor, ...]  # each (B, D), of any length
    certainties: tuple[Tensor, ...]  # each (B, D), 0 or more

    def __len__(self) -> int:
        return len(self.embeddings[0])

    def rows(self, which: slice | Int[Tensor, " K"]) -> Nodes:
        """Some of the images."""
        return Nodes(tuple(e[which] for e in self.embeddings), tuple(c[which] for c in self.certainties))

    def to(self, device: torch.device | str) -> Nodes:
        """The images on a device."""
        return Nodes(
            tuple(e.to(device) for e in self.embeddings), tuple(c.to(device) for c in self.certainties)
        )

    def units(self, power: float) -> tuple[Tensor, ...]:
        """Embeddings divided by their p-norm; each (B, D)."""
        return tuple(F.normalize(e, p=power, dim=1) for e in self.embeddings)

    @classmethod
    def joined(cls, parts: Sequence[Nodes]) -> Nodes:
        """The images of several ``Nodes``, one after the other."""
        return cls(
            tuple(torch.cat(level) for level in zip(*(part.embeddings for part in parts), strict=True)),
            tuple(torch.cat(level) for level in zip(*(part.certainties for part in parts), strict=True)),
        )


@dataclass(frozen=True)
class Graph:
    """Parameters that turn differences at L levels into one distance.

    A node of level l takes its own difference with probability
    ``sigmoid(sharpness * (certainty_a * certainty_b * coefficient + bias))`` and otherwise that of
    the nodes below, weighted by ``links`` (section 3.3).
    """

    links: tuple[Tensor, ...]  # L - 1 matrices (D_low, D_high), none negative, columns sum to 1
    coefficients: tuple[Tensor, ...]  # L vectors (D,); those of the lowest level are not used
    biases: tuple[Tensor, ...]  # L vectors (D,)
    sharpness: float = 10.0
    power: float = 2.0  # p of the norm and of the differences

    def to(self, device: torch.device | str) -> Graph:
        """A copy without gradients on a device."""
        return Graph(
            tuple(link.detach().to(device) for link in self.links),
            tuple(c.detach().to(device) for c in self.coefficients),
            tuple(b.detach().to(device) for b in self.biases),
            self.sharpness,
            self.power,
        )

    def gates(
        self, level: int, a: Float[Tensor, "... D"], b: Float[Tensor, "... D"]
    ) -> Float[Tensor, "... D"]:
        """Probability with which each node of a level takes its own difference, from both certainties."""
        trust = a * b * self.coefficients[level] + self.biases[level]
        return torch.sigmoid(self.sharpness * trust)


def sparse_links(correlation: Float[Tensor, "D E"], top_k: int) -> Float[Tensor, "D E"]:
    """Links to the ``top_k`` most correlated lower nodes of each higher one; columns sum to 1.

    Negative correlations count as zero; ties with the weakest are kept too, as published.
    """
    positive = correlation.relu()
    top_k = min(top_k, positive.shape[0])
    weakest = positive.topk(top_k, dim=0).values[-1:]  # (1, E)
    kept = positive * (positive >= weakest - 1e-8)
    return kept / (kept.sum(0, keepdim=True) + 1e-8)


def moving_average(
    buffer: Float[Tensor, "D E"], new: Float[Tensor, "D E"], momentum: float
) -> Float[Tensor, "D E"]:
    """``momentum * buffer + (1 - momentum) * new``."""
    return momentum * buffer + (1 - momentum) * new
