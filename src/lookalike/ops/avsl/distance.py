"""Distances between images by their nodes: at each level, and inferred through the graph.

These follow the paper and are differentiable, for training and as the reference; ``blocks`` computes
the same for many images in bounded memory.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from lookalike.ops.avsl.graph import Graph, Nodes


def level_distances(
    query: Float[Tensor, "Q D"], gallery: Float[Tensor, "G D"], power: float = 2.0
) -> Float[Tensor, "Q G"]:
    """``sum |a - b|^p`` of p-normalized nodes of one level; for p = 2 in [0, 4]."""
    a, b = F.normalize(query, p=power, dim=1), F.normalize(gallery, p=power, dim=1)
    if power != 2:
        return differences(a[:, None], b[None], power).sum(-1)
    squares = a.square().sum(1)[:, None] + b.square().sum(1)
    return (squares - 2 * a @ b.T).clamp(min=0)


def final_distances(query: Nodes, gallery: Nodes, graph: Graph) -> Float[Tensor, "Q G"]:
    """The distance that the graph infers from the lowest to the highest level, 0 or more.

    The differences are detached, as published: this distance trains the gates only.
    """
    inferred: Tensor | None = None
    units = zip(query.units(graph.power), gallery.units(graph.power), strict=True)
    for level, (a, b) in enumerate(units):
        own = differences(a.detach()[:, None], b.detach()[None], graph.power)  # (Q, G, D)
        if inferred is None:
            inferred = own
            continue
        gate = graph.gates(level, query.certainties[level][:, None], gallery.certainties[level][None])
        inferred = own * gate + (inferred @ graph.links[level - 1]) * (1 - gate)
    assert inferred is not None
    return inferred.sum(-1)


def differences(a: Float[Tensor, "... D"], b: Float[Tensor, "... D"], power: float) -> Float[Tensor, "... D"]:
    """``|a - b|^p``, node by node."""
    difference = a - b
    return difference.square() if power == 2 else torch.pow(difference.abs(), power)
