"""Search by every region of a photograph: what is on it, and where."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from functools import partial
from html import escape
from typing import Any, final, overload

from lookalike.gallery.filters import Where
from lookalike.gallery.query import read_image, region_query
from lookalike.gallery.regions import Box, Region
from lookalike.gallery.results import Hit
from lookalike.gallery.searchable import Searchable
from lookalike.models.embedder import ImageSource
from lookalike.rerankers import propose_regions
from lookalike.rerankers.local_features import opencv
from lookalike.rerankers.region_proposals import box_area, common_area, overlap
from lookalike.types import Corners, Picture, ProgressCallback
from lookalike.types.progress import tracked

_MATCH = 0.5  # probability from which a region is said to show a hit
_SAME_PLACE = 0.5  # of the smaller of two boxes, covered by the other
_REFINED_BELOW = 0.75  # overlap of a region with what was found in it, below which it is searched again
_REFINING = 12  # candidates of such a search
_FOUND, _CERTAIN = 0.5, 0.99  # overlap with a match of this probability: a region is not searched
_WIDER, _MOST_WIDENED = 4, 6  # times the shortlist, for so many regions where nothing was certain
_LEAST_SIDE = 8  # pixels of a box


@dataclass(frozen=True, repr=False)
class RegionHit:
    """What a region of a photograph shows: the best hit, verified by geometry."""

    box: Box  # of what was found, or of the region if nothing certain was; in pixels of the photograph
    hit: Hit  # its similarity is that of the region searched by
    others: tuple[Hit, ...] = field(default=())  # further matches at the same place, such as duplicates

    @property
    def is_match(self) -> bool:
        """Whether the hit is a match with probability 0.5 or more."""
        return (self.hit.probability or 0.0) >= _MATCH

    @property
    def outline(self) -> Corners:
        """The corners of what was found on the photograph; those of the box if nothing certain was."""
        left, top, right, bottom = self.box
        found = self.hit.verification
        if found is not None and found.query_outline and self.is_match:
            return found.query_outline
        return (left, top), (right, top), (right, bottom), (left, bottom)

    def to_dict(self) -> dict[str, Any]:
        """Return box, path, similarity, inliers and probability as JSON types."""
        found = self.hit.verification
        return {
            "box": [round(side, 1) for side in self.box],
            "is_match": self.is_match,
            "path": self.hit.record.path,
            "id": self.hit.id,
            "similarity": self.hit.similarity,
            "inliers": 0 if found is None else found.n_inliers,
            "mirrored": found is not None and found.mirrored,
            "probability": self.hit.probability,
            "outline": [list(corner) for corner in self.outline],
            "others": [hit.record.path for hit in self.others],
            "metadata": dict(self.hit.metadata),
        }

    def __repr__(self) -> str:
        box = ",".join(f"{side:.0f}" for side in self.box)
        return f"RegionHit({box}: {self.hit.path.name!r}, probability {self.hit.probability or 0:z.2f})"


@final
class RegionsResult(Sequence[RegionHit]):
    """The regions of a photograph with what they show: matches first, then regions without a certain one."""

    def __init__(self, picture: Picture, regions: Sequence[RegionHit], n_searched: int) -> None:
        self.picture = picture  # the photograph
        self.n_searched = n_searched  # regions that were searched by
        self._regions = tuple(regions)

    @property
    def matches(self) -> tuple[RegionHit, ...]:
        """The regions that show a hit with probability 0.5 or more."""
        return tuple(region for region in self._regions if region.is_match)

    def __len__(self) -> int:
        return len(self._regions)

    @overload
    def __getitem__(self, index: int) -> RegionHit: ...
    @overload
    def __getitem__(self, index: slice) -> RegionsResult: ...
    def __getitem__(self, index: int | slice) -> RegionHit | RegionsResult:
        if isinstance(index, slice):
            return RegionsResult(self.picture, self._regions[index], self.n_searched)
        return self._regions[index]

    def __iter__(self) -> Iterator[RegionHit]:
        return iter(self._regions)

    def _repr_html_(self) -> str:
        """Return the hit of each region with its box, for notebooks."""
        cells = "".join(
            f"<div style='font:12px sans-serif'>{','.join(f'{side:.0f}' for side in region.box)}"
            f"{region.hit._repr_html_()}</div>"
            for region in self[:24]
        )
        return (
            f"<div>{escape(repr(self))}<div style='display:flex;flex-wrap:wrap;gap:8px'>{cells}</div></div>"
        )

    def __repr__(self) -> str:
        return f"RegionsResult({len(self.matches)} matches in {self.n_searched} regions)"

    def to_dict(self) -> dict[str, Any]:
        """Return all regions as JSON types."""
        return {"regions": [region.to_dict() for region in self], "searched": self.n_searched}


def search_by_regions(
    gallery: Searchable,
    source: ImageSource,
    *,
    boxes: Sequence[Box] | None,
    limit: int,
    shortlist: int,
    where: Where | None,
    leave_self_out: bool,
    progress: ProgressCallback | None = None,
    holding: Callable[[], AbstractContextManager[None]] = nullcontext,
) -> RegionsResult:
    """Propose regions, search by each and verify by geometry; see ``Gallery.search_regions``.

    ``holding`` is entered while the photograph is embedded, and again for each region: between them others
    can have the model.
    """
    opencv()
    embedder = gallery.embedder
    reading, id = read_image(source, embedder)
    with holding():
        whole = embedder.shares(reading)
    if boxes is not None:
        boxes = [_checked_box(box) for box in boxes]
    else:
        proposed = propose_regions(reading.picture, whole, limit=limit)
        boxes = [each.box for each in (proposed[-1], *proposed[:-1])]  # the whole first

    def hits_of_box(box: Box, n: int = shortlist) -> list[Hit]:
        with holding():
            query = region_query(reading, Region(box, None), embedder, id=id, whole=whole)
            result = gallery.search(
                query, k=10, rerank="geometry", shortlist=n, where=where,
                leave_self_out=leave_self_out and id is not None,
            )  # fmt: skip
            return list(result)

    certain: list[RegionHit] = []
    uncertain: list[RegionHit] = []
    n_searched = 0
    for box in tracked(boxes, "searching regions", len(boxes), progress):
        if any(overlap(box, each.box) > _FOUND and _is_certain(each) for each in certain):
            continue  # what it shows was found already
        hits = hits_of_box(box)
        n_searched += 1
        found = _sure(hits, box, reading.picture)
        certain += found
        uncertain += [RegionHit(box, hit) for hit in hits[:1] if not found]
    if uncertain and len(gallery) > shortlist:
        wider = partial(hits_of_box, n=_WIDER * shortlist)
        uncertain = _searched_wider(certain, uncertain, wider, reading.picture, progress)
    rough = _one_at_each_place(certain)
    places = tracked(rough, "refining boxes", len(rough), progress if rough else None)
    refined = [_refined(each, hits_of_box) for each in places]
    matches = _one_at_each_place(refined)
    taken = [each.box for each in matches]
    rest = [each for each in uncertain if not any(_shares_place(each.box, box) for box in taken)]
    return RegionsResult(reading.picture, [*matches, *_one_at_each_place(rest)], n_searched)


def _searched_wider(
    certain: list[RegionHit],
    uncertain: list[RegionHit],
    search: Callable[[Box], list[Hit]],
    picture: Picture,
    progress: ProgressCallback | None,
) -> list[RegionHit]:
    """Search by the first regions where nothing was found again, among more images; return what stays unsure.

    A picture in its frame can be far down by its embedding. What is found is added to ``certain``. The first
    of the regions, the whole photograph where nothing was found by it, comes last.
    """
    unsure, n_left = [], _MOST_WIDENED
    ordered = [*uncertain[1:], *uncertain[:1]]
    for each in tracked(ordered, "searching among more", len(ordered), progress):
        is_taken = any(_shares_place(each.box, found.box) for found in certain)
        if is_taken or not n_left:
            unsure.append(each)
            continue
        hits = search(each.box)
        n_left -= 1
        found = _sure(hits, each.box, picture)
        certain += found
        unsure += [] if found else [RegionHit(each.box, hits[0])]
    return unsure


def _sure(hits: Sequence[Hit], box: Box, picture: Picture) -> list[RegionHit]:
    """The matches among the hits of a region, each in the box of its outline."""
    sure = [hit for hit in hits if (hit.probability or 0.0) >= _MATCH]
    return [RegionHit(_box_of(hit, box, picture), hit) for hit in sure]


def _is_certain(region: RegionHit) -> bool:
    return (region.hit.probability or 0.0) >= _CERTAIN


def _checked_box(box: Box) -> Box:
    """The box, if it is four numbers. Raises ValueError otherwise."""
    region = Region.of(box, None)
    assert region is not None and region.box is not None
    return region.box


def _refined(found: RegionHit, search: Callable[[Box, int], list[Hit]]) -> RegionHit:
    """What is found by the box of a match itself, if its region was much larger or smaller."""
    region = found.hit.searched_region
    if region is not None and region.box is not None and overlap(region.box, found.box) >= _REFINED_BELOW:
        return found
    again = next((hit for hit in search(found.box, _REFINING) if hit.id == found.hit.id), None)
    if again is None or (again.probability or 0) < _MATCH:
        return found
    return RegionHit(found.box, again, found.others)


def _one_at_each_place(regions: Sequence[RegionHit]) -> list[RegionHit]:
    """The best region at each place, by its odds; matches of the others are noted with it."""
    kept: list[RegionHit] = []
    for region in sorted(regions, key=_quality, reverse=True):
        at = next((i for i, other in enumerate(kept) if _shares_place(region.box, other.box)), None)
        if at is None:
            kept.append(region)
            continue
        other = kept[at]
        known = {other.hit.id, *(hit.id for hit in other.others)}
        more = [hit for hit in (region.hit, *region.others) if hit.id not in known and region.is_match]
        kept[at] = RegionHit(other.box, other.hit, (*other.others, *more))
    return kept


def _quality(region: RegionHit) -> tuple[float, int, float]:
    found = region.hit.verification
    score = region.hit.score
    return score, 0 if found is None else found.n_inliers, region.hit.similarity


def _shares_place(a: Box, b: Box) -> bool:
    return common_area(a, b) > _SAME_PLACE * min(box_area(a), box_area(b))


def _box_of(hit: Hit, region: Box, picture: Picture) -> Box:
    """The box of a match's outline on the photograph; the region where that leaves it."""
    outline = () if hit.verification is None else hit.verification.query_outline
    if not outline:
        return region
    height, width = picture.original_size
    x, y = zip(*outline, strict=True)
    box = (max(0.0, min(x)), max(0.0, min(y)), min(float(width), max(x)), min(float(height), max(y)))
    return box if min(box[2] - box[0], box[3] - box[1]) >= _LEAST_SIDE else region
