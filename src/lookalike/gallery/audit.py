"""An audit of a gallery: what recurs over its pictures, and how much of their similarity that carries."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import final

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from lookalike.errors import GalleryError, UnreadableImageError
from lookalike.gallery.query import existing_file
from lookalike.gallery.recurrences import Audit, Recurrence
from lookalike.gallery.regions import Box
from lookalike.models.embedder import Embedder, InputPixels
from lookalike.ops.aside import directions_added, without_directions
from lookalike.ops.filling import filled_smoothly
from lookalike.ops.recurrence import gradient_windows, recurring_groups, whitened_windows
from lookalike.rerankers.local_features import has_opencv, local_features
from lookalike.rerankers.recurring_points import moving_groups
from lookalike.store import Record, VectorStore
from lookalike.types import Geometry, Picture, ProgressCallback, tracked

_SIDE = 128  # pixels of the frames that are compared
_WINDOW, _STRIDE = 16, 8  # pixels of a frame
_LEAST, _LEAST_PART = 5, 0.02  # pictures that agree with one, at least; of those looked at
_MOST_AREA = 0.65  # of the frame: pictures that agree in more are copies of each other
_FEATURES = 150  # points of a picture
_MEASURED = 48  # pictures that are embedded without it, and as many others
_BATCH = 16
_MOST = 8  # things that are measured
_DIRECTIONS = 8  # that are set aside, at most
_FEWEST = 20  # pictures of which anything can be said

Mask = NDArray[np.bool_]  # (_SIDE, _SIDE) of the frame


@dataclass(frozen=True, eq=False)
class _Seen:
    """A picture as the model sees it."""

    record: Record
    pixels: InputPixels
    geometry: Geometry


@dataclass(frozen=True, eq=False)
class _Candidate:
    """Pictures that have something in common, where it lies in each, and how much agrees."""

    masks: Mapping[int, Mask]
    strength: float
    moves: bool


def audit_of(
    store: VectorStore,
    embedder: Embedder,
    *,
    sample: int = 500,
    seed: int = 0,
    progress: ProgressCallback | None = None,
) -> Audit:
    """Return what recurs in ``sample`` random pictures of a store; see ``Gallery.audit``."""
    if sample < _FEWEST:
        raise ValueError(f"an audit looks at {_FEWEST} pictures or more, got sample={sample}")
    records = store.records()
    if len(records) < _FEWEST:
        raise GalleryError(
            f"an audit takes {_FEWEST} pictures or more, and this gallery has {len(records)}; index more"
        )
    rows = np.sort(np.random.default_rng(seed).permutation(len(records))[:sample])
    seen, unreadable = _read([records[row] for row in rows], embedder, progress)
    fingerprint = embedder.fingerprint()
    if len(seen) < _FEWEST:
        remark = f"only {len(seen)} pictures could be read, and an audit takes {_FEWEST}"
        return Audit((), len(seen), len(records), fingerprint, (remark,), unreadable)
    candidates, remarks = _candidates(seen, progress)
    units = torch.from_numpy(store.embeddings([each.record.id for each in seen]))
    measure = _Measure(seen, units, embedder, np.random.default_rng(seed))
    candidates = sorted(candidates, key=lambda each: -each.strength)[:_MOST]
    found = [
        measure(number, each)
        for number, each in enumerate(tracked(candidates, "measuring", len(candidates), progress), start=1)
    ]
    return Audit(tuple(found), len(seen), len(records), fingerprint, tuple(remarks), unreadable)


def _read(
    records: Sequence[Record], embedder: Embedder, progress: ProgressCallback | None
) -> tuple[list[_Seen], dict[str, str]]:
    seen, unreadable = [], {}
    for record in tracked(records, "reading", len(records), progress):
        try:
            reading = embedder.read(existing_file(record))
        except UnreadableImageError as error:
            unreadable[record.path] = str(error)
            continue
        seen.append(_Seen(record, reading.pixels, reading.geometry))
    return seen, unreadable


def _candidates(
    seen: Sequence[_Seen], progress: ProgressCallback | None
) -> tuple[list[_Candidate], list[str]]:
    """What recurs at one place and at changing places, and remarks about what was left out."""
    least = max(_LEAST, round(_LEAST_PART * len(seen)))
    grays = torch.from_numpy(np.stack([_frame(each.pixels) for each in seen])).float()
    windows = gradient_windows(grays, size=_WINDOW, stride=_STRIDE)
    found, copies = [], 0
    for group in recurring_groups(whitened_windows(windows), least=least):
        mask = _mask_of_windows(group.windows)
        if _is_whole(mask):
            copies += len(group.items)
            continue
        found.append(_Candidate(dict.fromkeys(group.items.tolist(), mask), group.strength, moves=False))
    remarks = []
    if copies:
        remarks.append(f"{copies} pictures agree nearly everywhere: 'lookalike groups' finds copies")
    if not has_opencv():
        remarks.append("marks at changing places were not looked for: pip install 'lookalike[geometry]'")
        return found, remarks
    features = [
        local_features(Picture(Image.fromarray(each.pixels), each.pixels.shape[:2], ""), n=_FEATURES)
        for each in tracked(seen, "finding points", len(seen), progress)
    ]
    for moving in moving_groups(features, least=least, progress=progress):
        masks = {row: _mask_of_frame(box, features[row].size) for row, box in moving.frames.items()}
        known = any(_is_same(set(masks), set(each.masks)) for each in found)
        area = float(np.mean([mask.mean() for mask in masks.values()]))
        if not known and area <= _MOST_AREA:
            strength = area * windows.shape[1] * windows.shape[2] * moving.largest
            found.append(_Candidate(masks, strength, moves=True))
    return found, remarks


def _frame(pixels: InputPixels) -> NDArray[np.uint8]:
    gray = Image.fromarray(pixels).convert("L")
    return np.asarray(gray.resize((_SIDE, _SIDE), Image.Resampling.BILINEAR))


def _mask_of_windows(windows: Tensor) -> Mask:
    mask = np.zeros((_SIDE, _SIDE), bool)
    for row, column in (windows.nonzero() * _STRIDE).tolist():
        mask[row : row + _WINDOW, column : column + _WINDOW] = True
    return mask


def _mask_of_frame(box: Box, size: tuple[int, int]) -> Mask:
    mask = np.zeros((_SIDE, _SIDE), bool)
    left, right = (int(np.clip(x / size[1] * _SIDE, 0, _SIDE)) for x in (box[0], box[2] + 0.999))
    top, bottom = (int(np.clip(y / size[0] * _SIDE, 0, _SIDE)) for y in (box[1], box[3] + 0.999))
    mask[top : max(bottom, top + 1), left : max(right, left + 1)] = True
    return mask


def _is_whole(mask: Mask) -> bool:
    """Whether what agrees is the picture, not its edges: a frame may cover as much."""
    quarter = _SIDE // 4
    inner = mask[quarter:-quarter, quarter:-quarter]
    return bool(mask.mean() > _MOST_AREA and inner.mean() > 0.5)


def _is_same(one: set[int], other: set[int]) -> bool:
    return len(one & other) >= 0.5 * min(len(one), len(other))


@final
class _Measure:
    """Embeds pictures with a place filled, and compares similarities with and without."""

    def __init__(
        self, seen: Sequence[_Seen], units: Tensor, embedder: Embedder, rng: np.random.Generator
    ) -> None:
        self._seen, self._units, self._embedder, self._rng = seen, units, embedder, rng

    def __call__(self, number: int, candidate: _Candidate) -> Recurrence:
        members = sorted(candidate.masks)
        outside = sorted(set(range(len(self._seen))) - set(members))
        own, others = self._some(members), self._some(outside)
        masks = [candidate.masks[row] for row in own]
        filled = self._filled(own, masks)
        filled_others = self._filled(others, [masks[i % len(masks)] for i in range(len(others))])
        units, units_others = self._units[own], self._units[others]
        axes = directions_added(units - filled, units_others - filled_others, _DIRECTIONS)
        preference = _preference(units, units_others)
        without = _preference(filled, filled_others)
        aside = [without_directions(each, axes) for each in (units, units_others, self._units)]
        n, total = len(members), len(self._seen)
        all_pairs = _mean_cosine(self._units) * total * (total - 1)
        what, place = _in_words(candidate, masks)
        return Recurrence(
            id=str(number),
            what=what,
            place=place,
            boxes={self._seen[row].record.path: self._box(row, candidate.masks[row]) for row in members},
            part=n / total,
            area=float(np.mean([mask.mean() for mask in masks])),
            preference=preference,
            preference_without=without,
            preference_aside=_preference(aside[0], aside[1]),
            nearest=_nearest_inside(self._units, members),
            nearest_aside=_nearest_inside(aside[2], members),
            nearest_chance=(n - 1) / (total - 1),
            share=(preference - without) * n * (n - 1) / all_pairs,
            strength=candidate.strength,
            directions=axes.numpy(),
        )

    def _some(self, rows: Sequence[int]) -> list[int]:
        return sorted(self._rng.permutation(rows)[:_MEASURED].tolist())

    def _filled(self, rows: Sequence[int], masks: Sequence[Mask]) -> Tensor:
        """Unit embeddings (R, D) of pictures with their masks filled."""
        embedded = []
        for start in range(0, len(rows), _BATCH):
            part = slice(start, start + _BATCH)
            pictures = [
                filled_picture(self._seen[i].pixels, m) for i, m in zip(rows[part], masks[part], strict=True)
            ]
            embedded.append(self._embedder.embed_pixels(pictures))
        return torch.cat(embedded) if embedded else self._units[:0]

    def _box(self, row: int, mask: Mask) -> Box:
        """Left, top, right, bottom of a mask in pixels of the original, inside the picture."""
        geometry = self._seen[row].geometry
        y, x = np.nonzero(mask)
        left, top, *_ = geometry.cell_box(int(y.min()), int(x.min()), (_SIDE, _SIDE))
        *_, right, bottom = geometry.cell_box(int(y.max()), int(x.max()), (_SIDE, _SIDE))
        height, width = geometry.original_size
        return max(left, 0.0), max(top, 0.0), min(right, float(width)), min(bottom, float(height))


def filled_picture(pixels: InputPixels, mask: Mask) -> InputPixels:
    """Return pixels (H, W, 3) whose masked place, (h, w) of the same frame, continues its surroundings."""
    height, width = pixels.shape[:2]
    scaled = np.asarray(Image.fromarray(mask).resize((width, height), Image.Resampling.NEAREST))
    picture = torch.from_numpy(pixels.copy()).permute(2, 0, 1)[None].float()
    filled = filled_smoothly(picture, torch.from_numpy(scaled.copy())[None])
    return filled[0].permute(1, 2, 0).round().clamp(0, 255).byte().numpy()


def _mean_cosine(units: Tensor) -> float:
    """Mean cosine of different pictures (n, D)."""
    n, total = len(units), units.double().sum(0)
    return float((total @ total - n) / max(n * (n - 1), 1))


def _preference(own: Tensor, others: Tensor) -> float:
    """How much nearer pictures (n, D) are to each other than to others (m, D); m may be 0."""
    return _mean_cosine(own) - (float(own.double().mean(0) @ others.double().mean(0)) if len(others) else 0.0)


def _nearest_inside(units: Tensor, members: Sequence[int]) -> float:
    """Part of the members whose nearest picture is a member."""
    cosines = units[members] @ units.T
    cosines[torch.arange(len(members)), torch.tensor(members)] = -torch.inf
    return float(torch.isin(cosines.argmax(1), torch.tensor(members)).float().mean())


def _in_words(candidate: _Candidate, masks: Sequence[Mask]) -> tuple[str, str]:
    """What it is and where, by the shape of its mask."""
    if candidate.moves:
        return "mark at changing places", "anywhere"
    mask, edge = masks[0], _SIDE // 8
    y, x = np.nonzero(mask)
    reach = {
        "top": mask[:edge].any(0).mean(),
        "bottom": mask[-edge:].any(0).mean(),
        "left": mask[:, :edge].any(1).mean(),
        "right": mask[:, -edge:].any(1).mean(),
    }
    sides = [name for name, part in reach.items() if part > 0.6]
    if len(sides) == 4:
        return "frame", "all around"
    high, wide = y.max() + 1 - y.min(), x.max() + 1 - x.min()
    if len(sides) == 1 and min(high, wide) < 0.4 * _SIDE:
        return "band", f"along the {sides[0]}"
    row = ("top", "middle", "bottom")[int(y.mean() * 3 // _SIDE)]
    column = ("left", "center", "right")[int(x.mean() * 3 // _SIDE)]
    return "mark at one place", {"middle center": "center"}.get(f"{row} {column}", f"{row} {column}")
