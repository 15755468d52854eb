"""One probability from the cosine and the inliers of a geometric comparison together."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

import torch
from torch import Tensor

from lookalike.errors import GalleryError
from lookalike.ops.calibration import fit_logistic_plane

_MIN_MATCHES = 5
_LARGEST = 1e300  # of a number


@dataclass(frozen=True)
class MatchOdds:
    """Log odds of a match: intercept + per_cosine * cosine + per_inlier * ln(1 + inliers) + the prior's.

    Inliers are those of local features (``Verification.by_features``); the cosine may be that of a region.
    """

    intercept: float  # for matching and other pairs in equal numbers
    per_cosine: float  # 0 or more
    per_inlier: float  # positive
    prior: float  # assumed rate of queries with a match in the gallery, (0, 1)
    source: str  # where the pairs came from, in words
    n_positive: int
    n_negative: int

    def log_odds(self, similarity: float, inliers: int) -> float:
        """Return the logarithm of the odds that a hit is a match."""
        prior = math.log(self.prior / (1 - self.prior))
        return self.intercept + self.per_cosine * similarity + self.per_inlier * math.log1p(inliers) + prior

    def probability(self, similarity: float, inliers: int) -> float:
        """Return the probability in [0, 1] that a hit with this cosine and these inliers is a match."""
        return 1 / (1 + math.exp(-max(-700.0, min(700.0, self.log_odds(similarity, inliers)))))

    def to_dict(self) -> dict[str, Any]:
        """Return the numbers as JSON types."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> MatchOdds:
        """Return the odds that ``to_dict`` wrote. Raises GalleryError for what is none."""
        check_fit(values, cls, positive="per_inlier")
        return cls(**values)


def check_fit(values: Mapping[str, Any], kind: type[Any], *, positive: str) -> None:
    """Raise GalleryError unless these are the fields of a fitted curve: a source in words, finite numbers.

    ``positive`` names the number above 0; ``prior`` is between 0 and 1. NaN would else be a probability of 1.
    """
    names = {each.name for each in fields(kind)}
    numbers = {name: values.get(name) for name in names - {"source"}}
    odd = sorted(set(values) ^ names) or [
        name
        for name, value in sorted(numbers.items())
        if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < _LARGEST
    ]
    if not odd:
        odd = [name for name, fits in (
            ("prior", 0 < float(values["prior"]) < 1),
            (positive, float(values[positive]) > 0),
            ("source", isinstance(values["source"], str)),
        ) if not fits]  # fmt: skip
    if odd:
        raise GalleryError(
            f"the calibration of the gallery is damaged: {odd[0]} is {values.get(odd[0])!r:.80}; "
            "calibrate again"
        )


DEFAULT_ODDS = MatchOdds(
    intercept=-9.9,
    per_cosine=4.0,
    per_inlier=3.6,
    prior=0.5,
    source="defaults, set by trials on photographs that are no part of this gallery",
    n_positive=0,
    n_negative=0,
)


def fit_match_odds(positives: Tensor, negatives: Tensor, *, prior: float, source: str) -> MatchOdds:
    """Fit the odds to (cosine, inliers) of matching pairs (P, 2) and of other pairs (N, 2).

    Raises GalleryError for fewer than 5 pairs of a kind and where inliers don't tell them apart, ValueError
    for a prior outside (0, 1).
    """
    if min(len(positives), len(negatives)) < _MIN_MATCHES:
        raise GalleryError(
            f"calibration needs {_MIN_MATCHES} pairs or more of each kind, got {len(positives)} that match "
            f"and {len(negatives)} that don't; provide more"
        )
    if not 0 < prior < 1:
        raise ValueError(f"prior must be a probability between 0 and 1, got {prior}")
    sides = [torch.stack([x[:, 0], x[:, 1].log1p()], dim=1).double() for x in (positives, negatives)]
    per_cosine, per_inlier, intercept = fit_logistic_plane(*sides).tolist()
    if per_cosine < 0:  # as with turned copies: the inliers alone decide
        per_inlier, intercept = fit_logistic_plane(sides[0][:, 1:], sides[1][:, 1:]).tolist()
        per_cosine = 0.0
    if per_inlier <= 0:
        raise GalleryError(
            "pairs that match have no more inliers than the others, so geometry gives no probability; "
            "check the labels"
        )
    return MatchOdds(intercept, per_cosine, per_inlier, prior, source, len(positives), len(negatives))
