"""Similarities of one image at the cells of its last layer."""

from __future__ import annotations

from typing import final

import torch
from torch import Tensor
from torch.nn import functional as F

from lookalike.models.located import LocatedShares
from lookalike.types import Shares


@final
class LastPass:
    """An image's similarities at the cells that enter the pooling: shares times the direction."""

    def __init__(self, shares: Shares) -> None:
        self._shares = shares
        self._length = shares.total.double().norm().clamp(min=1e-12)
        self.unit = F.normalize(shares.total.double(), dim=0)

    def shares(self, directions: Tensor) -> LocatedShares:
        """Split the similarities with K unit directions (K, D), as one product of matrices."""
        across = directions.double().cpu().T / self._length  # (D, K)
        content = (self._shares.values.double() @ across).T.float()
        prefix = (self._shares.residual.double() @ across).float()
        residual = {"prefix tokens": prefix} if bool(self._shares.residual.any()) else {}
        return LocatedShares(content, torch.zeros_like(content), residual, self._shares.grid)
