"""Explanation of the score of re-ranker ``transport``: the cosine and the votes of the cells."""

from __future__ import annotations

from dataclasses import replace
from typing import final

import numpy as np
from torch import Tensor

from lookalike.explainers.base import read_whole, to_array
from lookalike.explainers.shares import SharesExplainer
from lookalike.models.embedder import Embedder, ImageSource
from lookalike.models.last_pass import LastPass
from lookalike.ops.transport import transport_votes
from lookalike.rerankers.transport import DUSTBIN, MIX, SHARPNESS
from lookalike.types import Explanation, ImageMap, Reading, Shares


@final
class TransportExplainer:
    """Method ``transport``: attribution maps that sum to the score of re-ranker ``transport``.

    The similarity is ``1 - mix`` times the cosine plus ``mix`` times the sum of votes; a cell's
    value is its contribution to the cosine, at the last layer, and the votes by it and for it
    (``ops.transport``). Options are those of the re-ranker. Raises UnsupportedMethodError for a model
    without shares.
    """

    name = "transport"
    promise = "sums to the score of re-ranker transport"

    def __init__(
        self,
        embedder: Embedder,
        *,
        mix: float = MIX,
        dustbin: float = DUSTBIN,
        sharpness: float = SHARPNESS,
    ) -> None:
        self.embedder = embedder
        self.mix, self.dustbin, self.sharpness = mix, dustbin, sharpness
        self._cosine = SharesExplainer(embedder, layer="last")

    def __call__(self, query: ImageSource | Reading, match: ImageSource | Reading) -> Explanation:
        """Return the explanation of two images, from one forward pass each."""
        readings = read_whole(query, self.embedder), read_whole(match, self.embedder)
        a, b = (self.embedder.shares(reading) for reading in readings)
        return self.of_shares(readings[0], a, readings[1], b)

    def of_shares(
        self,
        query: Reading,
        query_shares: Shares,
        match: Reading,
        match_shares: Shares,
        *,
        match_unit: Tensor | None = None,
    ) -> Explanation:
        """Return the explanation of two images, or regions, whose shares are known.

        ``match_unit`` (D,) is that of ``SharesExplainer.of_passes``.
        """
        cosine = self._cosine.of_passes(
            replace(query, geometry=query_shares.geometry),
            LastPass(query_shares),
            replace(match, geometry=match_shares.geometry),
            LastPass(match_shares),
            match_unit=match_unit,
        )
        votes = transport_votes(
            query_shares.values, match_shares.values, dustbin=self.dustbin, sharpness=self.sharpness
        )
        return replace(
            cosine,
            similarity=(1 - self.mix) * cosine.similarity + self.mix * float(votes.sum()),
            query=self._mixed(cosine.query, votes.sum(1)),
            match=self._mixed(cosine.match, votes.sum(0)),
            method=self.name,
            form=f"{1 - self.mix:.0%} cosine, {self.mix:.0%} votes of the cells",
        )

    def _mixed(self, cosine: ImageMap, votes: Tensor) -> ImageMap:
        values = (1 - self.mix) * cosine.values + self.mix * to_array(votes, cosine.grid)
        parts = tuple((name, (1 - self.mix) * amount) for name, amount in cosine.residual_parts)
        return replace(cosine, values=np.asarray(values, dtype=np.float32), residual_parts=parts)
