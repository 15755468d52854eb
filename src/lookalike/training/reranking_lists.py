"""Result lists that a re-ranker learns from; seed and step determine each batch."""

from __future__ import annotations

import hashlib
import math
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
    following: Tensor  # (B, M, D) unit or zero, those after the candidates that may be anchors
    relevant: Tensor  # (B, K) bool: of the query's class


class ShortlistSource(Protocol):
    """Source of batches."""

    n_lists: int  # of an epoch

    def batch(self, step: int, process: int, n_processes: int) -> ShortlistBatch:
        """Return the batch of a step for one of several processes."""
        ...


@final
class WholeLists:
    """Every image is a query; its list is the k nearest others of its set and view, cached on disk.

    As published, the lists of all views form the training set: each epoch goes through all of them in
    a new order, and batches mix them. A list goes on as far as ``n_context`` others, which may be anchors.
    Raises DatasetError for sets too small for k.
    """

    def __init__(
        self,
        sets: Sequence[Descriptors],
        *,
        k: int,
        batch_size: int,
        seed: int,
        cache: Path,
        n_context: int = 0,
    ) -> None:
        self._k, self._batch_size, self._seed = k, batch_size, seed
        self._parts: list[tuple[Tensor, Tensor, Tensor]] = []
        for of_set in sets:
            n_others = len(of_set.labels) - 1
            if k > n_others:
                raise DatasetError(
                    f"{of_set.name} has {len(of_set.labels)} images, too few for lists of {k} others; "
                    f"lower the number of candidates to {n_others} or less"
                )
            for name, view in of_set.views.items():
                units = F.normalize(view, dim=1)
                length = min(max(k, n_context), n_others)
                lists = cached_lists(units, length, cache, f"{of_set.name}/{name}")
                self._parts.append((units, of_set.labels, lists))
        self._ends = torch.tensor([len(labels) for _, labels, _ in self._parts]).cumsum(0)
        self.n_lists = int(self._ends[-1])
        self._order: tuple[int, Tensor] = (-1, torch.empty(0))

    def batch(self, step: int, process: int, n_processes: int) -> ShortlistBatch:
        """Return lists of any sets and views; narrower descriptors are padded with zeros.

        A list is repeated where they don't divide evenly among the processes.
        """
        n_batches = math.ceil(self.n_lists / self._batch_size)
        epoch, number = divmod(step, n_batches)
        of_all = self._order_of(epoch)[number * self._batch_size :][: self._batch_size]
        n_each = math.ceil(len(of_all) / n_processes)
        chosen = of_all[(process + n_processes * torch.arange(n_each)) % len(of_all)]
        parts = torch.bucketize(chosen, self._ends, right=True)
        return _joined([self._part(part, chosen[parts == part]) for part in sorted(set(parts.tolist()))])

    def _order_of(self, epoch: int) -> Tensor:
        if self._order[0] != epoch:
            generator = torch.Generator().manual_seed(seed_of(self._seed, epoch))
            self._order = epoch, torch.randperm(self.n_lists, generator=generator)
        return self._order[1]

    def _part(self, part: int, chosen: Tensor) -> ShortlistBatch:
        """The chosen lists of one set and view."""
        units, labels, lists = self._parts[part]
        rows = chosen - (self._ends[part] - len(labels))
        found, after = lists[rows, : self._k], lists[rows, self._k :]
        relevant = labels[found] == labels[rows, None]
        return ShortlistBatch(units[rows], units[found], units[after], relevant)


def _joined(parts: Sequence[ShortlistBatch]) -> ShortlistBatch:
    """One batch of several; zeros fill narrower vectors and shorter contexts, and change no cosine."""
    width = max(part.queries.shape[1] for part in parts)
    length = max(part.following.shape[1] for part in parts)

    def padded(vectors: Tensor, n_rows: int = 0) -> Tensor:
        *first, rows, columns = vectors.shape
        filled = vectors.new_zeros(*first, rows + n_rows, width)  # torch 2.8 can't pad what is empty
        filled[..., :rows, :columns] = vectors
        return filled

    return ShortlistBatch(
        torch.cat([padded(part.queries) for part in parts]),
        torch.cat([padded(part.candidates) for part in parts]),
        torch.cat([padded(part.following, length - part.following.shape[1]) for part in parts]),
        torch.cat([part.relevant for part in parts]),
    )


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
    descriptors are perturbed as well. A list goes on as far as ``n_context`` items, which may be anchors.
    """

    def __init__(
        self,
        sets: Sequence[Descriptors],
        *,
        k: int,
        batch_size: int,
        seed: int,
        variation: bool,
        n_context: int = 0,
    ) -> None:
        self._sets, self._k, self._batch_size = list(sets), k, batch_size
        self._seed, self._variation, self._n_context = seed, variation, n_context
        self.n_lists = sum(len(of_set.labels) * len(of_set.views) for of_set in sets)

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
        ranked = nearest(queries, gallery, max(k, self._n_context))[1]
        found, after = ranked[:, :k], ranked[:, k:]
        labels = of_set.labels[rows]
        relevant = labels[n:][found] == labels[:n, None]
        return ShortlistBatch(queries, gallery[found], gallery[after], relevant)

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
