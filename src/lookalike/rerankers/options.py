"""Validation of the numeric options of re-rankers."""

from __future__ import annotations


def at_least_one(value: int, name: str) -> int:
    """Return the number. Raises ValueError unless it is a whole number of 1 or more."""
    if not isinstance(value, int) or value < 1:
        raise ValueError(f"{name} must be a whole number of 1 or more, got {value!r}")
    return value


def not_negative(value: float, name: str) -> float:
    """Return the number. Raises ValueError unless it is finite and 0 or more."""
    if not isinstance(value, int | float) or not 0 <= value < float("inf"):
        raise ValueError(f"{name} must be a number of 0 or more, got {value!r}")
    return float(value)


def fraction(value: float, name: str) -> float:
    """Return the number. Raises ValueError outside [0, 1]."""
    if not isinstance(value, int | float) or not 0 <= value <= 1:
        raise ValueError(f"{name} must be a number from 0 to 1, got {value!r}")
    return float(value)


def yes_or_no(value: bool, name: str) -> bool:
    """Return the value. Raises ValueError unless it is True or False."""
    if not isinstance(value, bool):
        raise ValueError(f"{name} must be true or false, got {value!r}")
    return value
