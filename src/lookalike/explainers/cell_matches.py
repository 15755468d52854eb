"""Which cell of one image goes with which of another, at any layer."""

from __future__ import annotations

from pathlib import Path

from lookalike.explainers.base import image_map, read_whole
from lookalike.explainers.opening import opened_with_shares
from lookalike.explainers.shares import unit
from lookalike.models.embedder import Embedder, ImageSource
from lookalike.models.frozen_pass import FrozenPass
from lookalike.models.layers import read_layer
from lookalike.ops.attribution import cell_similarity, mutual_best_matches
from lookalike.ops.similarity import cosine_similarity
from lookalike.types import CellMatch, CellSimilarity, Reading, Shares


def place_matches(
    query: ImageSource | Reading,
    match: ImageSource | Reading,
    *,
    model: str | Path | Embedder = "mini",
    layer: int | str = "last",
) -> CellSimilarity:
    """Match the cells of two images, with each pair's contribution to the similarity.

    Two cells match if each is the other's most similar by the cosine of their shares. (Ranked by
    contribution instead, the cells with the largest features would match everything.) The values
    (Nq, Nm) float32 sum to the cosine, less residuals.

    ``layer`` is that of ``SharesExplainer``: with a number, cells are those that enter the layer, and each
    image takes a backward pass for each of D features. ``model`` and errors are those of ``difference``;
    ValueError and UnsupportedMethodError for a layer that is none or not understood.
    """
    embedder = opened_with_shares(model, "matching cells")
    readings = read_whole(query, embedder), read_whole(match, embedder)
    a, b = (shares_at(embedder, reading, layer) for reading in readings)
    query_values, match_values = a.values.double(), b.values.double()
    values = cell_similarity(query_values, match_values, a.total.double().norm(), b.total.double().norm())
    cosines = cosine_similarity(query_values, match_values)
    matches = [
        CellMatch(divmod(i, a.grid[1]), divmod(j, b.grid[1]), float(values[i, j]), float(cosines[i, j]))
        for i, j in mutual_best_matches(cosines).tolist()
    ]
    return CellSimilarity(
        values=values.float().numpy(),
        query=image_map(readings[0], values.sum(1), a.grid),
        match=image_map(readings[1], values.sum(0), b.grid),
        matches=tuple(sorted(matches, key=lambda m: -m.contribution)),
        similarity=float(unit(a) @ unit(b)),
        model=embedder.name,
    )


def shares_at(embedder: Embedder, reading: Reading, layer: int | str) -> Shares:
    """The shares of one image at "last", the cells that enter the pooling, or at a layer by its number.

    Raises ValueError for a layer that is neither, and UnsupportedMethodError as ``FrozenPass`` does.
    """
    number = read_layer(layer)
    if number == "last":
        return embedder.shares(reading)
    return FrozenPass(embedder, reading, layer=number).cell_shares()
