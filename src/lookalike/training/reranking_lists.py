"""Result lists that a re-ranker learns from; seed and step determine each batch."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, final

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from lookalike.datasets.descriptors import Descriptors
from lookalike.errors import DatasetError, TrainingError
from lookalike.ops.neighbors import nearest
from lookalike.training.reranking_variation import bernoulli, domain_shifted, perturbed
from lookalike.training.seeds import seed_of

# Drawn lists: least number of classes, range of images per class, most images.
FEWEST_CLASSES, IMAGES_PER_CLASS, LARGEST_GALLERY = 5, (2, 40), 1200
SHORTEST = 64  # least number of candidates of a drawn list, if there are so many
FEW, P_FEW = (2, 3), 0.4  # images per class in this share of the lists: one or two are relevant
P_DOMAIN_SHIFT = 0.4


@dataclass(frozen=True)
class ShortlistBatch:
    """The first results of some queries."""

    queries: Tensor  # (B, D) unit
    candidates: Tensor  # (B, K, D) unit, best first
    relevant: Tensor  # (B, K) bool: of the query's class


class ShortlistSource(Protocol):
    """Source of batches."""

    def batch(self, step: int, process: int, n_processes: int) -> ShortlistBatch:
        """Return the batch of a step for one of several processes."""
        ...


@final
class WholeLists:
    """Every image is a query; its list is the k nearest others of its set and view, cached on disk.

    As published, the lists of all views form the training set. Raises DatasetError for sets too small
    for k or for a batch.
    """

    def __init__(
        self, sets: Sequence[Descriptors], *, k: int, batch_size: int, seed: int, cache: Path
    ) -> None:
        self._parts: list[tuple[Tensor, Tensor, Tensor]] = []
        for of_set in sets:
            if k >= len(of_set.labels):
                raise DatasetError(
                    f"{of_set.name} has {len(of_set.labels)} images, too few for lists of {k} others; "
                    "lower the number of candidates"
                )
            for name, view in of_set.views.items():
                units = F.normalize(view, dim=1)
                self._parts.append(
                    (units, of_set.labels, cached_lists(units, k, cache, f"{of_set.name}/{name}"))
                )
        self._offsets = np.cumsum([0, *(len(labels) for _, labels, _ in self._parts)])
        if batch_size > self._offsets[-1]:
            raise DatasetError(
                f"a batch of {batch_size} queries can't be drawn from {self._offsets[-1]} images; "
                "lower the batch size"
            )
        self._batch_size, self._seed = batch_size, seed

    def batch(self, step: int, process: int, n_processes: int) -> ShortlistBatch:
        """Return queries of one set and view, since widths differ between views."""
        part = self._part(step)
        units, labels, lists = self._parts[part]
        random = np.random.default_rng((self._seed, step, 1))
        drawn = random.choice(len(units), min(self._batch_size, len(units)), replace=False)
        rows = torch.as_tensor(drawn[process::n_processes])
        found = lists[rows]  # (B, K)
        return ShortlistBatch(units[rows], units[found], labels[found] == labels[rows, None])

    def _part(self, step: int) -> int:
        """Draw a set and view, in proportion to their images."""
        position = np.random.default_rng((self._seed, step, 0)).integers(self._offsets[-1])
        return int(np.searchsorted(self._offsets, position, side="right")) - 1


def cached_lists(units: Tensor, k: int, cache: Path, name: str) -> Tensor:
    """The k nearest other rows of every unit row, best first: (N, k) int64, read from ``cache`` if there.

    Raises TrainingError if the cache can't be read or written.
    """
    digest = hashlib.sha256(units.numpy().tobytes()).hexdigest()[:16]
    file = cache / f"{digest}-{k}.npy"
    try:
        if file.exists():
            return torch.as_tensor(np.load(file, allow_pickle=False)).long()
        lists = _others(units, k)
        cache.mkdir(parents=True, exist_ok=True)
        part = file.with_suffix(".part.npy")
        np.save(part, lists.numpy().astype(np.int32))
        part.replace(file)
        return lists
    except (OSError, ValueError) as error:
        raise TrainingError(
            f"the lists of {name} can't be kept in {file}: {error}; make room there"
        ) from error


def _others(units: Tensor, k: int) -> Tensor:
    rows = nearest(units, units, k + 1)[1]  # (N, k + 1)
    itself = rows == torch.arange(len(rows))[:, None]
    itself[:, -1] |= ~itself.any(1)  # a row crowded out by its duplicates: drop the last instead
    return rows[~itself].reshape(len(rows), k)


@final
class DrawnLists:
    """Every step draws a set, a view, classes, images of them, and queries that are not in the gallery.

    Galleries are thus small and large, with few and with many relevant images. With ``variation`` the
    descriptors are perturbed as well.
    """

    def __init__(
        self, sets: Sequence[Descriptors], *, k: int, batch_size: int, seed: int, variation: bool
    ) -> None:
        self._sets, self._k, self._batch_size = list(sets), k, batch_size
        self._seed, self._variation = seed, variation

    def batch(self, step: int, process: int, n_processes: int) -> ShortlistBatch:
        """Draw a gallery of its own for each process."""
        generator = torch.Generator().manual_seed(seed_of(self._seed, step, process))
        of_set = self._sets[_draw(0, len(self._sets) - 1, generator)]
        views = list(of_set.views.values())
        rows = self._drawn(of_set.labels, generator)
        vectors = views[_draw(0, len(views) - 1, generator)][rows]
        units = perturbed(vectors, generator) if self._variation else F.normalize(vectors, dim=1)
        n = min(max(self._batch_size // n_processes, 1), len(rows) // 2)
        longest = min(self._k, len(rows) - n)
        k = _draw(min(SHORTEST, longest), longest, generator)
        queries, gallery = units[:n], units[n:]
        if self._variation and bernoulli(P_DOMAIN_SHIFT, generator):
            queries = domain_shifted(queries, gallery, generator)
        found = nearest(queries, gallery, k)[1]  # (n, k)
        labels = of_set.labels[rows]
        return ShortlistBatch(queries, gallery[found], labels[n:][found] == labels[:n, None])

    def _drawn(self, labels: Tensor, generator: torch.Generator) -> Tensor:
        """Draw rows of some images of some classes, in random order."""
        order = torch.randperm(len(labels), generator=generator)
        classes = torch.as_tensor(np.unique(labels.numpy()))
        few, many = IMAGES_PER_CLASS
        if bernoulli(P_FEW, generator):
            n_classes, most = len(classes), _draw(*FEW, generator)
        else:
            n_classes = _draw(min(FEWEST_CLASSES, len(classes)), len(classes), generator)
            most = int(few * (many / few) ** float(torch.rand((), generator=generator)))
        kept = classes[torch.randperm(len(classes), generator=generator)[:n_classes]]
        order = order[torch.isin(labels[order], kept)]
        chosen = torch.tensor(list(_first_of_each(labels[order].tolist(), most)))
        return order[chosen][:LARGEST_GALLERY]


def _first_of_each(labels: list[int], n: int) -> Iterator[int]:
    """Positions of the first n of every label."""
    seen: dict[int, int] = {}
    for position, label in enumerate(labels):
        seen[label] = seen.get(label, 0) + 1
        if seen[label] <= n:
            yield position


def _draw(low: int, high: int, generator: torch.Generator) -> int:
    """Draw an integer from low to high, inclusive."""
    return int(torch.randint(low, high + 1, (), generator=generator))
