"""JSON files and the numbers in annotations, checked, with errors that name the file and the entry."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any, cast

from lookalike.datasets.texts import read_text
from lookalike.errors import DatasetError


def read_json(path: Path) -> Any:
    """Read a JSON file. Raises DatasetError if it is missing or damaged."""
    try:
        return json.loads(read_text(path))
    except (ValueError, RecursionError) as error:  # RecursionError: lists in lists without end
        raise DatasetError(f"{path} is not JSON: {error}; download it again") from error


def finite_numbers(value: object, n: int, what: str) -> tuple[float, ...]:
    """The n finite numbers of a list, or of their texts. Raises DatasetError, which begins with ``what``."""
    try:
        entries = () if isinstance(value, str | bytes) else cast(Iterable[Any], value)
        numbers = tuple(float(entry) for entry in entries)
    except (TypeError, ValueError):
        numbers = ()
    if len(numbers) != n or not all(map(math.isfinite, numbers)):
        raise DatasetError(f"{what} is not {n} numbers, but {value!r:.200}; repair the annotation")
    return numbers


def box_of_corners(value: object, what: str) -> tuple[float, float, float, float]:
    """The box (left, top, right, bottom) given so. Raises DatasetError for an empty one and no numbers."""
    left, top, right, bottom = finite_numbers(value, 4, what)
    if not (left < right and top < bottom):
        raise DatasetError(
            f"{what} is empty: left {left:g}, top {top:g}, right {right:g}, bottom {bottom:g}; repair it"
        )
    return left, top, right, bottom


def box_of_size(value: object, what: str) -> tuple[float, float, float, float]:
    """The box (left, top, right, bottom) given as left, top, width and height. Raises DatasetError."""
    left, top, width, height = finite_numbers(value, 4, what)
    return box_of_corners((left, top, left + width, top + height), what)
