"""One image through a network with its gates held: shares of similarities at the cells of any layer."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, final

import torch
from torch import Tensor, nn

from lookalike.errors import UnsupportedMethodError
from lookalike.models.embedder import Embedder
from lookalike.models.finite import check_finite
from lookalike.models.layers import LayerEntry
from lookalike.models.located import Account, LayerCells, LocatedShares, check_single_scale, check_unit
from lookalike.ops.cell_index import cells_of, set_cells
from lookalike.ops.frozen import Constant, FrozenForward
from lookalike.types import Geometry, Reading, Shares

_TOLERANCE = 2e-5  # largest gap in an account of cosines; fp32 reaches 1e-6 where it is exact
_AT_ONCE = 32  # directions whose gradients are held in memory together


@final
class FrozenPass:
    """The forward pass of one image, to be split over cells for any number of directions.

    ``layer`` counts the network's blocks or stages: 0 is what enters the first (the patch embedding
    before positions, the stem's output), i what enters block i; negative numbers count from the end.
    Attention weights, deviations of norms and factors of activations are held at what occurred, so
    each similarity is exactly a sum over the layer's cells, over constants at the cells where later
    layers add them, and over named parts without a cell. Constants after the pooling are spread evenly.

    Raises UnsupportedMethodError for a network whose layers are unknown, and for several scales.
    """

    def __init__(self, embedder: Embedder, reading: Reading, *, layer: int = 0) -> None:
        check_single_scale(embedder)
        self._name, self._backbone = embedder.name, embedder.network.backbone
        self._entry = LayerEntry(self._backbone, layer, name=embedder.name)
        self.geometry: Geometry = reading.geometry
        self._entering: list[Tensor] = []
        self._first_tokens: list[Tensor] = []
        self._frozen = FrozenForward()
        self._n_early = 0  # constants added before the first block: positions
        image, _ = embedder.tensor(reading)
        self._backbone.model.train().eval()  # drops what timm caches in inference mode (LeViT's biases)
        with self._entry.replacing(self._enter), self._noting_tokens(), torch.enable_grad(), self._frozen:
            output: Tensor = embedder.network(image)[0]  # (D,)
        if not self._entering or not output.requires_grad:
            raise UnsupportedMethodError(
                f"the embedding of {self._name} does not depend on layer {layer}; choose another layer"
            )
        check_finite(output[None], embedder.name, [reading.picture.name])
        self._output = output / output.detach().norm().clamp(min=torch.finfo(output.dtype).tiny)
        self.unit = self._output.detach().double().cpu()  # (D,), unit length
        with torch.no_grad():
            plain: Tensor = embedder.network(image)[0]
        check_unit(self.unit, torch.nn.functional.normalize(plain, dim=0), name=self._name)
        (x,) = self._entering
        self.cells = LayerCells(self._backbone, reading.geometry, x, cells_of(x), name=self._name)
        self.grid = self.cells.grid

    def shares(self, directions: Tensor) -> LocatedShares:
        """Split the similarities with K unit directions (K, D), by one backward pass each.

        Raises UnsupportedMethodError where the sum misses a similarity: the network then holds a
        product that no gate explains.
        """
        directions = directions.to(self._output)
        constants = [constant.factors for constant in self._frozen.constants]
        entering, *rest = self._gradients(directions, [*self._entering, *self._first_tokens, *constants])
        tokens, of_constants = rest[: len(self._first_tokens)], rest[len(self._first_tokens) :]
        account = Account(len(directions), self.grid, self._output.device)
        self._add_content(account, entering * self._entering[0].detach(), tokens)
        for number, (constant, gradient) in enumerate(zip(self._frozen.constants, of_constants, strict=True)):
            self._add_constant(account, constant, gradient, is_position=number < self._n_early)
        expected = directions @ self._output.detach()
        gap = float((account.total() - expected).abs().max())
        if not gap <= _TOLERANCE:
            reason = ", ".join(sorted(self._frozen.unknown)) or "a function that is not understood"
            raise UnsupportedMethodError(
                f"the shares of this layer of {self._name} miss the similarity by {gap:.1e} ({reason}); "
                "use the last layer's shares or method 'occlusion'"
            )
        return account.result()

    def cell_shares(self) -> Shares:
        """Split the unit embedding itself, by D backward passes; the residual is all that has no cell.

        Cell by cell they multiply to the similarity of two images. Raises UnsupportedMethodError as
        ``shares`` does.
        """
        parts = [self.shares(some) for some in torch.split(torch.eye(len(self.unit)), _AT_ONCE)]
        values = torch.cat([part.values for part in parts])  # (D, N)
        residual = torch.cat([part.without_cell for part in parts])
        return Shares(values.T.contiguous(), residual, self.grid, self.geometry)

    # --- the forward pass -------------------------------------------------------------------------

    @contextmanager
    def _noting_tokens(self) -> Iterator[None]:
        """Keep the tokens that enter the first block, if the layer is the patch embedding."""
        if self._entry.patches is None:
            yield
            return
        hook = self._entry.blocks[0].register_forward_pre_hook(self._note_tokens)
        try:
            yield
        finally:
            hook.remove()

    def _enter(self, features: Tensor) -> Tensor:
        self._entering = [features.detach().requires_grad_()]
        set_cells(self._entering[0], cells_of(features))
        return self._entering[0]

    def _note_tokens(self, _module: nn.Module, args: tuple[Any, ...]) -> None:
        n_cells = self._entering[0].numel() // args[0].shape[-1]
        if self._n_prefix and args[0].ndim == 3 and args[0].shape[1] == n_cells + self._n_prefix:
            self._first_tokens = [args[0]]  # CaiT and XCiT join theirs later
            self._frozen.constants = [each for each in self._frozen.constants if not each.is_token]
        self._n_early = len(self._frozen.constants)

    @property
    def _n_prefix(self) -> int:
        return int(self._backbone.n_prefix_tokens)

    # --- the account ------------------------------------------------------------------------------

    def _gradients(self, directions: Tensor, leaves: list[Tensor]) -> list[Tensor]:
        """Of each leaf, its gradient for each direction: (K, *leaf.shape)."""
        rows = [
            torch.autograd.grad(self._output, leaves, direction, retain_graph=True, materialize_grads=True)
            for direction in directions
        ]
        return [torch.stack(each) for each in zip(*rows, strict=True)]

    def _add_content(self, account: Account, amounts: Tensor, tokens: list[Tensor]) -> None:
        """Add amounts for each feature that enters the layer (K, *shape), and gradients of first tokens."""
        prefix = self.cells.add_features(account, amounts)
        if tokens:
            prefix = (tokens[0] * self._first_tokens[0].detach()).sum(-1)[:, 0, : self.cells.n_prefix]
        account.add_prefix(prefix, self.cells.prefix)

    def _add_constant(
        self, account: Account, constant: Constant, gradient: Tensor, *, is_position: bool
    ) -> None:
        values = gradient.squeeze(2 if constant.layout == "map" else -1)  # (K, B, ...)
        if not bool(values.any()):  # on attention scores and the like, which are held
            return
        is_pooled = constant.cells is None or values.ndim == 2
        if values[0].numel() == 1 and is_pooled:
            account.constants += values.reshape(-1, 1) / account.constants.shape[1]
            return
        cells, prefix = self.cells.on_cells(account, values, constant.cells)
        if is_position:
            located = values.flatten(1).sum(1) if cells is None else cells.sum(1)
            account.add("position", located)  # of prefix tokens: it is a part of what entered as them
        elif cells is None:
            account.add("unlocated constants", values.flatten(1).sum(1))
        else:
            account.constants += cells
            account.add_prefix(prefix, self.cells.prefix)
