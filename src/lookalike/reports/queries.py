"""Report of many queries: one HTML file with each query beside its best hits."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path

from lookalike.gallery import Gallery
from lookalike.reports.evaluation import file_thumbnail, made_by
from lookalike.reports.page import page

_N_SHOWN = 5  # hits of each query


def queries_report(table: Path, gallery: Gallery, *, failed: Mapping[str, str]) -> str:
    """Return the report as HTML, from the table that ``search --each`` wrote.

    ``failed`` are the queries that could not be used, with the reasons. It shows pictures and numbers; the
    report of a single search has the maps.
    """
    with table.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    hits: dict[str, list[dict[str, str]]] = {}
    for row in rows:
        hits.setdefault(row["query"], []).extend([row] if row["rank"] else [])
    about = gallery.describe()
    return page(
        "queries.html",
        title=f"{len(hits):,} queries",
        summary=f"Each was searched for by itself among {about.n_images:,} images; the best "
        f"{_N_SHOWN} hits are shown, and {table.name} lists all {sum(map(len, hits.values())):,}.",
        queries=[
            {
                "name": Path(query).name,
                "photo": file_thumbnail(Path(query)),
                "hits": [_hit(row) for row in found[:_N_SHOWN]],
            }
            for query, found in hits.items()
        ],
        failed=list(failed.values()),
        n_shown=_N_SHOWN,
        rules=[
            f"Gallery {about.uri}, model {about.model}, fingerprint {about.fingerprint[:16]}.",
            "Similarity is the cosine of the two embeddings, from -1 to 1; 1 is the same picture.",
            "Why a hit matches: lookalike search QUERY -g GALLERY --report FILE.html",
        ],
        made=made_by(),
    )


def _hit(row: Mapping[str, str]) -> dict[str, object]:
    words = f"similarity {float(row['similarity']):z.3f}"
    if row["probability"]:
        words += f", probability {float(row['probability']):z.2f}"
    path = Path(row["path"])
    return {"rank": row["rank"], "name": path.name, "words": words, "photo": file_thumbnail(path)}
