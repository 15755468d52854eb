"""Checks of settings from JSON or the command line against the types of their defaults."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any


def checked_values(settings: Any, values: Mapping[str, Any], kind: str) -> dict[str, Any]:
    """Return the values as the fields of a settings class take them; lists become tuples.

    Raises ValueError for an unknown name, and for a value of another type than the default of the field.
    """
    known: dict[str, Any] = {field.name: field for field in fields(settings)}
    if unknown := sorted(set(values) - set(known)):
        raise ValueError(f"unknown settings of {kind}: {', '.join(unknown)}")
    return {
        name: _list(name, value, known[name].default)
        if "..." in str(known[name].type)
        else _checked(name, value, known[name].default)
        for name, value in values.items()
    }


def _checked(name: str, value: Any, default: Any) -> Any:
    if isinstance(default, tuple):
        return _sequence(name, value, default)
    if isinstance(default, bool):
        fits, expected = isinstance(value, bool), "true or false"
    elif isinstance(default, int):
        fits, expected = isinstance(value, int) and not isinstance(value, bool), "a whole number"
    elif isinstance(default, float):
        fits, expected = isinstance(value, int | float) and not isinstance(value, bool), "a number"
    else:
        fits, expected = isinstance(value, str), "a word"
    if not fits:
        raise ValueError(f"{name} is {expected}, such as {default!r}; got {value!r}")
    return value


def _sequence(name: str, value: Any, default: tuple[Any, ...]) -> tuple[Any, ...]:
    """As many numbers as the default has."""
    if not isinstance(value, list | tuple) or len(value) != len(default):
        raise ValueError(f"{name} is {len(default)} numbers, such as {list(default)}; got {value!r}")
    return tuple(_checked(name, part, default[i]) for i, part in enumerate(value))


def _list(name: str, value: Any, default: tuple[Any, ...]) -> tuple[Any, ...]:
    """Any number of values like the default's first, or of words if the default is empty."""
    example = default[0] if default else ""
    if isinstance(value, type(example)) and not isinstance(value, bool):
        value = (value,)
    if not isinstance(value, list | tuple):
        expected = f"a list such as {list(default)}" if default else "a list of words"
        raise ValueError(f"{name} is {expected}; got {value!r}")
    return tuple(_checked(name, part, example) for part in value)
