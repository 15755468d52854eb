"""A network run on an image and a reference, with everything between them made linear and exact.

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

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from lookalike.ops.attention import attention_call
from lookalike.ops.cell_index import carry_cells

_NEAR = 1e-6  # inputs nearer than this, relative to their size, take the derivative: 0 / 0 says nothing
_MASKED = -1e4  # score of what is masked: far enough for a weight of 0, and finite


class SecantForward(TorchFunctionMode):
    """A context in which functions of tensors that need gradients run linearized between two inputs.

    The first half of every batch belongs to the image, the second to the reference. Values are those
    of the plain run; the gradient of (output of the image - output of the reference) to what entered,
    times the difference of what entered, sums to it exactly. Until something needs a gradient, the
    cells of features are followed (``ops.cell_index``).
    """

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Run one function of torch, linearized where it depends on what needs a gradient."""
        kwargs = dict(kwargs or {})
        name = getattr(func, "__name__", "").strip("_")
        rule = _RULES.get(name)
        depends = any(_depends(each) for each in (*args, *kwargs.values()))
        if rule is not None and depends and torch.is_grad_enabled():
            return rule(func, *args, **kwargs)
        output = func(*args, **kwargs)
        if not depends:
            carry_cells(name, func, args, kwargs, output)
        return output


# --- the three exact rules --------------------------------------------------------------------------


def secant(function: Callable[[Tensor], Tensor], input: Tensor) -> Tensor:
    """An elementwise function, whose gradient is its slope between the two halves of the input.

    >>> x = torch.tensor([[3.0], [1.0]], requires_grad=True)
    >>> torch.autograd.grad(secant(torch.square, x)[0, 0], x)[0][0]
    tensor([4.])
    """
    with torch.no_grad():
        z = input.detach()
        values = function(z.clone())
        (a, b), (at_a, at_b) = z.chunk(2), values.chunk(2)
        is_near = (a - b).abs() <= _NEAR * (a.abs() + b.abs())
        slope = (at_a - at_b) / torch.where(is_near, 1.0, a - b)
    if bool(is_near.any()):
        middle = ((a + b) / 2).requires_grad_()
        with torch.enable_grad():
            (tangent,) = torch.autograd.grad(function(middle.clone()).sum(), middle)
        slope = torch.where(is_near, tangent, slope)
    return _weighted(input, slope, values)


def product(first: Tensor, second: Tensor) -> Tensor:
    """An elementwise product, in whose gradient each factor is weighed by the mean of the other's halves."""
    result: Tensor = _Product.apply(first, second, False)
    return result


def matrix_product(first: Tensor, second: Tensor) -> Tensor:
    """``first @ second``, by the rule of ``product``."""
    result: Tensor = _Product.apply(first, second, True)
    return result


def quotient(first: Tensor, second: Tensor) -> Tensor:
    """An elementwise quotient q of x by y: from x = q * y, its difference is (dx - mean q * dy) / mean y."""
    result: Tensor = _Quotient.apply(first, second)
    return result


def log_sum_exp(scores: Tensor) -> Tensor:
    """Log of the sum of exponentials over the last axis, kept, by the exact mix of both softmaxes."""
    with torch.no_grad():
        values = scores.logsumexp(-1, keepdim=True)
        weights = _exact_mix((scores - values).exp(), scores, values)
    return _weighted(scores, weights, values)


def softmax(scores: Tensor) -> Tensor:
    """Softmax over the last axis: the exponential of scores less their log sum of exponentials."""
    return secant(torch.exp, scores - log_sum_exp(scores))


def _exact_mix(gradients: Tensor, input: Tensor, values: Tensor) -> Tensor:
    """Weights between the gradients at both halves, by which a convex function's difference is exact."""
    (at_a, at_b), (a, b), (value_a, value_b) = (each.chunk(2) for each in (gradients, input, values))
    high, low = ((each * (a - b)).sum(-1, keepdim=True) for each in (at_a, at_b))
    gap = high - low  # 0 or more, by convexity
    part = torch.where(gap > 1e-12, (value_a - value_b - low) / gap.clamp(min=1e-12), 0.5).clamp(0, 1)
    return torch.lerp(at_b, at_a, part)


def _weighted(input: Tensor, weights: Tensor, values: Tensor) -> Tensor:
    """The values, as a function whose gradient to both halves of the input is the weights' multiple."""
    result: Tensor = _Weighted.apply(input, weights, values)
    return result


def _halves(values: Tensor) -> Tensor:
    """(2 B, ...) as (2, B, ...)."""
    return values.reshape(2, -1, *values.shape[1:])


class _Weighted(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, _input: Tensor, weights: Tensor, values: Tensor) -> Tensor:
        ctx.save_for_backward(weights)
        return values

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        (weights,) = ctx.saved_tensors
        return (_halves(gradient) * weights).flatten(0, 1), None, None


class _Product(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, first: Tensor, second: Tensor, of_matrices: bool) -> Tensor:
        ctx.of_matrices, ctx.shapes = of_matrices, (first.shape, second.shape)
        ctx.save_for_backward(*(sum(each.chunk(2)) / 2 for each in (first, second)))
        return first @ second if of_matrices else first * second

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, None]:
        first, second = ctx.saved_tensors
        halves = _halves(gradient)
        if ctx.of_matrices:
            to_first, to_second = halves @ second.transpose(-2, -1), first.transpose(-2, -1) @ halves
        else:
            to_first, to_second = halves * second, halves * first
        return (
            to_first.flatten(0, 1).sum_to_size(ctx.shapes[0]),
            to_second.flatten(0, 1).sum_to_size(ctx.shapes[1]),
            None,
        )


class _Quotient(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, first: Tensor, second: Tensor) -> Tensor:
        values = first / second
        ctx.shapes = (first.shape, second.shape)
        ctx.save_for_backward(*(sum(each.chunk(2)) / 2 for each in (values, second)))
        return values

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor]:
        values, second = ctx.saved_tensors
        to_first = (_halves(gradient) / second).flatten(0, 1)
        to_second = -(_halves(gradient) * values / second).flatten(0, 1)
        return to_first.sum_to_size(ctx.shapes[0]), to_second.sum_to_size(ctx.shapes[1])


# --- the functions of networks ----------------------------------------------------------------------


def _elementwise(func: Callable[..., Tensor], input: Tensor, *args: Any, **options: Any) -> Tensor:
    options.pop("inplace", None)
    args = tuple(each for each in args if not isinstance(each, bool))
    return secant(lambda z: func(z, *args, **options), input)


def _multiply(func: Callable[..., Tensor], input: Any, other: Any, *rest: Any) -> Tensor:
    if not (_depends(input) and _depends(other)):
        return func(input, other, *rest)
    return product(input, other)


def _matrix_multiply(func: Callable[..., Tensor], input: Tensor, other: Tensor) -> Tensor:
    if not (_depends(input) and _depends(other)):
        return func(input, other)
    return matrix_product(input, other)


def _divide(func: Callable[..., Tensor], input: Any, other: Any, *rest: Any, **options: Any) -> Tensor:
    if not _depends(other):
        return func(input, other, *rest, **options)
    if not _depends(input):
        divided: Tensor = input * secant(torch.reciprocal, other)
        return divided
    return quotient(input, other)


def _softmax(_: Any, input: Tensor, dim: int = -1, *_rest: Any, **_options: Any) -> Tensor:
    return softmax(input.movedim(dim, -1)).movedim(-1, dim)


def _attention(_: Any, *args: Any, **options: Any) -> Tensor:
    call = attention_call(*args, **options)
    scores = _matrix_multiply(torch.matmul, call.query * call.scale, call.key.transpose(-2, -1))
    if call.bias is not None:
        scores = scores + call.bias.clamp(min=_MASKED)
    return _matrix_multiply(torch.matmul, softmax(scores), call.value)


def _layer_norm(
    _: Any,
    input: Tensor,
    normalized_shape: Sequence[int],
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
    *_rest: Any,
) -> Tensor:
    axes = tuple(range(-len(normalized_shape), 0))
    normed = _standardized(input - input.mean(axes, keepdim=True), axes, eps)
    scaled = normed if weight is None else normed * weight
    return scaled if bias is None else scaled + bias


def _group_norm(
    _: Any,
    input: Tensor,
    num_groups: int,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
    *_rest: Any,
) -> Tensor:
    grouped = input.reshape(len(input), num_groups, -1)
    normed = _standardized(grouped - grouped.mean(-1, keepdim=True), (-1,), eps).reshape(input.shape)
    shape = (1, -1, *[1] * (input.ndim - 2))
    scaled = normed if weight is None else normed * weight.reshape(shape)
    return scaled if bias is None else scaled + bias.reshape(shape)


def _rms_norm(
    _: Any,
    input: Tensor,
    normalized_shape: Sequence[int],
    weight: Tensor | None = None,
    eps: float | None = None,
) -> Tensor:
    axes = tuple(range(-len(normalized_shape), 0))
    normed = _standardized(input, axes, eps or torch.finfo(input.dtype).eps)
    return normed if weight is None else normed * weight


def _normalize(
    _: Any, input: Tensor, p: float = 2.0, dim: int = 1, eps: float = 1e-12, **_options: Any
) -> Tensor:
    assert p == 2.0
    length = secant(torch.sqrt, secant(torch.square, input).sum(dim, keepdim=True) + eps**2)
    return _multiply(torch.mul, input, secant(torch.reciprocal, length))


def _standardized(centered: Tensor, axes: tuple[int, ...], eps: float) -> Tensor:
    variance = secant(torch.square, centered).mean(axes, keepdim=True) + eps
    return _multiply(torch.mul, centered, secant(torch.rsqrt, variance))


def _max_pool2d(func: Callable[..., Any], input: Tensor, *args: Any, **options: Any) -> Tensor:
    with torch.no_grad():
        values, places = F.max_pool2d_with_indices(input, *args, **{**options, "return_indices": True})
        at_a, at_b = (each.flatten(2) for each in places.chunk(2))
    flat = input.flatten(2)
    picked = torch.stack([flat.gather(2, torch.cat([at, at])) for at in (at_b, at_a)], -1)
    return _larger(picked, values.flatten(2)).reshape(values.shape)


def _amax(func: Callable[..., Any], input: Tensor, dim: Any = (), keepdim: bool = False) -> Tensor:
    axes = [dim] if isinstance(dim, int) else list(dim) or list(range(input.ndim))
    rows = input.movedim(axes, list(range(-len(axes), 0))).flatten(-len(axes))
    at_a, at_b = rows.detach().argmax(-1, keepdim=True).chunk(2)
    picked = torch.cat([rows.gather(-1, torch.cat([at, at])) for at in (at_b, at_a)], -1)
    with torch.no_grad():
        values = func(input, dim, keepdim)
    return _larger(picked, values.flatten().reshape(picked.shape[:-1])).reshape(values.shape)


def _larger(picked: Tensor, values: Tensor) -> Tensor:
    """The maximum, given what stands at the places of both maxima, reference first: (..., 2)."""
    with torch.no_grad():
        n = len(picked) // 2
        gradients = torch.zeros_like(picked)
        gradients[:n, ..., 1] = gradients[n:, ..., 0] = 1.0
        weights = _exact_mix(gradients, picked, values[..., None])
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
