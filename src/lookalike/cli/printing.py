"""Output shared by the commands: one-sentence errors, tables, JSON, progress bars, text files."""

from __future__ import annotations

import json
import math
import sys
import time
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

import lookalike.errors as errors

if TYPE_CHECKING:
    from rich.progress import Progress as RichProgress

    from lookalike.types import Progress, ProgressCallback

_STEERING = ("Cc", "Cs", "Zl", "Zp")  # Unicode categories: control characters, halves of pairs, line ends
_TURNS = "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"  # of the writing direction
_INTERRUPTED = 130  # exit code, as of a process that SIGINT ended
_BEGUN = time.monotonic()  # of the command, nearly
_PIPED_WIDTH = 10_000  # columns when output is piped, so that no line wraps


def seconds_since_begin() -> float:
    """Return how long the command has run, importing the library included: what a clock beside it shows."""
    return time.monotonic() - _BEGUN


@contextmanager
def friendly_errors() -> Iterator[None]:
    """Turn an error that is no bug inside the block into one line on stderr and exit code 1.

    These are LookalikeError, ValueError, and what the system refuses: files, disk, memory. Ctrl-C gives
    exit code 130.
    """
    try:
        yield
    except (errors.TrainingInterruptedError, KeyboardInterrupt) as error:
        echo(f"lookalike: {str(error) or 'interrupted'}", err=True)
        raise typer.Exit(_INTERRUPTED) from error
    except (errors.LookalikeError, ValueError) as error:
        echo(f"lookalike: {error}", err=True)
        raise typer.Exit(1) from error
    except BrokenPipeError:  # whoever reads the output has seen enough: ends without a word
        raise
    except (OSError, RuntimeError) as error:
        if isinstance(error, typer.Exit) or not (cause := errors.system_error(error)):
            raise
        echo(f"lookalike: {errors.system_sentence(cause)}", err=True)
        raise typer.Exit(1) from error
    except MemoryError as error:
        echo("lookalike: not enough memory; free some, or give smaller inputs", err=True)
        raise typer.Exit(1) from error
    except BaseException as error:
        is_panic = type(error).__name__ == "PanicException"  # of LanceDB's Rust code: no Exception
        if not is_panic or not (cause := errors.system_error(error)):
            raise
        echo(f"lookalike: {errors.system_sentence(cause)}", err=True)
        raise typer.Exit(1) from error


def echo(text: object = "", *, err: bool = False) -> None:
    """Print a text; characters of file names that would steer the terminal are escaped."""
    typer.echo(visible(str(text)), file=sys.stderr if err else sys.stdout)


def visible(text: str) -> str:
    """The text with control characters other than the end of a line, and turns of direction, escaped.

    >>> print(visible("a" + chr(27) + "[31m.jpg"))
    a\\x1b[31m.jpg
    """
    return "".join(
        repr(c)[1:-1] if (unicodedata.category(c) in _STEERING and c != "\n") or c in _TURNS else c
        for c in text
    )


def one_line(text: object) -> str:
    """The text with line ends, too, escaped: a name of a file can't look like a row of its own.

    >>> print(one_line("a" + chr(10) + "b.jpg"))
    a\\nb.jpg
    """
    return visible(str(text)).replace("\n", "\\n")


def print_table(header: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> None:
    """Print an aligned table; cells are printed verbatim, and lines don't wrap if piped."""
    from rich.console import Console
    from rich.table import Table

    table = Table(*header, box=None, pad_edge=False)
    for row in rows:
        table.add_row(*map(visible, row))
    console = Console(soft_wrap=True, markup=False, emoji=False, highlight=False)
    if not console.is_terminal:
        console.width = _PIPED_WIDTH
    console.print(table)


def print_json(value: Mapping[str, Any]) -> None:
    """Print a value as JSON; values of other types, such as paths, become strings, and NaN becomes null."""
    echo(json.dumps(_finite(value), indent=2, default=str, allow_nan=False))


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _finite(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


@contextmanager
def shown_progress() -> Iterator[ProgressCallback]:
    """Yield a callback that draws a progress bar on stderr: stage, count, rate, time left."""
    with _progress_bar() as bar:
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


def keep_picture(path: Path | None) -> None:
    """Raise LookalikeError for a picture that a text would replace."""
    from lookalike.images import IMAGE_SUFFIXES

    if path is not None and path.suffix.lower() in IMAGE_SUFFIXES and path.is_file():
        raise errors.LookalikeError(
            f"{path} is a picture and would be replaced by a text; name another file to write"
        )


def write_text(path: Path, text: str) -> None:
    """Write a text file, and its folder if needed.

    Raises LookalikeError if it can't be written, and for a picture that it would replace.
    """
    keep_picture(path)
    with errors.replacing(path, make_folder=True) as file:
        file.write_text(text, encoding="utf-8", errors="backslashreplace")


def _progress_bar() -> RichProgress:
    # imported here, because rich would slow down ``--help``
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    console = Console(stderr=True)
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TextColumn("{task.fields[left]}"),
        console=console,
        transient=True,
        disable=not console.is_terminal,  # if piped, the bar would only print an empty line
    )
