"""Poolings: features of a batch to one vector an image, and the same vector as shares by cell.

Every class has ``forward(features) -> (B, C)`` and ``shares(trace) -> (B, N + 1, C)``, whose rows
sum to it; the last row is the residual that no cell accounts for.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from lookalike.errors import UnsupportedMethodError, unknown_name
from lookalike.models.heads import L2Norm, propagate
from lookalike.ops import pooling, propagation
from lookalike.types import AttentionCall, Features, Trace


class Pooling(Protocol):
    """What every pooling offers."""

    name: str

    def __call__(self, features: Features) -> Tensor:
        """The pooled vectors: (B, C)."""
        ...

    def shares(self, trace: Trace) -> Tensor:
        """(B, N + 1, C), rows summing to the pooled vector, the residual last."""
        ...


class MeanPooling(nn.Module):
    """The average over cells (patch tokens; never prefix tokens)."""

    name = "mean"

    def forward(self, features: Features) -> Tensor:
        """(B, C)."""
        return pooling.mean_pool(features.cells)

    def shares(self, trace: Trace) -> Tensor:
        """(B, N + 1, C)."""
        return propagation.with_residual(pooling.mean_shares(trace.features.cells))


class MaxPooling(nn.Module):
    """The maximum over cells, channel by channel."""

    name = "max"

    def forward(self, features: Features) -> Tensor:
        """(B, C)."""
        return pooling.max_pool(features.cells)

    def shares(self, trace: Trace) -> Tensor:
        """(B, N + 1, C)."""
        return propagation.with_residual(pooling.max_shares(trace.features.cells))


class GemPooling(nn.Module):
    """Generalized mean with a learnable power, one number or one per channel."""

    name = "gem"

    def __init__(self, power: float | Tensor = 3.0) -> None:
        super().__init__()
        values = torch.as_tensor(power, dtype=torch.float32).reshape(-1)
        if not bool((values > 0).all()):
            raise ValueError(f"a generalized mean has powers above 0, got {values.tolist()}")
        self.power = nn.Parameter(values)

    def forward(self, features: Features) -> Tensor:
        """(B, C)."""
        return pooling.gem_pool(features.cells, self.power)

    def shares(self, trace: Trace) -> Tensor:
        """(B, N + 1, C)."""
        return propagation.with_residual(pooling.gem_shares(trace.features.cells, self.power))


class AveragePlusMaxPooling(nn.Module):
    """The sum of average and max pooling, times a factor (AVSL: 1; timm's ``avgmax``: 0.5)."""

    name = "avgmax"

    def __init__(self, factor: float = 1.0) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, features: Features) -> Tensor:
        """(B, C)."""
        return self.factor * pooling.average_plus_max_pool(features.cells)

    def shares(self, trace: Trace) -> Tensor:
        """(B, N + 1, C)."""
        shares = pooling.average_plus_max_shares(trace.features.cells)
        return propagation.with_residual(self.factor * shares)


class RmacPooling(nn.Module):
    """R-MAC: L2-normalized max pooling over a pyramid of regions, summed."""

    name = "rmac"

    def forward(self, features: Features) -> Tensor:
        """(B, C)."""
        return pooling.rmac_pool(features.cells, features.grid)

    def shares(self, trace: Trace) -> Tensor:
        """(B, N + 1, C)."""
        features = trace.features
        return propagation.with_residual(pooling.rmac_shares(features.cells, features.grid))


class RegionalPooling(nn.Module):
    """Another pooling over R-MAC's regions, each normalized, whitened and normalized, then summed."""

    name = "regional"

    def __init__(self, inner: nn.Module, whitening: nn.Linear | None) -> None:
        super().__init__()
        self.inner = inner
        norm = L2Norm(eps=1e-6)
        self.head = nn.Sequential(norm, whitening, norm) if whitening else nn.Sequential(norm)

    def forward(self, features: Features) -> Tensor:
        """(B, D)."""
        regions = (_region(features, cells) for cells in pooling.rmac_regions(features.grid))
        return torch.stack([self.head(self.inner(region)) for region in regions]).sum(0)

    def shares(self, trace: Trace) -> Tensor:
        """(B, N + 1, D)."""
        features = trace.features
        total: Tensor | None = None
        for cells in pooling.rmac_regions(features.grid):
            inside = self.inner.shares(Trace(_region(features, cells), (), None))  # type: ignore[operator]
            of_region = propagate(self.head, inside)  # (B, n + 1, D)
            if total is None:
                b, n, d = features.cells.shape[0], features.cells.shape[1], of_region.shape[2]
                total = of_region.new_zeros(b, n + 1, d)
            total[:, [*cells, -1]] += of_region
        assert total is not None
        return total


def _region(features: Features, cells: list[int]) -> Features:
    return Features(features.cells[:, cells], features.prefix, (1, len(cells)))


class LocalHeadPooling(nn.Module):
    """An affine layer on every cell (local whitening) before another pooling."""

    name = "local"

    def __init__(self, layer: nn.Linear, inner: nn.Module) -> None:
        super().__init__()
        self.layer = layer
        self.inner = inner

    def forward(self, features: Features) -> Tensor:
        """(B, D)."""
        pooled: Tensor = self.inner(self._mapped(features))
        return pooled

    def shares(self, trace: Trace) -> Tensor:
        """(B, N + 1, D)."""
        mapped = Trace(self._mapped(trace.features), trace.attention, trace.last_block_input)
        shares: Tensor = self.inner.shares(mapped)  # type: ignore[operator]
        return shares

    def _mapped(self, features: Features) -> Features:
        return Features(self.layer(features.cells), features.prefix, features.grid)


class ClsPooling(nn.Module):
    """The CLS token, or the mean of the first n prefix tokens (CLS and distillation token).

    Its shares are the last attention layer's value vectors, weighted by the CLS token's attention,
    through the rest of the network frozen. What the CLS token brought itself, and what it took
    from other prefix tokens, is the residual.
    """

    name = "cls"

    def __init__(
        self, after_attention: nn.Sequential, after_block: nn.Sequential, *, n_tokens: int = 1
    ) -> None:
        super().__init__()
        self.n_tokens = n_tokens
        self._rest = (after_attention, after_block)  # a tuple: the modules belong to the backbone

    def forward(self, features: Features) -> Tensor:
        """(B, C)."""
        if features.prefix.shape[1] == 0:
            raise UnsupportedMethodError("pooling 'cls' needs a CLS token; this model has none, use 'mean'")
        return features.prefix[:, : self.n_tokens].mean(1)

    def shares(self, trace: Trace) -> Tensor:
        """(B, N + 1, C)."""
        call = _last_global_attention(trace)
        if trace.last_block_input is None or call is None:
            raise UnsupportedMethodError(
                "the attention of this model's last layer can't be read, so its CLS token has no shares; "
                "use pooling 'mean' or method 'occlusion'"
            )
        after_attention, after_block = self._rest
        n_prefix = trace.features.prefix.shape[1]
        of_tokens = []
        for token in range(self.n_tokens):
            own = trace.last_block_input[:, token]
            taken = propagate(after_attention, _weighted_values(call, query=token, n_prefix=n_prefix))
            shares = torch.cat([taken[:, :-1], taken[:, -1:] + own[:, None]], dim=1)
            of_tokens.append(propagate(after_block, shares))
        return torch.stack(of_tokens).mean(0)


class AttentionPooling(nn.Module):
    """Pooling by a learned query that attends to the tokens (SigLIP's head), then frozen layers."""

    name = "attention"

    def __init__(self, pool: nn.Module, with_prefix: bool, after_attention: nn.Sequential) -> None:
        super().__init__()
        self._pool = (pool,)  # a tuple: the module belongs to the backbone
        self._after_attention = (after_attention,)
        self.with_prefix = with_prefix

    def forward(self, features: Features) -> Tensor:
        """(B, C)."""
        tokens = [features.prefix, features.cells] if self.with_prefix else [features.cells]
        pooled: Tensor = self._pool[0](torch.cat(tokens, dim=1))
        return pooled

    def shares(self, trace: Trace) -> Tensor:
        """(B, N + 1, C)."""
        n_prefix = trace.features.prefix.shape[1] if self.with_prefix else 0
        taken = _weighted_values(trace.attention[-1], query=0, n_prefix=n_prefix)
        return propagate(self._after_attention[0], taken)


def _last_global_attention(trace: Trace) -> AttentionCall | None:
    """The last layer's attention among all tokens; a pooling by attention that follows is not one."""
    n_tokens = trace.features.prefix.shape[1] + trace.features.cells.shape[1]
    square = [c for c in trace.attention if c.query.shape[2] == c.key.shape[2] == n_tokens]
    return square[-1] if square else None


def _weighted_values(call: AttentionCall, *, query: int, n_prefix: int) -> Tensor:
    """What one query token took from each cell: (B, N + 1, A * d), prefix tokens in the last row."""
    weights = call.weights[:, :, query]  # (B, A, T)
    taken = (weights[..., None] * call.value).transpose(1, 2).flatten(2)  # (B, T, A * d)
    return torch.cat([taken[:, n_prefix:], taken[:, :n_prefix].sum(1, keepdim=True)], dim=1)


def build_pooling(spec: Mapping[str, Any], weights: Mapping[str, Tensor] | None = None) -> nn.Module:
    """A pooling from its description, ``{"name": "gem", "power": 3.0}``, and its weights if it has any.

    CLS and attention pooling belong to a backbone: see ``network.assemble``.
    """
    weights = weights or {}
    pooling = _build(dict(spec), weights)
    if weights:
        pooling.load_state_dict(dict(weights))
    return pooling


def describe_pooling(pooling: nn.Module) -> dict[str, Any]:
    """The JSON description that ``build_pooling`` reads back."""
    match pooling:
        case AveragePlusMaxPooling():
            return {"name": pooling.name, "factor": pooling.factor}
        case RegionalPooling():
            whitened = len(pooling.head) > 1
            return {"name": pooling.name, "inner": describe_pooling(pooling.inner), "whitened": whitened}
        case LocalHeadPooling():
            return {"name": pooling.name, "inner": describe_pooling(pooling.inner)}
    return {"name": str(pooling.name)}


def _build(spec: dict[str, Any], weights: Mapping[str, Tensor]) -> nn.Module:
    name = spec.pop("name", None)
    match name:
        case "mean":
            return MeanPooling()
        case "max":
            return MaxPooling()
        case "gem":
            return GemPooling(weights["power"] if "power" in weights else spec.get("power", 3.0))
        case "avgmax":
            return AveragePlusMaxPooling(spec.get("factor", 1.0))
        case "rmac":
            return RmacPooling()
        case "regional" if "inner" in spec:
            inner = _build(dict(spec["inner"]), _below("inner.", weights))
            return RegionalPooling(inner, _linear(weights, "head.1.") if spec["whitened"] else None)
        case "local" if "inner" in spec:
            inner = _build(dict(spec["inner"]), _below("inner.", weights))
            return LocalHeadPooling(_linear(weights, "layer."), inner)
        case _:
            raise unknown_name("pooling", name, ("own", "cls", "mean", "max", "gem", "avgmax", "rmac"))


def _linear(weights: Mapping[str, Tensor], prefix: str) -> nn.Linear:
    d, c = weights[prefix + "weight"].shape
    return nn.Linear(c, d, bias=prefix + "bias" in weights)


def _below(prefix: str, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): t for name, t in weights.items() if name.startswith(prefix)}
