"""What the points of a map are colored by: the values of a metadata field, as a few categories or numbers."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from lookalike.store import Record
from lookalike.types import FloatArray

MOST_VALUES = 7  # categories with a color of their own: more can't be told apart
_FEW_NUMBERS = 7  # distinct numbers up to which they are categories
_LONGEST = 80  # characters of a category


@dataclass(frozen=True)
class MapColumn:
    """A metadata field of each picture of a map."""

    name: str
    kind: Literal["category", "number"]
    values: Sequence[str]  # categories that have a color, those of most pictures first; numbers ascending
    counts: Sequence[int]  # pictures that have each
    codes: NDArray[np.int16]  # (G,) position in values; len(values): another value; -1: none
    numbers: FloatArray  # (G,) float64, NaN where there is none; (0,) for categories

    def to_dict(self) -> dict[str, Any]:
        """Return the column as JSON types; a missing number is None."""
        numbers = [None if math.isnan(value) else value for value in self.numbers.tolist()]
        return {
            "name": self.name,
            "kind": self.kind,
            "values": list(self.values),
            "counts": list(self.counts),
            "codes": self.codes.tolist(),
            "numbers": numbers,
        }


def map_column(records: Sequence[Record], name: str) -> MapColumn:
    """Return a metadata field as a column.

    Numbers of more than seven distinct values are numbers; everything else is categories. A picture of
    several values, such as tags, counts for each, and has the color of the most frequent.
    """
    found = [_flat(record.values_of(name)) for record in records]
    distinct = {value for values in found for value in values}
    if len(distinct) > _FEW_NUMBERS and all(_is_number(value) for value in distinct):
        numbers = np.array([float(values[0]) if values else np.nan for values in found])
        return MapColumn(name, "number", (), (), np.empty(0, np.int16), numbers)
    counts = Counter(_text(value) for values in found for value in dict.fromkeys(values))
    most = sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:MOST_VALUES]
    if distinct and all(_is_number(value) for value in distinct):
        most.sort(key=lambda item: float(item[0]))
    code = {text: number for number, (text, _) in enumerate(most)}
    by_count = sorted(code, key=lambda text: -counts[text])
    codes = np.full(len(records), -1, np.int16)
    for row, values in enumerate(found):
        if values:
            texts = {_text(value) for value in values}
            codes[row] = next((code[text] for text in by_count if text in texts), len(most))
    shown = [text for text, _ in most]
    return MapColumn(name, "category", shown, [counts[t] for t in shown], codes, np.empty(0, np.float64))


def _flat(values: Sequence[Any]) -> list[Any]:
    """The values of a picture, those of lists one by one; what can't be compared as its JSON."""
    flat = [each for value in values for each in (value if isinstance(value, list) else [value])]
    return [json.dumps(each) if isinstance(each, dict | list) else each for each in flat if each is not None]


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e300


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)[:_LONGEST]
