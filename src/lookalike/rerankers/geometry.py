"""Re-ranking by geometry: does one transformation carry the query's local features onto the match's?"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import final

import numpy as np
import torch

from lookalike.errors import UnreadableImageError
from lookalike.ops.attribution import mutual_best_matches
from lookalike.ops.similarity import cosine_similarity
from lookalike.rerankers.base import column_of, move_of, one_query, reordered
from lookalike.rerankers.local_features import LocalFeatures, opencv
from lookalike.rerankers.match_odds import DEFAULT_ODDS, MatchOdds
from lookalike.rerankers.transformations import verify_features, verify_points
from lookalike.types import Move, Ranking, Shares, Verification
from lookalike.types.machine import usable_cores

FeaturesOf = Callable[[int], LocalFeatures]  # of a query's index, or of a row of the gallery
CellsOf = Callable[[int], Shares | None]  # None: has no cells

_TOO_FEW = 40  # local features; a picture with fewer is compared by the cells of the model as well
_CELL_TOLERANCE = 0.75  # of the larger side of a cell
_MOST_THREADS = 8


@final
class GeometryReranking:
    """Method ``geometry``: the log odds of a match by the cosine and by the inliers of a transformation.

    Every candidate of the shortlist is compared (``verify_features``): turned, resized, mirrored, partly
    hidden and one of several things on a photograph, it is found if it is the same. ``evidence`` returns
    what was found for a candidate. Where a picture has next to no local features, the model's own cells are
    compared (``query_cells``, ``gallery_cells``); that draws a transformation, but cells are too coarse to
    raise the odds. Scores do not depend on other gallery items, so a move has no influences. Raises
    LookalikeError if OpenCV is not installed (extra ``geometry``).
    """

    name = "geometry"

    def __init__(
        self,
        query_features: FeaturesOf,
        gallery_features: FeaturesOf,
        *,
        odds: MatchOdds = DEFAULT_ODDS,
        query_cells: CellsOf | None = None,
        gallery_cells: CellsOf | None = None,
    ) -> None:
        opencv()
        if not (callable(query_features) and callable(gallery_features)):
            raise ValueError("query_features and gallery_features must be functions of an index")
        self._query_features, self._gallery_features = query_features, gallery_features
        self._query_cells, self._gallery_cells = query_cells, gallery_cells
        self.odds = odds
        self._found: dict[tuple[int, int], Verification] = {}

    def __call__(self, ranking: Ranking) -> Ranking:
        """Return the ranking by the log odds."""
        return self._rank(ranking, range(len(ranking.queries)))

    def explain(self, before: Ranking, query_index: int, row: int) -> Move:
        """Return ranks and scores before and after, without influences."""
        single = one_query(before, query_index)
        column_of(single, row)  # raises for a row that is not on the shortlist
        nothing = torch.empty(0)
        return move_of(self.name, single, self._rank(single, [query_index]), row, nothing, nothing)

    def evidence(self, query_index: int, row: int) -> Verification | None:
        """Return what was found for a candidate that was compared; None if its file can't be read."""
        return self._found.get((query_index, row))

    def _rank(self, ranking: Ranking, query_indices: Sequence[int]) -> Ranking:
        scores = ranking.scores.clone()
        for i, query_index in enumerate(query_indices):
            rows = ranking.indices[i].tolist()
            self._verify(query_index, rows)
            cosines = ranking.gallery[rows] @ ranking.queries[i]
            for column, (row, cosine) in enumerate(zip(rows, cosines.tolist(), strict=True)):
                found = self._found.get((query_index, row))
                scores[i, column] = self.odds.log_odds(cosine, found.by_features if found else 0)
        return reordered(ranking, scores, ranking.queries, ranking.gallery)

    def _verify(self, query_index: int, rows: Sequence[int]) -> None:
        """Compare a query with rows of the gallery, on several threads."""
        wanted = [row for row in rows if (query_index, row) not in self._found]
        query = self._query_features(query_index)

        def compare(row: int) -> Verification | None:
            try:
                return verify_features(query, self._gallery_features(row))
            except UnreadableImageError:
                return None

        with ThreadPoolExecutor(min(_MOST_THREADS, usable_cores())) as threads:
            for row, found in zip(wanted, threads.map(compare, wanted), strict=True):
                if found is not None:
                    self._found[query_index, row] = self._by_cells(query_index, row, query, found)

    def _by_cells(
        self, query_index: int, row: int, query: LocalFeatures, found: Verification
    ) -> Verification:
        """The evidence of the cells, where there are next to no local features."""
        if self._query_cells is None or self._gallery_cells is None or found.n_inliers:
            return found
        if min(len(query), len(self._gallery_features(row))) >= _TOO_FEW:
            return found
        a, b = self._query_cells(query_index), self._gallery_cells(row)
        if a is None or b is None:
            return found
        return verify_cells(a, b, frame=query.frame)


def verify_cells(query: Shares, match: Shares, *, frame: tuple[float, float, float, float]) -> Verification:
    """Return the evidence of mutually best matching cells of two images: at most an affine transformation."""
    pairs = mutual_best_matches(cosine_similarity(query.values, match.values)).numpy()
    sides = ((query, pairs[:, 0]), (match, pairs[:, 1]))
    points = [_centers(shares)[cells] for shares, cells in sides]
    _, _, height, width = match.geometry.crop
    tolerance = _CELL_TOLERANCE * max(height / match.grid[0], width / match.grid[1])
    size = match.geometry.original_size
    return verify_points(points[0], points[1], frame=frame, match_size=size, tolerance=tolerance)


def _centers(shares: Shares) -> np.ndarray[tuple[int, int], np.dtype[np.float32]]:
    """The centers (N, 2) of the cells: x, y in original pixels."""
    top, left, height, width = shares.geometry.crop
    y, x = np.mgrid[0 : shares.grid[0], 0 : shares.grid[1]]
    centers = [left + (x + 0.5) * width / shares.grid[1], top + (y + 0.5) * height / shares.grid[0]]
    return np.stack(centers, axis=-1).reshape(-1, 2).astype(np.float32)
