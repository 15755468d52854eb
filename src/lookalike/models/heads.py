"""Layers after pooling, and the propagation of the cells' shares through them.

``propagate`` takes a module and the shares of its input (see ``ops.propagation``) and returns the
shares of its output, so a head is any chain of the modules listed in ``propagate``. It serves heads,
and the layers after attention inside a transformer.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lookalike.errors import UnsupportedMethodError, unknown_name
from lookalike.ops import propagation

ACTIVATIONS = (
    nn.ReLU,
    nn.ReLU6,
    nn.LeakyReLU,
    nn.ELU,
    nn.GELU,
    nn.SiLU,
    nn.Mish,
    nn.Hardswish,
    nn.Tanh,
    nn.Sigmoid,
    nn.Softplus,
)


class L2Norm(nn.Module):
    """Divides by the length plus eps; a zero vector stays zero."""

    def __init__(self, eps: float = 0.0) -> None:
        super().__init__()
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        """(..., D) to (..., D) of unit length."""
        norm: Tensor = x.norm(dim=-1, keepdim=True) + self.eps
        return x / norm.clamp(min=torch.finfo(x.dtype).tiny)


class Pointwise(nn.Module):
    """A 1 × 1 convolution applied to vectors; shares the convolution's weights."""

    def __init__(self, convolution: nn.Conv2d) -> None:
        super().__init__()
        if convolution.kernel_size != (1, 1) or convolution.groups != 1:
            raise UnsupportedMethodError(
                f"a 1x1 convolution without groups can follow pooling, got {convolution}; use another pooling"
            )
        self.convolution = convolution

    @property
    def weight(self) -> Tensor:
        """(D, C)."""
        return self.convolution.weight.flatten(1)

    def forward(self, x: Tensor) -> Tensor:
        """(..., C) to (..., D)."""
        return F.linear(x, self.weight, self.convolution.bias)


class PlainBatchNorm(nn.Module):
    """A BatchNorm in evaluation mode, applied to vectors; shares its weights and statistics."""

    def __init__(self, norm: nn.BatchNorm1d | nn.BatchNorm2d) -> None:
        super().__init__()
        self.norm = norm

    def forward(self, x: Tensor) -> Tensor:
        """(..., D) to (..., D)."""
        factor, shift = _factor_and_shift(self.norm)
        return x * factor + shift


class Scale(nn.Module):
    """Multiplies each channel by a learned factor (layer scale)."""

    def __init__(self, factor: Tensor) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, x: Tensor) -> Tensor:
        """(..., D) to (..., D)."""
        return x * self.factor


class Elementwise(nn.Module):
    """An elementwise activation that is not one of torch's own classes."""

    def __init__(self, activation: nn.Module) -> None:
        super().__init__()
        self.activation = activation

    def forward(self, x: Tensor) -> Tensor:
        """Same shape."""
        result: Tensor = self.activation(x)
        return result


class Whitening(nn.Module):
    """``P (x - m)`` in double precision: P has large entries where the data hardly vary.

    Computed as the affine layer ``P x - P m``, whose constant is spread over the cells.
    """

    def __init__(self, mean: Tensor, projection: Tensor) -> None:
        super().__init__()
        self.register_buffer("mean", mean.detach().double().clone())  # (C,)
        self.register_buffer("projection", projection.detach().double().contiguous().clone())  # (D, C)

    def weight_and_bias(self) -> tuple[Tensor, Tensor]:
        """The affine layer: (D, C) and (D,), float64."""
        mean, projection = self.get_buffer("mean"), self.get_buffer("projection")
        return projection, -projection @ mean

    def forward(self, x: Tensor) -> Tensor:
        """(..., C) to (..., D)."""
        weight, bias = self.weight_and_bias()
        return F.linear(x.double(), weight, bias).to(x.dtype)


class Residual(nn.Module):
    """``x + branch(x)``."""

    def __init__(self, branch: nn.Sequential) -> None:
        super().__init__()
        self.branch = branch

    def forward(self, x: Tensor) -> Tensor:
        """(..., D) to (..., D)."""
        result: Tensor = x + self.branch(x)
        return result


class Gated(nn.Module):
    """``activation(gate(x)) * value(x)``, as in SwiGLU; the gate is frozen in propagation."""

    def __init__(self, gate: nn.Module, value: nn.Module, activation: nn.Module) -> None:
        super().__init__()
        self.gate, self.value, self.activation = gate, value, activation

    def forward(self, x: Tensor) -> Tensor:
        """(..., C) to (..., D)."""
        result: Tensor = self.activation(self.gate(x)) * self.value(x)
        return result


def propagate(module: nn.Module, shares: Tensor) -> Tensor:
    """Shares (B, M, D) of a module's output from those of its input (B, M, C), the residual last.

    Raises UnsupportedMethodError for a module whose propagation is not known.
    """
    match module:
        case nn.Sequential():
            for layer in module:
                shares = propagate(layer, shares)
            return shares
        case nn.Identity() | nn.Dropout():
            return shares
        case nn.Linear():
            return propagation.affine(shares, module.weight, module.bias)
        case Pointwise():
            return propagation.affine(shares, module.weight, module.convolution.bias)
        case Whitening():
            return propagation.affine(shares.double(), *module.weight_and_bias()).to(shares.dtype)
        case nn.BatchNorm1d():
            return propagation.scale(shares, *_factor_and_shift(module))
        case PlainBatchNorm():
            return propagation.scale(shares, *_factor_and_shift(module.norm))
        case nn.LayerNorm():
            return propagation.layer_norm(shares, module.weight, module.bias, module.eps)
        case nn.RMSNorm():
            return propagation.rms_norm(shares, module.weight, module.eps or torch.finfo(shares.dtype).eps)
        case L2Norm():
            return propagation.l2_norm(shares, module.eps)
        case Scale():
            return propagation.scale(shares, module.factor)
        case Residual():
            return shares + propagate(module.branch, shares)
        case Gated():
            frozen: Tensor = module.activation(module.gate(shares.sum(1, keepdim=True)))
            return propagate(module.value, shares) * frozen
        case Elementwise():
            return propagation.gate(shares, module)
        case _ if isinstance(module, ACTIVATIONS):
            return propagation.gate(shares, module)
    raise UnsupportedMethodError(
        f"shares can't pass through {type(module).__name__}; a head may hold affine layers, BatchNorm, "
        "LayerNorm, L2 and activations"
    )


def keeps_width(layer: nn.Module) -> bool:
    """Whether a layer without a width of its own returns vectors as wide as its input."""
    return isinstance(layer, (nn.Identity, nn.Dropout, L2Norm, Residual, Elementwise, *ACTIVATIONS))


def output_width(layer: nn.Module) -> int | None:
    """Width of a layer's output vectors; None where its weights do not determine it."""
    match layer:
        case nn.Linear() | Pointwise():
            return len(layer.weight)
        case Whitening():
            return len(layer.get_buffer("projection"))
        case nn.BatchNorm1d():
            return layer.num_features
        case PlainBatchNorm():
            return layer.norm.num_features
        case nn.LayerNorm() if len(layer.normalized_shape) == 1:
            return int(layer.normalized_shape[0])
    return None


def _factor_and_shift(norm: nn.BatchNorm1d | nn.BatchNorm2d) -> tuple[Tensor, Tensor]:
    """BatchNorm in evaluation mode as ``factor * x + shift``."""
    if norm.running_mean is None or norm.running_var is None:
        raise UnsupportedMethodError("shares need BatchNorm with running statistics; this one keeps none")
    factor: Tensor = (norm.running_var + norm.eps).rsqrt()
    if norm.weight is not None:
        factor = factor * norm.weight
    shift: Tensor = -norm.running_mean * factor
    return factor, shift if norm.bias is None else shift + norm.bias


def affine_layer(weight: Tensor, bias: Tensor | None = None) -> nn.Linear:
    """A fixed affine layer from its matrix (D, C) and bias (D,)."""
    layer = nn.Linear(weight.shape[1], weight.shape[0], bias=bias is not None)
    # Contiguous, as they come back from a file: another layout rounds products differently.
    layer.weight = nn.Parameter(weight.detach().contiguous().clone(), requires_grad=False)
    if bias is not None:
        layer.bias = nn.Parameter(bias.detach().contiguous().clone(), requires_grad=False)
    return layer


def build_head(layers: Sequence[Mapping[str, Any]], weights: Mapping[str, Tensor]) -> nn.Sequential:
    """The head that a saved embedder describes; sizes come from the weights, ``"0.weight"`` etc."""
    head = nn.Sequential(*(_layer(spec, weights, f"{i}.") for i, spec in enumerate(layers)))
    head.load_state_dict(dict(weights))
    return head


def _layer(spec: Mapping[str, Any], weights: Mapping[str, Tensor], prefix: str) -> nn.Module:
    match spec.get("layer"):
        case "affine":
            d, c = weights[prefix + "weight"].shape
            return nn.Linear(c, d, bias=prefix + "bias" in weights)
        case "whitening":
            return Whitening(weights[prefix + "mean"], weights[prefix + "projection"])
        case "batch_norm":
            return nn.BatchNorm1d(len(weights[prefix + "running_mean"]), eps=spec.get("eps", 1e-5))
        case "layer_norm":
            width, bias = len(weights[prefix + "weight"]), prefix + "bias" in weights
            return nn.LayerNorm(width, eps=spec.get("eps", 1e-5), bias=bias)
        case "l2":
            return L2Norm(eps=spec.get("eps", 0.0))
        case "relu":
            return nn.ReLU()
        case "gelu":
            return nn.GELU()
        case other:
            known = ("affine", "whitening", "batch_norm", "layer_norm", "l2", "relu", "gelu")
            raise unknown_name("a saved head's layer", other, known)


def describe_head(head: nn.Sequential) -> list[dict[str, Any]]:
    """The JSON description that ``build_head`` reads back.

    Raises ValueError for a layer that can't be saved.
    """
    return [_describe(layer) for layer in head]


def _describe(layer: nn.Module) -> dict[str, Any]:
    match layer:
        case nn.Linear():
            return {"layer": "affine"}
        case Whitening():
            return {"layer": "whitening"}
        case nn.BatchNorm1d(affine=True, track_running_stats=True):
            return {"layer": "batch_norm", "eps": layer.eps}
        case nn.LayerNorm(elementwise_affine=True) if len(layer.normalized_shape) == 1:
            return {"layer": "layer_norm", "eps": layer.eps}
        case L2Norm():
            return {"layer": "l2", "eps": layer.eps}
        case nn.ReLU():
            return {"layer": "relu"}
        case nn.GELU(approximate="none"):
            return {"layer": "gelu"}
    raise ValueError(
        f"a saved head holds affine, whitening, BatchNorm1d, LayerNorm, L2, ReLU and GELU layers; got {layer}"
    )
