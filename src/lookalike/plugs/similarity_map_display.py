"""Maps of a pair as a display of scikit-learn's kind: ``from_estimator``, ``plot`` (extra ``[train]``)."""

from __future__ import annotations

from typing import Any, final

import matplotlib.pyplot as plt
import numpy as np

from lookalike.explainers import explain
from lookalike.images import ImageSource
from lookalike.plugs.scikit_learn import EmbedderTransformer
from lookalike.types import Explanation, ImageMap


@final
class SimilarityMapDisplay:
    """Two pictures with the map of each, on matplotlib's axes.

    After ``plot``, ``axes_`` holds both axes, ``images_`` the drawn maps and ``figure_`` the figure. Both
    maps share one range around zero.

    >>> black, white = np.zeros((60, 80, 3), np.uint8), np.full((60, 80, 3), 255, np.uint8)
    >>> display = SimilarityMapDisplay.from_estimator(EmbedderTransformer("mini"), black, white)
    >>> abs(display.explanation.similarity - float(display.explanation.query_map.sum())) < 1e-5
    True
    """

    def __init__(self, explanation: Explanation) -> None:
        self.explanation = explanation

    @classmethod
    def from_estimator(
        cls,
        estimator: EmbedderTransformer,
        X: ImageSource,
        Y: ImageSource,
        *,
        method: str = "shares",
        **options: Any,
    ) -> SimilarityMapDisplay:
        """The display of what a transformer's model finds alike in two pictures. Raises as ``explain``."""
        return cls(explain(X, Y, model=estimator.model, method=method, **options))

    def plot(self, *, axes: Any = None, cmap: str = "RdBu_r", alpha: float = 0.6) -> SimilarityMapDisplay:
        """Draw query and match side by side, on two given axes or a new figure; this display.

        Raises ValueError for another number of axes.
        """
        if axes is None:
            _, axes = plt.subplots(1, 2, layout="constrained")
        self.axes_ = np.ravel(axes)
        if len(self.axes_) != 2:
            raise ValueError(f"query and match need two axes, got {len(self.axes_)}")
        sides = (self.explanation.query, self.explanation.match)
        limit = max(float(np.abs(_density(side)).max()) for side in sides) or 1.0
        self.figure_ = self.axes_[0].figure
        self.images_ = [
            _drawn(ax, side, limit, cmap, alpha) for ax, side in zip(self.axes_, sides, strict=True)
        ]
        self.axes_[0].set_title(f"query · similarity {self.explanation.similarity:.3f}")
        self.axes_[1].set_title("match")
        return self


def _density(side: ImageMap) -> Any:
    """Values per cell of an even grid, so that maps of different grids are comparable."""
    return side.values * side.values.size


def _drawn(ax: Any, side: ImageMap, limit: float, cmap: str, alpha: float) -> Any:
    height, width = side.geometry.original_size
    top, left, rows, columns = side.geometry.crop
    ax.imshow(np.asarray(side.picture.image), extent=(0, width, height, 0))
    drawn = ax.imshow(
        _density(side), extent=(left, left + columns, top + rows, top), cmap=cmap, alpha=alpha, vmin=-limit,
        vmax=limit,
    )  # fmt: skip
    ax.set(xlim=(0, width), ylim=(height, 0), xticks=[], yticks=[])
    return drawn
