"""Evidence that two pictures show the same thing: points of both that one transformation carries over."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lookalike.types.geometry import FloatArray, Picture
from lookalike.types.html import photo_html

Corners = tuple[tuple[float, float], ...]  # (x, y) in pixels of an original picture, in order


@dataclass(frozen=True, eq=False, repr=False)
class Verification:
    """What a geometric comparison of two pictures found; all coordinates are (x, y) in original pixels.

    Coordinates are those of boxes: (0, 0) is the upper left corner of the upper left pixel of the picture
    as it is seen, EXIF orientation applied. Inliers are pairs of points, one to one, that the transformation
    carries onto each other. There is none if no transformation was accepted.
    """

    query_points: FloatArray  # (n, 2) of the inliers, on the query
    match_points: FloatArray  # (n, 2), on the match
    transformation: NDArray[np.float64] | None  # (3, 3) homography from the query to the match
    kind: str  # "homography" or "affine"; "" without a transformation
    source: str  # what was matched: "sift", local features, or "cells" of the model
    n_tentative: int  # pairs of points that were tried
    mirrored: bool  # whether one picture is the mirror image of the other
    frame: tuple[float, float, float, float]  # of the query, that was compared: left, top, right, bottom
    match_size: tuple[int, int]  # (H, W)

    @property
    def n_inliers(self) -> int:
        """Number of pairs of points that the transformation carries onto each other."""
        return len(self.query_points)

    @property
    def by_features(self) -> int:
        """The inliers that count as evidence: those of local features; cells of a model are too coarse."""
        return self.n_inliers if self.source == "sift" else 0

    @property
    def query_outline(self) -> Corners:
        """Where the four corners of the match lie on the query; empty without a transformation.

        They are in the order upper left, upper right, lower right, lower left of the match, and may lie
        outside the query.
        """
        if self.transformation is None:
            return ()
        height, width = self.match_size
        inverse = np.asarray(np.linalg.inv(self.transformation), dtype=np.float64)
        return carried(inverse, _corners((0, 0, width, height)))

    @property
    def match_outline(self) -> Corners:
        """Where the corners of the query, or of the box that was compared, lie on the match."""
        return () if self.transformation is None else carried(self.transformation, _corners(self.frame))

    def to_dict(self) -> dict[str, Any]:
        """Return the evidence as JSON types."""
        matrix = self.transformation
        return {
            "inliers": self.n_inliers,
            "tentative": self.n_tentative,
            "source": self.source,
            "kind": self.kind,
            "mirrored": self.mirrored,
            "transformation": None if matrix is None else matrix.tolist(),
            "outline": [list(corner) for corner in self.query_outline],
            "match_outline": [list(corner) for corner in self.match_outline],
            "query_points": np.round(self.query_points, 2).astype(float).tolist(),
            "match_points": np.round(self.match_points, 2).astype(float).tolist(),
        }

    def __repr__(self) -> str:
        how = f", {self.kind}" + (", mirrored" if self.mirrored else "") if self.kind else ""
        return f"Verification({self.n_inliers} inliers of {self.n_tentative} by {self.source}{how})"


@dataclass(frozen=True, eq=False, repr=False)
class GeometricMatch:
    """Two pictures with the evidence of their geometry, and the probability that they show the same."""

    query: Picture
    match: Picture
    verification: Verification
    similarity: float  # cosine of both embeddings, or of the query's region with the match
    probability: float  # [0, 1], by the cosine and the inliers together
    model: str

    def _repr_html_(self) -> str:
        """Return both pictures and the evidence in words, for notebooks."""
        words = (
            f"{self.verification.n_inliers} inliers, similarity {self.similarity:z.3f}, "
            f"probability {self.probability:z.2f}"
        )
        photos = "".join(photo_html(side.image, escape(side.name)) for side in (self.query, self.match))
        row = f"<div style='display:flex;gap:8px'>{photos}</div>"
        return f"<div style='font:12px sans-serif'><b>{words}</b>{row}</div>"

    def __repr__(self) -> str:
        return (
            f"GeometricMatch({self.query.name!r}, {self.match.name!r}, "
            f"{self.verification.n_inliers} inliers, similarity {self.similarity:z.4f}, "
            f"probability {self.probability:z.2f})"
        )

    def to_dict(self) -> dict[str, Any]:
        """Return names, numbers and the evidence as JSON types."""
        return {
            "query": self.query.name,
            "match": self.match.name,
            "model": self.model,
            "method": "geometry",
            "similarity": self.similarity,
            "probability": self.probability,
            **self.verification.to_dict(),
        }


def carried(transformation: NDArray[np.float64], corners: Corners) -> Corners:
    """Return the corners where a homography (3, 3) carries them."""
    points = np.column_stack([np.array(corners, dtype=np.float64), np.ones(len(corners))])
    x, y, w = (points @ transformation.T).T
    return tuple((float(a), float(b)) for a, b in zip(x / w, y / w, strict=True))


def _corners(box: tuple[float, float, float, float]) -> Corners:
    left, top, right, bottom = box
    return (left, top), (right, top), (right, bottom), (left, bottom)
