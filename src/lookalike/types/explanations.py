"""Results of explanation methods: explanations of pairs, differences, and matching cells."""

from __future__ import annotations

from dataclasses import dataclass, field
from html import escape
from typing import Any

import numpy as np

from lookalike.types.geometry import FloatArray, Geometry, Picture
from lookalike.types.html import map_html, photo_html, table_html
from lookalike.types.maps import ImageMap
from lookalike.types.scales import ColorScale


@dataclass(frozen=True, repr=False)
class Explanation:
    """An explanation of the similarity of two images: a signed map on each.

    If ``additive``, the maps are attributions in units of similarity: each sums to the similarity minus
    its residual. Otherwise they are heat maps, of relative weights only.
    """

    similarity: float  # the score explained, in [-1, 1]: the cosine, or that of method avsl or transport
    query: ImageMap
    match: ImageMap
    method: str  # "shares", "rollout", ...
    additive: bool  # whether the maps sum to the similarity, up to the residual
    model: str  # name of the model
    form: str = field(default="", kw_only=True)  # of the method, for people: "at the last layer"

    @property
    def query_map(self) -> FloatArray:
        """The values on the query: (hq, wq) float32, signed."""
        return self.query.values

    @property
    def match_map(self) -> FloatArray:
        """The values on the match: (hm, wm) float32, signed."""
        return self.match.values

    @property
    def query_geometry(self) -> Geometry:
        """The geometry of the query's grid on its image."""
        return self.query.geometry

    @property
    def match_geometry(self) -> Geometry:
        """The geometry of the match's grid on its image."""
        return self.match.geometry

    @property
    def residual(self) -> float:
        """The part of the similarity that the query's map does not account for.

        Raises ValueError for heat maps, which have no defined sum.
        """
        return self._missing(self.query)

    @property
    def match_residual(self) -> float:
        """The part of the similarity that the match's map does not account for; raises as ``residual``."""
        return self._missing(self.match)

    def to_dict(self) -> dict[str, Any]:
        """Return the explanation as JSON types, without the images."""
        return {
            "similarity": self.similarity,
            "method": self.method,
            "form": self.form,
            "additive": self.additive,
            "residual": self.residual if self.additive else None,
            "match_residual": self.match_residual if self.additive else None,
            "residual_parts": dict(self.query.residual_parts),
            "match_residual_parts": dict(self.match.residual_parts),
            "model": self.model,
            "query": self.query.name,
            "match": self.match.name,
            "query_map": self.query_map.tolist(),
            "match_map": self.match_map.tolist(),
            "query_geometry": self.query_geometry.to_dict(),
            "match_geometry": self.match_geometry.to_dict(),
        }

    def _repr_html_(self) -> str:
        """Return both images under their maps, for notebooks.

        Attributions share one color range, by density; heat maps are drawn each between its own ends.
        """
        sides = ((self.query, "query"), (self.match, "match"))
        limit = max(float(np.abs(side.values).max()) * side.values.size for side, _ in sides)
        maps = "".join(
            map_html(
                side,
                ColorScale.symmetric(limit / side.values.size)
                if self.additive
                else ColorScale.between_ends(side.values),
                f"{role}: {side.name}",
            )
            for side, role in sides
        )
        kind = f"residual {self.residual:+z.3f}" if self.additive else "heat maps, each between its own ends"
        words = f"similarity {self.similarity:z.3f}, method {self.method}, model {self.model}, {kind}"
        return (
            f"<div style='font:12px sans-serif'><b>{escape(words)}</b>"
            f"<div style='display:flex;gap:8px'>{maps}</div></div>"
        )

    def __repr__(self) -> str:
        return (
            f"{type(self).__name__}({self.query.name!r} and {self.match.name!r}, "
            f"similarity {self.similarity:z.4f}, method {self.method!r}, model {self.model!r})"
        )

    def _missing(self, side: ImageMap) -> float:
        if not self.additive:
            raise ValueError(
                f"a {self.method} map is a heat map, not a sum of shares, so it has no residual; "
                "check explanation.additive first"
            )
        return self.similarity - side.total


@dataclass(frozen=True, repr=False)
class Difference:
    """An explanation of why the query is closer to one match than to another: a signed map on the query."""

    query: ImageMap  # positive where the cell favors the preferred match
    preferred_similarity: float  # cosine with the match that should come first
    other_similarity: float  # cosine with the match that should come second
    model: str
    preferred: Picture
    other: Picture

    @property
    def query_map(self) -> FloatArray:
        """The values on the query: (h, w) float32, signed."""
        return self.query.values

    @property
    def query_geometry(self) -> Geometry:
        """The geometry of the query's grid on its image."""
        return self.query.geometry

    @property
    def residual(self) -> float:
        """The part of the difference of similarities that the map does not account for."""
        return self.preferred_similarity - self.other_similarity - self.query.total

    def to_dict(self) -> dict[str, Any]:
        """Return the difference as JSON types, without the images."""
        return {
            "query": self.query.name,
            "preferred": self.preferred.name,
            "other": self.other.name,
            "preferred_similarity": self.preferred_similarity,
            "other_similarity": self.other_similarity,
            "residual": self.residual,
            "model": self.model,
            "query_map": self.query_map.tolist(),
            "query_geometry": self.query_geometry.to_dict(),
        }

    def _repr_html_(self) -> str:
        """Return the query under its map, and both matches, for notebooks."""
        gap = self.preferred_similarity - self.other_similarity
        limit = float(np.abs(self.query.values).max())
        words = (
            f"closer by {gap:+z.3f}: orange favors the first, blue the second; residual {self.residual:+z.3f}"
        )
        sides = (
            map_html(self.query, ColorScale.symmetric(limit), f"query: {self.query.name}"),
            *(
                photo_html(picture.image, f"{escape(picture.name)}, similarity {similarity:z.3f}")
                for picture, similarity in (
                    (self.preferred, self.preferred_similarity),
                    (self.other, self.other_similarity),
                )
            ),
        )
        return (
            f"<div style='font:12px sans-serif'><b>{escape(words)}</b>"
            f"<div style='display:flex;gap:8px'>{''.join(sides)}</div></div>"
        )

    def __repr__(self) -> str:
        gap = self.preferred_similarity - self.other_similarity
        order = f"{self.preferred.name!r} above {self.other.name!r}"
        return f"Difference({self.query.name!r}: {order} by {gap:z.4f})"


@dataclass(frozen=True)
class CellMatch:
    """A cell of the query and a cell of the match that are each other's best counterpart."""

    query_cell: tuple[int, int]  # (row, column) on the query grid
    match_cell: tuple[int, int]  # (row, column) on the match grid
    contribution: float  # of the pair to the similarity
    cosine: float  # of the two local shares, in [-1, 1]


@dataclass(frozen=True, eq=False, repr=False)
class CellSimilarity:
    """Matching cells of two images, and the contribution of every pair of cells to the similarity."""

    values: FloatArray  # (Nq, Nm) float32, signed: contribution of each pair of cells to the similarity
    query: ImageMap  # row sums of the values
    match: ImageMap  # column sums
    matches: tuple[CellMatch, ...]  # mutual best matches, largest contribution first
    similarity: float
    model: str

    def to_dict(self) -> dict[str, Any]:
        """Return the matching cells as JSON types; the whole matrix is left out."""
        return {
            "query": self.query.name,
            "match": self.match.name,
            "similarity": self.similarity,
            "model": self.model,
            "query_grid": list(self.query.grid),
            "match_grid": list(self.match.grid),
            "matches": [
                {
                    "query_cell": list(each.query_cell),
                    "match_cell": list(each.match_cell),
                    "contribution": each.contribution,
                    "cosine": each.cosine,
                }
                for each in self.matches
            ],
        }

    def _repr_html_(self) -> str:
        """Return the ten best matching cells as a table, for notebooks."""
        names = f"{self.query.name} and {self.match.name}"
        return table_html(
            f"{names}: {len(self.matches)} matching cells, similarity {self.similarity:z.3f}",
            ("query cell", "match cell", "contribution", "cosine"),
            (
                (each.query_cell, each.match_cell, f"{each.contribution:+z.4f}", f"{each.cosine:z.3f}")
                for each in self.matches[:10]
            ),
        )

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, CellSimilarity):
            return NotImplemented
        return (
            np.array_equal(self.values, other.values)
            and (self.query, self.match, self.matches) == (other.query, other.match, other.matches)
            and (self.similarity, self.model) == (other.similarity, other.model)
        )

    def __hash__(self) -> int:
        return hash((self.query, self.match, self.matches, self.similarity, self.model))

    def __repr__(self) -> str:
        return (
            f"CellSimilarity({self.query.name!r} and {self.match.name!r}, "
            f"{len(self.matches)} matching cells, similarity {self.similarity:z.4f})"
        )
