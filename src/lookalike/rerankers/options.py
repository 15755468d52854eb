"""Checks of the numbers that re-rankers take, so that a wrong one is a sentence and not a crash."""

from __future__ import annotations


def at_least_one(value: int, name: str) -> int:
    """The whole number. Raises ValueError below one."""
    if not isinstance(value, int) or value < 1:
        raise ValueError(f"{name} is a whole number, 1 or more, got {value!r}")
    return value


def not_negative(value: float, name: str) -> float:
    """The number. Raises ValueError below zero."""
    if not isinstance(value, int | float) or not 0 <= value < float("inf"):
        raise ValueError(f"{name} is a number, 0 or more, got {value!r}")
    return float(value)


def fraction(value: float, name: str) -> float:
    """The number. Raises ValueError outside [0, 1]."""
    if not isinstance(value, int | float) or not 0 <= value <= 1:
        raise ValueError(f"{name} is a number from 0 to 1, got {value!r}")
    return float(value)
