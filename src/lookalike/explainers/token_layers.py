"""One image inside a vision transformer, for methods that run its blocks themselves."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, final

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lookalike.errors import UnsupportedMethodError
from lookalike.models.backbones import recorded_attention
from lookalike.models.embedder import Embedder
from lookalike.models.finite import check_finite
from lookalike.models.network import COMPLETENESS
from lookalike.types import AttentionCall, Features, Reading


@dataclass(frozen=True, eq=False)
class EnteredBlock:
    """A block, and what entered it."""

    block: nn.Module
    tokens: Tensor  # (1, P + N, C)
    options: Mapping[str, Any]  # its other arguments: rotary positions, ...


@final
class TokenLayers:
    """The blocks that one image's tokens went through, and the way from tokens to an embedding.

    Raises UnsupportedMethodError, naming ``method``, for a network without blocks in each of which every
    token attends to every other, for a pooling that is not understood, and for several scales.
    """

    def __init__(self, embedder: Embedder, reading: Reading, *, method: str) -> None:
        self._embedder, self._method = embedder, method
        network = embedder.network
        if network.pooling is None or embedder.scales != (1.0,):
            raise self.refusal("one pass with a pooling that is understood", "has none")
        network.train().eval()  # drops what timm caches in inference mode
        image, _ = embedder.tensor(reading)
        with torch.no_grad(), self._entering() as blocks, recorded_attention() as calls:
            features = network.backbone(image)
        self.blocks: list[EnteredBlock] = blocks
        self.attention: list[AttentionCall] = calls
        self.grid: tuple[int, int] = features.grid
        self.n_prefix: int = features.prefix.shape[1]
        self._check_blocks(self.n_prefix + features.cells.shape[1])
        with torch.no_grad():
            self.unit = self._unit_of(features)[0]  # (D,)
            check_finite(self.unit[None], embedder.name, [reading.picture.name])
            ours = self.embed(self.run(len(blocks) - 1, blocks[-1].tokens))[0]
        if not float((ours - self.unit).norm()) <= COMPLETENESS:
            raise self.refusal("blocks whose tokens go straight to the pooling", "ends in another way")

    def refusal(self, needs: str, but: str) -> UnsupportedMethodError:
        """The error for a model that lacks what the method needs."""
        return UnsupportedMethodError(
            f"{self._method} needs {needs}, and {self._embedder.name} {but}; use method 'occlusion'"
        )

    def run(self, number: int, tokens: Tensor, **changes: Any) -> Tensor:
        """Tokens (B, T, C) after one block, with the other arguments that it had but for the changes."""
        entered = self.blocks[number]
        output: Tensor = entered.block(tokens, **{**entered.options, **changes})
        return output

    def embed(self, tokens: Tensor, grid: tuple[int, int] | None = None) -> Tensor:
        """Unit embeddings (B, D) of tokens (B, T, C) as if they had left the last block."""
        normed = self._embedder.network.backbone.model.norm(tokens)  # type: ignore[operator]
        prefix, cells = normed[:, : self.n_prefix], normed[:, self.n_prefix :]
        return self._unit_of(Features(cells, prefix, grid or self.grid))

    def _unit_of(self, features: Features) -> Tensor:
        network = self._embedder.network
        assert network.pooling is not None
        vectors: Tensor = network.head(network.own_layers(network.pooling(features)))
        return F.normalize(vectors.float(), dim=1)

    @contextmanager
    def _entering(self) -> Iterator[list[EnteredBlock]]:
        """Record what enters each block for the duration of the block; always unhook."""
        entered: list[EnteredBlock] = []

        def note(block: nn.Module, args: tuple[Any, ...], options: dict[str, Any]) -> None:
            if len(args) == 1:
                entered.append(EnteredBlock(block, args[0], options))

        blocks = getattr(self._embedder.network.backbone.model, "blocks", ())
        with ExitStack() as hooks:
            for block in blocks:
                hooks.callback(block.register_forward_pre_hook(note, with_kwargs=True).remove)
            yield entered

    def _check_blocks(self, n_tokens: int) -> None:
        model: Any = self._embedder.network.backbone.model
        sizes = [tuple(entered.tokens.shape[1:-1]) for entered in self.blocks]
        attended = [(call.query.shape[2], call.key.shape[2]) for call in self.attention]
        n_blocks = len(getattr(model, "blocks", ()))
        is_plain = sizes == [(n_tokens,)] * n_blocks and attended == [(n_tokens, n_tokens)] * n_blocks
        if not n_blocks or not is_plain or not isinstance(getattr(model, "norm", None), nn.Module):
            raise self.refusal(
                "a vision transformer with attention among all tokens in every block",
                "is built in another way",
            )
