"""Leave tokens out: how much the cosine drops when a transformer never sees a part of the image.

A transformer takes any number of tokens, so that a part can be left out without anything in its place,
as in Jain et al., *Missingness Bias in Model Debugging*, ICLR 2022, and Covert, Kim, Lee, *Learning to
Estimate Shapley Values with Vision Transformers*, ICLR 2023.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Any, final

import torch
from torch import Tensor

from lookalike.explainers.base import image_map, read_whole
from lookalike.explainers.cells import cell_edges
from lookalike.explainers.token_layers import TokenLayers
from lookalike.models.embedder import Embedder, ImageSource
from lookalike.models.network import COMPLETENESS
from lookalike.types import Explanation, ImageMap, Reading


@final
class LeaveTokensOut:
    """Method ``leave-tokens-out``: a heat map of the drop in similarity without each block of tokens.

    After patch embedding and positions the patch tokens of a block are dropped, and the others, CLS and
    registers go through the network. There are ``cells`` blocks along the shorter side of the token
    grid, or as many as tokens; the map is on the token grid, and a block's drop is divided evenly over
    its tokens. CLS, mean, max, GeM and attention pooling, learned and rotary positions are understood.
    Raises ValueError for fewer than 2 cells and a batch size below 1.
    """

    name = "leave-tokens-out"
    promise = "a heat map from answers without blocks of tokens"

    def __init__(self, embedder: Embedder, *, cells: int = 8, batch_size: int = 32) -> None:
        if cells < 2 or batch_size < 1:
            raise ValueError(f"cells must be 2 or more and batch_size 1; got {cells} and {batch_size}")
        self.embedder, self.cells, self.batch_size = embedder, cells, batch_size

    def __call__(self, query: ImageSource | Reading, match: ImageSource | Reading) -> Explanation:
        """Return the explanation of two images, from one pass through the blocks per block of tokens.

        Raises UnsupportedMethodError for models whose tokens can't be left out: without global
        attention, with relative positions, with a pooling over regions, or with one patch token.
        """
        readings = [read_whole(source, self.embedder) for source in (query, match)]
        a, b = (TokenLayers(self.embedder, reading, method=self.name) for reading in readings)
        return Explanation(
            similarity=float(a.unit.double() @ b.unit.double()),
            query=self._map(readings[0], a, b.unit),
            match=self._map(readings[1], b, a.unit),
            method=self.name,
            additive=False,
            model=self.embedder.name,
        )

    @torch.no_grad()
    def _map(self, reading: Reading, layers: TokenLayers, other: Tensor) -> ImageMap:
        _check_removable(layers)
        values = torch.zeros(layers.grid[0] * layers.grid[1], dtype=torch.float64)
        similarity = float(layers.unit.double() @ other.double())
        for dropped in self._blocks_by_size(layers.grid):  # (n, k)
            for first in range(0, len(dropped), self.batch_size):
                batch = dropped[first : first + self.batch_size]
                units = embed_without(layers, batch)
                drops = similarity - (units.double() @ other.double()).cpu()
                values[batch] = (drops / batch.shape[1])[:, None]
        return image_map(reading, values, layers.grid)

    def _blocks_by_size(self, grid: tuple[int, int]) -> list[Tensor]:
        """Patch tokens of each block, blocks of one size together: (n, k) each."""
        side = max(1, round(min(grid) / self.cells))  # tokens along a side of a block
        numbers = torch.arange(grid[0] * grid[1]).reshape(grid)
        rows, columns = (cell_edges(length, max(1, round(length / side))) for length in grid)
        by_size: dict[int, list[Tensor]] = {}
        for top, bottom in pairwise(rows):
            for left, right in pairwise(columns):
                block = numbers[top:bottom, left:right].flatten()
                by_size.setdefault(len(block), []).append(block)
        return [torch.stack(blocks) for blocks in by_size.values()]


def embed_without(layers: TokenLayers, dropped: Tensor) -> Tensor:
    """Unit embeddings (n, D) of an image without k of its patch tokens, given by number: (n, k)."""
    entering = layers.blocks[0].tokens[0]  # (P + N, C)
    is_kept = torch.ones(len(dropped), len(entering) - layers.n_prefix, dtype=torch.bool)
    is_kept.scatter_(1, dropped, False)
    kept = is_kept.nonzero()[:, 1].reshape(len(dropped), -1).to(entering.device)  # (n, N - k)
    prefix = torch.arange(layers.n_prefix, device=entering.device).expand(len(dropped), -1)
    tokens = entering[torch.cat([prefix, kept + layers.n_prefix], 1)]
    for number, entered in enumerate(layers.blocks):
        tokens = layers.run(number, tokens, **_rotary_of(entered.options, kept))
    return layers.embed(tokens, (1, kept.shape[1]))


def _rotary_of(options: Mapping[str, Any], kept: Tensor) -> dict[str, Tensor]:
    """A block's rotary positions (N, d) for the kept tokens of each variant: (n, 1, N - k, d)."""
    rope = options.get("rope")
    return {} if rope is None else {"rope": rope[kept][:, None]}


def _check_removable(layers: TokenLayers) -> None:
    """Raise UnsupportedMethodError where the rest of the tokens would not be embedded as they should."""
    n_patches = layers.grid[0] * layers.grid[1]
    if n_patches < 2:
        raise layers.refusal("two patch tokens or more", "has one")
    for entered in layers.blocks:
        tensors = {name: each for name, each in entered.options.items() if isinstance(each, Tensor)}
        rope = tensors.pop("rope", None)
        if tensors or (rope is not None and rope.shape[:-1] != (n_patches,)):
            raise layers.refusal("positions that belong to single tokens", "has others")
    if any(call.bias is not None for call in layers.attention):
        raise layers.refusal("attention without relative positions", "has them")
    leaving = layers.run(len(layers.blocks) - 1, layers.blocks[-1].tokens)
    patches = leaving[:, layers.n_prefix :].flip(1)
    in_a_row = layers.embed(torch.cat([leaving[:, : layers.n_prefix], patches], 1), (1, n_patches))
    if not float((in_a_row[0] - layers.unit).norm()) <= COMPLETENESS:
        raise layers.refusal("a pooling to which the order of tokens does not matter", "pools over regions")
