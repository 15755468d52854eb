"""Poolings by attention: the CLS token, and a learned query over all tokens."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from lookalike.errors import UnsupportedMethodError
from lookalike.models.borrowed import Borrowed
from lookalike.models.heads import propagate
from lookalike.models.poolings import FeaturePooling
from lookalike.types import AttentionCall, Features, Trace


class ClsPooling(FeaturePooling):
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
        self._after_attention = Borrowed(after_attention)  # of the backbone
        self._after_block = Borrowed(after_block)

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
        n_prefix = trace.features.prefix.shape[1]
        of_tokens = []
        for token in range(self.n_tokens):
            own = trace.last_block_input[:, token]
            taken = propagate(
                self._after_attention.module, _weighted_values(call, query=token, n_prefix=n_prefix)
            )
            shares = torch.cat([taken[:, :-1], taken[:, -1:] + own[:, None]], dim=1)
            of_tokens.append(propagate(self._after_block.module, shares))
        return torch.stack(of_tokens).mean(0)


class AttentionPooling(FeaturePooling):
    """Pooling by a learned query that attends to the tokens (SigLIP's head), then frozen layers."""

    name = "attention"

    def __init__(self, pool: nn.Module, with_prefix: bool, after_attention: nn.Sequential) -> None:
        super().__init__()
        self._pool = Borrowed(pool)  # of the backbone
        self._after_attention = Borrowed(after_attention)
        self.with_prefix = with_prefix

    def forward(self, features: Features) -> Tensor:
        """(B, C)."""
        tokens = [features.prefix, features.cells] if self.with_prefix else [features.cells]
        pooled: Tensor = self._pool.module(torch.cat(tokens, dim=1))
        return pooled

    def shares(self, trace: Trace) -> Tensor:
        """(B, N + 1, C)."""
        n_prefix = trace.features.prefix.shape[1] if self.with_prefix else 0
        taken = _weighted_values(trace.attention[-1], query=0, n_prefix=n_prefix)
        return propagate(self._after_attention.module, taken)


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
