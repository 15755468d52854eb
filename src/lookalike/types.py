"""The words that the floors hand each other: frozen data without behavior of its own.

Axis letters: ``B`` batch, ``N`` cells of the grid (row-major, ``N = h * w``), ``D`` embedding
width, ``C`` channels, ``h w`` feature grid, ``H W`` pixels. Sizes are (height, width); boxes are
(left, top, right, bottom) in original pixels.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from PIL import Image
    from torch import Tensor

FloatArray = NDArray[np.float32]


@dataclass(frozen=True)
class Geometry:
    """Where the picture that a network saw lies on the original image.

    One rectangle says it for every preprocessing: squash (the rectangle is the whole image),
    resize and center crop (a part of it) and letterbox (it reaches beyond the image).
    """

    original_size: tuple[int, int]  # (H, W) pixels, EXIF orientation applied
    input_size: tuple[int, int]  # (H, W) pixels that the network saw
    crop: tuple[float, float, float, float]  # top, left, height, width in original pixels

    def cell_box(self, row: int, column: int, grid: tuple[int, int]) -> tuple[float, float, float, float]:
        """Left, top, right, bottom, in original pixels, of one cell of a feature grid (h, w)."""
        top, left, height, width = self.crop
        cell_height, cell_width = height / grid[0], width / grid[1]
        return (
            left + column * cell_width,
            top + row * cell_height,
            left + (column + 1) * cell_width,
            top + (row + 1) * cell_height,
        )

    def cell_at(self, x: float, y: float, grid: tuple[int, int]) -> tuple[int, int] | None:
        """(row, column) of the cell that covers the original pixel (x, y); None outside the crop."""
        top, left, height, width = self.crop
        row, column = int((y - top) // (height / grid[0])), int((x - left) // (width / grid[1]))
        return (row, column) if 0 <= row < grid[0] and 0 <= column < grid[1] else None

    def coverage(self, box: tuple[float, float, float, float], grid: tuple[int, int]) -> FloatArray:
        """How much of each cell lies in the box: (h, w), in [0, 1]; it weights shares of a region."""
        left, top, right, bottom = box
        crop_top, crop_left, crop_height, crop_width = self.crop
        rows = _overlaps((top - crop_top) / crop_height, (bottom - crop_top) / crop_height, grid[0])
        columns = _overlaps((left - crop_left) / crop_width, (right - crop_left) / crop_width, grid[1])
        return np.outer(rows, columns).astype(np.float32)

    def coverage_of(self, mask: NDArray[np.bool_], grid: tuple[int, int]) -> FloatArray:
        """How much of each cell a mask (H, W) over the original image covers: (h, w), in [0, 1].

        Raises ValueError for a mask of another size.
        """
        if mask.shape != self.original_size:
            raise ValueError(f"a mask for this image has size {self.original_size}, got {mask.shape}")
        top, left, height, width = self.crop
        rows = _pixel_weights(top + height * np.arange(grid[0] + 1) / grid[0], mask.shape[0])  # (h, H)
        columns = _pixel_weights(left + width * np.arange(grid[1] + 1) / grid[1], mask.shape[1])  # (w, W)
        cell_area = height / grid[0] * width / grid[1]
        return (rows @ mask.astype(np.float64) @ columns.T / cell_area).astype(np.float32)


def _pixel_weights(edges: NDArray[np.float64], n_pixels: int) -> NDArray[np.float64]:
    """How much of each pixel lies between neighboring edges: (cells, n_pixels)."""
    pixels = np.arange(n_pixels)
    covered = np.minimum(edges[1:, None], pixels + 1) - np.maximum(edges[:-1, None], pixels)
    weights: NDArray[np.float64] = np.clip(covered, 0.0, 1.0)
    return weights


def _overlaps(start: float, stop: float, n: int) -> NDArray[np.float64]:
    """Share of each of n equal parts of [0, 1] that lies between start and stop."""
    edges = np.arange(n + 1)
    covered = np.minimum(stop * n, edges[1:]) - np.maximum(start * n, edges[:-1])
    shares: NDArray[np.float64] = np.clip(covered, 0.0, 1.0)
    return shares


@dataclass(frozen=True)
class Picture:
    """One decoded image."""

    image: Image.Image  # RGB; smaller than original_size where it was decoded at reduced scale
    original_size: tuple[int, int]  # (H, W) pixels of the file, EXIF orientation applied
    name: str  # file name or what the caller called it; for messages and captions


@dataclass(frozen=True)
class Features:
    """What a backbone says of a batch: one vector a cell, and the tokens before them."""

    cells: Tensor  # (B, N, C) row-major over the grid
    prefix: Tensor  # (B, P, C) prefix tokens (CLS, registers); P is 0 for convolutional networks
    grid: tuple[int, int]  # (h, w), h * w == N


@dataclass(frozen=True)
class Shares:
    """An embedding as the sum of what each cell contributed, before the last L2 normalization."""

    values: Tensor  # (N, D) float32; values.sum(0) + residual is the embedding before L2
    residual: Tensor  # (D,) float32; what no cell accounts for (zero for additive poolings)
    grid: tuple[int, int]  # (h, w), h * w == N
    geometry: Geometry

    @property
    def total(self) -> Tensor:
        """The embedding before the last L2 normalization: (D,)."""
        return self.values.sum(0) + self.residual


@dataclass(frozen=True)
class Explanation:
    """Why two images are similar: one signed map on the feature grid of each.

    Where ``additive`` is true the maps are attributions in units of similarity: each sums to the
    similarity minus its residual. Where it is false they are heat maps: relative weights only.
    """

    similarity: float  # the score explained: cosine in [-1, 1]
    query_map: FloatArray  # (hq, wq) signed
    match_map: FloatArray  # (hm, wm) signed
    method: str  # "shares", "rollout", ...
    additive: bool  # whether the maps sum to the similarity, up to the residual
    model: str  # name of the model that saw the images
    query: Picture
    match: Picture
    query_geometry: Geometry
    match_geometry: Geometry

    @property
    def residual(self) -> float:
        """The part of the similarity that the query map does not account for."""
        return self._missing(self.query_map)

    @property
    def match_residual(self) -> float:
        """The part of the similarity that the match map does not account for."""
        return self._missing(self.match_map)

    def _missing(self, values: FloatArray) -> float:
        if not self.additive:
            raise ValueError(
                f"a {self.method} map is a heat map, not a sum of shares, so it has no residual; "
                "check explanation.additive first"
            )
        return self.similarity - float(values.sum(dtype=np.float64))


@dataclass(frozen=True)
class NodePath:
    """A higher node by way of which a lower one counts."""

    node: int  # of the level above
    amount: float  # of the lower node's share of the distance


@dataclass(frozen=True)
class NodeReason:
    """What one node of a graph says of a pair, and where it looks on both images.

    ``share`` is ``weight * (a - b)^2`` and ``common`` is ``weight * a * b`` of the unit values a and b.
    """

    level: int  # 0 is the lowest
    node: int
    weight: float  # 0 or more; how much the node counts, directly and by way of the nodes above
    share: float  # of the distance, 0 or more
    common: float  # of what both have in common, signed
    query_value: float
    match_value: float
    query_map: FloatArray  # (h, w) of the level's grid, sums to query_value
    match_map: FloatArray  # (h, w), sums to match_value
    paths: tuple[NodePath, ...]  # strongest first; empty at the highest level, which counts directly


@dataclass(frozen=True)
class LevelReason:
    """One level's part of a distance."""

    share: float  # of the distance, 0 or more: the sum over the level's nodes
    query_map: FloatArray  # (h, w) signed, sums to share; negative cells bring the images nearer
    match_map: FloatArray  # (h, w) signed, sums to share
    together: tuple[NodeReason, ...]  # nodes with most in common, largest first
    apart: tuple[NodeReason, ...]  # nodes with the largest share of the distance, largest first


@dataclass(frozen=True)
class GraphExplanation(Explanation):
    """Why a graph of nodes finds two images similar: an Explanation with its levels.

    Its similarity is one minus half the distance, which is the cosine where every node of the highest
    level is believed. The maps hold what both images have in common; the residual is what the length
    of the believed nodes adds to that.
    """

    distance: float  # inferred by the graph, 0 or more; the sum of the levels' shares
    levels: tuple[LevelReason, ...]  # low to high


@dataclass(frozen=True)
class Difference:
    """Why the query is closer to one match than to another: a signed map on the query."""

    query_map: FloatArray  # (h, w) positive where the cell speaks for the preferred match
    preferred_similarity: float  # cosine with the match that should come first
    other_similarity: float  # cosine with the match that should come second
    model: str
    query: Picture
    query_geometry: Geometry
    preferred: Picture
    other: Picture

    @property
    def residual(self) -> float:
        """The part of the difference of similarities that the map does not account for."""
        gap = self.preferred_similarity - self.other_similarity
        return gap - float(self.query_map.sum(dtype=np.float64))


@dataclass(frozen=True)
class CellMatch:
    """A cell of the query and a cell of the match that are each other's best counterpart."""

    query_cell: tuple[int, int]  # (row, column) on the query grid
    match_cell: tuple[int, int]  # (row, column) on the match grid
    contribution: float  # the pair's share of the similarity
    cosine: float  # of the two local shares, in [-1, 1]


@dataclass(frozen=True)
class CellSimilarity:
    """Which cell of the query matches which cell of the match."""

    values: FloatArray  # (Nq, Nm) signed; row sums are the query map, column sums the match map
    query_grid: tuple[int, int]
    match_grid: tuple[int, int]
    matches: tuple[CellMatch, ...]  # mutual best matches, largest contribution first
    similarity: float
    model: str
    query: Picture
    match: Picture
    query_geometry: Geometry
    match_geometry: Geometry


@dataclass(frozen=True)
class AttentionCall:
    """One attention layer's queries, keys and values, positions already applied."""

    query: Tensor  # (B, A, Tq, d)
    key: Tensor  # (B, A, Tk, d)
    value: Tensor  # (B, A, Tk, d)
    scale: float  # factor on the products before the softmax
    bias: Tensor | None  # added to the scaled products, broadcast over (B, A, Tq, Tk)

    @property
    def weights(self) -> Tensor:
        """Attention of every query token over the key tokens: (B, A, Tq, Tk), rows sum to one."""
        products = self.query @ self.key.transpose(-2, -1) * self.scale
        return (products if self.bias is None else products + self.bias).softmax(-1)


@dataclass(frozen=True)
class Trace:
    """A forward pass with what explanations need beside the features."""

    features: Features
    attention: tuple[AttentionCall, ...]  # one a layer, in order; empty for convolutional networks
    last_block_input: Tensor | None  # (B, P + N, C) tokens that enter the last transformer block


@dataclass(frozen=True)
class Ranking:
    """The K best gallery items of each of Q queries, best first, and the vectors they come from."""

    queries: Tensor  # (Q, D) float32 unit embeddings
    gallery: Tensor  # (G, D) float32 unit embeddings
    indices: Tensor  # (Q, K) int64 rows of the gallery, best first
    scores: Tensor  # (Q, K) float32, higher is better; cosines after the first stage


@dataclass(frozen=True)
class Influence:
    """A gallery item that changed another one's position in a re-ranking."""

    row: int  # of the gallery
    amount: float  # signed, in units of the new score; positive lifted


@dataclass(frozen=True)
class Move:
    """Where a hit came from: its position and score before and after re-ranking, and who moved it."""

    row: int  # of the gallery
    method: str  # "aqe", "dba+aqe", ...
    rank_before: int  # 0 is the first
    rank_after: int
    score_before: float
    score_after: float  # of another scale than before where the method's scores are no cosines
    influences: tuple[Influence, ...]  # largest amount first, by size; each method says what it counts
