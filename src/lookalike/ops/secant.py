"""A network run on a reference and then on an image, with everything between them made linear and exact.

Each function of the network is replaced, for this one pair of inputs, by the linear map that takes the
difference of its two inputs to the difference of its two outputs:

    function        difference of the output
    f(x), any f     (f(a) - f(b)) / (a - b) * (a - b), element by element
    x * y, x @ y    mean of the two x times the difference of y, plus the same with x and y exchanged
    x / y           the same, solved for the quotient
    log sum exp x   p . (a - b), p the mix of both softmaxes for which this is exact (it exists: the
                    function is convex, so the difference lies between both first-order ones)
    maximum         as log sum exp, with the places of both maxima

Softmax, norms, attention and gates are compositions of these. One backward pass then splits the
difference of any output exactly over any layer's features. It is the rescale rule of DeepLIFT (Shrikumar,
Greenside, Kundaje, ICML 2017) for elementwise functions, carried through products, softmax and maxima.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any, final

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from lookalike.errors import UnsupportedMethodError
from lookalike.ops.attention import attention_call
from lookalike.ops.cell_index import carry_cells

_NEAR = 1e-6  # inputs nearer than this, relative to their size, take the derivative: 0 / 0 says nothing
_MASKED = -1e4  # score of what is masked: far enough for a weight of 0, and finite


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


class _SecantMode(TorchFunctionMode):
    """Functions of tensors that need gradients run by the rules, and note or use what is on the tape."""

    def __init__(self, tape: SecantTape, *, follows_cells: bool) -> None:
        super().__init__()
        self.tape, self._follows_cells = tape, follows_cells

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Run one function of torch, by its rule where it depends on what needs a gradient."""
        kwargs = dict(kwargs or {})
        name = getattr(func, "__name__", "").strip("_")
        rule = _RULES.get(name)
        depends = any(_depends(each) for each in (*args, *kwargs.values()))
        if rule is not None and depends and torch.is_grad_enabled():
            return rule(self.tape, func, *args, **kwargs)
        output = func(*args, **kwargs)
        if not depends and self._follows_cells:
            carry_cells(name, func, args, kwargs, output)
        return output


@final
class ReferenceForward(_SecantMode):
    """A context in which the reference runs, and leaves what ``SecantForward`` needs of it."""

    def __init__(self) -> None:
        super().__init__(SecantTape(), follows_cells=False)


@final
class SecantForward(_SecantMode):
    """A context in which the image runs, linearized between it and the reference that ran before.

    Both are batches of one size, row by row a pair. Values are those of the plain run; the gradient of
    the output to what entered, times the difference of what entered, sums to the difference of both
    outputs exactly. Until something needs a gradient, the cells of features are followed
    (``ops.cell_index``). A reference is used up by one run.

    >>> reference = torch.tensor([[1.0]], requires_grad=True)
    >>> with ReferenceForward() as without:
    ...     _ = reference.square()
    >>> image = torch.tensor([[3.0]], requires_grad=True)
    >>> with SecantForward(without):
    ...     output = image.square()
    >>> torch.autograd.grad(output, image)[0]  # (9 - 1) / (3 - 1)
    tensor([[4.]])
    """

    def __init__(self, reference: ReferenceForward) -> None:
        reference.tape.is_recording = False
        super().__init__(reference.tape, follows_cells=True)


# --- the three exact rules --------------------------------------------------------------------------


def secant(tape: SecantTape, function: Callable[[Tensor], Tensor], input: Tensor) -> Tensor:
    """An elementwise function, whose gradient is its slope between reference and image."""
    with torch.no_grad():
        a = input.detach()
        at_a = function(a.clone())
    reference = tape.meet("an elementwise function", a, at_a)
    if reference is None:
        return _weighted(input, None, at_a)
    b, at_b = reference
    with torch.no_grad():
        is_near = (a - b).abs() <= _NEAR * (a.abs() + b.abs())
        slope = (at_a - at_b) / torch.where(is_near, 1.0, a - b)
    if bool(is_near.any()):
        middle = ((a + b) / 2).requires_grad_()
        with torch.enable_grad():
            (tangent,) = torch.autograd.grad(function(middle.clone()).sum(), middle)
        slope = torch.where(is_near, tangent, slope)
    return _weighted(input, slope, at_a)


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


def log_sum_exp(tape: SecantTape, scores: Tensor) -> Tensor:
    """Log of the sum of exponentials over the last axis, kept, by the exact mix of both softmaxes."""
    a = scores.detach()
    at_a = a.logsumexp(-1, keepdim=True)
    reference = tape.meet("a softmax", a, at_a)
    if reference is None:
        return _weighted(scores, None, at_a)
    b, at_b = reference
    weights = _exact_mix(((a - at_a).exp(), a, at_a), ((b - at_b).exp(), b, at_b))
    return _weighted(scores, weights, at_a)


def softmax(tape: SecantTape, scores: Tensor) -> Tensor:
    """Softmax over the last axis: the exponential of scores less their log sum of exponentials."""
    return secant(tape, torch.exp, scores - log_sum_exp(tape, scores))


_End = tuple[Tensor, Tensor, Tensor]  # gradient (..., n), input (..., n) and value (..., 1) of a function


def _exact_mix(image: _End, reference: _End) -> Tensor:
    """Weights between the gradients at both ends, by which a convex function's difference is exact."""
    (at_a, a, value_a), (at_b, b, value_b) = image, reference
    high, low = ((each * (a - b)).sum(-1, keepdim=True) for each in (at_a, at_b))
    gap = high - low  # 0 or more, by convexity
    part = torch.where(gap > 1e-12, (value_a - value_b - low) / gap.clamp(min=1e-12), 0.5).clamp(0, 1)
    return torch.lerp(at_b, at_a, part)


def _weighted(input: Tensor, weights: Tensor | None, values: Tensor) -> Tensor:
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


# --- the functions of networks ----------------------------------------------------------------------


def _elementwise(
    tape: SecantTape, func: Callable[..., Tensor], input: Tensor, *args: Any, **options: Any
) -> Tensor:
    options.pop("inplace", None)
    args = tuple(each for each in args if not isinstance(each, bool))
    return secant(tape, lambda z: func(z, *args, **options), input)


def _multiply(tape: SecantTape, func: Callable[..., Tensor], input: Any, other: Any, *rest: Any) -> Tensor:
    if not (_depends(input) and _depends(other)):
        return func(input, other, *rest)
    return product(tape, input, other)


def _matrix_multiply(tape: SecantTape, func: Callable[..., Tensor], input: Tensor, other: Tensor) -> Tensor:
    if not (_depends(input) and _depends(other)):
        return func(input, other)
    return product(tape, input, other, of_matrices=True)


def _divide(
    tape: SecantTape, func: Callable[..., Tensor], input: Any, other: Any, *rest: Any, **options: Any
) -> Tensor:
    if not _depends(other):
        return func(input, other, *rest, **options)
    if not _depends(input):
        divided: Tensor = input * secant(tape, torch.reciprocal, other)
        return divided
    return quotient(tape, input, other)


def _softmax(tape: SecantTape, _: Any, input: Tensor, dim: int = -1, *_rest: Any, **_options: Any) -> Tensor:
    return softmax(tape, input.movedim(dim, -1)).movedim(-1, dim)


def _attention(tape: SecantTape, _: Any, *args: Any, **options: Any) -> Tensor:
    call = attention_call(*args, **options)
    scores = _matrix_multiply(tape, torch.matmul, call.query * call.scale, call.key.transpose(-2, -1))
    if call.bias is not None:
        scores = scores + call.bias.clamp(min=_MASKED)
    return _matrix_multiply(tape, torch.matmul, softmax(tape, scores), call.value)


def _layer_norm(
    tape: SecantTape,
    _: Any,
    input: Tensor,
    normalized_shape: Sequence[int],
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
    *_rest: Any,
) -> Tensor:
    axes = tuple(range(-len(normalized_shape), 0))
    normed = _standardized(tape, input - input.mean(axes, keepdim=True), axes, eps)
    scaled = normed if weight is None else normed * weight
    return scaled if bias is None else scaled + bias


def _group_norm(
    tape: SecantTape,
    _: Any,
    input: Tensor,
    num_groups: int,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
    *_rest: Any,
) -> Tensor:
    grouped = input.reshape(len(input), num_groups, -1)
    normed = _standardized(tape, grouped - grouped.mean(-1, keepdim=True), (-1,), eps).reshape(input.shape)
    shape = (1, -1, *[1] * (input.ndim - 2))
    scaled = normed if weight is None else normed * weight.reshape(shape)
    return scaled if bias is None else scaled + bias.reshape(shape)


def _rms_norm(
    tape: SecantTape,
    _: Any,
    input: Tensor,
    normalized_shape: Sequence[int],
    weight: Tensor | None = None,
    eps: float | None = None,
) -> Tensor:
    axes = tuple(range(-len(normalized_shape), 0))
    normed = _standardized(tape, input, axes, eps or torch.finfo(input.dtype).eps)
    return normed if weight is None else normed * weight


def _normalize(
    tape: SecantTape, _: Any, input: Tensor, p: float = 2.0, dim: int = 1, eps: float = 1e-12, **_options: Any
) -> Tensor:
    assert p == 2.0
    length = secant(tape, torch.sqrt, secant(tape, torch.square, input).sum(dim, keepdim=True) + eps**2)
    return _multiply(tape, torch.mul, input, secant(tape, torch.reciprocal, length))


def _standardized(tape: SecantTape, centered: Tensor, axes: tuple[int, ...], eps: float) -> Tensor:
    variance = secant(tape, torch.square, centered).mean(axes, keepdim=True) + eps
    return _multiply(tape, torch.mul, centered, secant(tape, torch.rsqrt, variance))


def _max_pool2d(
    tape: SecantTape, func: Callable[..., Any], input: Tensor, *args: Any, **options: Any
) -> Tensor:
    with torch.no_grad():
        values, places = F.max_pool2d_with_indices(input, *args, **{**options, "return_indices": True})
    flat = input.flatten(2)
    return _larger(tape, flat, values.flatten(2), places.flatten(2)).reshape(values.shape)


def _amax(
    tape: SecantTape, func: Callable[..., Any], input: Tensor, dim: Any = (), keepdim: bool = False
) -> Tensor:
    axes = [dim] if isinstance(dim, int) else list(dim) or list(range(input.ndim))
    rows = input.movedim(axes, list(range(-len(axes), 0))).flatten(-len(axes))
    with torch.no_grad():
        values = func(input, dim, keepdim)
        at = rows.argmax(-1, keepdim=True)
    return _larger(tape, rows, values.reshape(at.shape), at).reshape(values.shape)


def _larger(tape: SecantTape, rows: Tensor, values: Tensor, at: Tensor) -> Tensor:
    """The maxima (..., m) of rows (..., n), which lie at these places, between both places of a maximum."""
    reference = tape.meet("a maximum", rows.detach(), values, at)
    if reference is None:
        return _weighted(rows, None, values)
    rows_b, values_b, at_b = reference
    picked, picked_b = (
        torch.stack([each.gather(-1, at_b), each.gather(-1, at)], -1) for each in (rows, rows_b)
    )
    of_image, of_reference = picked.new_tensor([0.0, 1.0]), picked.new_tensor([1.0, 0.0])
    with torch.no_grad():
        weights = _exact_mix(
            (of_image, picked.detach(), values[..., None]), (of_reference, picked_b, values_b[..., None])
        )
    return _weighted(picked, weights, values[..., None]).squeeze(-1)


def _depends(value: Any) -> bool:
    """Whether a value is a tensor that needs a gradient."""
    return isinstance(value, Tensor) and value.requires_grad


_ELEMENTWISE = (
    "relu", "relu6", "leaky_relu", "elu", "celu", "selu", "gelu", "silu", "mish", "hardswish", "hardtanh",
    "hardsigmoid", "sigmoid", "softplus", "tanh", "pow", "square", "sqrt", "rsqrt", "reciprocal", "exp",
    "log", "abs", "clamp", "clamp_min", "clip",
)  # fmt: skip
_RULES: dict[str, Callable[..., Tensor]] = {
    **dict.fromkeys(_ELEMENTWISE, _elementwise),
    **dict.fromkeys(("mul", "rmul", "imul", "multiply"), _multiply),
    **dict.fromkeys(("matmul", "rmatmul", "bmm"), _matrix_multiply),
    **dict.fromkeys(("div", "truediv", "itruediv", "divide"), _divide),
    "softmax": _softmax,
    "scaled_dot_product_attention": _attention,
    "layer_norm": _layer_norm,
    "group_norm": _group_norm,
    "rms_norm": _rms_norm,
    "normalize": _normalize,
    "max_pool2d": _max_pool2d,
    "amax": _amax,
}
