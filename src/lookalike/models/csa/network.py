"""The transformer of CSA: affinity features in, refined features out.

Ouyang et al., NeurIPS 2021 (arXiv 2110.13430), section 3.3. Modules carry the published checkpoint's names.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor, nn
from torch.nn import functional as F

HEAD_WIDTH, FEWEST_HEADS = 64, 4  # the default: 12 heads for the published width 768


@dataclass(frozen=True)
class ContextSizes:
    """Sizes of a context network; the defaults are the published ones."""

    n_anchors: int = 512  # L, width of the affinity features
    width: int = 768  # C
    depth: int = 2
    heads: int = 12
    hidden: int = 3072  # of the blocks' two-layer networks
    query_key_value_bias: bool = True

    def __post_init__(self) -> None:
        if min(self.n_anchors, self.width, self.depth, self.heads, self.hidden) < 1:
            raise ValueError(f"sizes of a context network are 1 or more, got {self}")
        if self.width % self.heads:
            raise ValueError(f"{self.heads} heads do not divide the width {self.width}; choose others")


def usual_heads(width: int) -> int:
    """Default number of heads of a network of that width: one for each 64 channels, at least 4."""
    return max(FEWEST_HEADS, width // HEAD_WIDTH)


@final
class ContextNetwork(nn.Module):
    """Refines affinity features (B, T, L) to (B, T, C) by self-attention among the items of a list.

    There are no position embeddings: candidates may come in any order. ``topk_proj`` makes tokens,
    ``feature_align`` reconstructs affinities from them for the reconstruction loss.
    """

    def __init__(self, sizes: ContextSizes, *, dropout: float = 0.0, drop_path: float = 0.0) -> None:
        super().__init__()
        self.sizes = sizes
        rising = [drop_path * i / max(sizes.depth - 1, 1) for i in range(sizes.depth)]
        self.dropout = nn.Dropout(dropout)
        self.topk_proj = nn.Linear(sizes.n_anchors, sizes.width)
        self.blocks = nn.ModuleList(Block(sizes, dropout, path) for path in rising)
        self.feature_align = Rebuilding(sizes)
        self.apply(_start)

    def forward(self, affinity: Tensor) -> Tensor:
        """Refined features (B, T, C)."""
        x: Tensor = self.dropout(self.topk_proj(self.dropout(affinity)))
        for block in self.blocks:
            x = block(x)
        return x

    def rebuilt(self, tokens: Tensor) -> Tensor:
        """Affinity features (B, T, L) reconstructed from the refined ones."""
        result: Tensor = self.feature_align(tokens)
        return result

    def attention_of(self, affinity: Tensor) -> Tensor:
        """Attention of each item (rows) to each other, averaged over heads and layers: (B, T, T).

        Rows sum to one. For explanations: memory is T x T.
        """
        x = self.topk_proj(affinity)
        weights = []
        for block in self.blocks:
            assert isinstance(block, Block)
            weights.append(block.attn.weights(block.norm1(x)).mean(1))
            x = block(x)
        return torch.stack(weights).mean(0)


@final
class Block(nn.Module):
    """A pre-norm transformer block."""

    def __init__(self, sizes: ContextSizes, dropout: float, drop_path: float) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(sizes.width)
        self.attn = Attention(sizes, dropout)
        self.norm2 = nn.LayerNorm(sizes.width)
        self.mlp = Mlp(sizes, dropout)
        self.drop_path = DropPath(drop_path)

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, C) to (B, T, C)."""
        x = x + self.drop_path(self.attn(self.norm1(x)))
        result: Tensor = x + self.drop_path(self.mlp(self.norm2(x)))
        return result


@final
class DropPath(nn.Module):
    """Leaves out a branch for some lists of a batch while training, and scales it up for the others.

    Huang et al., *Deep Networks with Stochastic Depth*, ECCV 2016.
    """

    def __init__(self, p: float) -> None:
        super().__init__()
        self.p = p

    def forward(self, branch: Tensor) -> Tensor:
        """(B, T, C) to (B, T, C)."""
        if not self.training or not self.p:
            return branch
        is_kept = torch.rand(len(branch), 1, 1, device=branch.device) >= self.p
        return branch * is_kept / (1 - self.p)


@final
class Attention(nn.Module):
    """Multi-head self-attention."""

    def __init__(self, sizes: ContextSizes, dropout: float) -> None:
        super().__init__()
        self.heads = sizes.heads
        self.qkv = nn.Linear(sizes.width, 3 * sizes.width, bias=sizes.query_key_value_bias)
        self.proj = nn.Linear(sizes.width, sizes.width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, C) to (B, T, C)."""
        query, key, value = self.split(self.qkv(x))
        p = self.dropout.p if self.training else 0.0
        mixed = F.scaled_dot_product_attention(query, key, value, dropout_p=p)  # (B, A, T, C / A)
        result: Tensor = self.dropout(self.proj(mixed.transpose(1, 2).flatten(2)))
        return result

    def weights(self, x: Tensor) -> Tensor:
        """Attention of every item (rows) over all items: (B, A, T, T)."""
        query, key, _ = self.split(self.qkv(x))
        products: Tensor = query @ key.transpose(2, 3) / query.shape[3] ** 0.5
        return products.softmax(3)

    def split(self, qkv: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys and values (B, A, T, C / A) of the first layer's outputs (B, T, 3 C)."""
        query, key, value = qkv.view(*qkv.shape[:2], 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        return query, key, value


@final
class Mlp(nn.Module):
    """Two layers with GELU between them."""

    def __init__(self, sizes: ContextSizes, dropout: float) -> None:
        super().__init__()
        self.fc1 = nn.Linear(sizes.width, sizes.hidden)
        self.fc2 = nn.Linear(sizes.hidden, sizes.width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, C) to (B, T, C)."""
        result: Tensor = self.dropout(self.fc2(self.dropout(F.gelu(self.fc1(x)))))
        return result


@final
class Rebuilding(nn.Module):
    """One linear layer from refined to affinity features."""

    def __init__(self, sizes: ContextSizes) -> None:
        super().__init__()
        self.layers = nn.ModuleList([nn.Linear(sizes.width, sizes.n_anchors)])

    def forward(self, tokens: Tensor) -> Tensor:
        """(B, T, C) to (B, T, L)."""
        result: Tensor = self.layers[0](tokens)
        return result


def _start(module: nn.Module) -> None:
    if isinstance(module, nn.Linear):
        nn.init.trunc_normal_(module.weight, std=0.02)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
