"""Silence Pillow's warnings while a file is decoded, also when many threads decode at once."""

from __future__ import annotations

import re
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, cast

_PILLOW = r"PIL\."
_lock = threading.Lock()
_active = 0  # threads that are inside quiet_pillow


@contextmanager
def quiet_pillow() -> Iterator[None]:
    """Ignore warnings issued by Pillow's own modules for the duration of the block.

    ``warnings.catch_warnings`` swaps the filters of the whole process and restores them out of
    order when threads overlap. Here the filter goes in with the first thread and out with the last.
    """
    global _active
    with _lock:
        _active += 1
        warnings.filterwarnings("ignore", module=_PILLOW)  # no duplicate if it is there already
    try:
        yield
    finally:
        with _lock:
            _active -= 1
            if _active == 0:
                _remove_filter()


def _remove_filter() -> None:
    filters = cast("list[Any]", warnings.filters)
    ours = ("ignore", None, Warning, re.compile(_PILLOW), 0)
    if ours in filters:
        filters.remove(ours)
