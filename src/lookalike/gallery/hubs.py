"""Images of a gallery that are near everything: found, said in a sentence, and corrected in a search."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, get_args

import torch
from torch import Tensor

from lookalike.errors import check_name
from lookalike.ops.hubs import nearest_rows, neighborhood_similarity, occurrences
from lookalike.store import Record, Snapshot
from lookalike.types import FloatArray, Ranking

Correction = Literal["csls", "center"]

_NEIGHBORS = 10
_MOST_QUERIES = 2000  # images of a large gallery that are asked for their neighbors
_MOST_REFERENCES = 5000  # images of a large gallery among which CSLS looks for neighbors
_PART, _MOST_TIMES = 0.3, 50  # of all images, or times the expected number: from there it is a hub
_LEAST_TIMES, _SURE_PART = 5.0, 0.8  # times the expected number, at least; of all images in a small gallery


@dataclass(frozen=True)
class Hub:
    """An image that is among the nearest of many others."""

    path: str
    id: str
    n_near: int  # images that have it among their 10 nearest
    n_first: int  # images whose nearest it is


@dataclass(frozen=True)
class Hubness:
    """The hubs of a gallery, and how many images were asked for their neighbors."""

    hubs: tuple[Hub, ...]  # most frequent first
    n_asked: int
    n_changed: int  # images whose nearest would be another without the hubs

    @property
    def sentence(self) -> str:
        """What to know and to do, in one sentence; empty without hubs."""
        if not self.hubs:
            return ""
        names = [f"{Path(hub.path).name} (near {hub.n_near} of {self.n_asked})" for hub in self.hubs[:3]]
        more = f" and {len(self.hubs) - 3} more" if len(self.hubs) > 3 else ""
        one = len(self.hubs) == 1
        them = "it" if one else "them"
        return (
            f"{', '.join(names)}{more} turn{'s' if one else ''} up for nearly everything that is searched "
            f"for: without {them}, {self.n_changed} of {self.n_asked} searches would begin with another "
            f"image (gallery remove sets {them} aside, search --correct csls keeps and corrects)"
        )


def find_hubs(snapshot: Snapshot, *, seed: int = 0) -> Hubness:
    """Return the images that are among the 10 nearest of far too many others.

    A hub is near 30 % of all images, or 50 times as many as an image is on average, and five times as many
    at least (80 % in a small gallery). In a large one 2,000 random images are asked.
    """
    gallery = torch.from_numpy(snapshot.embeddings)
    n = len(gallery)
    if n <= _NEIGHBORS:
        return Hubness((), n, 0)
    generator = torch.Generator().manual_seed(seed)
    rows = torch.randperm(n, generator=generator)[:_MOST_QUERIES].sort().values
    neighbors = nearest_rows(gallery[rows], gallery, rows, _NEIGHBORS)
    n_near, n_first = occurrences(neighbors, n), occurrences(neighbors[:, :1], n)
    expected = _NEIGHBORS * len(rows) / n
    least = max(_LEAST_TIMES * expected, min(_PART * len(rows), _MOST_TIMES * expected))
    least = min(least, _SURE_PART * len(rows))
    found = [row for row in n_near.argsort(descending=True, stable=True).tolist() if n_near[row] >= least]
    is_hub = torch.zeros(n, dtype=torch.bool)
    is_hub[found] = True
    changed = int(is_hub[neighbors[:, 0]].sum())
    hubs = tuple(_hub(snapshot.records[row], int(n_near[row]), int(n_first[row])) for row in found)
    return Hubness(hubs, len(rows), changed)


class Corrected:
    """Scores of a gallery corrected for hubs; computed for one state of it.

    ``csls`` (Conneau et al., ICLR 2018): twice the cosine, less the mean cosine of the query and of the
    image with their 10 nearest of the gallery. ``center`` (Suzuki et al., *Centering similarity measures to
    reduce hubs*, EMNLP 2013): the cosine of both embeddings less the mean of all. In a large gallery the
    neighbors are looked for among 5,000 random images.
    """

    def __init__(self, correction: str, snapshot: Snapshot, mean: FloatArray) -> None:
        check_name("correction", correction, get_args(Correction))
        self.correction = correction
        self._gallery = torch.from_numpy(snapshot.embeddings)
        self._mean = torch.from_numpy(mean)
        if correction == "csls":
            self._references, own = _references(self._gallery)
            self._near = neighborhood_similarity(self._gallery, self._references, _NEIGHBORS, own)
        else:
            self._centered = torch.nn.functional.normalize(self._gallery - self._mean, dim=1)

    def scores(self, unit: Tensor) -> Tensor:
        """Return the corrected scores (G,) of a query's unit embedding (D,)."""
        if self.correction == "center":
            return self._centered @ torch.nn.functional.normalize(unit - self._mean, dim=0)
        own = torch.full((1,), -1)
        near = neighborhood_similarity(unit[None], self._references, _NEIGHBORS, own)
        return 2 * (self._gallery @ unit) - near - self._near

    def ranking(self, before: Ranking, n: int) -> Ranking:
        """Return the n best by corrected scores of a ranking of one query over the whole gallery."""
        scores = self.scores(before.queries[0])
        if before.allowed is not None:
            scores = scores.masked_fill(~before.allowed, -torch.inf)
            n = min(n, int(before.allowed.sum()))
        best = scores.topk(min(n, len(scores)))
        return replace(before, indices=best.indices[None], scores=best.values[None])


def _references(gallery: Tensor) -> tuple[Tensor, Tensor]:
    """Images among which neighbors are looked for, and each image's own row among them, -1 if none."""
    n = len(gallery)
    own = torch.full((n,), -1)
    chosen = torch.randperm(n, generator=torch.Generator().manual_seed(0))[:_MOST_REFERENCES]
    own[chosen] = torch.arange(len(chosen))
    return gallery[chosen], own


def _hub(record: Record, n_near: int, n_first: int) -> Hub:
    return Hub(record.path, record.id, n_near, n_first)
