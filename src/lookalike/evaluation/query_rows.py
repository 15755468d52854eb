"""Each query of an evaluation as a row of a table."""

from __future__ import annotations

from typing import Any

from lookalike.evaluation.labeled import LabeledEmbeddings
from lookalike.evaluation.summary import Evaluation


def query_rows(evaluation: Evaluation) -> list[dict[str, Any]]:
    """Return a row for each query that has a match: its label and metrics, and what was found first.

    Queries and hits are called by their files, or by their row, from 0, where embeddings came without files.
    ``first_rank`` is that of the first hit with the query's label, 1 is the best.
    """
    found = evaluation.retrieved
    return [
        {
            "query": _name(found.queries, row),
            "label": str(found.queries.labels[row]),
            "first_rank": rank,
            **dict(zip(found.metrics, values, strict=True)),
            "hit": _name(found.gallery, hit),
            "hit_label": str(found.gallery.labels[hit]),
            "hit_similarity": similarity,
        }
        for row, rank, values, hit, similarity in zip(
            found.asked.tolist(),
            found.first_ranks.tolist(),
            found.values.tolist(),
            found.nearest[:, 0].tolist(),
            found.similarities[:, 0].tolist(),
            strict=True,
        )
    ]


def _name(images: LabeledEmbeddings, row: int) -> str:
    return str(row) if images.paths is None else str(images.paths[row])
