"""Ranking and re-ranking of embeddings in array files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from lookalike.datasets.arrays import write_ranks
from lookalike.datasets.descriptors import read_matrix
from lookalike.rerankers.first_stage import first_stage, full_ranks
from lookalike.rerankers.named import make_reranker

MAX_RANKS = 2**28  # elements of ``ranks``, 2 GiB; beyond, only the shortlist is written


@dataclass(frozen=True)
class Reranked:
    """Sizes of a re-ranking, and the file that it was written to."""

    method: str
    n_queries: int  # Q
    n_gallery: int  # G, distractors included
    n_distractors: int  # the last rows of the gallery
    k: int  # length of the shortlists, G at most
    has_ranks: bool  # whether the file holds ``ranks`` (G, Q) beside ``indices`` and ``scores``
    written: Path


def rerank_files(
    queries: Path,
    gallery: Path,
    output: Path,
    *,
    method: str,
    k: int,
    distractors: Sequence[Path] = (),
    **options: Any,
) -> Reranked:
    """Rank the gallery for every query, re-rank the first ``k``, and write an .npz.

    Files hold (Q, D) and (G, D) vectors; of a .pkl in CSA's layout (``test/DATASET/NAME.pkl``), the part
    ``query`` or ``db`` is read. Rows of ``distractors`` come after those of the gallery. Raises
    LookalikeError for files that can't be read or written, and ValueError as ``rerank`` does.
    """
    reranker = make_reranker(method, **options)
    parts = [read_matrix(path, "db") for path in (gallery, *distractors)]
    for part, path in zip(parts, (gallery, *distractors), strict=True):
        if part.shape[1] != parts[0].shape[1]:
            raise ValueError(
                f"{gallery} has width {parts[0].shape[1]} and {path} {part.shape[1]}; all should come from "
                "the same model"
            )
    n_distractors = sum(len(part) for part in parts[1:])
    before = first_stage(read_matrix(queries, "query"), torch.cat(parts), k=k)
    after = reranker(before)
    has_ranks = len(before.queries) * len(before.gallery) <= MAX_RANKS
    written = write_ranks(output, after, full_ranks(before, after) if has_ranks else None)
    return Reranked(
        method=reranker.name,
        n_queries=len(before.queries),
        n_gallery=len(before.gallery),
        n_distractors=n_distractors,
        k=before.indices.shape[1],
        has_ranks=has_ranks,
        written=written,
    )
