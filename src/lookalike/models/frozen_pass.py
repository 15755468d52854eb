"""One image through a network with its gates held: shares of similarities at the cells of any layer."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, final

import torch
from torch import Tensor, nn

from lookalike.errors import UnsupportedMethodError
from lookalike.models.backbones import Backbone
from lookalike.models.embedder import Embedder
from lookalike.models.layers import LayerEntry, prefix_names
from lookalike.ops.cell_index import CellIndex, cells_of, set_cells
from lookalike.ops.frozen import Constant, FrozenForward
from lookalike.ops.regrid import regrid
from lookalike.types import Geometry, Reading, Shares

_TOLERANCE = 2e-5  # largest gap in an account of cosines; fp32 reaches 1e-6 where it is exact
_AT_ONCE = 32  # directions whose gradients are held in memory together


@dataclass(frozen=True, eq=False)
class LocatedShares:
    """K similarities of one image as sums over the cells of a layer, and what has no cell."""

    content: Tensor  # (K, N) float32: what each cell carried into the layer
    constants: Tensor  # (K, N) float32: what later layers added at each cell
    residual: Mapping[str, Tensor]  # each (K,) float32: "CLS", "register 1", "position", ...
    grid: tuple[int, int]  # (h, w), h * w == N

    @property
    def values(self) -> Tensor:
        """Content and constants together: (K, N)."""
        return self.content + self.constants

    @property
    def without_cell(self) -> Tensor:
        """The whole residual: (K,)."""
        return sum(self.residual.values(), self.content.new_zeros(len(self.content)))


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
        if embedder.scales != (1.0,):
            raise UnsupportedMethodError(
                f"shares of a layer follow one forward pass, and {embedder.name} embeds at "
                f"{len(embedder.scales)} scales; use the last layer's shares"
            )
        self._name, self._backbone = embedder.name, embedder.network.backbone
        self.entry = LayerEntry(self._backbone, layer, name=embedder.name)
        self.geometry: Geometry = reading.geometry
        self._entering: list[Tensor] = []
        self._first_tokens: list[Tensor] = []
        self._frozen = FrozenForward()
        self._n_early = 0  # constants added before the first block: positions
        image, _ = embedder.tensor(reading)
        self._backbone.model.train().eval()  # drops what timm caches in inference mode (LeViT's biases)
        with self.entry.replacing(self._enter), self._noting_tokens(), torch.enable_grad(), self._frozen:
            output: Tensor = embedder.network(image)[0]  # (D,)
        if not self._entering or not output.requires_grad:
            raise UnsupportedMethodError(
                f"the embedding of {self._name} does not depend on layer {layer}; choose another layer"
            )
        self._output = output / output.detach().norm().clamp(min=torch.finfo(output.dtype).tiny)
        self._token_grid = _last_grid(self._backbone, reading.geometry.input_size)
        self.unit = self._output.detach().double().cpu()  # (D,), unit length
        self.grid = self._grid()

    def shares(self, directions: Tensor) -> LocatedShares:
        """Split the similarities with K unit directions (K, D), by one backward pass each.

        Raises UnsupportedMethodError where the sum misses a similarity: the network then holds a
        product that no gate explains.
        """
        directions = directions.to(self._output)
        constants = [constant.factors for constant in self._frozen.constants]
        entering, *rest = self._gradients(directions, [*self._entering, *self._first_tokens, *constants])
        tokens, of_constants = rest[: len(self._first_tokens)], rest[len(self._first_tokens) :]
        account = _Account(len(directions), self.grid, self._output.device)
        self._add_content(account, entering * self.entering, tokens)
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

    @property
    def entering(self) -> Tensor:
        """What enters the layer, as it came: (1, T, C), (1, C, h, w), ..., without a gradient."""
        return self._entering[0].detach()

    def located(self, amounts: Tensor) -> LocatedShares:
        """Amounts for each feature that enters the layer, (K, *shape), by cell and prefix token."""
        account = _Account(len(amounts), self.grid, amounts.device)
        self._add_content(account, amounts, [])
        return account.result()

    # --- the forward pass -------------------------------------------------------------------------

    @contextmanager
    def _noting_tokens(self) -> Iterator[None]:
        """Keep the tokens that enter the first block, if the layer is the patch embedding."""
        if self.entry.patches is None:
            yield
            return
        hook = self.entry.blocks[0].register_forward_pre_hook(self._note_tokens)
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

    def _add_content(self, account: _Account, values: Tensor, tokens: list[Tensor]) -> None:
        """Add amounts for each feature that enters the layer (K, *shape), and gradients of first tokens."""
        axis = 2 if values.ndim == 5 and not self._is_channels_last(values) else -1
        index = cells_of(self._entering[0])
        merged = None if index is None else index.merged(1 if axis == 2 else -1)
        cells, prefix = self._on_cells(account, values.sum(axis), merged)
        assert cells is not None
        account.content += cells
        if tokens:
            prefix = (tokens[0] * self._first_tokens[0].detach()).sum(-1)[:, 0, : self._n_prefix]
        account.add_prefix(prefix, prefix_names(self._backbone))

    def _add_constant(
        self, account: _Account, constant: Constant, gradient: Tensor, *, is_position: bool
    ) -> None:
        values = gradient.squeeze(2 if constant.layout == "map" else -1)  # (K, B, ...)
        if not bool(values.any()):  # on attention scores and the like, which are held
            return
        is_pooled = constant.cells is None or values.ndim == 2
        if values[0].numel() == 1 and is_pooled:
            account.constants += values.reshape(-1, 1) / account.constants.shape[1]
            return
        cells, prefix = self._on_cells(account, values, constant.cells)
        if is_position:
            located = values.flatten(1).sum(1) if cells is None else cells.sum(1)
            account.add("position", located)  # of prefix tokens: it is a part of what entered as them
        elif cells is None:
            account.add("unlocated constants", values.flatten(1).sum(1))
        else:
            account.constants += cells
            account.add_prefix(prefix, prefix_names(self._backbone))

    def _on_cells(
        self, account: _Account, values: Tensor, index: CellIndex | None
    ) -> tuple[Tensor | None, Tensor | None]:
        """Values (K, B, ...) by position on the layer's cells (K, N), and on prefix tokens.

        Without an index, positions (T,) or (h, w) are in order.
        """
        if index is not None:
            cells, prefix, rest = index.totals(values, self._n_prefix)
            if bool(rest.any()):
                account.add("padding", rest)
            return _regridded(cells, index.grid, self.grid), prefix
        if values.shape[1] != 1:
            return None, None
        values = values[:, 0]
        if values.ndim == 3:
            grid = (values.shape[1], values.shape[2])
            return _regridded(values.flatten(1), grid, self.grid), None
        if values.ndim != 2:
            return None, None
        for n_prefix in dict.fromkeys((self._n_prefix, 0)):
            found = self._grid_of(values.shape[1] - n_prefix)
            if found is not None:
                return _regridded(values[:, n_prefix:], found, self.grid), values[:, :n_prefix]
        return None, None

    def _grid(self) -> tuple[int, int]:
        """The grid of the layer's cells."""
        x = self._entering[0]
        index = cells_of(x)
        if (
            index is not None
            and index.merged(-1 if x.ndim == 3 or self._is_channels_last(x) else 1) is not None
        ):
            return index.grid
        if x.ndim == 4:
            last = self._is_channels_last(x)
            return (x.shape[1], x.shape[2]) if last else (x.shape[2], x.shape[3])
        for n_prefix in dict.fromkeys((self._n_prefix, 0)):
            found = self._grid_of(x.shape[1] - n_prefix)
            if found is not None:
                return found
        raise UnsupportedMethodError(
            f"{x.shape[1]} tokens enter this layer of {self._name}, which fill no grid; choose another layer"
        )

    def _grid_of(self, n_tokens: int) -> tuple[int, int] | None:
        """The grid of so many tokens: that of the last layer, or the one with the image's proportions."""
        if self._token_grid is not None and self._token_grid[0] * self._token_grid[1] == n_tokens:
            return self._token_grid
        height, width = self.geometry.input_size
        h = max(1, round((n_tokens * height / width) ** 0.5))
        w = n_tokens // h
        return (h, w) if h * w == n_tokens and self._has_proportions(h, w) else None

    def _has_proportions(self, h: int, w: int) -> bool:
        """Whether a grid has the proportions of the network's input, to within one cell."""
        height, width = self.geometry.input_size
        return abs(h * width - w * height) <= max(height, width)

    def _is_channels_last(self, x: Tensor) -> bool:
        """Whether a map is (B, h, w, C): its first sizes then have the image's proportions."""
        first, second = self._has_proportions(*x.shape[-3:-1]), self._has_proportions(*x.shape[-2:])
        declared = "NHWC" in str(getattr(self._backbone.model, "output_fmt", "") or "")
        return first if first != second else declared


class _Account:
    """The parts of K similarities as they come in."""

    def __init__(self, n_directions: int, grid: tuple[int, int], device: torch.device) -> None:
        self.grid = grid
        self.content = torch.zeros(n_directions, grid[0] * grid[1], device=device)
        self.constants = torch.zeros_like(self.content)
        self._residual: dict[str, Tensor] = {}

    def add(self, name: str, values: Tensor) -> None:
        """Add (K,) values to a part without a cell."""
        self._residual[name] = self._residual.get(name, torch.zeros_like(values)) + values

    def add_prefix(self, values: Tensor | None, names: tuple[str, ...]) -> None:
        """Add what lies on prefix tokens, (K, P), by their names."""
        for i, name in enumerate(names if values is not None and values.shape[1] else ()):
            assert values is not None
            self.add(name, values[:, i])

    def total(self) -> Tensor:
        """The sum of all parts: (K,)."""
        return self.content.sum(1) + self.constants.sum(1) + sum(self._residual.values())

    def result(self) -> LocatedShares:
        """The finished account, on the CPU."""
        residual = {name: values.cpu() for name, values in self._residual.items()}
        return LocatedShares(self.content.cpu(), self.constants.cpu(), residual, self.grid)


def _last_grid(backbone: Backbone, size: tuple[int, int]) -> tuple[int, int] | None:
    """The grid of the tokens that the backbone returns; None where it is not known."""
    try:
        return backbone.token_grid(size)
    except UnsupportedMethodError:
        return None


def _regridded(values: Tensor, grid: tuple[int, int], target: tuple[int, int]) -> Tensor:
    """(K, n) values of one grid on another; sums are kept."""
    return values if grid == target else regrid(values.T, grid, target).T
