"""Shares of similarities in what sets an image apart from pictures of it without detail."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, final, get_args
from weakref import WeakKeyDictionary

import torch
from torch import Tensor
from torch.nn import functional as F

from lookalike.errors import UnsupportedMethodError, check_name
from lookalike.models.embedder import Embedder
from lookalike.models.finite import check_finite
from lookalike.models.last_pass import LastPass
from lookalike.models.layers import LayerEntry
from lookalike.models.located import Account, LayerCells, LocatedShares, check_single_scale, check_unit
from lookalike.ops.blurring import gaussian_blur
from lookalike.ops.cell_index import CellIndex, cells_of, set_cells
from lookalike.ops.regrid import regrid
from lookalike.ops.secant import ReferenceForward, SecantForward
from lookalike.types import Reading, Shares, Trace

Reference = Literal["mean", "blur"]
_BLUR = 5 / 224  # standard deviation of the blurred picture, relative to the input's shorter side
_TOLERANCE = 1e-4  # largest gap in an account of cosines; fp32 reaches 1e-6 to 1e-5 where it is exact


# Layers of each model at which a run that can be split was found equal to a plain one.
_CHECKED: WeakKeyDictionary[Embedder, set[int]] = WeakKeyDictionary()


@dataclass(frozen=True, eq=False)
class _Run:
    """Pictures through a network from a layer on."""

    pictures: Tensor  # (B, 3, H, W)
    entering: Tensor  # (B, ...), or (B * copies, ...)
    units: Tensor  # of the same number, (., D)
    trace: Trace | None


@final
class SecantPass:
    """One image against references without detail, to be split over cells for any number of directions.

    A reference is the picture in its ``mean`` color or under a ``blur``. The network is linearized
    between image and reference (``ops.secant``), so each cell's share of the difference of both
    similarities is exact; over several references shares are averaged. The similarity that the
    references themselves have is added as their last layer locates it, so that the sum is the whole
    similarity; where that layer's pooling is not understood it is the residual "without detail". What is
    carried by prefix tokens has their names. ``layer`` is counted as in ``FrozenPass``.

    Raises UnknownNameError for a reference, ValueError for none, and UnsupportedMethodError as
    ``FrozenPass`` does.
    """

    def __init__(
        self,
        embedder: Embedder,
        reading: Reading,
        *,
        layer: int = -1,
        references: Sequence[Reference] = ("mean", "blur"),
    ) -> None:
        if not references:
            raise ValueError("a secant pass takes at least one reference, mean or blur; got none")
        check_single_scale(embedder)
        self._name, self._embedder = embedder.name, embedder
        self._entry = LayerEntry(embedder.network.backbone, layer, name=embedder.name)
        image, self._geometry = embedder.tensor(reading)
        embedder.network.backbone.model.train().eval()  # drops what timm caches in inference mode
        pictures = torch.cat([_without_detail(image, name) for name in references])
        with ReferenceForward() as without:
            self._reference = self._run(pictures, copies=1)
        with SecantForward(without):
            self._image = self._run(image, copies=len(pictures))
        self.unit = self._image.units[0].detach().double().cpu()
        check_finite(self.unit[None], embedder.name, [reading.picture.name])
        self._check_unit(image)
        self._cells = self._cells_of(self._image.entering)
        self.grid = self._cells.grid
        try:
            self._without: list[LastPass] = self._last_passes(self._reference)
        except UnsupportedMethodError:  # the pooling is not understood
            self._without = []

    def last_pass(self) -> LastPass:
        """The image at its last layer, from the same run. Raises UnsupportedMethodError as ``LastPass``."""
        return self._last_passes(self._image)[0]

    def shares(self, directions: Tensor) -> LocatedShares:
        """Split the similarities with K unit directions (K, D), with one backward pass each.

        ``content`` is what the detail adds, ``constants`` what the references have. Raises
        UnsupportedMethodError where the sum misses a similarity: the network then holds a function that
        is not understood.
        """
        detail = self._detail(directions.to(self._image.units))
        residual = dict(detail.residual)
        without_detail = torch.zeros_like(detail.content)
        if not self._without:
            residual["without detail"] = directions.cpu() @ self._reference.units.detach().cpu().mean(0)
        for last in self._without:
            located = last.shares(directions)
            without_detail += regrid(located.content.T, located.grid, self.grid).T / len(self._without)
            for name, values in located.residual.items():
                residual[name] = residual.get(name, torch.zeros_like(values)) + values / len(self._without)
        self._check(directions, (detail.content + without_detail).sum(1) + sum(residual.values()))
        return LocatedShares(detail.content, without_detail, residual, self.grid)

    def _detail(self, directions: Tensor) -> LocatedShares:
        """What the detail adds to the similarities, by cell and prefix token."""
        account = Account(len(directions), self.grid, directions.device)
        entering, n = self._image.entering, len(self._reference.units)
        difference = entering.detach() - self._reference.entering.detach()
        amounts = difference.new_empty(len(directions), len(difference) // n, *difference.shape[1:])
        for row, total in enumerate((self._image.units @ directions.T).sum(0)):  # over the references
            (gradient,) = torch.autograd.grad(total, entering, retain_graph=True)
            amounts[row] = (gradient * difference).reshape(n, *amounts.shape[1:]).mean(0)
        account.add_prefix(self._cells.add_features(account, amounts), self._cells.prefix)
        return account.result()

    def _run(self, pictures: Tensor, *, copies: int) -> _Run:
        """Pictures through the network, from the layer on in so many copies of what enters it."""
        kept: list[Tensor] = []

        def enter(features: Tensor) -> Tensor:
            index = cells_of(features)
            kept[:] = [torch.cat([features.detach()] * copies).requires_grad_()]
            if index is not None:
                set_cells(kept[0], CellIndex(torch.cat([index.numbers] * copies), index.grid))
            return kept[0]

        network = self._embedder.network
        with self._entry.replacing(enter), torch.enable_grad():
            output, trace = network.traced(pictures)
            units = F.normalize(output, dim=1)
        if not kept or not units.requires_grad:
            raise UnsupportedMethodError(
                f"the embedding of {self._name} does not depend on layer {self._entry.number}; "
                "choose another layer"
            )
        return _Run(pictures, kept[0], units, trace)

    def _cells_of(self, entering: Tensor) -> LayerCells:
        """Where what entered lies: the same for every copy."""
        copies, index = len(self._reference.units), cells_of(entering)
        if index is not None:
            index = CellIndex(index.numbers.chunk(copies)[0], index.grid)
        backbone = self._embedder.network.backbone
        return LayerCells(backbone, self._geometry, entering.chunk(copies)[0], index, name=self._name)

    def _last_passes(self, run: _Run) -> list[LastPass]:
        """The pictures of a run at their last layer. Raises UnsupportedMethodError as ``shares_of``."""
        network = self._embedder.network
        trace = run.trace
        with torch.no_grad():
            located = network.shares(run.pictures) if trace is None else network.shares_of(trace)
        return [
            LastPass(
                Shares(values[:-1].float().cpu(), values[-1].float().cpu(), located.grid, self._geometry)
            )
            for values in located.values
        ]

    def _check_unit(self, image: Tensor) -> None:
        """Compare a model's first run with a plain one: the sums would be exact, and of another network."""
        checked = _CHECKED.setdefault(self._embedder, set())
        if self._entry.number not in checked:
            with torch.inference_mode():
                plain = F.normalize(self._embedder.network(image), dim=1)[0]
            check_unit(self.unit, plain, name=self._name)
            checked.add(self._entry.number)

    def _check(self, directions: Tensor, total: Tensor) -> None:
        expected = directions.double().cpu() @ self.unit
        gap = float((total.double() - expected).abs().max())
        if not gap <= _TOLERANCE:
            raise UnsupportedMethodError(
                f"the shares of this layer of {self._name} miss the similarity by {gap:.1e}, for it holds a "
                "function that is not understood; use the last layer's shares or method 'occlusion'"
            )


def _without_detail(image: Tensor, name: Reference) -> Tensor:
    """A picture (1, 3, H, W) of the image without detail, in the image's memory format."""
    check_name("reference", name, get_args(Reference))
    if name == "mean":
        return torch.empty_like(image).copy_(image.mean((2, 3), keepdim=True))
    sigma = _BLUR * min(image.shape[2:])
    return torch.empty_like(image).copy_(gaussian_blur(image, size=2 * round(3 * sigma) + 1, sigma=sigma))
