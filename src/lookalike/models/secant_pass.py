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
from lookalike.types import Reading, Shares

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
        self._n = len(references)
        pictures = torch.cat([image, *(_without_detail(image, name) for name in references)])
        plain, lasts = self._plain_run(pictures, reading.picture.name)
        self._entering, self._units = self._run(_paired(pictures, self._n), plain)
        check_finite(self._units[:1], embedder.name, [reading.picture.name])
        self._cells = self._cells_of(plain)
        self.unit, self.grid = self._units[0].detach().double().cpu(), self._cells.grid
        self.last, *self._without = lasts
        for own, last in zip(self._units[self._n :], self._without, strict=True):
            if last is not None:
                check_unit(own, last.unit, name=self._name)

    def shares(self, directions: Tensor) -> LocatedShares:
        """Split the similarities with K unit directions (K, D), with one backward pass for each.

        ``content`` is what the detail adds, ``constants`` what the references have. Raises
        UnsupportedMethodError where the sum misses a similarity: the network then holds a function
        that is not understood.
        """
        detail = self._detail(directions.to(self._entering))
        residual = dict(detail.residual)
        without_detail = torch.zeros_like(detail.content)
        for own, last in zip(self._units[self._n :], self._without, strict=True):
            if last is None:
                parts = {"without detail": directions.cpu() @ own.detach().cpu()}
            else:
                located = last.shares(directions)
                without_detail += regrid(located.content.T, located.grid, self.grid).T / self._n
                parts = dict(located.residual)
            for name, values in parts.items():
                residual[name] = residual.get(name, torch.zeros_like(values)) + values / self._n
        self._check(directions, (detail.content + without_detail).sum(1) + sum(residual.values()))
        return LocatedShares(detail.content, without_detail, residual, self.grid)

    def _detail(self, directions: Tensor) -> LocatedShares:
        """What the detail adds to the similarities, by cell and prefix token."""
        account = Account(len(directions), self.grid, directions.device)
        of_images, of_references = self._units.chunk(2)  # (R, D)
        differences = directions @ (of_images - of_references).mean(0)  # (K,)
        gradients = [torch.autograd.grad(each, self._entering, retain_graph=True)[0] for each in differences]
        amounts = torch.stack(gradients) * self._entering.detach()  # (K, 2 R, ...)
        of_pairs = sum(amounts.chunk(2 * self._n, dim=1))
        account.add_prefix(self._cells.add_features(account, of_pairs), self._cells.prefix)
        return account.result()

    def _plain_run(self, pictures: Tensor, name: str) -> tuple[Tensor, list[LastPass | None]]:
        """What enters the layer for image and references, (1 + R, ...), and each picture's last layer.

        The last layers are None where the pooling is not understood.
        """
        kept: list[Tensor] = []

        def note(features: Tensor) -> Tensor:
            kept[:] = [features.detach()]
            set_cells(kept[0], cells_of(features))
            set_cells(features, None)  # after the layer nobody asks where cells lie
            return features

        network = self._embedder.network
        lasts: list[LastPass | None] = [None] * len(pictures)
        with self._entry.replacing(note), torch.no_grad(), SecantForward():
            try:
                found = network.shares(pictures, model=self._name, image=name)
            except UnsupportedMethodError:
                network(pictures)
            else:
                values = found.values.float().cpu()
                lasts = [LastPass(Shares(each[:-1], each[-1], found.grid, self._geometry)) for each in values]
        if not kept:
            raise self._independent()
        return kept[0], lasts

    def _run(self, pairs: Tensor, plain: Tensor) -> tuple[Tensor, Tensor]:
        """What enters the layer for R images and their references, (2 R, ...), and unit embeddings (2 R, D).

        The layers before are skipped where they are known to follow one another.
        """
        entering = _paired(plain, self._n).detach().requires_grad_()
        starting = (
            self._entry.starting_at(entering)
            if self._entry.is_chained
            else self._entry.replacing(lambda _: entering)
        )
        with starting, torch.enable_grad(), SecantForward():
            units = F.normalize(self._embedder.network(pairs), dim=1)
        if not units.requires_grad:
            raise self._independent()
        return entering, units

    def _independent(self) -> UnsupportedMethodError:
        return UnsupportedMethodError(
            f"the embedding of {self._name} does not depend on layer {self._entry.number}; "
            "choose another layer"
        )

    def _cells_of(self, entering: Tensor) -> LayerCells:
        """Where the first part of what entered, which is the image's, lies."""
        index, n = cells_of(entering), 1 + self._n
        own = None if index is None else CellIndex(index.numbers.chunk(n)[0], index.grid)
        backbone = self._embedder.network.backbone
        return LayerCells(backbone, self._geometry, entering.chunk(n)[0], own, name=self._name)

    def _check(self, directions: Tensor, total: Tensor) -> None:
        expected = directions.double().cpu() @ self.unit
        gap = float((total.double() - expected).abs().max())
        if not gap <= _TOLERANCE:
            raise UnsupportedMethodError(
                f"the shares of this layer of {self._name} miss the similarity by {gap:.1e}, for it holds a "
                "function that is not understood; use the last layer's shares or method 'occlusion'"
            )


def _paired(rows: Tensor, n_references: int) -> Tensor:
    """The image's part of (1 + R, ...) once for each reference, and then the references': (2 R, ...)."""
    image, *references = rows.chunk(1 + n_references)
    return torch.cat([*[image] * n_references, *references])


def _without_detail(image: Tensor, name: Reference) -> Tensor:
    """A picture (1, 3, H, W) of the image without detail."""
    check_name("reference", name, get_args(Reference))
    if name == "mean":
        return image.mean((2, 3), keepdim=True).expand_as(image)
    sigma = _BLUR * min(image.shape[2:])
    return gaussian_blur(image, size=2 * round(3 * sigma) + 1, sigma=sigma)
