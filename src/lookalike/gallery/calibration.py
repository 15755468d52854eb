"""Is this a match at all? From cosines of pairs that match and pairs that don't to a probability."""

from __future__ import annotations

import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageEnhance
from torch import Tensor

from lookalike import images
from lookalike.errors import GalleryError, UnreadableImageError
from lookalike.gallery.query import existing_file
from lookalike.models.embedder import Embedder, ImageSource
from lookalike.ops.calibration import fit_logistic
from lookalike.store import Snapshot

LabeledPair = tuple[ImageSource, ImageSource, bool]
_LARGEST_SIDE = 640  # pixels at which pictures are altered
_MIN_PAIRS = 5


@dataclass(frozen=True)
class Calibration:
    """A curve from cosines to the probability that a hit is a match."""

    slope: float
    intercept: float  # with pairs of both kinds equally likely
    prior: float  # how likely a query has a match here, before one looks
    source: str  # where the pairs came from, in words
    n_positive: int
    n_negative: int

    def probability(self, similarity: float) -> float:
        """Probability in [0, 1] that a hit with this cosine is a match."""
        logit = self.slope * similarity + self.intercept + _logit(self.prior)
        return 1 / (1 + math.exp(-max(-700.0, min(700.0, logit))))

    @property
    def threshold(self) -> float:
        """The cosine with probability 0.5; a best hit below it is no good match."""
        return -(self.intercept + _logit(self.prior)) / self.slope

    def to_dict(self) -> dict[str, Any]:
        """As JSON types."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Calibration:
        """What `to_dict` wrote."""
        return cls(**values)


def fit_calibration(positives: Tensor, negatives: Tensor, *, prior: float, source: str) -> Calibration:
    """The curve for cosines of matching and of other pairs. Raises GalleryError where it can't be one."""
    if min(len(positives), len(negatives)) < _MIN_PAIRS:
        raise GalleryError(
            f"calibrating needs {_MIN_PAIRS} pairs of each kind, got {len(positives)} that match and "
            f"{len(negatives)} that don't; give more"
        )
    if not 0 < prior < 1:
        raise ValueError(f"the prior is a probability between 0 and 1, got {prior}")
    slope, intercept = fit_logistic(positives.double(), negatives.double()).tolist()
    if slope <= 0:
        raise GalleryError(
            "pairs that match are no more similar than others here, so no probability can be given; "
            "check the labels or use another model"
        )
    return Calibration(slope, intercept, prior, source, len(positives), len(negatives))


def pair_cosines(pairs: Sequence[LabeledPair], embedder: Embedder) -> tuple[Tensor, Tensor]:
    """Cosines of labeled pairs of images: those that match, and the others."""
    if not pairs:
        return torch.empty(0), torch.empty(0)
    first = embedder.embed([pair[0] for pair in pairs])
    second = embedder.embed([pair[1] for pair in pairs])
    cosines = (first * second).sum(1)
    is_match = torch.tensor([bool(pair[2]) for pair in pairs])
    return cosines[is_match], cosines[~is_match]


def label_cosines(snapshot: Snapshot, field: str, *, count: int, seed: int) -> tuple[Tensor, Tensor]:
    """For random pictures: cosines of the nearest with the same value of a field, and with another."""
    labels = np.array([str(record.metadata.get(field, "")) for record in snapshot.records])
    known = np.flatnonzero(labels != "")
    vectors = torch.from_numpy(snapshot.embeddings[known])  # (G, D) of labeled pictures only
    _, codes = np.unique(labels[known], return_inverse=True)
    rows = np.random.default_rng(seed).permutation(len(known))[:count]
    cosines = vectors[rows] @ vectors.T  # (B, G)
    is_same = torch.from_numpy(codes[rows, None] == codes[None])
    is_self = torch.from_numpy(rows[:, None] == np.arange(len(known))[None])
    if not len(known) or is_same.all() or not (is_same & ~is_self).any():
        raise GalleryError(
            f"calibrating by {field!r} needs two values of it or more, one of them on several pictures; "
            "name another field, or none"
        )
    return _best(cosines, is_same & ~is_self), _best(cosines, ~is_same)


def altered_cosines(
    snapshot: Snapshot, embedder: Embedder, *, count: int, seed: int
) -> tuple[Tensor, Tensor]:
    """Cosines of altered copies of some pictures with their originals, and with the nearest other."""
    rng = np.random.default_rng(seed)
    n_records = len(snapshot.records)
    altered: list[Image.Image] = []
    rows: list[int] = []
    for row in rng.permutation(n_records)[:count].tolist():
        try:
            picture = images.load(existing_file(snapshot.records[row]))
        except UnreadableImageError:
            continue  # the file is gone; there are others
        altered.append(alter(picture.image, rng))
        rows.append(row)
    if not rows or n_records < 2:
        raise GalleryError("calibrating needs two pictures whose files are still there; index some first")
    queries, originals = embedder.embed(altered), torch.tensor(rows)
    cosines = queries @ torch.from_numpy(snapshot.embeddings).T  # (B, G)
    is_own = originals[:, None] == torch.arange(n_records)[None]
    return cosines[is_own], _best(cosines, ~is_own)


def alter(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """The picture as somebody else might have it: cut, turned a little, other light, compressed."""
    image = image.copy()
    image.thumbnail((_LARGEST_SIDE, _LARGEST_SIDE))
    width, height = image.size
    image = image.rotate(rng.uniform(-2, 2), Image.Resampling.BILINEAR)
    left, top, right, bottom = rng.uniform(0, 0.05, 4)
    sides = (width * left, height * top, width * (1 - right), height * (1 - bottom))
    image = image.crop((int(sides[0]), int(sides[1]), math.ceil(sides[2]), math.ceil(sides[3])))
    for enhance in (ImageEnhance.Brightness, ImageEnhance.Contrast, ImageEnhance.Color):
        image = enhance(image).enhance(rng.uniform(0.8, 1.2))
    buffer = io.BytesIO()
    image.save(buffer, format="JPEG", quality=int(rng.integers(40, 90)))
    return images.load(buffer.getvalue()).image


def _best(cosines: Tensor, allowed: Tensor) -> Tensor:
    """The largest allowed cosine of each row that has one."""
    best = cosines.masked_fill(~allowed, -torch.inf).amax(1)
    return best[best.isfinite()]


def _logit(p: float) -> float:
    return math.log(p / (1 - p))
