"""A progress bar for notebooks, and for terminals where none runs."""

from __future__ import annotations

from typing import Any, final

from tqdm.auto import tqdm

from lookalike.types import Progress


@final
class ProgressBar:
    """A ``progress=`` callback that draws a bar: one for each stage, closed when it is done.

    >>> ProgressBar()(Progress("indexing", 0, 0, 0.0, None))
    """

    def __init__(self) -> None:
        self._bar: Any = None
        self._stage = ""

    def __call__(self, progress: Progress) -> None:
        """Show the state of the work."""
        if progress.stage != self._stage or self._bar is None:
            self.close()
            self._bar = tqdm(total=progress.total, desc=progress.stage) if progress.total else None
            self._stage = progress.stage
        if self._bar is None:
            return
        self._bar.total = progress.total
        self._bar.update(progress.done - self._bar.n)
        if progress.values:
            self._bar.set_postfix(progress.values)
        if progress.done >= progress.total:
            self.close()

    def close(self) -> None:
        """Close the bar of a stage that was not finished."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None
