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

from collections.abc import Callable, Mapping, Sequence
from typing import Any, final

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from lookalike.ops.attention import attention_call
from lookalike.ops.cell_index import carry_cells
from lookalike.ops.secant_rules import (
    SecantTape,
    exact_mix,
    product,
    quotient,
    secant,
    softmax,
    square,
    weighted,
)

_MASKED = -1e4  # score of what is masked: far enough for a weight of 0, and finite


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


# --- the functions of networks ----------------------------------------------------------------------


def _elementwise(
    tape: SecantTape, func: Callable[..., Tensor], input: Tensor, *args: Any, **options: Any
) -> Tensor:
    options.pop("inplace", None)
    args = tuple(each for each in args if not isinstance(each, bool))
    names = list(options)
    return secant(
        tape,
        lambda z, *rest: func(z, *rest[: len(args)], **dict(zip(names, rest[len(args) :], strict=True))),
        input,
        *args,
        *options.values(),
    )


def _square(tape: SecantTape, _: Any, input: Tensor) -> Tensor:
    return square(tape, input)


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
    length = secant(tape, torch.sqrt, square(tape, input).sum(dim, keepdim=True) + eps**2)
    return _multiply(tape, torch.mul, input, secant(tape, torch.reciprocal, length))


def _standardized(tape: SecantTape, centered: Tensor, axes: tuple[int, ...], eps: float) -> Tensor:
    variance = square(tape, centered).mean(axes, keepdim=True) + eps
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
        return weighted(rows, None, values)
    rows_b, values_b, at_b = reference
    picked, picked_b = (
        torch.stack([each.gather(-1, at_b), each.gather(-1, at)], -1) for each in (rows, rows_b)
    )
    of_image, of_reference = picked.new_tensor([0.0, 1.0]), picked.new_tensor([1.0, 0.0])
    with torch.no_grad():
        weights = exact_mix(
            (of_image, picked.detach(), values[..., None]), (of_reference, picked_b, values_b[..., None])
        )
    return weighted(picked, weights, values[..., None]).squeeze(-1)


def _depends(value: Any) -> bool:
    """Whether a value is a tensor that needs a gradient."""
    return isinstance(value, Tensor) and value.requires_grad


_ELEMENTWISE = (
    "relu", "relu6", "leaky_relu", "elu", "celu", "selu", "gelu", "silu", "mish", "hardswish", "hardtanh",
    "hardsigmoid", "sigmoid", "softplus", "tanh", "pow", "sqrt", "rsqrt", "reciprocal", "exp",
    "log", "abs", "clamp", "clamp_min", "clip",
)  # fmt: skip
_RULES: dict[str, Callable[..., Tensor]] = {
    **dict.fromkeys(_ELEMENTWISE, _elementwise),
    **dict.fromkeys(("mul", "rmul", "imul", "multiply"), _multiply),
    **dict.fromkeys(("matmul", "rmatmul", "bmm"), _matrix_multiply),
    **dict.fromkeys(("div", "truediv", "itruediv", "divide"), _divide),
    "square": _square,
    "softmax": _softmax,
    "scaled_dot_product_attention": _attention,
    "layer_norm": _layer_norm,
    "group_norm": _group_norm,
    "rms_norm": _rms_norm,
    "normalize": _normalize,
    "max_pool2d": _max_pool2d,
    "amax": _amax,
}
