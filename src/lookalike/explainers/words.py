"""Explanation of an image's similarity with words, by the image's shares and the text's unit vector.

A similarity is a product with a direction, whatever that comes from: the shares of an image times a text's
unit vector sum to the cosine, for attention pooling as for CLS. Of a word it is the difference of two texts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from lookalike import images
from lookalike.explainers.base import read_whole
from lookalike.explainers.black_box import EmbedsImages
from lookalike.explainers.opening import opened_with_shares
from lookalike.explainers.shares import SharesExplainer, located_maps
from lookalike.models.embedder import Embedder, ImageSource
from lookalike.models.passes import SharesPass
from lookalike.ops.similarity import unit_rows
from lookalike.types import Geometry, ImageMap, Picture, Reading, TextExplanation, TextPart

_CELL = (48, 120)  # (H, W) pixels of a part in the picture that stands for the query
_TOGETHER = "words together"


@dataclass(frozen=True, eq=False)
class Asked:
    """What was asked for: a unit vector, and the parts that it is explained by."""

    unit: Tensor  # (D,) float32, unit length
    text: str  # all of it, in words
    labels: tuple[str, ...]
    directions: Tensor  # (P, D) float32: a part's value is the product of an image's unit vector with it
    by_words: bool


def asked_text(embedder: Embedder, text: str) -> Asked:
    """Return a text with its words as parts. Raises as ``Embedder.embed_text``."""
    words = text.split()
    if len(words) < 2:
        unit = embedder.embed_text(text)
        return Asked(unit[0], text, (text.strip(),), unit, by_words=True)
    without = [" ".join(words[:i] + words[i + 1 :]) for i in range(len(words))]
    unit, *others = embedder.embed_text([text, *without])
    return Asked(unit, text, tuple(words), unit - torch.stack(others), by_words=True)


def explain_text(
    image: ImageSource | Reading,
    text: str,
    *,
    model: str | Path | Embedder | EmbedsImages,
    layer: int | str | None = None,
) -> TextExplanation:
    """Explain a model's similarity of an image and a text: where the image answers it, and each of its words.

    ``model`` is an image-text model as in ``Embedder.load``, ``layer`` as in method ``shares``. Raises
    UnreadableImageError, UnsupportedMethodError for a model without a text tower or shares, ValueError for
    an empty text.
    """
    embedder = opened_with_shares(model, "an explanation by words")
    asked = asked_text(embedder, text)
    reading = read_whole(image, embedder)
    explainer = SharesExplainer(embedder, layer=layer)
    return answered(asked, reading, explainer.open(reading), explainer)


def answered(
    asked: Asked,
    reading: Reading,
    split: SharesPass,
    explainer: SharesExplainer,
    *,
    image_unit: Tensor | None = None,
) -> TextExplanation:
    """Return the explanation of an image that was run already.

    ``image_unit`` (D,) is its unit embedding as a gallery stores it; the similarity is then the cosine with
    it, and its rounding error goes into the residual.
    """
    unit = split.unit if image_unit is None else image_unit.double()
    directions = torch.cat([asked.unit[None], asked.directions]).float()
    whole, *maps = located_maps(reading, split.shares(directions))
    similarity, *values = (directions.double() @ unit).tolist()
    parts = tuple(map(TextPart, asked.labels, values, maps))
    return TextExplanation(
        similarity=similarity,
        query=_row_of_parts(asked, values, similarity),
        match=whole,
        method=SharesExplainer.name,
        additive=True,
        model=explainer.embedder.name,
        form=explainer.form.words,
        text=asked.text,
        parts=parts,
        by_words=asked.by_words,
    )


def _row_of_parts(asked: Asked, values: Sequence[float], similarity: float) -> ImageMap:
    """The parts as cells of a plain picture, one beside the other."""
    height, width = _CELL[0], _CELL[1] * len(values)
    picture = Picture(images.written(asked.labels, _CELL), (height, width), asked.text)
    geometry = Geometry((height, width), (height, width), (0.0, 0.0, float(height), float(width)))
    together = similarity - sum(values)
    residual = ((_TOGETHER, together),) if asked.by_words and len(values) > 1 else ()
    return ImageMap(picture, geometry, torch.tensor(values).float()[None].numpy(), residual)


def combined(embedder_width: int, parts: Sequence[tuple[str, float, Tensor]]) -> Asked:
    """Return several texts and images as one: label, weight (negative for what is not wanted), unit (D,).

    The unit vector is that of the weighted sum. Raises ValueError where the sum is zero.
    """
    weighted = torch.stack([weight * unit.float() for _, weight, unit in parts])  # (P, D)
    total = weighted.sum(0)
    length = float(total.norm())
    if not length > 1e-6 or total.shape != (embedder_width,):
        raise ValueError("what is wanted and what is not wanted cancel out; ask for something else")
    labels = tuple(f"not {label}" if weight < 0 else label for label, weight, _ in parts)
    return Asked(unit_rows(total[None])[0], " + ".join(labels), labels, weighted / length, by_words=False)
