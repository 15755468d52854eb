"""A network run as the affine map that it was for one input: gates, norms and attention held.

With attention weights, deviations of norms and factors of activations held at what occurred, the
output of a network is a linear function of any of its layers plus constants (biases, BatchNorm shifts).
Autograd through such a run gives the exact share of each cell of that layer, and of each constant at
the cell where it was added. Kin: FullGrad (Srinivas and Fleuret, NeurIPS 2019), conservative
propagation through transformers (Ali et al., ICML 2022).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from lookalike.ops.attention import attention_call
from lookalike.ops.cell_index import CellIndex, carry_cells, cells_of, is_token_axis

AxisOrder = Literal["last", "map"]  # channels last (..., C), or channels first (B, C, h, w)


@dataclass(frozen=True, eq=False)
class Constant:
    """A constant that a layer added, as a factor of one for every position that it was added at.

    The gradient of an output to ``factors`` is the constant's share in that output, position by position.
    """

    factors: Tensor  # ones; (..., 1) for layout "last", (B, 1, h, w) for "map"
    layout: AxisOrder
    cells: CellIndex | None = None  # of the shape of the factors; None where it is not known
    is_token: bool = False  # whether it is a prefix token that joined the others (CLS)


class FrozenForward(TorchFunctionMode):
    """A context in which functions of tensors that need gradients run frozen.

    Values are those of the plain run up to rounding. ``constants`` collects what layers add. A product
    of two features of which neither is the output of an activation is not affine: it is noted in
    ``unknown``, and the account of such a run does not close.
    """

    def __init__(self) -> None:
        super().__init__()
        self.constants: list[Constant] = []
        self.unknown: set[str] = set()
        self._gates: set[int] = set()  # ids of outputs of activations, which are kept alive below
        self._alive: list[Tensor] = []

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Run one function of torch, frozen where it depends on what needs a gradient."""
        kwargs = dict(kwargs or {})
        if not torch.is_grad_enabled():
            return func(*args, **kwargs)
        name, n_before = getattr(func, "__name__", "").strip("_"), len(self.constants)
        rule = _RULES.get(name) if any(_depends(each) for each in (*args, *kwargs.values())) else None
        output = func(*args, **kwargs) if rule is None else rule(self, func, *args, **kwargs)
        carry_cells(name, func, args, kwargs, output)
        for i, constant in enumerate(self.constants[n_before:], n_before):
            self.constants[i] = _located(constant, output)
        return output

    # --- affine layers: the constant is added by itself ------------------------------------------

    def linear(self, _: Any, input: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        """``W x + b``."""
        return self._plus(F.linear(input, weight), bias)

    def convolution(
        self,
        func: Callable[..., Tensor],
        input: Tensor,
        weight: Tensor,
        bias: Tensor | None = None,
        *rest: Any,
        **options: Any,
    ) -> Tensor:
        """A convolution of any dimension."""
        output = func(input, weight, None, *rest, **options)
        shift = None if bias is None else bias.reshape(1, -1, *[1] * (output.ndim - 2))
        return self._plus(output, shift, "map" if output.ndim == 4 else "last")

    def batch_norm(
        self,
        _: Any,
        input: Tensor,
        running_mean: Tensor | None,
        running_var: Tensor | None,
        weight: Tensor | None = None,
        bias: Tensor | None = None,
        training: bool = False,
        momentum: float = 0.1,
        eps: float = 1e-5,
        *_rest: Any,
    ) -> Tensor:
        """BatchNorm with running statistics."""
        assert running_mean is not None and running_var is not None and not training
        scale = (running_var + eps).rsqrt() * (1 if weight is None else weight)
        shift = -running_mean * scale + (0 if bias is None else bias)
        shape = (1, -1, *[1] * (input.ndim - 2))
        layout: AxisOrder = "map" if input.ndim == 4 else "last"
        return self._plus(input * scale.reshape(shape), shift.reshape(shape), layout)

    def add(self, func: Callable[..., Tensor], input: Any, other: Any, *rest: Any, **options: Any) -> Tensor:
        """A sum; a number or a tensor that needs no gradient (positions, a bias) is a constant."""
        pair = [_as_tensor(each, like=other if each is input else input) for each in (input, other)]
        if all(map(_depends, pair)) or rest or options:
            return func(input, other, *rest, **options)
        features, constant = pair if _depends(pair[0]) else pair[::-1]
        if not _fits_into(constant, features):
            return func(input, other)
        return self._plus(features, constant)

    def subtract(
        self, func: Callable[..., Tensor], input: Any, other: Any, *rest: Any, **options: Any
    ) -> Tensor:
        """A difference, as ``add``."""
        return func(input, other, *rest, **options) if rest or options else self.add(torch.add, input, -other)

    def subtract_from(self, _: Any, input: Tensor, other: Any) -> Tensor:
        """``other - input``."""
        return self.add(torch.add, -input, other)

    # --- norms: the deviation that occurred divides ------------------------------------------------

    def layer_norm(
        self,
        _: Any,
        input: Tensor,
        normalized_shape: Sequence[int],
        weight: Tensor | None = None,
        bias: Tensor | None = None,
        eps: float = 1e-5,
        *_rest: Any,
    ) -> Tensor:
        """LayerNorm over the last axes."""
        axes = tuple(range(-len(normalized_shape), 0))
        deviation = (input.detach().var(axes, unbiased=False, keepdim=True) + eps).sqrt()
        normed = (input - input.mean(axes, keepdim=True)) / deviation
        return self._plus(normed if weight is None else normed * weight, bias)

    def group_norm(
        self,
        _: Any,
        input: Tensor,
        num_groups: int,
        weight: Tensor | None = None,
        bias: Tensor | None = None,
        eps: float = 1e-5,
        *_rest: Any,
    ) -> Tensor:
        """GroupNorm of (B, C, ...)."""
        grouped = input.reshape(len(input), num_groups, -1)
        deviation = (grouped.detach().var(-1, unbiased=False, keepdim=True) + eps).sqrt()
        normed = ((grouped - grouped.mean(-1, keepdim=True)) / deviation).reshape(input.shape)
        shape = (1, -1, *[1] * (input.ndim - 2))
        scaled = normed if weight is None else normed * weight.reshape(shape)
        shift = None if bias is None else bias.reshape(shape)
        return self._plus(scaled, shift, "map" if input.ndim == 4 else "last")

    def rms_norm(
        self,
        _: Any,
        input: Tensor,
        normalized_shape: Sequence[int],
        weight: Tensor | None = None,
        eps: float | None = None,
    ) -> Tensor:
        """RMSNorm over the last axes."""
        axes = tuple(range(-len(normalized_shape), 0))
        mean_square = input.detach().square().mean(axes, keepdim=True)
        normed = input * (mean_square + (eps or torch.finfo(input.dtype).eps)).rsqrt()
        return normed if weight is None else normed * weight

    def normalize(self, func: Callable[..., Tensor], input: Tensor, *args: Any, **options: Any) -> Tensor:
        """``F.normalize``: the length that occurred divides."""
        with torch.no_grad():
            z = input.detach()
            factor = torch.where(z == 0, 0.0, func(z, *args, **options) / torch.where(z == 0, 1.0, z))
        return input * factor

    # --- what decides: attention, gates, activations -----------------------------------------------

    def attention(self, _: Any, *args: Any, **options: Any) -> Tensor:
        """Scaled dot-product attention with the weights that occurred."""
        call = attention_call(*args, **options)
        with torch.no_grad():
            weights = call.weights
        return weights @ call.value

    def hold(self, func: Callable[..., Tensor], *args: Any, **options: Any) -> Any:
        """What only weighs others (softmax, sigmoid, a norm) is a constant factor."""
        with torch.no_grad():
            return func(*args, **options)

    def activate(self, func: Callable[..., Tensor], input: Tensor, *args: Any, **options: Any) -> Tensor:
        """An elementwise function f as the factor ``(f(z) - f(0)) / z`` that occurred, 0 where z = 0."""
        options.pop("inplace", None)
        args = tuple(each for each in args if not isinstance(each, bool))
        with torch.no_grad():
            z = input.detach()
            at_zero = func(torch.zeros_like(z), *args, **options)
            factor = (func(z.clone(), *args, **options) - at_zero) / torch.where(z == 0, 1.0, z)
            factor = torch.where(z == 0, 0.0, factor)
        output: Tensor = input * factor
        if bool(at_zero.any()):
            output = self._plus(output, at_zero)
        self._gates.add(id(output))
        self._alive.append(output)
        return output

    def join(self, func: Callable[..., Tensor], tensors: Sequence[Tensor], dim: int = 0) -> Tensor:
        """Features joined with tokens that need no gradient (CLS), each of them a constant."""
        parts, n_before = list(tensors), len(self.constants)
        for i, part in enumerate(parts):
            if is_token_axis(part, dim) and not _depends(part):
                parts[i] = self._plus(torch.zeros_like(part), part)
        output = func(parts, dim)
        carry_cells("cat", func, (tensors, dim), {}, output)
        cells, start, added = cells_of(output), 0, iter(range(n_before, len(self.constants)))
        for part in tensors:
            if is_token_axis(part, dim) and not _depends(part):
                i, length = next(added), part.shape[1]
                of_part = cells and CellIndex(cells.numbers[:, start : start + length, :1], cells.grid)
                self.constants[i] = replace(self.constants[i], cells=of_part, is_token=True)
            start += part.shape[dim]
        return output

    def matrix_multiply(self, func: Callable[..., Tensor], input: Tensor, other: Tensor) -> Tensor:
        """A product of matrices; of two features the left one weighs (linear attention) and is held."""
        return func(input.detach() if _depends(other) else input, other)

    def multiply(self, func: Callable[..., Tensor], input: Any, other: Any, *rest: Any) -> Tensor:
        """A product; of two features the one that an activation made is the gate and is held."""
        if not (_depends(input) and _depends(other)):
            return func(input, other, *rest)
        if id(input) in self._gates and id(other) not in self._gates:
            return torch.mul(input.detach(), other)
        if id(other) in self._gates and id(input) not in self._gates:
            return torch.mul(input, other.detach())
        self.unknown.add("a product of two features")
        return torch.mul(input, other)

    def divide(
        self, func: Callable[..., Tensor], input: Any, other: Any, *rest: Any, **options: Any
    ) -> Tensor:
        """A quotient by the divisor that occurred."""
        return func(input, other.detach() if isinstance(other, Tensor) else other, *rest, **options)

    def _plus(self, features: Tensor, constant: Tensor | None, layout: AxisOrder = "last") -> Tensor:
        """The sum, and a note of the constant with a factor for each position."""
        if constant is None:
            return features
        shape = list(features.shape)
        shape[1 if layout == "map" else -1] = 1
        factors = torch.ones(shape, dtype=features.dtype, device=features.device, requires_grad=True)
        self.constants.append(Constant(factors, layout))
        return features + constant.detach() * factors


def _depends(value: Any) -> bool:
    """Whether a tensor, or one in a list of them, needs a gradient."""
    if isinstance(value, list | tuple):
        return any(_depends(each) for each in value)
    return isinstance(value, Tensor) and value.requires_grad


def _located(constant: Constant, output: Any) -> Constant:
    """The constant with the cells of the output to which it was added."""
    cells = cells_of(output)
    axis = 1 if constant.layout == "map" else -1
    if constant.is_token or cells is None or cells.numbers.ndim != constant.factors.ndim:
        return constant
    merged = cells.merged(axis)
    fits = merged is not None and merged.numbers.shape == constant.factors.shape
    return replace(constant, cells=merged) if fits else constant


def _as_tensor(value: Any, like: Any) -> Tensor:
    """A number as a tensor of the type of another."""
    return (
        value if isinstance(value, Tensor) else torch.as_tensor(value, dtype=like.dtype, device=like.device)
    )


def _fits_into(constant: Tensor, features: Tensor) -> bool:
    """Whether a sum with the constant has the shape of the features."""
    pairs = zip(reversed(constant.shape), reversed(features.shape), strict=False)
    return constant.ndim <= features.ndim and all(of_constant in (1, n) for of_constant, n in pairs)


_ACTIVATIONS = (
    "relu", "relu6", "leaky_relu", "elu", "celu", "selu", "gelu", "silu", "mish", "hardswish", "hardtanh",
    "softplus", "tanh", "pow", "clamp", "clamp_min", "clip", "square",
)  # fmt: skip
_HELD = (
    "softmax",
    "sigmoid",
    "hardsigmoid",
    "norm",
    "vector_norm",
    "linalg_vector_norm",
    "var",
    "std",
    "rsqrt",
)
_RULES: dict[str, Callable[..., Any]] = {
    "linear": FrozenForward.linear,
    "conv1d": FrozenForward.convolution,
    "conv2d": FrozenForward.convolution,
    "batch_norm": FrozenForward.batch_norm,
    "layer_norm": FrozenForward.layer_norm,
    "group_norm": FrozenForward.group_norm,
    "rms_norm": FrozenForward.rms_norm,
    "normalize": FrozenForward.normalize,
    "scaled_dot_product_attention": FrozenForward.attention,
    **dict.fromkeys(("add", "radd", "iadd"), FrozenForward.add),
    **dict.fromkeys(("cat", "concat", "concatenate"), FrozenForward.join),
    **dict.fromkeys(("matmul", "bmm"), FrozenForward.matrix_multiply),
    **dict.fromkeys(("sub", "isub", "subtract"), FrozenForward.subtract),
    "rsub": FrozenForward.subtract_from,
    **dict.fromkeys(("mul", "rmul", "imul", "multiply"), FrozenForward.multiply),
    **dict.fromkeys(("div", "truediv", "itruediv", "divide"), FrozenForward.divide),
    **dict.fromkeys(_ACTIVATIONS, FrozenForward.activate),
    **dict.fromkeys(_HELD, FrozenForward.hold),
}
