"""Shares of similarities in what sets an image apart from pictures of it without detail."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, final, get_args

import torch
from torch import Tensor
from torch.nn import functional as F

from lookalike.errors import UnsupportedMethodError, check_name
from lookalike.models.embedder import Embedder
from lookalike.models.frozen_pass import FrozenPass, LocatedShares
from lookalike.ops.blurring import gaussian_blur
from lookalike.ops.secant import SecantForward
from lookalike.types import Reading

Reference = Literal["mean", "blur"]
_BLUR = 5 / 224  # standard deviation of the blurred picture, relative to the input's shorter side
_TOLERANCE = 1e-4  # largest gap in an account of cosines; fp32 reaches 1e-6 to 1e-5 where it is exact


@final
class SecantPass:
    """One image against references without detail, to be split over cells for any number of directions.

    A reference is the picture in its ``mean`` color or under a ``blur``. The network is linearized
    between image and reference (``ops.secant``), so each cell's share of the difference of both
    similarities is exact; over several references shares are averaged. What the references themselves
    have in similarity is the residual "without detail"; what is carried by prefix tokens that enter the
    layer has their names. ``layer`` is counted as in ``FrozenPass``.

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
        self._name, self._network = embedder.name, embedder.network
        self._held = FrozenPass(embedder, reading, layer=layer)
        self.unit, self.grid = self._held.unit, self._held.grid
        image, _ = embedder.tensor(reading)
        self._runs = [self._run(torch.cat([image, _without_detail(image, name)])) for name in references]

    def shares(self, directions: Tensor) -> LocatedShares:
        """Split the similarities with K unit directions (K, D), by one backward pass for each reference.

        Raises UnsupportedMethodError where the sum misses a similarity: the network then holds a
        function that is not understood.
        """
        directions = directions.to(self._held.entering)
        amounts = torch.zeros(len(directions), *self._held.entering.shape).to(self._held.entering)
        reference = torch.zeros(len(directions)).to(self._held.entering)
        for entering, units in self._runs:
            image, without_detail = entering.detach().chunk(2)
            for k, direction in enumerate(directions):
                (gradient,) = torch.autograd.grad(
                    (units[0] - units[1]) @ direction, entering, retain_graph=True
                )
                of_image, of_reference = gradient.chunk(2)
                amounts[k] += (of_image * image + of_reference * without_detail) / len(self._runs)
            reference += directions @ units[1].detach() / len(self._runs)
        located = self._held.located(amounts)
        parts = {"without detail": reference.cpu(), **located.residual}
        self._check(directions, located.values.sum(1) + sum(parts.values()))
        return LocatedShares(located.content, located.constants, parts, located.grid)

    def _run(self, pair: Tensor) -> tuple[Tensor, Tensor]:
        """What enters the layer for image and reference, (2, ...), and their unit embeddings (2, D)."""
        kept: list[Tensor] = []

        def enter(features: Tensor) -> Tensor:
            kept[:] = [features.detach().requires_grad_()]
            return kept[0]

        with self._held.entry.replacing(enter), torch.enable_grad(), SecantForward():
            units = F.normalize(self._network(pair), dim=1)
        return kept[0], units

    def _check(self, directions: Tensor, total: Tensor) -> None:
        expected = directions.double().cpu() @ self.unit
        gap = float((total.double() - expected).abs().max())
        if not gap <= _TOLERANCE:
            raise UnsupportedMethodError(
                f"the shares of this layer of {self._name} miss the similarity by {gap:.1e}, for it holds a "
                "function that is not understood; use the last layer's shares or method 'occlusion'"
            )


def _without_detail(image: Tensor, name: Reference) -> Tensor:
    """A picture (1, 3, H, W) of the image without detail."""
    check_name("reference", name, get_args(Reference))
    if name == "mean":
        return image.mean((2, 3), keepdim=True).expand_as(image)
    sigma = _BLUR * min(image.shape[2:])
    return gaussian_blur(image, size=2 * round(3 * sigma) + 1, sigma=sigma)
