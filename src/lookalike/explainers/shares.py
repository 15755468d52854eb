"""The default explanation: each cell's contribution to the cosine, exact for every additive pooling.

Generalizes Stylianou, Souvenir, Pless, *Visualizing Deep Similarity Networks*, WACV 2019, from
average and max pooling to any pooling and head (see ``ops.propagation``).
"""

from __future__ import annotations

from pathlib import Path
from typing import final

import numpy as np
import torch
from torch import Tensor

from lookalike.explainers.base import read_whole
from lookalike.explainers.opening import opened_with_shares
from lookalike.models.embedder import Embedder, ImageSource
from lookalike.models.frozen_pass import FrozenPass, LocatedShares
from lookalike.models.layers import read_layer
from lookalike.ops.attribution import similarity_maps
from lookalike.types import Difference, Explanation, ImageMap, Picture, Reading, Shares


@final
class SharesExplainer:
    """Method ``shares``: attribution maps that sum to the cosine, less the stated residual.

    ``layer`` is "last" for the cells that enter the pooling, or counts the network's blocks or stages
    from 0, what enters the first: the map then shows where an earlier layer, before tokens mixed or at
    a finer grid, holds what the similarity comes from. See ``models.frozen_pass``. Raises ValueError
    for anything else, and UnsupportedMethodError where the network's layers are not understood.
    """

    name = "shares"
    promise = "sums to the similarity"

    def __init__(self, embedder: Embedder, *, layer: int | str = "last") -> None:
        self.embedder, self.layer = embedder, read_layer(layer)

    def __call__(self, query: ImageSource | Reading, match: ImageSource | Reading) -> Explanation:
        """Return the explanation of two images, from one forward pass each.

        With an earlier layer each image also takes one backward pass.
        """
        a, b = read_whole(query, self.embedder), read_whole(match, self.embedder)
        if not isinstance(self.layer, str):
            return self._of_layer(a, b, self.layer)
        return explain_shares(
            a.picture,
            self.embedder.shares(a),
            b.picture,
            self.embedder.shares(b),
            model=self.embedder.name,
        )

    def _of_layer(self, query: Reading, match: Reading, layer: int) -> Explanation:
        a, b = (FrozenPass(self.embedder, reading, layer=layer) for reading in (query, match))
        return Explanation(
            similarity=float(a.unit @ b.unit),
            query=_located(query, a.shares(b.unit[None])),
            match=_located(match, b.shares(a.unit[None])),
            method=self.name,
            additive=True,
            model=self.embedder.name,
        )


def explain_shares(
    query: Picture,
    query_shares: Shares,
    match: Picture,
    match_shares: Shares,
    *,
    model: str,
    match_unit: Tensor | None = None,
) -> Explanation:
    """Return the explanation of two images from their shares.

    ``match_unit`` (D,) is the match's unit embedding as a gallery stores it; the similarity is then the
    cosine with it, and its rounding error goes into the match's residual.
    """
    query_unit = unit(query_shares)
    match_unit = unit(match_shares) if match_unit is None else match_unit.double()
    return Explanation(
        similarity=float(query_unit @ match_unit),
        query=_map(query, query_shares, match_unit),
        match=_map(match, match_shares, query_unit),
        method=SharesExplainer.name,
        additive=True,
        model=model,
    )


def difference(
    query: ImageSource | Reading,
    preferred: ImageSource | Reading,
    other: ImageSource | Reading,
    *,
    model: str | Path | Embedder = "mini",
) -> Difference:
    """Explain why the query is closer to one image than to another, as a signed map on the query.

    The map (h, w) sums to the difference of the two cosines, less its residual; positive cells favor
    ``preferred``.

    ``model`` is a name as in ``Embedder.load`` or a loaded embedder. Raises UnreadableImageError,
    UnknownModelError, CheckpointError, and UnsupportedMethodError for a model without shares.
    """
    embedder = opened_with_shares(model, "a difference")
    readings = [read_whole(source, embedder) for source in (query, preferred, other)]
    shares = embedder.shares(readings[0])
    preferred_unit, other_unit = (unit(embedder.shares(reading)) for reading in readings[1:])
    query_unit = unit(shares)
    return Difference(
        query=_map(readings[0].picture, shares, preferred_unit - other_unit),
        preferred_similarity=float(query_unit @ preferred_unit),
        other_similarity=float(query_unit @ other_unit),
        model=embedder.name,
        preferred=readings[1].picture,
        other=readings[2].picture,
    )


def unit(shares: Shares) -> Tensor:
    """Return the normalized sum of the shares, (D,) float64."""
    return torch.nn.functional.normalize(shares.total.double(), dim=0)


def _located(reading: Reading, shares: LocatedShares) -> ImageMap:
    """The map of one similarity split over the cells of a layer; registers are added up."""
    parts: dict[str, float] = {}
    for name, amounts in shares.residual.items():
        kind = "registers" if name.startswith("register ") else name
        parts[kind] = parts.get(kind, 0.0) + float(amounts[0])
    values = np.asarray(shares.values[0].reshape(shares.grid).numpy(), dtype=np.float32)
    return ImageMap(reading.picture, reading.geometry, values, tuple(parts.items()))


def _map(picture: Picture, shares: Shares, target: Tensor) -> ImageMap:
    maps: Tensor = similarity_maps(shares.values.double(), shares.residual.double(), target[None])
    prefix = float(shares.residual.double() @ target / shares.total.double().norm().clamp(min=1e-12))
    parts = (("prefix tokens", prefix),) if bool(shares.residual.any()) else ()
    return ImageMap(picture, shares.geometry, maps[0].float().reshape(shares.grid).numpy(), parts)
