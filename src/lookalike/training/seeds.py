"""Seeds that follow from a few numbers, such as the seed of a training and its step."""

from __future__ import annotations

import numpy as np


def seed_of(*numbers: int) -> int:
    """A seed for torch, 64 bits from ``numpy.random.SeedSequence``; the same on every machine.

    Raises ValueError for negative numbers.
    """
    return int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0])
