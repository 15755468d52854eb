"""Recording of a transformer's attention without changing the model.

Every call of torch's scaled dot-product attention is recorded, whatever the layer's class, with
rotary positions and query/key norms already applied.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from lookalike.types import AttentionCall


class _Recorder(TorchFunctionMode):
    def __init__(self, calls: list[AttentionCall]) -> None:
        super().__init__()
        self.calls = calls

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        if func is F.scaled_dot_product_attention:
            self.calls.append(_call(*args, **kwargs))
        return func(*args, **kwargs)


class _Explicit(TorchFunctionMode):
    def __init__(self, weights: list[Tensor]) -> None:
        super().__init__()
        self.weights = weights

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        if func is not F.scaled_dot_product_attention:
            return func(*args, **(kwargs or {}))
        call = _call(*args, **(kwargs or {}))
        self.weights.append(call.weights.detach().requires_grad_())
        return self.weights[-1] @ call.value


def _call(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> AttentionCall:
    if enable_gqa:  # fewer key and value heads than query heads: repeat them
        repeat = query.shape[1] // key.shape[1]
        key, value = key.repeat_interleave(repeat, 1), value.repeat_interleave(repeat, 1)
    if is_causal:
        attn_mask = torch.ones(query.shape[-2], key.shape[-2], dtype=torch.bool, device=query.device).tril()
    if attn_mask is not None and attn_mask.dtype == torch.bool:
        attn_mask = query.new_zeros(attn_mask.shape).masked_fill(~attn_mask, float("-inf"))
    if scale is None:
        scale = query.shape[-1] ** -0.5
    return AttentionCall(query, key, value, scale, attn_mask)


@contextmanager
def recorded_attention() -> Iterator[list[AttentionCall]]:
    """Record every scaled dot-product attention of this thread for the duration of the block."""
    calls: list[AttentionCall] = []
    with _Recorder(calls):
        yield calls


@contextmanager
def attention_as_leaves() -> Iterator[list[Tensor]]:
    """Compute every attention of this thread from weights (B, A, Tq, Tk) that gradients can be had of.

    The weights are those that occurred, as leaves: queries and keys get no gradient through them.
    """
    weights: list[Tensor] = []
    with _Explicit(weights):
        yield weights


@contextmanager
def recorded_input(module: nn.Module | None) -> Iterator[list[Tensor]]:
    """Record the first input of a module for the duration of the block; always unhook."""
    inputs: list[Tensor] = []
    if module is None:
        yield inputs
        return
    handle = module.register_forward_pre_hook(lambda _module, args: inputs.append(args[0]))
    try:
        yield inputs
    finally:
        handle.remove()
