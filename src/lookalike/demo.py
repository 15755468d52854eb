"""The demo: a gallery of generated rooms, three searches for one painting, and their explanation."""

from __future__ import annotations

import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from lookalike import render, scenes
from lookalike.errors import LookalikeError, reason_of, remedy, replacing
from lookalike.gallery import Gallery, Hit
from lookalike.models.embedder import Embedder
from lookalike.ops.map_truth import peak_is_inside, positive_density_ratio
from lookalike.ops.regrid import mask_coverage
from lookalike.reports.search import search_report
from lookalike.scenes import RoomGallery
from lookalike.store import read_manifest
from lookalike.store.manifest import has_manifest
from lookalike.types import Explanation, ProgressCallback, tracked

_SIZE = (360, 480)  # (H, W) pixels of a room
_SHOWN = 4  # matches in the report: the best and three runners-up
_RERANK = "transport"


@dataclass(frozen=True)
class DemoSearch:
    """Result of one kind of query for the rooms that show a room's painting."""

    asked: str  # description of the query
    best_match: str  # file name, for the demo's query room
    similarity: float  # cosine of the query and its best match
    is_true_match: bool  # whether both rooms show the same painting
    true_ranks: tuple[int, ...]  # ranks of the rooms with the query's painting, from 1
    recall_at_1: float  # fraction of all rooms, each as a query, whose best match shows its painting


@dataclass(frozen=True)
class DemoResult:
    """Results of the demo, and the files that it wrote."""

    report: Path
    picture: Path
    gallery: Path
    n_rooms: int
    query: str  # file name
    box: tuple[int, int, int, int]  # of its painting: left, top, right, bottom in pixels
    searches: tuple[DemoSearch, ...]  # by the whole room, by its painting, and by its painting re-ranked
    chance: float  # recall_at_1 of a random order
    peak_in_shared_painting: bool | None  # of the best match's map by the box; None if it is not a true one
    density_ratio: float | None  # positive attribution per pixel inside the painting over that outside
    is_picked: bool  # whether the query is one where the box helps; else it is the first room
    seconds: float


def run_demo(
    folder: Path,
    *,
    model: str = "mini",
    n_paintings: int = 12,
    rooms_per_painting: int = 3,
    seed: int = 0,
    progress: ProgressCallback | None = None,
) -> DemoResult:
    """Generate and index rooms, search by a room and by its painting, re-rank, and explain the best match.

    Every room is searched for; the query shown is one where the box and re-ranking help, if there is one.
    Writes ``rooms/*.jpg``, the model, ``rooms.gallery``, ``why.png`` (the painting and its best match)
    and ``report.html`` (the search by the painting) into the folder, replacing those of an earlier demo.
    Raises LookalikeError if the folder can't be written.
    """
    start = time.perf_counter()
    rooms = scenes.gallery_of_rooms(
        seed, n_paintings=n_paintings, rooms_per_painting=rooms_per_painting, size=_SIZE
    )
    try:
        gallery = _indexed(folder, rooms, Embedder.load(model))
        found = _Searches(gallery, folder, rooms, progress)
        hit = found.part[found.query][0]
        best = hit.why()
        peak, ratio = _mask_metrics(best, found, hit)
        searches = found.summaries()
        report, picture = folder / "report.html", folder / "why.png"
        drawn, written = render.side_by_side(best), _report(found, searches, model)
        with replacing(picture) as file:
            drawn.save(file)
        with replacing(report) as file:
            file.write_text(written, encoding="utf-8")
    except OSError as error:
        raise LookalikeError(
            f"the demo can't write to {folder}: {reason_of(error)}; {remedy(error)}"
        ) from error
    return DemoResult(
        report=report,
        picture=picture,
        gallery=_gallery_folder(folder),
        n_rooms=len(rooms.rooms),
        query=_name(found.query),
        box=found.box,
        searches=searches,
        chance=(rooms_per_painting - 1) / (len(rooms.rooms) - 1),
        peak_in_shared_painting=peak,
        density_ratio=ratio,
        is_picked=found.is_picked,
        seconds=time.perf_counter() - start,
    )


# --- the gallery ------------------------------------------------------------------------------


def _indexed(folder: Path, rooms: RoomGallery, embedder: Embedder) -> Gallery:
    """A new gallery of the rooms, with its model saved beside it, so that other commands can open it."""
    uri, model = _gallery_folder(folder), (folder / "rooms.model").absolute()
    if has_manifest(uri) and read_manifest(uri).model == str(model):
        shutil.rmtree(uri)  # of an earlier demo; creating over any other gallery is an error
    (folder / "rooms").mkdir(parents=True, exist_ok=True)
    files = [folder / "rooms" / _name(i) for i in range(len(rooms.rooms))]
    for room, file in zip(rooms.rooms, files, strict=True):
        room.image.save(file, quality=92)
    embedder.save(model)
    gallery = Gallery.create(uri, model, keep_shares=True)
    shown = {file.name: f"painting {label}" for file, label in zip(files, rooms.labels, strict=True)}
    gallery.add(files, metadata=lambda path: {"shows": shown[path.name]}, workers=0)
    return gallery


def _gallery_folder(folder: Path) -> Path:
    return folder / "rooms.gallery"


def _name(index: int) -> str:
    return f"room-{index:03}.jpg"


# --- the searches -----------------------------------------------------------------------------


class _Searches:
    """The hits of every room as a query: by the whole room, and by its painting, re-ranked."""

    def __init__(
        self, gallery: Gallery, folder: Path, rooms: RoomGallery, progress: ProgressCallback | None
    ) -> None:
        self.gallery, self.rooms = gallery, rooms
        n = len(rooms.rooms)
        self.whole: list[Sequence[Hit]] = []
        self.part: list[Sequence[Hit]] = []
        for i in tracked(range(n), "searching by each room", n, progress):
            file = folder / "rooms" / _name(i)
            self.whole.append(gallery.search(file, k=n, leave_self_out=True))
            self.part.append(
                gallery.search(file, k=n, leave_self_out=True, box=_box(rooms, i), rerank=_RERANK)
            )

        self.query, self.is_picked = self._example()
        self.box = _box(rooms, self.query)

    def _example(self) -> tuple[int, bool]:
        """The room where the box, then re-ranking helps most, and whether there is one; else the first."""
        gains = [
            (self._precision(i, self.part[i]) - self._precision(i, _before(self.part[i])), -i)
            for i in range(len(self.whole))
            if not self._is_right(i, self.whole[i][0])
            and self._is_right(i, _before(self.part[i])[0])
            and self._is_right(i, self.part[i][0])
        ]
        return (-max(gains)[1], True) if gains else (0, False)

    def is_true(self, hit: Hit) -> bool:
        """Whether a hit shows the painting of the query that is shown."""
        return self._is_right(self.query, hit)

    def _is_right(self, query: int, hit: Hit) -> bool:
        return index_of(hit) in self.rooms.matches(query)

    def _precision(self, query: int, hits: Sequence[Hit]) -> float:
        """Average precision of the hits of one room."""
        ranks = [rank for rank, hit in enumerate(hits, start=1) if self._is_right(query, hit)]
        return sum(n / rank for n, rank in enumerate(ranks, start=1)) / len(ranks)

    def summaries(self) -> tuple[DemoSearch, ...]:
        """The three kinds of query, from the simplest to the most specific."""
        before = [_before(hits) for hits in self.part]
        return (
            self._summary("the whole room", self.whole),
            self._summary("its painting, in a box", before),
            self._summary(f"the box, re-ranked by {_RERANK}", self.part),
        )

    def _summary(self, asked: str, found: Sequence[Sequence[Hit]]) -> DemoSearch:
        best = found[self.query][0]
        return DemoSearch(
            asked=asked,
            best_match=best.path.name,
            similarity=best.similarity,
            is_true_match=self.is_true(best),
            true_ranks=tuple(
                rank for rank, hit in enumerate(found[self.query], start=1) if self.is_true(hit)
            ),
            recall_at_1=sum(self._is_right(i, hits[0]) for i, hits in enumerate(found)) / len(found),
        )


def _before(hits: Sequence[Hit]) -> list[Hit]:
    """Hits in the order before re-ranking."""
    return sorted(hits, key=lambda hit: hit.rank_before or 0)


def index_of(hit: Hit) -> int:
    """Return the index of the demo's room that a hit shows."""
    return int(hit.path.stem.removeprefix("room-"))


def _box(rooms: RoomGallery, index: int) -> tuple[int, int, int, int]:
    """The box around a room's own painting: left, top, right, bottom in pixels."""
    mask = rooms.rooms[index].masks[rooms.labels[index]]
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


def _mask_metrics(explanation: Explanation, found: _Searches, match: Hit) -> tuple[bool | None, float | None]:
    """Whether the match's map peaks in the shared painting, and its density ratio; None without one."""
    if not found.is_true(match):
        return None, None
    mask = found.rooms.rooms[index_of(match)].masks[found.rooms.labels[found.query]]
    values = torch.from_numpy(explanation.match_map)
    coverage = mask_coverage(explanation.match_geometry, torch.from_numpy(mask), explanation.match_map.shape)
    return peak_is_inside(values, coverage), positive_density_ratio(values, coverage)


def _report(found: _Searches, searches: Sequence[DemoSearch], model: str) -> str:
    name, n = _name(found.query), len(found.rooms.rooms)
    shown = [
        f"by {each.asked}, the first match {'shows' if each.is_true_match else 'does not show'} it "
        f"(those that do are at {' and '.join(map(str, each.true_ranks))})"
        for each in searches
    ]
    right = [str(round(each.recall_at_1 * n)) for each in searches]
    summary = (
        f"Which other rooms show the painting in {name}? Searched {'; '.join(shown)}. "
        + ("This room was picked because the box helps here. " if found.is_picked else "")
        + f"Over all {n} rooms, the first match is right for {', '.join(right[:-1])} and {right[-1]}, "
        "in this order."
    )
    facts = {
        "query": f"{name}, which shows painting {found.rooms.labels[found.query]}",
        "box": ",".join(str(side) for side in found.box),
        "re-ranked by": _RERANK,
        "rooms.model": model,
    }
    return search_report(
        found.part[found.query][:_SHOWN],
        found.gallery,
        parameters=facts,
        is_right=found.is_true,
        summary=summary,
    )
