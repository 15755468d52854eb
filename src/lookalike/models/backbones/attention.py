"""Recording of a transformer's attention without changing the model.

Every call of torch's scaled dot-product attention is recorded, whatever the layer's class, with
rotary positions and query/key norms already applied.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from lookalike.ops.attention import attention_call
from lookalike.types import AttentionCall


class _Attending(TorchFunctionMode):
    """Every scaled dot-product attention is done by ``attend``, which gets its call."""

    def __init__(self, attend: Callable[[AttentionCall], Tensor | None]) -> None:
        super().__init__()
        self.attend = attend  # None: torch's own

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        attended = None
        if func is F.scaled_dot_product_attention:
            attended = self.attend(attention_call(*args, **kwargs))
        return func(*args, **kwargs) if attended is None else attended


@contextmanager
def recorded_attention() -> Iterator[list[AttentionCall]]:
    """Record every scaled dot-product attention of this thread for the duration of the block."""
    calls: list[AttentionCall] = []
    with _Attending(calls.append):
        yield calls


@contextmanager
def attention_as_leaves() -> Iterator[list[Tensor]]:
    """Compute every attention of this thread from weights (B, A, Tq, Tk) that gradients can be had of.

    The weights are those that occurred, as leaves: queries and keys get no gradient through them.
    """
    weights: list[Tensor] = []

    def attend(call: AttentionCall) -> Tensor:
        weights.append(call.weights.detach().requires_grad_())
        return weights[-1] @ call.value

    with _Attending(attend):
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
