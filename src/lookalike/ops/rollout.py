"""Attention rollout: the contribution of each input token to each token's final vector.

Abnar and Zuidema, *Quantifying Attention Flow in Transformers*, ACL 2020, as applied to pairs of
images by Black et al., *Visualizing Paired Image Similarity in Transformer Networks*, WACV 2022.
Per layer: attention fused over heads, plus the identity (the skip connection), rows normalized.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from lookalike.errors import unknown_name

HeadFusion = Literal["mean", "min", "max"]


def layer_transition(attention: Float[Tensor, "A N N"], fusion: HeadFusion = "mean") -> Float[Tensor, "N N"]:
    """One layer's transition matrix: fused heads plus the identity, rows summing to one.

    ``fusion`` over the heads is mean, min or max; raises UnknownNameError for anything else.
    """
    fused = _fused(attention, fusion)
    with_skip = fused + torch.eye(fused.shape[0], dtype=fused.dtype, device=fused.device)
    return with_skip / with_skip.sum(1, keepdim=True)


def attention_rollout(
    attentions: Sequence[Float[Tensor, "A N N"]], *, fusion: HeadFusion = "mean", first_layer: int = 0
) -> Float[Tensor, "N N"]:
    """The product of the layers' transitions, last layer leftmost; rows sum to one.

    ``attentions`` of each layer have rows that sum to one. For maps use :func:`roll_out` or
    :func:`roll_out_conserving`, which need no N × N product. Raises ValueError for no layers and
    for a ``first_layer`` that does not exist.

    >>> attention = torch.tensor([[[0.0, 1.0], [0.5, 0.5]]])  # one head, two tokens
    >>> attention_rollout([attention, attention])
    tensor([[0.3750, 0.6250],
            [0.3125, 0.6875]])
    """
    product, *others = [layer_transition(a, fusion) for a in _from_layer(attentions, first_layer)]
    for transition in others:
        product = transition @ product
    return product


def roll_out(
    values: Float[Tensor, " N"],
    attentions: Sequence[Float[Tensor, "A N N"]],
    *,
    fusion: HeadFusion = "mean",
    first_layer: int = 0,
) -> Float[Tensor, " N"]:
    """``R @ values`` with the rollout R: each token averages the values that it attends to.

    The map of Black et al. (WACV 2022). The layers are applied to the vector one after the other,
    first layer first. The sum of the values is not kept.
    """
    for attention in _from_layer(attentions, first_layer):
        fused = _fused(attention, fusion)
        taken = fused @ torch.stack([values, torch.ones_like(values)], dim=1)  # (N, 2): values, row sums
        values = (taken[:, 0] + values) / (taken[:, 1] + 1)
    return values


def roll_out_conserving(
    values: Float[Tensor, " N"],
    attentions: Sequence[Float[Tensor, "A N N"]],
    *,
    fusion: HeadFusion = "mean",
    first_layer: int = 0,
) -> Float[Tensor, " N"]:
    """``Rᵀ @ values``: each token's value is divided over the tokens that it attends to; the sum is kept."""
    for attention in reversed(_from_layer(attentions, first_layer)):
        fused = _fused(attention, fusion)
        handed = values / (fused.sum(1) + 1)
        values = handed @ fused + handed
    return values


def _fused(attention: Float[Tensor, "A N N"], fusion: str) -> Float[Tensor, "N N"]:
    """Attention of one layer over all its heads."""
    match fusion:
        case "mean":
            return attention.mean(0)
        case "min":
            return attention.amin(0)
        case "max":
            return attention.amax(0)
    raise unknown_name("fusion", fusion, ("mean", "min", "max"))


def _from_layer(attentions: Sequence[Tensor], first_layer: int) -> Sequence[Tensor]:
    if not attentions:
        raise ValueError("rollout takes the attention of at least one layer, got none")
    if not 0 <= first_layer < len(attentions):
        raise ValueError(f"first_layer must be 0 to {len(attentions) - 1} for this model, got {first_layer}")
    return attentions[first_layer:]
