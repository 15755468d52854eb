"""The range of values over which the colors of a map run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lookalike.types.geometry import FloatArray

_ROUNDING = 1e-6  # of the largest value: less than this between both ends is rounding, not a map


@dataclass(frozen=True)
class ColorScale:
    """The values at both ends of a color range, and the value that has no color."""

    low: float
    high: float
    zero: float  # low <= zero <= high

    @classmethod
    def symmetric(cls, limit: float) -> ColorScale:
        """Return the scale around zero whose ends are -limit and limit, for maps that share it."""
        return cls(-limit, limit, 0.0)

    @classmethod
    def between_ends(cls, values: FloatArray, *, keep_sign: bool = True) -> ColorScale:
        """Return the scale of one map (h, w) alone, from its lowest value to its highest.

        Values of one sign begin without color at the lowest. Where there are both signs, zero has no
        color, unless ``keep_sign`` is False.
        """
        low, high = float(np.min(values)), float(np.max(values))
        return cls(low, high, 0.0 if keep_sign and low < 0 < high else low)

    @property
    def crosses_zero(self) -> bool:
        """Whether there are values of both signs between the ends."""
        return self.low < 0 < self.high

    @property
    def spread(self) -> float:
        """Distance of the ends, as a part of the larger absolute value: 0 where both are equal."""
        largest = max(abs(self.low), abs(self.high))
        return (self.high - self.low) / largest if largest > 0 else 0.0

    @property
    def is_flat(self) -> bool:
        """Whether both ends are equal but for rounding, so that nothing can be drawn."""
        return self.spread <= _ROUNDING

    def relative(self, values: NDArray[np.floating[Any]]) -> FloatArray:
        """Return values (...) as float32 relative to the farther end: 0 without color, 1 or -1 at that end.

        Beyond the ends they are not clipped. On a flat scale all are 0.
        """
        if self.is_flat:
            return np.zeros_like(values, dtype=np.float32)
        reach = max(self.high - self.zero, self.zero - self.low)
        return ((np.asarray(values, dtype=np.float64) - self.zero) / reach).astype(np.float32)
