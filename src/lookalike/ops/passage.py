"""How shares pass through the layers after pooling, exactly.

A *part* is one row of a (B, M, D) tensor; the rows sum to the vector that the layer receives.
The first ``M - 1`` rows belong to the cells of the grid, the last one is the residual. Each
function returns the parts of the layer's output: a layer is taken as the linear map that it was
for this very input (norms, gates and means frozen at the values that occurred), plus a constant
that is spread evenly over the cells. Summing the returned parts gives the layer's output.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

Parts = Float[Tensor, "B M D"]


def with_residual(shares: Float[Tensor, "B N D"], residual: Float[Tensor, "B D"] | None = None) -> Parts:
    """Parts from the cells' shares and what no cell accounts for (nothing unless given)."""
    if residual is None:
        residual = shares.new_zeros(shares.shape[0], shares.shape[2])
    return torch.cat([shares, residual[:, None]], dim=1)


def spread(parts: Parts, constant: Float[Tensor, "... D"]) -> Parts:
    """Add a constant, (D,) or (B, 1, D), to the total, evenly over the cells, 1/N each."""
    n_cells = parts.shape[1] - 1
    return torch.cat([parts[:, :-1] + constant / n_cells, parts[:, -1:]], dim=1)


def affine(
    parts: Float[Tensor, "B M C"], weight: Float[Tensor, "D C"], bias: Float[Tensor, " D"] | None = None
) -> Parts:
    """Through ``W x + b``."""
    mapped = parts @ weight.T
    return mapped if bias is None else spread(mapped, bias)


def scale(parts: Parts, factor: Float[Tensor, "... D"], shift: Float[Tensor, " D"] | None = None) -> Parts:
    """Through ``factor * x + shift``, channel by channel (BatchNorm in evaluation, layer scale)."""
    scaled = parts * factor
    return scaled if shift is None else spread(scaled, shift)


def layer_norm(
    parts: Parts,
    weight: Float[Tensor, " D"] | None = None,
    bias: Float[Tensor, " D"] | None = None,
    eps: float = 1e-5,
) -> Parts:
    """Through LayerNorm: each part loses its own mean, the deviation that occurred divides all."""
    total = parts.sum(1, keepdim=True)
    deviation = (total.var(-1, unbiased=False, keepdim=True) + eps).sqrt()
    centered = (parts - parts.mean(-1, keepdim=True)) / deviation
    if weight is not None:
        centered = centered * weight
    return centered if bias is None else spread(centered, bias)


def rms_norm(parts: Parts, weight: Float[Tensor, " D"] | None = None, eps: float = 1e-6) -> Parts:
    """Through RMSNorm: the root mean square that occurred divides all."""
    mean_square = parts.sum(1, keepdim=True).square().mean(-1, keepdim=True)
    normed = parts / (mean_square + eps).sqrt()
    return normed if weight is None else normed * weight


def l2_norm(parts: Parts, eps: float = 0.0) -> Parts:
    """Through ``x / (‖x‖ + eps)``; a zero vector stays zero."""
    norm: Tensor = parts.sum(1, keepdim=True).norm(dim=-1, keepdim=True) + eps
    return parts / norm.clamp(min=torch.finfo(parts.dtype).tiny)


def gate(parts: Parts, activation: Callable[[Tensor], Tensor]) -> Parts:
    """Through an activation f, as the factor ``f(z) / z`` that occurred, 0 where z = 0.

    ``f(0)`` is a constant and spread evenly: zero for ReLU, GELU, SiLU and tanh.
    """
    total = parts.sum(1, keepdim=True)
    at_zero = activation(torch.zeros_like(total))
    output = activation(total.clone())  # a clone: many activations work in place
    factor = torch.where(total == 0, 0.0, (output - at_zero) / total)
    return spread(parts * factor, at_zero)
