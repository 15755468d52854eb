"""Groups of a gallery: exact copies, near-duplicates, and the same thing, each link with its evidence."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final, overload

import numpy as np

from lookalike.errors import GalleryError, check_name
from lookalike.gallery.calibration import Calibration
from lookalike.gallery.changes import believed_time, changes_in_words, merits
from lookalike.gallery.links import GROUP_KINDS, Aligner, GroupKind, PictureLink, RowPairs
from lookalike.gallery.parts import LinkedParts
from lookalike.rerankers.alignment import Alignment
from lookalike.store import Record
from lookalike.types import FloatArray, ProgressCallback
from lookalike.types.html import table_html
from lookalike.types.progress import tracked

_COPY, _NEAR, _SAME = GROUP_KINDS
_UNLIKE = 0.2  # mean cosine below which aligned pictures do not join two groups
_COLUMNS = ("group", "kind", "path", "advice", "reason", "similarity", "change", "linked_with")


@dataclass(frozen=True)
class Advice:
    """A suggestion for a file of a group; nothing is ever deleted."""

    path: str
    keep: bool
    reason: str


@dataclass(frozen=True, eq=False)
class PictureGroup:
    """Files that belong together; ``kind`` is that of the weakest link that holds them together."""

    kind: GroupKind
    paths: tuple[str, ...]  # the one to keep first; otherwise as indexed
    links: tuple[PictureLink, ...]  # strongest first
    advice: tuple[Advice, ...]  # for each path; empty for pictures of the same thing

    def with_names(self, text: str) -> str:
        """Return a text with the names of the group's files instead of their paths."""
        for path in sorted(self.paths, key=len, reverse=True):
            text = text.replace(path, Path(path).name)
        return text

    def to_dict(self) -> dict[str, Any]:
        """Return the group as JSON types."""
        return {
            "kind": self.kind,
            "paths": list(self.paths),
            "links": [link.to_dict() for link in self.links],
            "advice": [{"path": a.path, "keep": a.keep, "reason": a.reason} for a in self.advice],
        }


@final
class Groups(Sequence[PictureGroup]):
    """The groups of a gallery: near-duplicates and copies first, then pictures of the same thing.

    A file is in one group of copies or near-duplicates at most, and in one group of the same thing at most,
    which contains the former with whatever else shows that thing.
    """

    def __init__(
        self,
        groups: Sequence[PictureGroup],
        *,
        threshold: float | None,
        unreadable: Mapping[str, str],
        remark: str,
    ) -> None:
        self._groups = tuple(groups)
        self.threshold = threshold  # cosine from which pictures count as the same thing; None: not sought
        self.unreadable = dict(unreadable)  # files that could not be compared, and why
        self.remark = remark  # what was not sought and why; empty if nothing was left out

    def __len__(self) -> int:
        return len(self._groups)

    @overload
    def __getitem__(self, index: int) -> PictureGroup: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[PictureGroup]: ...
    def __getitem__(self, index: int | slice) -> PictureGroup | Sequence[PictureGroup]:
        return self._groups[index]

    def __iter__(self) -> Iterator[PictureGroup]:
        return iter(self._groups)

    def _repr_html_(self) -> str:
        """Return a row for each of the first 50 groups, for notebooks."""
        rows = (
            (i, group.kind, ", ".join(Path(path).name for path in group.paths), _changes(group))
            for i, group in enumerate(self[:50], start=1)
        )
        return table_html(repr(self), ("group", "kind", "files", "what was changed"), rows)

    def __repr__(self) -> str:
        counts = [f"{sum(g.kind == kind for g in self)} {kind}" for kind in GROUP_KINDS]
        return f"Groups({', '.join(counts)})"

    def to_dict(self) -> dict[str, Any]:
        """Return the groups as JSON types."""
        return {
            "groups": [group.to_dict() for group in self],
            "threshold": self.threshold,
            "unreadable": self.unreadable,
            "remark": self.remark,
        }

    def rows(self) -> list[dict[str, Any]]:
        """Return a row for each file of each group, for tables."""
        rows = []
        for number, group in enumerate(self, start=1):
            advice = {each.path: each for each in group.advice}
            for path in group.paths:
                link = next((each for each in group.links if path in (each.second, each.first)), None)
                given = advice.get(path)
                values = (
                    number,
                    group.kind,
                    path,
                    None if given is None else "keep" if given.keep else "drop",
                    None if given is None else given.reason,
                    None if link is None else link.similarity,
                    None if link is None else "; ".join(link.change),
                    None if link is None else link.first if link.second == path else link.second,
                )
                rows.append(dict(zip(_COLUMNS, values, strict=True)))
        return rows

    def to_csv(self) -> str:
        """Return CSV text with a row for each file of each group."""
        text = io.StringIO()
        writer = csv.DictWriter(text, _COLUMNS, lineterminator="\n")
        writer.writeheader()
        for row in self.rows():
            similarity = row["similarity"]
            writer.writerow({**row, "similarity": None if similarity is None else f"{similarity:.4f}"})
        return text.getvalue()


def group_threshold(
    cosines: FloatArray, curve: Calibration | None, *, precision: float | None, min_similarity: float | None
) -> float | None:
    """Return the cosine from which neighbors count as the same thing; None without a curve and a wish.

    By default that of probability 0.5. With ``precision`` it is the lowest at which the mean probability of
    the pairs above it, cosines (P,), is still as high. Raises GalleryError for a precision without a curve,
    ValueError for values out of range and for both at once.
    """
    if precision is not None and min_similarity is not None:
        raise ValueError("precision and min_similarity both set the threshold; give one of them")
    if min_similarity is not None:
        if not -1 <= min_similarity <= 1:
            raise ValueError(f"min_similarity is a cosine, -1 to 1; got {min_similarity}")
        return min_similarity
    if precision is None:
        return None if curve is None else curve.threshold
    if not 0 < precision < 1:
        raise ValueError(f"precision is a share between 0 and 1; got {precision}")
    if curve is None:
        raise GalleryError("a precision needs probabilities; run calibrate first, or give min_similarity")
    ordered = np.sort(cosines)[::-1]
    if not len(ordered):
        return 1.0
    means = np.cumsum([curve.probability(float(value)) for value in ordered]) / np.arange(1, len(ordered) + 1)
    reached = np.flatnonzero(means >= precision)
    return (
        float(ordered[reached[-1]])
        if len(reached)
        else float(np.nextafter(np.float32(ordered[0]), np.float32(2)))
    )


def check_kinds(kinds: Sequence[str]) -> tuple[GroupKind, ...]:
    """Return the kinds of groups in order. Raises UnknownNameError for another word, ValueError for none."""
    for kind in kinds:
        check_name("kind of group", kind, GROUP_KINDS)
    if not kinds:
        raise ValueError(f"name a kind of group: {', '.join(GROUP_KINDS)}")
    return tuple(kind for kind in GROUP_KINDS if kind in kinds)


def find_groups(
    records: Sequence[Record],
    vectors: FloatArray,
    pairs: RowPairs,
    aligner: Aligner,
    *,
    kinds: Sequence[GroupKind],
    threshold: float | None,
    candidates_from: float,
    progress: ProgressCallback | None = None,
) -> list[PictureGroup]:
    """Return the groups of records with unit vectors (G, D).

    Pairs of cosine ``candidates_from`` or more are compared as near-duplicates.
    """
    near = LinkedParts(vectors)
    links: dict[tuple[int, int], PictureLink] = {}
    aligned: dict[tuple[int, int], Alignment] = {}
    rows_of: dict[str, int] = {}
    for row, record in enumerate(records):  # one content in two galleries
        if (known := rows_of.setdefault(record.id, row)) != row:
            near.join(known, row, least=-1)
            links[known, row] = PictureLink(_COPY, records[known].path, record.path, 1.0)
    if _NEAR in kinds:
        candidates = pairs.at_least(candidates_from).joined(aligner.lookalikes(vectors, progress))
        for a, b, cosine in tracked(_by_row(candidates), "comparing pictures", len(candidates), progress):
            if (a, b) not in links and (found := aligner.near_duplicate(a, b)) is not None:
                aligned[a, b] = found
                links[a, b] = PictureLink(_NEAR, records[a].path, records[b].path, cosine, alignment=found)
        for a, b in sorted(aligned, key=lambda pair: -aligned[pair].equality):
            near.join(a, b, least=_UNLIKE)
    groups = [_near_group(rows, records, links, aligned) for rows in near.parts()]
    grouped = {row for rows in near.parts() for row in rows}
    groups += [_copies(record) for row, record in enumerate(records) if row not in grouped and record.copies]
    groups = [group for group in groups if group.kind in kinds]
    if _SAME in kinds and threshold is not None:
        same = near.copy()
        for a, b, cosine in pairs.at_least(threshold):
            if same.join(a, b, least=threshold) and (a, b) not in links:
                links[a, b] = PictureLink(_SAME, records[a].path, records[b].path, cosine)
        for rows in same.parts():
            if any(not near.is_together(rows[0], row) for row in rows):
                groups.append(_same_group(rows, records, links))
    return groups


def _by_row(pairs: RowPairs) -> Iterator[tuple[int, int, float]]:
    """The pairs in the order of their rows, so that few pictures are held at once."""
    order = np.lexsort((pairs.second, pairs.first))
    rows = (each[order].tolist() for each in (pairs.first, pairs.second, pairs.cosines))
    return zip(*rows, strict=True)


def _changes(group: PictureGroup) -> str:
    return "; ".join(dict.fromkeys(change for link in group.links for change in link.change))


def _files(rows: Sequence[int], records: Sequence[Record]) -> list[str]:
    return [file.path for row in rows for file in records[row].files]


def _copy_links(record: Record) -> list[PictureLink]:
    return [PictureLink(_COPY, record.path, copy.path, 1.0) for copy in record.copies]


def _copies(record: Record) -> PictureGroup:
    """The files of one content; the oldest is the one to keep, where times say which that is."""
    files = sorted(record.files, key=lambda file: (believed_time(file.mtime_ns), file.path))
    is_oldest = believed_time(files[0].mtime_ns) < believed_time(files[1].mtime_ns)
    advice = [Advice(files[0].path, True, f"the {'oldest' if is_oldest else 'first'} of identical files")]
    advice += [Advice(file.path, False, f"identical to {files[0].path}") for file in files[1:]]
    links = tuple(PictureLink(_COPY, files[0].path, file.path, 1.0) for file in files[1:])
    return PictureGroup(_COPY, tuple(file.path for file in files), links, tuple(advice))


def _near_group(
    rows: Sequence[int],
    records: Sequence[Record],
    links: Mapping[tuple[int, int], PictureLink],
    aligned: Mapping[tuple[int, int], Alignment],
) -> PictureGroup:
    """A group of near-duplicates, each link from the better picture to the other, with advice."""
    chosen = set(rows)
    wins = dict.fromkeys(rows, 0.0)
    reasons: dict[int, tuple[float, str]] = {}
    turned: list[PictureLink] = []
    for (a, b), link in links.items():
        if not chosen.issuperset((a, b)):
            continue
        found = aligned.get((a, b))
        amount, _ = merits(found, records[a], records[b])
        better, worse = (a, b) if amount >= 0 else (b, a)
        wins[better] += abs(amount)
        wins[worse] -= abs(amount)
        if found is not None and better == b:
            found = found.inverted
        directed, said = _preferred(link, found, records[better], records[worse])
        turned.append(directed)
        reasons[worse] = max(reasons.get(worse, (-1.0, "")), (abs(amount), said))

    def from_the_best(row: int) -> tuple[float, float, int, str]:
        return -wins[row], believed_time(records[row].mtime_ns), -records[row].size, records[row].path

    order = sorted(rows, key=from_the_best)
    ordered = [records[row] for row in order]
    said_of = [reasons[row][1] if row in reasons else "" for row in order[1:]]
    advice = _near_advice(ordered, said_of, _why_best(ordered[0], ordered[1:], turned))
    turned += [link for record in ordered for link in _copy_links(record)]
    turned.sort(key=lambda link: (GROUP_KINDS.index(link.kind), -link.similarity))
    is_copy = all(link.kind == _COPY for link in turned)
    return PictureGroup(
        _COPY if is_copy else _NEAR, tuple(_files(order, records)), tuple(turned), tuple(advice)
    )


def _preferred(
    link: PictureLink, found: Alignment | None, better: Record, worse: Record
) -> tuple[PictureLink, str]:
    """The link from the better picture to the worse, by the alignment in that direction, and why it is."""
    why = merits(found, better, worse)[1]
    words = changes_in_words(found) if found is not None else ()
    said = f"{'; '.join(words) or 'identical'}: {better.path}"
    said += f" is to be preferred ({', '.join(why)})" if why else " is as good"
    return PictureLink(link.kind, better.path, worse.path, link.similarity, words, found), said


def _near_advice(records: Sequence[Record], reasons: Sequence[str], why_best: str) -> list[Advice]:
    """Keep the first of the records, drop the others, for these reasons, and all copies."""
    best, others = records[0], records[1:]
    advice = [Advice(best.path, True, why_best)]
    advice += [
        Advice(record.path, False, said or f"the same picture as {best.path}")
        for record, said in zip(others, reasons, strict=True)
    ]
    for record in records:
        advice += [Advice(copy.path, False, f"identical to {record.path}") for copy in record.copies]
    return advice


def _why_best(best: Record, others: Sequence[Record], links: Sequence[PictureLink]) -> str:
    """The reasons for which the best is preferred to those linked with it."""
    by_path = {record.path: record for record in others}
    found = [
        reason
        for link in links
        if link.first == best.path and link.second in by_path
        for reason in merits(link.alignment, best, by_path[link.second])[1]
    ]
    return ", ".join(dict.fromkeys(found)) or "as good as the others"


def _same_group(
    rows: Sequence[int], records: Sequence[Record], links: Mapping[tuple[int, int], PictureLink]
) -> PictureGroup:
    chosen = set(rows)
    inner = [link for pair, link in links.items() if chosen.issuperset(pair)]
    inner += [link for row in rows for link in _copy_links(records[row])]
    inner.sort(key=lambda link: (GROUP_KINDS.index(link.kind), -link.similarity))
    return PictureGroup(_SAME, tuple(_files(rows, records)), tuple(inner), ())
