"""Whether two files show the same: identical bytes, one picture altered, or the same thing."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lookalike import images
from lookalike.explainers import SharesExplainer, make_explainer
from lookalike.gallery.calibration import Calibration
from lookalike.gallery.changes import changes_in_words
from lookalike.gallery.links import GroupKind, is_one_picture
from lookalike.models.embedder import Embedder
from lookalike.rerankers.alignment import Alignment, align_pictures, reduced_picture
from lookalike.rerankers.local_features import has_opencv
from lookalike.types import Explanation, Reading


@dataclass(frozen=True, eq=False)
class Sameness:
    """The answer about two files, with its evidence."""

    kind: GroupKind | None  # in which way they are the same; None: they are not, as far as was asked
    similarity: float  # cosine, [-1, 1]
    probability: float | None  # of being the same thing, [0, 1]; None without a calibration
    change: tuple[str, ...]  # what was done to the second; empty unless near-duplicate
    alignment: Alignment | None  # the best one found, also where it is no evidence; None without OpenCV
    asked_for_thing: bool  # False: only whether both are one picture
    _readings: tuple[Reading, Reading]
    _embedder: Embedder

    @property
    def is_same(self) -> bool:
        """Whether they are the same in some way."""
        return self.kind is not None

    @property
    def sentence(self) -> str:
        """The answer in one sentence."""
        numbers = f"similarity {self.similarity:z.3f}"
        if self.probability is not None:
            numbers += f", probability {self.probability:z.2f}"
        if self.kind == "copy":
            return "the same: identical files"
        if self.kind == "near-duplicate":
            assert self.alignment is not None
            agree = f"contents agree over {100 * self.alignment.agreement:.0f} % of the overlap"
            return f"the same picture: {', '.join(self.change)} ({agree}, {numbers})"
        if self.kind == "same":
            return f"the same thing ({numbers}), in different pictures"
        if self.asked_for_thing:
            return f"not the same ({numbers})"
        return f"not the same picture ({numbers}); whether it is the same thing needs a calibrated gallery"

    def why(self) -> Explanation:
        """Return the explanation of the similarity, with a map of each picture."""
        return make_explainer(self._embedder, SharesExplainer.name)(*self._readings)

    def to_dict(self) -> dict[str, Any]:
        """Return the answer as JSON types."""
        found = self.alignment
        return {
            "same": self.is_same,
            "kind": self.kind,
            "similarity": self.similarity,
            "probability": self.probability,
            "change": list(self.change),
            "agreement": None if found is None else found.agreement,
            "inliers": None if found is None else found.n_inliers,
            "transformation": None if found is None else found.matrix.tolist(),
            "sentence": self.sentence,
        }


def compare_files(
    first: str | Path,
    second: str | Path,
    embedder: Embedder,
    curve: Calibration | None = None,
    *,
    least_probability: float = 0.5,
) -> Sameness:
    """Return whether two image files show the same, with the evidence.

    They are the same as identical files, as one picture altered (if OpenCV is installed), or with a
    probability of ``least_probability`` or more by the calibration ``curve``. Raises UnreadableImageError.
    """
    data = [images.file_bytes(path) for path in (first, second)]
    pictures = [
        embedder.picture(bytes_, name=str(path)) for bytes_, path in zip(data, (first, second), strict=True)
    ]
    a, b = (embedder.read(picture) for picture in pictures)
    units = [embedder.embed_pixels([each.pixels], names=[each.picture.name])[0] for each in (a, b)]
    similarity = float(units[0] @ units[1])
    probability = None if curve is None else curve.probability(similarity)
    alignment = align_pictures(*(reduced_picture(each) for each in pictures)) if has_opencv() else None
    kind: GroupKind | None = None
    change: tuple[str, ...] = ()
    if hashlib.sha256(data[0]).digest() == hashlib.sha256(data[1]).digest():
        kind = "copy"
    elif alignment is not None and is_one_picture(alignment):
        kind, change = "near-duplicate", changes_in_words(alignment)
    elif probability is not None and probability >= least_probability:
        kind = "same"
    return Sameness(kind, similarity, probability, change, alignment, curve is not None, (a, b), embedder)
