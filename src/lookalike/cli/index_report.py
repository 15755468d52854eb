"""What ``lookalike index`` prints: what was added, moved, forgotten and kept, and what is in doubt."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from lookalike.cli.printing import echo, one_line

if TYPE_CHECKING:
    from lookalike.gallery import AddReport

_SHOWN = 20  # lines of a list


def print_report(report: AddReport, n_images: int, uri: str) -> None:
    """Print a report of ``Gallery.add``; what needs attention goes to stderr."""
    echo(f"added {report.added:,}, known {report.known:,}; the gallery has {n_images:,} images")
    if report.moved:
        echo(f"{_files(len(report.moved))} moved or renamed, metadata kept:")
        print_files([one_line(f"{former} -> {path}") for former, path in report.moved])
    if report.copies:
        echo(f"{_files(len(report.copies))} with the same content as another:")
        print_files([one_line(f"{path} = {other}") for path, other in report.copies])
    former = {path for path, _ in report.moved}
    gone = [path for path in report.vanished if path not in former]
    if report.forgotten:
        moved = f" ({len(former):,} of them moved)" if former else ""
        echo(
            f"forgot {_files(len(report.forgotten))} no longer there{moved}; removed {report.pruned:,} images"
        )
        print_files([path for path in report.forgotten if path not in former])
        if len(report.forgotten) > len(former):
            echo(f"bring them back with: lookalike gallery restore -g {uri}")
    elif gone and not report.not_pruned:
        echo(f"{_files(len(gone))} no longer there; forget them with --prune")
    for path, reason in report.unreadable:
        echo(one_line(f"unreadable: {path}: {reason}"), err=True)
    for path, reason in report.skipped:
        echo(f"folder skipped: {path}: {reason}", err=True)
    for reason, n in report.kept:
        echo(f"kept {_files(n)} not found: {reason}", err=True)
    if report.conflicts:
        echo(
            f"{len(report.conflicts):,} conflict{'s' * (len(report.conflicts) > 1)}: files of the same "
            "picture have different values; each file keeps its own:",
            err=True,
        )
        print_files(report.conflicts, err=True)
    for remark in report.remarks:
        echo(remark, err=True)


def print_files(lines: Sequence[str], *, err: bool = False) -> None:
    """Print a list, indented; no more than the first lines of a long one."""
    for line in lines[:_SHOWN]:
        echo(f"  {line}", err=err)
    if len(lines) > _SHOWN:
        echo(f"  ... and {len(lines) - _SHOWN:,} more (--json lists all)", err=err)


def _files(n: int) -> str:
    return f"{n:,} file" if n == 1 else f"{n:,} files"
