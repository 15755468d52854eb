"""Results as plain data, for JSON."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any


def record_to_dict(record: Any, *, without: Collection[str] = ()) -> dict[str, Any]:
    """Return the fields of a dataclass in JSON types, less those named in ``without``."""
    return {
        field.name: _plain(getattr(record, field.name))
        for field in fields(record)
        if field.name not in without
    }


def _plain(value: Any) -> Any:
    """Tuples become lists, paths strings, NaN None."""
    if is_dataclass(value):
        return record_to_dict(value)
    if isinstance(value, Mapping):
        return {str(key): _plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    if isinstance(value, float) and math.isnan(value):
        return None
    return str(value) if isinstance(value, Path) else value
