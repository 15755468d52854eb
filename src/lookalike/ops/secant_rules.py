"""The exact rules by which a difference of a function's outputs is split over those of its inputs.

A function runs on the reference first, which is noted on a tape, and then on the image, linearized between
both; ``ops.secant`` says how. Gradients of these functions are to the image only: those to the reference are
their negatives.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, final

import torch
from torch import Tensor

from lookalike.errors import UnsupportedMethodError

_NEAR = 2e-6  # inputs nearer than this, relative to their size, take the derivative: 0 / 0 says nothing
_NEAR_LOG = 1e-4  # log probabilities nearer than this take the mean probability, right to the square of it
_LOG_OF_NOTHING = -1e4  # log probability of what is masked


@final
class SecantTape:
    """What functions got and gave in the run of the reference, in the order in which they ran."""

    def __init__(self) -> None:
        self._met: deque[tuple[str, tuple[Tensor, ...]]] = deque()
        self.is_recording = True

    def meet(self, function: str, *values: Tensor) -> tuple[Tensor, ...] | None:
        """The values that the same call had in the reference's run; None in that run itself.

        Each is handed out once. Raises UnsupportedMethodError where the two runs differ in what they do.
        """
        if self.is_recording:
            self._met.append((function, tuple(x.clone() for x in values)))  # networks add in place
            return None
        expected, found = self._met.popleft() if self._met else ("", ())
        if expected != function or [x.shape for x in found] != [x.shape for x in values]:
            raise UnsupportedMethodError(
                f"the network runs {function} on the image where it runs {expected or 'nothing'} on the "
                "picture without detail, so it can't be split between them; use the last layer's shares or "
                "method 'occlusion'"
            )
        return found


def secant(tape: SecantTape, function: Callable[..., Tensor], input: Tensor, *args: Any) -> Tensor:
    """An elementwise function, whose gradient is its slope between reference and image.

    ``args`` are numbers, or tensors that broadcast to the input.
    """
    with torch.no_grad():
        a = input.detach()
        at_a = function(a.clone(), *args)
    reference = tape.meet("an elementwise function", a, at_a)
    if reference is None:
        return weighted(input, None, at_a)
    b, at_b = reference
    with torch.no_grad():
        step = a - b
        is_near = step.abs() <= _NEAR * a.abs()
        slope = (at_a - at_b).div_(step)
        n_near = int(is_near.count_nonzero())
    if n_near > a.numel() // 4:  # picking them out would take longer than all
        slope = torch.where(is_near, _tangent(function, (a + b) / 2, args), slope)
    elif n_near:
        places = is_near.nonzero(as_tuple=True)
        slope[places] = _tangent(function, ((a + b) / 2)[places], _at(places, a.shape, args))
    return weighted(input, slope, at_a)


def _tangent(function: Callable[..., Tensor], points: Tensor, args: Sequence[Any]) -> Tensor:
    """Derivatives of an elementwise function at points (...)."""
    with torch.enable_grad():
        points.requires_grad_()
        (tangent,) = torch.autograd.grad(function(points.clone(), *args).sum(), points)
    return tangent


def _at(places: tuple[Tensor, ...], shape: Sequence[int], args: Sequence[Any]) -> list[Any]:
    """What an elementwise function is given beside its input, at some places of the input."""
    return [torch.broadcast_to(x, shape)[places] if isinstance(x, Tensor) else x for x in args]


def square(tape: SecantTape, input: Tensor) -> Tensor:
    """Squares, element by element, whose slope is the sum of both ends."""
    a = input.detach()
    reference = tape.meet("a square", a)
    return weighted(input, None if reference is None else a + reference[0], a.square())


def product(tape: SecantTape, first: Tensor, second: Tensor, *, of_matrices: bool = False) -> Tensor:
    """A product, elementwise or of matrices, in whose gradient each factor is weighed by the other's mean."""
    reference = tape.meet("a product", first.detach(), second.detach())
    if reference is None:
        return first @ second if of_matrices else first * second
    means = [(a.detach() + b) / 2 for a, b in zip((first, second), reference, strict=True)]
    result: Tensor = _Product.apply(first, second, *means, of_matrices)
    return result


def quotient(tape: SecantTape, first: Tensor, second: Tensor) -> Tensor:
    """An elementwise quotient q of x by y: from x = q * y, its difference is (dx - mean q * dy) / mean y."""
    values = (first / second).detach()
    reference = tape.meet("a quotient", values, second.detach())
    if reference is None:
        return first / second
    means = [(a + b) / 2 for a, b in zip((values, second.detach()), reference, strict=True)]
    result: Tensor = _Quotient.apply(first, second, *means)
    return result


def softmax(tape: SecantTape, scores: Tensor) -> Tensor:
    """Softmax over the last axis: the exponential of scores less their log sum of exponentials.

    The log sum is split by the exact mix of both softmaxes, whose parts are the two divergences between them.
    """
    with torch.no_grad():
        log_a = scores.detach().log_softmax(-1).clamp_(min=_LOG_OF_NOTHING)
        at_a = log_a.exp()
    reference = tape.meet("a softmax", log_a, at_a)
    if reference is None:
        return weighted(scores, None, at_a)
    log_b, at_b = reference
    with torch.no_grad():
        step, change = log_a - log_b, at_a - at_b
        low = (at_b * step).sum(-1, keepdim=True)  # less the divergence of the image's from the reference's
        mix = _mixed(at_a, at_b, part=-low, gap=(change * step).sum(-1, keepdim=True))
        is_near = step.abs() <= _NEAR_LOG
        slope = torch.where(is_near, (at_a + at_b) / 2, change.div_(step))
    result: Tensor = _Softmax.apply(scores, slope, mix, [at_a])
    return result


FunctionEnd = tuple[
    Tensor, Tensor, Tensor
]  # gradient (..., n), input (..., n) and value (..., 1) of a function


def exact_mix(image: FunctionEnd, reference: FunctionEnd) -> Tensor:
    """Weights between the gradients at both ends, by which a convex function's difference is exact."""
    (at_a, a, value_a), (at_b, b, value_b) = image, reference
    high, low = ((each * (a - b)).sum(-1, keepdim=True) for each in (at_a, at_b))
    return _mixed(
        at_a, at_b, part=value_a - value_b - low, gap=high - low
    )  # a gap of 0 or more, by convexity


def _mixed(at_a: Tensor, at_b: Tensor, *, part: Tensor, gap: Tensor) -> Tensor:
    """Both gradients, that at the image weighed by a part of the gap between what they predict."""
    weight = torch.where(gap > 1e-12, part / gap.clamp(min=1e-12), 0.5).clamp(0, 1)
    return torch.lerp(at_b, at_a, weight)


def weighted(input: Tensor, weights: Tensor | None, values: Tensor) -> Tensor:
    """The values, as a function whose gradient to the input is the weights' multiple; None for no use."""
    result: Tensor = _Weighted.apply(input, weights, [values])
    return result


class _Weighted(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, _input: Tensor, weights: Tensor | None, values: list[Tensor]) -> Tensor:
        ctx.save_for_backward(weights)
        return values[0]  # in a list: what is no input itself may be changed in place afterwards

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        (weights,) = ctx.saved_tensors
        return gradient * weights, None, None


class _Softmax(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, _scores: Tensor, slope: Tensor, mix: Tensor, values: list[Tensor]) -> Tensor:
        ctx.save_for_backward(slope, mix)
        return values[0]

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None, None]:
        slope, mix = ctx.saved_tensors
        to_logs = gradient * slope
        return to_logs.addcmul_(mix, to_logs.sum(-1, keepdim=True), value=-1), None, None, None


class _Product(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, first: Tensor, second: Tensor, mean_first: Tensor, mean_second: Tensor, of_matrices: bool
    ) -> Tensor:
        ctx.of_matrices = of_matrices
        ctx.save_for_backward(mean_first, mean_second)
        return first @ second if of_matrices else first * second

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, None, None, None]:
        first, second = ctx.saved_tensors
        if ctx.of_matrices:
            to_first, to_second = gradient @ second.transpose(-2, -1), first.transpose(-2, -1) @ gradient
        else:
            to_first, to_second = gradient * second, gradient * first
        return to_first.sum_to_size(first.shape), to_second.sum_to_size(second.shape), None, None, None


class _Quotient(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, first: Tensor, second: Tensor, mean_quotient: Tensor, mean_second: Tensor
    ) -> Tensor:
        ctx.shape = first.shape
        ctx.save_for_backward(mean_quotient, mean_second)
        return first / second

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, None, None]:
        values, second = ctx.saved_tensors
        to_first = gradient / second
        return to_first.sum_to_size(ctx.shape), (-to_first * values).sum_to_size(second.shape), None, None
