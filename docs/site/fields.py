"""Fields of a dataclass are described by the comments beside them; the reference shows these."""

from __future__ import annotations

import dataclasses
import inspect
import re
from typing import Any

_FIELD = re.compile(r"^    (\w+): (.+?)(?: = .+?)?(?:  # (.+))?$")


def add_fields(app: Any, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    if what in ("class", "exception") and dataclasses.is_dataclass(obj):
        lines += ["", *field_lines(obj)]


def field_lines(cls: type) -> list[str]:
    """A list item for each public field: its name, its type, and the comment beside it."""
    comments = {}
    for line in inspect.getsource(cls).splitlines():
        if found := _FIELD.match(line):
            comments[found[1]] = found[3] or ""
    return [
        f"* **{field.name}** (``{field.type}``)" + (f": {told}" if (told := comments.get(field.name)) else "")
        for field in dataclasses.fields(cls)
        if not field.name.startswith("_")
    ]
