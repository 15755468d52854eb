"""The context network for scoring on a CPU: the same products in the same precision, and few new buffers.

Fresh memory costs more than GELU, norms and sums together: every page of it is first zeroed by the system.
So the rows of the two-layer networks pass in slices through one buffer, which also stays in the cache, and
results are added in place.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from lookalike.models.csa.network import Block, ContextNetwork

_ROWS = 352  # of a slice: the published hidden layer then takes 4 MB


@torch.inference_mode()
def refined_features(network: ContextNetwork, affinity: Tensor) -> Tensor:
    """Refined features (B, T, C) of affinity features (B, T, L), as the network in eval mode gives them."""
    n_lists, n_items = affinity.shape[:2]
    x = F.linear(affinity.flatten(0, 1), network.topk_proj.weight, network.topk_proj.bias)  # (B T, C)
    qkv = x.new_empty(n_lists, n_items, 3 * network.sizes.width)
    hidden = x.new_empty(min(_ROWS, len(x)), network.sizes.hidden)
    for block in network.blocks:
        assert isinstance(block, Block)
        _attend(block, x, qkv)
        _expand(block, x, hidden)
    return x.view(n_lists, n_items, -1)


def _attend(block: Block, x: Tensor, qkv: Tensor) -> None:
    """Add the attention branch to x (B T, C), in place; ``qkv`` (B, T, 3 C) is overwritten."""
    attention, flat = block.attn, qkv.flatten(0, 1)
    for start in range(0, len(x), _ROWS):
        rows = slice(start, start + _ROWS)
        _linear(attention.qkv, block.norm1(x[rows]), flat[rows])
    mixed = F.scaled_dot_product_attention(*attention.split(qkv)).transpose(1, 2).reshape(x.shape)
    x.add_(attention.proj.bias).addmm_(mixed, attention.proj.weight.T)


def _expand(block: Block, x: Tensor, hidden: Tensor) -> None:
    """Add the two-layer branch to x (B T, C), in place; ``hidden`` (rows, H) is overwritten."""
    mlp = block.mlp
    for start in range(0, len(x), _ROWS):
        rows = x[start : start + _ROWS]
        inner = _linear(mlp.fc1, block.norm2(rows), hidden[: len(rows)])
        torch.ops.aten.gelu_(inner)
        rows.add_(mlp.fc2.bias).addmm_(inner, mlp.fc2.weight.T)


def _linear(layer: torch.nn.Linear, x: Tensor, out: Tensor) -> Tensor:
    """The layer's outputs (rows, C), written to ``out``."""
    torch.mm(x, layer.weight.T, out=out)
    return out if layer.bias is None else out.add_(layer.bias)
