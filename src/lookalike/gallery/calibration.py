"""Match probabilities: a logistic curve fitted to the cosines of matching and other pairs."""

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
from lookalike.rerankers.match_odds import check_fit
from lookalike.store import Snapshot

LabeledPair = tuple[ImageSource, ImageSource, bool]
_LARGEST_SIDE = 640  # pixels; larger images are reduced before they are altered
_MIN_PAIRS = 5


@dataclass(frozen=True)
class Calibration:
    """A logistic curve from the cosine of a hit to the probability that it is a match."""

    slope: float  # positive
    intercept: float  # for matching and other pairs in equal numbers
    prior: float  # assumed rate of queries with a match in the gallery, (0, 1)
    source: str  # where the pairs came from, in words
    n_positive: int
    n_negative: int

    def probability(self, similarity: float) -> float:
        """Return the probability in [0, 1] that a hit with this cosine is a match."""
        logit = self.slope * similarity + self.intercept + _logit(self.prior)
        return 1 / (1 + math.exp(-max(-700.0, min(700.0, logit))))

    @property
    def threshold(self) -> float:
        """The cosine at which the probability is 0.5."""
        return -(self.intercept + _logit(self.prior)) / self.slope

    def to_dict(self) -> dict[str, Any]:
        """Return the curve as JSON types."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Calibration:
        """Return the curve that ``to_dict`` wrote. Raises GalleryError for what is none."""
        check_fit(values, cls, positive="slope")
        return cls(**values)


def fit_calibration(positives: Tensor, negatives: Tensor, *, prior: float, source: str) -> Calibration:
    """Fit the curve to cosines of matching pairs (P,) and of other pairs (N,).

    Raises GalleryError for fewer than 5 pairs of a kind and for a curve that does not rise, ValueError
    for a prior outside (0, 1).
    """
    if min(len(positives), len(negatives)) < _MIN_PAIRS:
        raise GalleryError(
            f"calibration needs {_MIN_PAIRS} pairs or more of each kind, got {len(positives)} that match "
            f"and {len(negatives)} that don't; provide more"
        )
    if not 0 < prior < 1:
        raise ValueError(f"prior must be a probability between 0 and 1, got {prior}")
    slope, intercept = fit_logistic(positives.double(), negatives.double()).tolist()
    if slope <= 0:
        raise GalleryError(
            "pairs that match are no more similar than the others, so no probability can be fitted; "
            "check the labels or use another model"
        )
    return Calibration(slope, intercept, prior, source, len(positives), len(negatives))


def pair_cosines(pairs: Sequence[LabeledPair], embedder: Embedder) -> tuple[Tensor, Tensor]:
    """Return the cosines of the matching pairs (P,) and of the other pairs (N,), float32."""
    if not pairs:
        return torch.empty(0), torch.empty(0)
    first = embedder.embed([pair[0] for pair in pairs])
    second = embedder.embed([pair[1] for pair in pairs])
    cosines = (first * second).sum(1)
    is_match = torch.tensor([bool(pair[2]) for pair in pairs])
    return cosines[is_match], cosines[~is_match]


def label_cosines(snapshot: Snapshot, field: str, *, count: int, seed: int) -> tuple[Tensor, Tensor]:
    """Return cosines of random images with the nearest of the same and of another value of a field.

    ``count`` images at most; two float32 tensors (P,), (N,). Images whose files have different values are
    left out. Raises GalleryError if no image has the field, and if it has only one value, or no value that
    two images share.
    """
    values = [record.values_of(field) for record in snapshot.records]
    if not any(values):
        names = sorted({n for record in snapshot.records for file in record.files for n in file.metadata})
        raise GalleryError(
            f"no image has the metadata field {field!r}; there are {', '.join(names) or 'none'}"
        )
    labels = np.array([str(each[0]) if len(each) == 1 else "" for each in values])
    known = np.flatnonzero(labels != "")
    vectors = torch.from_numpy(snapshot.embeddings[known])  # (G, D) of labeled images only
    _, codes = np.unique(labels[known], return_inverse=True)
    rows = np.random.default_rng(seed).permutation(len(known))[:count]
    cosines = vectors[rows] @ vectors.T  # (B, G)
    is_same = torch.from_numpy(codes[rows, None] == codes[None])
    is_self = torch.from_numpy(rows[:, None] == np.arange(len(known))[None])
    if not len(known) or is_same.all() or not (is_same & ~is_self).any():
        raise GalleryError(
            f"calibration by {field!r} needs two values or more, one of them on several images; "
            "name another field, or none"
        )
    return _best(cosines, is_same & ~is_self), _best(cosines, ~is_same)


def altered_cosines(
    snapshot: Snapshot, embedder: Embedder, *, count: int, seed: int
) -> tuple[Tensor, Tensor]:
    """Return cosines of altered copies with their originals (P,) and with the nearest other image (P,).

    Of ``count`` random images at most. Raises GalleryError if no image can be read or there is no
    other image.
    """
    rng = np.random.default_rng(seed)
    n_records = len(snapshot.records)
    altered: list[Image.Image] = []
    rows: list[int] = []
    for row in rng.permutation(n_records)[:count].tolist():
        try:
            picture = embedder.picture(existing_file(snapshot.records[row]))
        except UnreadableImageError:
            continue  # a deleted file costs one sample
        altered.append(alter(picture.image, rng))
        rows.append(row)
    if not rows or n_records < 2:
        raise GalleryError("calibration needs two images whose files still exist; index some first")
    queries, originals = embedder.embed(altered), torch.tensor(rows)
    cosines = queries @ torch.from_numpy(snapshot.embeddings).T  # (B, G)
    is_own = originals[:, None] == torch.arange(n_records)[None]
    return cosines[is_own], _best(cosines, ~is_own)


def alter(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Return a near-duplicate: cropped, rotated up to 2 degrees, color-jittered, JPEG-compressed."""
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
