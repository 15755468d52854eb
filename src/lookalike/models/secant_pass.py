"""Shares of similarities in what sets an image apart from pictures of it without detail."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, final, get_args

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
from lookalike.ops.secant import SecantForward
from lookalike.types import Geometry, Reading

Reference = Literal["mean", "blur"]
_BLUR = 5 / 224  # standard deviation of the blurred picture, relative to the input's shorter side
_TOLERANCE = 1e-4  # largest gap in an account of cosines; fp32 reaches 1e-6 to 1e-5 where it is exact


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
        pictures = [_without_detail(image, name) for name in references]
        self._runs = [self._run(torch.cat([image, picture])) for picture in pictures]
        entering, units = self._runs[0]
        check_finite(units[:1], embedder.name, [reading.picture.name])
        self._cells = self._cells_of(entering)
        self.unit, self.grid = units[0].detach().double().cpu(), self._cells.grid
        self._without = [_last_pass(embedder, picture, self._geometry) for picture in pictures]
        for (_, of_pair), last in zip(self._runs, self._without, strict=True):
            if last is not None:
                check_unit(of_pair[1], last.unit, name=self._name)

    def shares(self, directions: Tensor) -> LocatedShares:
        """Split the similarities with K unit directions (K, D), with one backward pass for each reference.

        ``content`` is what the detail adds, ``constants`` what the references have. Raises
        UnsupportedMethodError where the sum misses a similarity: the network then holds a function that
        is not understood.
        """
        detail = self._detail(directions.to(self._runs[0][0]))
        n = len(self._runs)
        residual = dict(detail.residual)
        without_detail = torch.zeros_like(detail.content)
        for (_, units), last in zip(self._runs, self._without, strict=True):
            if last is None:
                parts = {"without detail": directions.cpu() @ units[1].detach().cpu()}
            else:
                located = last.shares(directions)
                without_detail += regrid(located.content.T, located.grid, self.grid).T / n
                parts = dict(located.residual)
            for name, values in parts.items():
                residual[name] = residual.get(name, torch.zeros_like(values)) + values / n
        self._check(directions, (detail.content + without_detail).sum(1) + sum(residual.values()))
        return LocatedShares(detail.content, without_detail, residual, self.grid)

    def _detail(self, directions: Tensor) -> LocatedShares:
        """What the detail adds to the similarities, by cell and prefix token."""
        account = Account(len(directions), self.grid, directions.device)
        for entering, units in self._runs:
            image, without_detail = entering.detach().chunk(2)
            differences = directions @ (units[0] - units[1])  # (K,)
            gradients = [torch.autograd.grad(each, entering, retain_graph=True)[0] for each in differences]
            of_image, of_reference = torch.stack(gradients).chunk(2, dim=1)
            amounts = (of_image * image + of_reference * without_detail) / len(self._runs)
            account.add_prefix(self._cells.add_features(account, amounts), self._cells.prefix)
        return account.result()

    def _run(self, pair: Tensor) -> tuple[Tensor, Tensor]:
        """What enters the layer for image and reference, (2, ...), and their unit embeddings (2, D)."""
        kept: list[Tensor] = []

        def enter(features: Tensor) -> Tensor:
            kept[:] = [features.detach().requires_grad_()]
            set_cells(kept[0], cells_of(features))
            return kept[0]

        with self._entry.replacing(enter), torch.enable_grad(), SecantForward():
            units = F.normalize(self._embedder.network(pair), dim=1)
        if not kept or not units.requires_grad:
            raise UnsupportedMethodError(
                f"the embedding of {self._name} does not depend on layer {self._entry.number}; "
                "choose another layer"
            )
        return kept[0], units

    def _cells_of(self, entering: Tensor) -> LayerCells:
        """Where the first half of what entered, which is the image's, lies."""
        index = cells_of(entering)
        half = None if index is None else CellIndex(index.numbers.chunk(2)[0], index.grid)
        backbone = self._embedder.network.backbone
        return LayerCells(backbone, self._geometry, entering.chunk(2)[0], half, name=self._name)

    def _check(self, directions: Tensor, total: Tensor) -> None:
        expected = directions.double().cpu() @ self.unit
        gap = float((total.double() - expected).abs().max())
        if not gap <= _TOLERANCE:
            raise UnsupportedMethodError(
                f"the shares of this layer of {self._name} miss the similarity by {gap:.1e}, for it holds a "
                "function that is not understood; use the last layer's shares or method 'occlusion'"
            )


def _last_pass(embedder: Embedder, image: Tensor, geometry: Geometry) -> LastPass | None:
    """A picture (1, 3, H, W) at its last layer; None where the pooling is not understood."""
    try:
        return LastPass(embedder.tensor_shares(image.contiguous(), geometry))
    except UnsupportedMethodError:
        return None


def _without_detail(image: Tensor, name: Reference) -> Tensor:
    """A picture (1, 3, H, W) of the image without detail."""
    check_name("reference", name, get_args(Reference))
    if name == "mean":
        return image.mean((2, 3), keepdim=True).expand_as(image)
    sigma = _BLUR * min(image.shape[2:])
    return gaussian_blur(image, size=2 * round(3 * sigma) + 1, sigma=sigma)
