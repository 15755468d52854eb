"""``Gallery.groups``: neighbors in one gallery or two, their comparison, and the groups that they form."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from lookalike.errors import LookalikeError
from lookalike.gallery.calibration import Calibration
from lookalike.gallery.groups import Groups, check_kinds, find_groups, group_threshold
from lookalike.gallery.links import (
    GROUP_KINDS,
    Aligner,
    RowPairs,
    approximate_pairs,
    cross_pairs,
    neighbor_pairs,
)
from lookalike.models.embedder import Embedder
from lookalike.rerankers.local_features import has_opencv
from lookalike.store import Snapshot
from lookalike.store.accelerator import Accelerator
from lookalike.types import Progress, ProgressCallback

CANDIDATES_FROM = 0.5  # cosine; benchmarks/duplicates.py shows what each kind of change leaves


def groups_of(
    snapshots: Sequence[Snapshot],
    embedder: Embedder,
    curve: Calibration | None,
    accelerator: Accelerator | None,
    *,
    kinds: Sequence[str],
    precision: float | None,
    min_similarity: float | None,
    neighbors: int,
    progress: ProgressCallback | None,
) -> Groups:
    """Return the groups of one gallery, or of what two have in common; see ``Gallery.groups``."""
    chosen = check_kinds(kinds)
    if isinstance(neighbors, bool) or not isinstance(neighbors, int) or neighbors < 1:
        raise ValueError(f"neighbors must be a whole number of 1 or more; got {neighbors!r}")
    _, near, same = GROUP_KINDS
    if near in chosen and not has_opencv():
        raise LookalikeError(
            "near-duplicates need OpenCV: pip install 'lookalike[geometry]', or ask for other kinds"
        )
    if len(snapshots) > 1:
        snapshots = [snapshots[0], _without_files_of(snapshots[0], snapshots[1])]
    records = [record for snapshot in snapshots for record in snapshot.records]
    vectors = np.concatenate([snapshot.embeddings for snapshot in snapshots])
    pairs = _pairs(snapshots, accelerator, neighbors, progress) if set(chosen) & {near, same} else None
    found = RowPairs.none() if pairs is None else pairs
    threshold = None
    if same in chosen:
        threshold = group_threshold(found.cosines, curve, precision=precision, min_similarity=min_similarity)
    n_first = len(snapshots[0].records) if len(snapshots) > 1 else None
    aligner = Aligner(records, embedder, n_first=n_first)
    groups = find_groups(
        records,
        vectors,
        found,
        aligner,
        kinds=chosen,
        threshold=threshold,
        candidates_from=CANDIDATES_FROM,
        progress=progress,
    )
    remark = ""
    if same in chosen and threshold is None:
        remark = (
            "pictures of the same thing were not sought: the gallery is not calibrated; run calibrate, or "
            "give a least similarity"
        )
    return Groups(groups, threshold=threshold, unreadable=aligner.unreadable, remark=remark)


def _without_files_of(first: Snapshot, second: Snapshot) -> Snapshot:
    """The second without the files that the first has, too: a file is no copy of itself.

    Raises ValueError if nothing is left.
    """
    known = {file.path for record in first.records for file in record.files}
    rows, records = [], []
    for row, record in enumerate(second.records):
        if left := [file for file in record.files if file.path not in known]:
            rows.append(row)
            records.append(record.with_files(left))
    if second.records and not rows:
        raise ValueError(
            "every file of the other gallery is in this one, too; leave it out to group this one, or name "
            "another"
        )
    return replace(second, records=records, embeddings=second.embeddings[rows])


def _pairs(
    snapshots: Sequence[Snapshot], accelerator: Accelerator | None, k: int, progress: ProgressCallback | None
) -> RowPairs:
    first, *others = snapshots
    if others:
        return cross_pairs(first.embeddings, others[0].embeddings, k)
    step = _counting("finding neighbors", len(first.records), progress)
    if accelerator is not None:
        ids = [record.id for record in first.records]
        return approximate_pairs(accelerator, ids, first.embeddings, k, step=step)
    return neighbor_pairs(first.embeddings, k, step=step)


def _counting(stage: str, total: int, progress: ProgressCallback | None) -> Callable[[int], None]:
    done = 0

    def step(n: int) -> None:
        nonlocal done
        done += n
        if progress is not None:
            progress(Progress(stage, done, total, 0.0, None))

    return step
