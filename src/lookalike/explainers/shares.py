"""The default explanation: each cell's contribution to the cosine, at the last layer, an earlier one or both.

The account of the last layer generalizes Stylianou, Souvenir, Pless, *Visualizing Deep Similarity
Networks*, WACV 2019, from average and max pooling to any pooling and head (see ``ops.propagation``).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import final
from weakref import WeakKeyDictionary

import torch
from torch import Tensor

from lookalike.errors import UnsupportedMethodError
from lookalike.explainers.base import read_whole, to_array
from lookalike.explainers.opening import opened_with_shares
from lookalike.models.embedder import Embedder, ImageSource
from lookalike.models.located import LocatedShares
from lookalike.models.passes import SharesForm, SharesPass, open_pass, shares_form
from lookalike.ops.attribution import similarity_maps
from lookalike.types import Difference, Explanation, ImageMap, Picture, Reading, Shares

# Of each model, the form that its default turned out to be.
_WORKING_FORMS: WeakKeyDictionary[Embedder, SharesForm] = WeakKeyDictionary()


@final
class SharesExplainer:
    """Method ``shares``: attribution maps that sum to the cosine, less the stated residual.

    ``layer`` is "last" for the cells that enter the pooling, or counts the network's blocks or stages:
    0 is what enters the first, -1 the last. With ``reference`` "mean", "blur" or "both" the image is
    compared with itself without detail, in its mean color or blurred, and a cell's value is what it has
    without detail plus what its detail adds (``models.secant_pass``); with "none" the layer is split
    with the network held as it was (``models.frozen_pass``). ``with_last`` averages the account against
    references with that of the last layer. Without these options it is the mean of the last layer's
    account and the one against both references, at layer 0 of plain transformers and at the last stage of
    other networks (docs/decisions/004), or the last layer's alone where the model excludes that form.

    ``contrast`` (D,) is a vector that all images share, such as the mean unit embedding of a gallery: its
    similarity is taken out of the maps, and stated as the residual "shared with all".

    Raises ValueError and UnknownNameError for other options, UnsupportedMethodError where the network's
    layers are not understood.
    """

    name = "shares"
    promise = "sums to the similarity"

    def __init__(
        self,
        embedder: Embedder,
        *,
        layer: int | str | None = None,
        reference: str | None = None,
        with_last: bool | None = None,
        contrast: Tensor | Sequence[float] | None = None,
    ) -> None:
        self.embedder = embedder
        self.form = shares_form(embedder, layer, reference, with_last)
        self._is_default = layer is None and reference is None and with_last is None
        self._contrast = None if contrast is None else _vector(contrast, embedder)

    def __call__(self, query: ImageSource | Reading, match: ImageSource | Reading) -> Explanation:
        """Return the explanation of two images, from one pass each (``models.passes``)."""
        a, b = read_whole(query, self.embedder), read_whole(match, self.embedder)
        return self.of_passes(a, self.open(a), b, self.open(b))

    def of_passes(
        self,
        query: Reading,
        query_pass: SharesPass,
        match: Reading,
        match_pass: SharesPass,
        *,
        match_unit: Tensor | None = None,
    ) -> Explanation:
        """Return the explanation of two images that were run already.

        ``match_unit`` (D,) is the match's unit embedding as a gallery stores it; the similarity is then
        the cosine with it, and its rounding error goes into the match's residual.
        """
        target = (match_pass.unit if match_unit is None else match_unit.double()).float()
        (of_query,) = self._maps(query, query_pass, target[None])
        (of_match,) = self._maps(match, match_pass, query_pass.unit[None].float())
        return Explanation(
            similarity=float(query_pass.unit @ target.double()),
            query=of_query,
            match=of_match,
            method=self.name,
            additive=True,
            model=self.embedder.name,
            form=self.form.words,
        )

    def of_hits(self, query: ImageSource | Reading, matches: Tensor) -> list[ImageMap]:
        """The query's maps for K unit embeddings (K, D), from one pass of the query."""
        reading = read_whole(query, self.embedder)
        return self._maps(reading, self.open(reading), matches)

    def open(self, reading: Reading) -> SharesPass:
        """The pass of one image. Raises UnsupportedMethodError where the model excludes the form.

        The default form is tried out once for each model.
        """
        if not self._is_default:
            return open_pass(self.embedder, reading, self.form)
        if self.embedder in _WORKING_FORMS:
            self.form = _WORKING_FORMS[self.embedder]
            return open_pass(self.embedder, reading, self.form)
        try:
            own = open_pass(self.embedder, reading, self.form)
            own.shares(own.unit[None].float())
        except UnsupportedMethodError:
            self.form = SharesForm()
            own = open_pass(self.embedder, reading, self.form)
        _WORKING_FORMS[self.embedder] = self.form
        return own

    def _maps(self, reading: Reading, own: SharesPass, directions: Tensor) -> list[ImageMap]:
        if self._contrast is None:
            return located_maps(reading, own.shares(directions))
        shared = float(own.unit @ self._contrast.double())
        located = own.shares(directions - self._contrast)
        residual = {"shared with all": torch.full((len(directions),), shared), **located.residual}
        return located_maps(reading, replace(located, residual=residual))


def difference(
    query: ImageSource | Reading,
    preferred: ImageSource | Reading,
    other: ImageSource | Reading,
    *,
    model: str | Path | Embedder = "mini",
) -> Difference:
    """Explain why the query is closer to one image than to another, as a signed map on the query.

    The map (h, w), of the last layer, sums to the difference of the two cosines, less its residual;
    positive cells favor ``preferred``.

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


def located_maps(reading: Reading, shares: LocatedShares) -> list[ImageMap]:
    """The maps of K similarities split over cells; registers are added up."""
    maps = []
    for k, values in enumerate(shares.values):
        parts: dict[str, float] = {}
        for name, amounts in shares.residual.items():
            kind = "registers" if name.startswith("register ") else name
            parts[kind] = parts.get(kind, 0.0) + float(amounts[k])
        array = to_array(values, shares.grid)
        maps.append(ImageMap(reading.picture, reading.geometry, array, tuple(parts.items())))
    return maps


def _vector(values: Tensor | Sequence[float], embedder: Embedder) -> Tensor:
    vector = torch.as_tensor(values, dtype=torch.float32).reshape(-1)
    if vector.shape != (embedder.width,):
        raise ValueError(f"contrast is a vector of {embedder.width} numbers, got {len(vector)}")
    return vector


def _map(picture: Picture, shares: Shares, target: Tensor) -> ImageMap:
    maps: Tensor = similarity_maps(shares.values.double(), shares.residual.double(), target[None])
    prefix = float(shares.residual.double() @ target / shares.total.double().norm().clamp(min=1e-12))
    parts = (("prefix tokens", prefix),) if bool(shares.residual.any()) else ()
    return ImageMap(picture, shares.geometry, maps[0].float().reshape(shares.grid).numpy(), parts)
