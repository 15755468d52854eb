"""Printing shared by commands: errors in one sentence, tables, JSON, progress."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

import lookalike.errors as errors

if TYPE_CHECKING:
    from rich.progress import Progress as RichProgress

    from lookalike.types import Progress, ProgressCallback

_PIPED_WIDTH = 10_000  # columns of a table that goes to a file: no line is broken


@contextmanager
def friendly_errors() -> Iterator[None]:
    """Known errors become one sentence on stderr and exit code 1."""
    try:
        yield
    except (errors.LookalikeError, ValueError) as error:
        typer.echo(f"lookalike: {error}", err=True)
        raise typer.Exit(1) from error


def print_table(header: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> None:
    """Print rows under a header, aligned; a file name is printed as it is, and whole where it is piped."""
    from rich.console import Console
    from rich.table import Table

    table = Table(*header, box=None, pad_edge=False)
    for row in rows:
        table.add_row(*row)
    console = Console(soft_wrap=True, markup=False, emoji=False, highlight=False)
    if not console.is_terminal:
        console.width = _PIPED_WIDTH
    console.print(table)


def print_json(value: Mapping[str, Any]) -> None:
    """Print a value as JSON; what JSON does not know, such as a path, as text."""
    typer.echo(json.dumps(value, indent=2, default=str))


@contextmanager
def shown_progress() -> Iterator[ProgressCallback]:
    """A callback that draws progress as a bar on stderr: the stage, how far, how fast, what remains."""
    from rich.progress import TextColumn

    with _bar(TextColumn("{task.fields[left]}")) as bar:
        task = bar.add_task("", total=None, rate="", left="")

        def show(progress: Progress) -> None:
            left = "" if progress.remaining is None else f"{progress.remaining:,.0f} s left"
            rate = f"{progress.rate:,.1f}/s" if progress.rate else ""
            bar.update(
                task,
                description=progress.stage,
                total=progress.total,
                completed=progress.done,
                rate=rate,
                left=left,
            )

        yield show


def write_text(path: Path, text: str) -> None:
    """Write a file that the caller named."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise errors.LookalikeError(f"{path} can't be written: {error}; choose another path") from error


def _bar(last_column: Any) -> RichProgress:
    """A bar on stderr with what is done and how fast; rich is loaded here, not for ``--help``."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    rate = TextColumn("{task.fields[rate]}")
    console = Console(stderr=True)
    # in a pipe the bar would draw nothing and leave an empty line
    return Progress(
        *columns, rate, last_column, console=console, transient=True, disable=not console.is_terminal
    )
