"""What ``lookalike index`` prints: what was added, moved, forgotten and kept, and what is in doubt."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from lookalike.gallery import AddReport

_SHOWN = 20  # lines of a list


def print_report(report: AddReport, n_images: int, uri: str) -> None:
    """Print a report of ``Gallery.add``; what needs attention goes to stderr."""
    typer.echo(f"added {report.added:,}, known {report.known:,}; the gallery has {n_images:,} images")
    if report.moved:
        typer.echo(f"{_files(len(report.moved))} moved or renamed, metadata kept:")
        print_files([f"{former} -> {path}" for former, path in report.moved])
    former = {path for path, _ in report.moved}
    gone = [path for path in report.vanished if path not in former]
    if report.forgotten:
        moved = f" ({len(former):,} of them moved)" if former else ""
        typer.echo(
            f"forgot {_files(len(report.forgotten))} no longer there{moved}; removed {report.pruned:,} images"
        )
        print_files([path for path in report.forgotten if path not in former])
        if len(report.forgotten) > len(former):
            typer.echo(f"bring them back with: lookalike gallery restore -g {uri}")
    elif gone and not report.not_pruned:
        typer.echo(f"{_files(len(gone))} no longer there; forget them with --prune")
    for path, reason in report.unreadable:
        typer.echo(f"unreadable: {path}: {reason}", err=True)
    for path, reason in report.skipped:
        typer.echo(f"folder skipped: {path}: {reason}", err=True)
    for reason, n in report.kept:
        typer.echo(f"kept {_files(n)} not found: {reason}", err=True)
    if report.conflicts:
        typer.echo(
            f"{len(report.conflicts):,} conflicts: files of the same picture have different values; "
            "each file keeps its own:",
            err=True,
        )
        print_files(report.conflicts, err=True)
    for remark in report.remarks:
        typer.echo(remark, err=True)


def print_files(lines: Sequence[str], *, err: bool = False) -> None:
    """Print a list, indented; no more than the first lines of a long one."""
    for line in lines[:_SHOWN]:
        typer.echo(f"  {line}", err=err)
    if len(lines) > _SHOWN:
        typer.echo(f"  ... and {len(lines) - _SHOWN:,} more (--json lists all)", err=err)


def _files(n: int) -> str:
    return f"{n:,} file" if n == 1 else f"{n:,} files"
