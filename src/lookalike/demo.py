"""The first look: generated rooms, a query, its best match among them, and why."""

from __future__ import annotations

import datetime
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import torch
from PIL import Image

from lookalike import render, scenes
from lookalike.embedder import Embedder
from lookalike.errors import LookalikeError
from lookalike.explainers import explain_shares
from lookalike.ops.faithfulness import peak_is_inside, positive_density_ratio
from lookalike.report import ReportedMatch, pair_report
from lookalike.scenes import RoomGallery
from lookalike.types import Explanation, Picture

_SIZE = (360, 480)  # (H, W) pixels of a room
_OTHERS, _OTHER_SIZE = 80, (180, 240)  # rooms that show what rooms have in common
_QUERY = 0  # index of the room that is asked about
_SHOWN = 4  # matches that are explained: the best and three runners-up

Progress = Callable[[Iterable[int], str, int], Iterable[int]]  # items, what is done, how many


@dataclass(frozen=True)
class DemoResult:
    """What the demo found and where it wrote it."""

    report: Path
    picture: Path
    n_rooms: int
    query: str  # file names
    best_match: str
    similarity: float  # cosine of the query and its best match
    is_true_match: bool  # whether both rooms show one painting
    recall_at_1: float  # share of all rooms, each asked in turn, whose best match shows its painting
    chance: float  # the same for a random order
    peak_in_shared_painting: bool | None  # None where the best match is no true one
    density_ratio: float | None  # positive mass per pixel inside the painting over that outside
    seconds: float


def run_demo(
    folder: Path,
    *,
    model: str = "mini",
    n_paintings: int = 12,
    rooms_per_painting: int = 3,
    seed: int = 0,
    progress: Progress = lambda items, _what, _count: items,
) -> DemoResult:
    """Make rooms, find the best match of one of them, explain it and the three runners-up.

    What rooms have in common is learnt from others and set aside first, since the paintings are a
    small part of a room.
    Writes ``rooms/*.jpg``, ``why.png`` and ``report.html`` into the folder. Raises LookalikeError
    where the folder can't be written.
    """
    start = time.perf_counter()
    gallery = scenes.gallery_of_rooms(
        seed, n_paintings=n_paintings, rooms_per_painting=rooms_per_painting, size=_SIZE
    )
    pictures = _pictures(gallery)
    embedder = Embedder.load(model).setting_aside(_other_rooms(seed))
    order = _order(embedder, pictures, progress)
    found = order[_QUERY][:_SHOWN]
    explanations = _explanations(embedder, pictures, found)
    peak, ratio = _against_the_mask(explanations[0], gallery, found[0])
    true_matches = gallery.matches(_QUERY)
    html = _report_html(explanations, [i in true_matches for i in found], len(pictures))
    report, picture = _write(folder, pictures, explanations[0], html)
    return DemoResult(
        report=report,
        picture=picture,
        n_rooms=len(pictures),
        query=pictures[_QUERY].name,
        best_match=pictures[found[0]].name,
        similarity=explanations[0].similarity,
        is_true_match=found[0] in true_matches,
        recall_at_1=sum(o[0] in gallery.matches(i) for i, o in enumerate(order)) / len(order),
        chance=(rooms_per_painting - 1) / (len(order) - 1),
        peak_in_shared_painting=peak,
        density_ratio=ratio,
        seconds=time.perf_counter() - start,
    )


def _other_rooms(seed: int) -> list[Image.Image]:
    """Rooms that are not in the gallery, with paintings that are not in it either."""
    first = 10**6 * (seed + 1)
    return [scenes.room(first + i, paintings=[first + i], size=_OTHER_SIZE).image for i in range(_OTHERS)]


def _pictures(gallery: RoomGallery) -> list[Picture]:
    return [Picture(room.image, _SIZE, f"room-{i:03}.jpg") for i, room in enumerate(gallery.rooms)]


def _order(embedder: Embedder, pictures: list[Picture], progress: Progress) -> list[list[int]]:
    """For each room the others, most similar first."""
    steps = progress(range(len(pictures)), "embedding rooms", len(pictures))
    embeddings = torch.cat([embedder.embed([pictures[i]]) for i in steps])  # (G, D)
    similarities = (embeddings @ embeddings.T).fill_diagonal_(-2.0)  # below every cosine: itself comes last
    indices: list[list[int]] = similarities.argsort(dim=1, descending=True)[:, :-1].tolist()
    return indices


def _explanations(embedder: Embedder, pictures: list[Picture], found: list[int]) -> list[Explanation]:
    query, query_shares = pictures[_QUERY], embedder.shares(pictures[_QUERY])
    return [
        explain_shares(query_shares, embedder.shares(pictures[i]), query, pictures[i], model=embedder.name)
        for i in found
    ]


def _against_the_mask(
    explanation: Explanation, gallery: RoomGallery, match: int
) -> tuple[bool | None, float | None]:
    """Whether the query's map peaks in the painting that it shares with the match, and how densely."""
    if match not in gallery.matches(_QUERY):
        return None, None
    mask = gallery.rooms[_QUERY].masks[gallery.labels[_QUERY]]
    values = torch.from_numpy(explanation.query_map)
    coverage = torch.from_numpy(explanation.query_geometry.coverage_of(mask, explanation.query_map.shape))
    return peak_is_inside(values, coverage), positive_density_ratio(values, coverage)


def _report_html(explanations: list[Explanation], is_true: list[bool], n_rooms: int) -> str:
    remarks = ("shows the same painting", "shows other paintings")
    best = explanations[0]
    return pair_report(
        [ReportedMatch(e, remarks[not true]) for e, true in zip(explanations, is_true, strict=True)],
        title="Which room shows the same painting?",
        summary=f"{n_rooms} generated rooms were embedded; {best.query.name} was asked, and "
        f"{best.match.name} is most similar to it. Everything but the painting differs between true matches.",
        facts={
            "model": best.model,
            "method": best.method,
            "gallery": f"{n_rooms} generated rooms",
            "set aside": f"what {_OTHERS} other rooms have in common",
            "date": datetime.date.today().isoformat(),
        },
    )


def _write(folder: Path, pictures: list[Picture], best: Explanation, html: str) -> tuple[Path, Path]:
    report, picture = folder / "report.html", folder / "why.png"
    try:
        (folder / "rooms").mkdir(parents=True, exist_ok=True)
        for room in pictures:
            room.image.save(folder / "rooms" / room.name, quality=92)
        render.side_by_side(best).save(picture)
        report.write_text(html, encoding="utf-8")
    except OSError as error:
        raise LookalikeError(f"the demo can't write to {folder}: {error}; choose another folder") from error
    return report, picture
