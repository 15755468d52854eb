"""Verification of two images by geometry, without a gallery."""

from __future__ import annotations

from pathlib import Path

import torch

from lookalike.errors import UnsupportedMethodError
from lookalike.explainers.base import read_whole
from lookalike.explainers.black_box import EmbedsImages
from lookalike.explainers.opening import opened
from lookalike.models.embedder import Embedder, ImageSource
from lookalike.rerankers import DEFAULT_ODDS, GeometryReranking, MatchOdds, local_features
from lookalike.rerankers.local_features import QUERY_FEATURES, QUERY_SIDE, opencv
from lookalike.types import GeometricMatch, Ranking, Reading, Shares


def verify(
    query: ImageSource | Reading,
    match: ImageSource | Reading,
    *,
    model: str | Path | Embedder | EmbedsImages = "mini",
    odds: MatchOdds = DEFAULT_ODDS,
) -> GeometricMatch:
    """Compare two images by their geometry: do both show the same thing, and where?

    The answer has the points that one transformation carries from the query to the match, the
    transformation and its outline, in original pixels, and a probability by these and the cosine
    (``render.inlier_lines`` draws it). It finds what is turned, mirrored, partly hidden, or a part of the
    query. Raises LookalikeError if OpenCV is not installed, UnsupportedMethodError for a model that is no
    Embedder, and UnreadableImageError.
    """
    opencv()
    embedder = opened(model)
    if not isinstance(embedder, Embedder):
        raise UnsupportedMethodError(f"geometry needs an Embedder, and {embedder.name} is none; use another")
    readings = [read_whole(source, embedder) for source in (query, match)]
    names = [each.picture.name for each in readings]
    units = embedder.embed_pixels([each.pixels for each in readings], names=names)
    features = local_features(readings[0].picture, side=QUERY_SIDE, n=QUERY_FEATURES)
    others = local_features(readings[1].picture)

    def cells(reading: Reading) -> Shares | None:
        try:
            return embedder.shares(reading)
        except UnsupportedMethodError:
            return None

    reranker = GeometryReranking(
        lambda _index: features,
        lambda _row: others,
        odds=odds,
        query_cells=lambda _index: cells(readings[0]),
        gallery_cells=lambda _row: cells(readings[1]),
    )
    similarity = units[:1] @ units[1:].T  # (1, 1)
    reranker(Ranking(units[:1], units[1:], torch.zeros(1, 1, dtype=torch.long), similarity))
    found = reranker.evidence(0, 0)
    assert found is not None  # both pictures were read
    cosine = float(similarity.clamp(-1, 1))
    probability = odds.probability(cosine, found.by_features)
    return GeometricMatch(readings[0].picture, readings[1].picture, found, cosine, probability, embedder.name)
