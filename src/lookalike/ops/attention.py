"""The arguments of torch's scaled dot-product attention in one form."""

from __future__ import annotations

import torch
from torch import Tensor

from lookalike.types import AttentionCall


def attention_call(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> AttentionCall:
    """The queries, keys and values (B, A, T, d) of a call, with scale and masks as factor and bias.

    Grouped keys and values are repeated, boolean and causal masks become 0 and -inf; dropout is off in
    evaluation and ignored.

    >>> x = torch.eye(2)[None, None]
    >>> attention_call(x, x, x, is_causal=True).weights[0, 0, 0]
    tensor([1., 0.])
    """
    if enable_gqa:  # fewer key and value heads than query heads
        repeat = query.shape[1] // key.shape[1]
        key, value = key.repeat_interleave(repeat, 1), value.repeat_interleave(repeat, 1)
    if is_causal:
        attn_mask = torch.ones(query.shape[-2], key.shape[-2], dtype=torch.bool, device=query.device).tril()
    if attn_mask is not None and attn_mask.dtype == torch.bool:
        attn_mask = query.new_zeros(attn_mask.shape).masked_fill(~attn_mask, float("-inf"))
    if scale is None:
        scale = query.shape[-1] ** -0.5
    return AttentionCall(query, key, value, scale, attn_mask)
