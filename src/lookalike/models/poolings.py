"""Poolings: features of a batch to one vector an image, and the same vector as shares by cell.

Every class has ``forward(features) -> (B, C)`` and ``shares(trace) -> (B, N + 1, C)``, whose rows
sum to it; the last row is the residual that no cell accounts for. The poolings by attention are in
``attention_poolings``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from lookalike.errors import unknown_name
from lookalike.models.heads import L2Norm, propagate
from lookalike.ops import pooling, propagation
from lookalike.types import Features, Trace


class FeaturePooling(nn.Module):
    """Parent of all poolings."""

    name: str

    def forward(self, features: Features) -> Tensor:
        """The pooled vectors: (B, C)."""
        raise NotImplementedError

    def shares(self, trace: Trace) -> Tensor:
        """(B, N + 1, C), rows summing to the pooled vector, the residual last."""
        raise NotImplementedError


class MeanPooling(FeaturePooling):
    """The average over cells (patch tokens; never prefix tokens)."""

    name = "mean"

    def forward(self, features: Features) -> Tensor:
        """(B, C)."""
        return pooling.mean_pool(features.cells)

    def shares(self, trace: Trace) -> Tensor:
        """(B, N + 1, C)."""
        return propagation.with_residual(pooling.mean_shares(trace.features.cells))


class MaxPooling(FeaturePooling):
    """The maximum over cells, channel by channel."""

    name = "max"

    def forward(self, features: Features) -> Tensor:
        """(B, C)."""
        return pooling.max_pool(features.cells)

    def shares(self, trace: Trace) -> Tensor:
        """(B, N + 1, C)."""
        return propagation.with_residual(pooling.max_shares(trace.features.cells))


class GemPooling(FeaturePooling):
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


class AveragePlusMaxPooling(FeaturePooling):
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


class RmacPooling(FeaturePooling):
    """R-MAC: L2-normalized max pooling over a pyramid of regions, summed."""

    name = "rmac"

    def forward(self, features: Features) -> Tensor:
        """(B, C)."""
        return pooling.rmac_pool(features.cells, features.grid)

    def shares(self, trace: Trace) -> Tensor:
        """(B, N + 1, C)."""
        features = trace.features
        return propagation.with_residual(pooling.rmac_shares(features.cells, features.grid))


class RegionalPooling(FeaturePooling):
    """Another pooling over R-MAC's regions, each normalized, whitened and normalized, then summed."""

    name = "regional"

    def __init__(self, inner: FeaturePooling, whitening: nn.Linear | None) -> None:
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
            inside = self.inner.shares(Trace(_region(features, cells), (), None))
            of_region = propagate(self.head, inside)  # (B, n + 1, D)
            if total is None:
                b, n, d = features.cells.shape[0], features.cells.shape[1], of_region.shape[2]
                total = of_region.new_zeros(b, n + 1, d)
            total[:, [*cells, -1]] += of_region
        assert total is not None
        return total


def _region(features: Features, cells: list[int]) -> Features:
    return Features(features.cells[:, cells], features.prefix, (1, len(cells)))


class LocalHeadPooling(FeaturePooling):
    """An affine layer on every cell (local whitening) before another pooling."""

    name = "local"

    def __init__(self, layer: nn.Linear, inner: FeaturePooling) -> None:
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
        shares: Tensor = self.inner.shares(mapped)
        return shares

    def _mapped(self, features: Features) -> Features:
        return Features(self.layer(features.cells), features.prefix, features.grid)


def build_pooling(spec: Mapping[str, Any], weights: Mapping[str, Tensor] | None = None) -> FeaturePooling:
    """A pooling from its description, ``{"name": "gem", "power": 3.0}``, and its weights if it has any.

    CLS and attention pooling belong to a backbone: see ``network.assemble``.
    """
    weights = weights or {}
    pooling = _build(dict(spec), weights)
    if weights:
        pooling.load_state_dict(dict(weights))
    return pooling


def describe_pooling(pooling: FeaturePooling) -> dict[str, Any]:
    """The JSON description that ``build_pooling`` reads back."""
    match pooling:
        case AveragePlusMaxPooling():
            return {"name": pooling.name, "factor": pooling.factor}
        case RegionalPooling():
            whitened = len(pooling.head) > 1
            return {"name": pooling.name, "inner": describe_pooling(pooling.inner), "whitened": whitened}
        case LocalHeadPooling():
            return {"name": pooling.name, "inner": describe_pooling(pooling.inner)}
    return {"name": pooling.name}


def _build(spec: dict[str, Any], weights: Mapping[str, Tensor]) -> FeaturePooling:
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
