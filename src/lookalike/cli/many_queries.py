"""``lookalike search --each``: a folder or list of queries, each searched by itself."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lookalike.cli.options import keep_inputs
from lookalike.cli.printing import echo, print_json, shown_progress, write_text
from lookalike.cli.query_table import QueryTable, typed_rows
from lookalike.cli.tables import is_arrow, write_rows
from lookalike.errors import DatasetError, LookalikeError, UnreadableImageError

if TYPE_CHECKING:
    from lookalike.gallery import Gallery


def search_queries(
    gallery: Gallery,
    source: Path,
    table: Path,
    *,
    report: Path | None,
    options: Mapping[str, Any],
    as_json: bool,
) -> None:
    """Search for each image of a folder or list, write the table and perhaps a report, and print a summary.

    An interrupted run goes on when it is repeated. Raises LookalikeError if no query could be searched.
    """
    queries = listed_queries(source)
    keep_inputs([source, *queries], table, report)
    about = gallery.describe()
    state = {"gallery": about.uri, "model": about.fingerprint, "state of the gallery": about.table_version}
    calibration = {"calibration": about.calibration}
    text = table.with_name(table.name + ".csv") if is_arrow(table) else table  # grows query by query
    rows = QueryTable(text, sorted(about.metadata_fields), {**state, **calibration, **options})
    known = len(rows.finished)
    waiting = [query for query in queries if query not in rows.finished]
    failed: dict[str, str] = {}
    with shown_progress() as bar:
        for query, found in zip(waiting, gallery.search_each(waiting, progress=bar, **options), strict=True):
            if isinstance(found, LookalikeError):
                failed[query] = str(found)
            else:
                rows.add(query, found)
    rows.close()
    if not rows.finished:
        raise LookalikeError(
            f"none of the {len(queries)} queries could be searched: {next(iter(failed.values()))}"
        )
    written = [table]
    if report is not None:
        from lookalike.reports.queries import queries_report

        write_text(report, queries_report(text, gallery, failed=failed))
        written.append(report)
    if text is not table:
        write_rows(table, typed_rows(text, gallery.records()))
        text.unlink()
    if as_json:
        print_json({"queries": len(queries), "searched": len(rows.finished) - known, "continued": known,
                    "unreadable": failed, "written": written})  # fmt: skip
        return
    before = f", {known:,} of them before" if known else ""
    echo(f"searched {len(rows.finished):,} of {len(queries):,} queries{before}")
    for reason in failed.values():
        echo(f"left out: {reason}", err=True)
    for path in written:
        echo(f"wrote {path}")


def listed_queries(source: Path) -> list[str]:
    """Return the images of a folder, or those that a text file names, one on each line, without repeats.

    A relative path is looked for from the current folder, then from the folder of the list. Raises
    UnreadableImageError for a source that is missing, is no text, or names nothing.
    """
    if source.is_dir():
        from lookalike import images

        found = [str(path) for path in images.list_images(source)]
    else:
        from lookalike.datasets.texts import read_lines

        try:
            lines = read_lines(source)
        except DatasetError as error:
            raise UnreadableImageError(
                f"{source} is neither a folder nor a text file with an image on each line: {error}"
            ) from error
        found = [_beside(line, source) for line in lines if line]
    if not found:
        raise UnreadableImageError(f"{source} holds no images; choose another folder or list")
    return list(dict.fromkeys(found))


def _beside(line: str, listed_in: Path) -> str:
    beside = listed_in.parent / line
    return str(beside) if not Path(line).exists() and beside.exists() else line
