"""Maps of both models for the same pairs: methods, choice of pairs, and agreement."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from lookalike.errors import UnsupportedMethodError
from lookalike.evaluation import Retrieved
from lookalike.evaluation.comparison.results import MapAgreement
from lookalike.evaluation.embedding_parts import AnyEmbedder
from lookalike.explainers import Explainer, make_explainer
from lookalike.ops.agreement import shared_mass
from lookalike.ops.correlation import pearson_correlation
from lookalike.ops.regrid import regrid_window
from lookalike.ops.resampling import bootstrap_intervals
from lookalike.types import Explanation, FloatArray, Geometry

# As in Black et al., WACV 2022: attention rollout for transformers; shares for both kinds of network.
_METHODS = ("shares", "rollout")
_FALLBACK = "occlusion"

Pair = tuple[Path, Path]


def explainers_of(embedder: AnyEmbedder, pair: Pair) -> dict[str, Explainer]:
    """Return the methods that fit a model, tried on one pair; occlusion if no other does."""
    fitting: dict[str, Explainer] = {}
    for method in _METHODS:
        try:
            explainer = make_explainer(embedder, method)
            explainer(*pair)
        except UnsupportedMethodError:
            continue
        fitting[method] = explainer
    return fitting or {_FALLBACK: make_explainer(embedder, _FALLBACK)}


def true_pairs(first: Retrieved, second: Retrieved, n: int, *, seed: int = 0) -> list[tuple[int, int]]:
    """Draw n queries at random; return rows (query, match), the match being the nearest of the class.

    Nearest by the sum of both models' similarities, so that neither model chooses alone.
    """
    generator = torch.Generator().manual_seed(seed)
    drawn = first.asked[torch.randperm(len(first.asked), generator=generator)[:n]]
    labels = first.queries.labels
    pairs = []
    for query in drawn.tolist():
        same = [i for i, label in enumerate(labels) if label == labels[query] and i != query]
        both = sum(_similarities(side, query, same) for side in (first, second))
        pairs.append((query, same[int(torch.as_tensor(both).argmax())]))
    return pairs


def _similarities(side: Retrieved, query: int, rows: list[int]) -> Tensor:
    items = side.queries.compared
    return items.similarities(torch.tensor([query]), items, torch.tensor(rows))[0]


def map_agreement(
    first: Sequence[Explanation], second: Sequence[Explanation], *, names: tuple[str, str], seed: int = 0
) -> MapAgreement:
    """Agreement of two lists of explanations of the same pairs, over the maps of query and match.

    ``names`` are those of the two. The values by chance use the second's map of the next pair in the
    list, on which maps that merely prefer the center agree as well. Raises ValueError for fewer than two
    pairs.
    """
    if len(first) != len(second) or len(first) < 2:
        raise ValueError(f"two pairs or more are compared one by one, got {len(first)} and {len(second)}")
    others = [*second[1:], second[0]]
    found = torch.tensor([_agreement(a, b) for a, b in zip(first, second, strict=True)])  # (P, 2)
    chance = torch.tensor([_agreement(a, b) for a, b in zip(first, others, strict=True)]).mean(0)
    generator = torch.Generator().manual_seed(seed)
    low, high = bootstrap_intervals(found[:, :1], generator=generator)[0]
    return MapAgreement(
        first=names[0],
        second=names[1],
        correlation=float(found[:, 0].mean()),
        correlation_low=float(low),
        correlation_high=float(high),
        correlation_by_chance=float(chance[0]),
        shared_mass=float(found[:, 1].mean()),
        shared_mass_by_chance=float(chance[1]),
    )


def on_common_grid(
    first: FloatArray, first_geometry: Geometry, second: FloatArray, second_geometry: Geometry
) -> tuple[Tensor, Tensor]:
    """Resample two maps (h, w) of one image to one grid over the area that both models saw: (H, W) each.

    The grid is the coarser of both along each axis; sums are preserved, except outside the common area.
    """
    grid = (min(first.shape[0], second.shape[0]), min(first.shape[1], second.shape[1]))
    window = _common_window(first_geometry, second_geometry)
    sides = ((first, first_geometry), (second, second_geometry))
    a, b = (regrid_window(torch.from_numpy(v), _in_cells(window, g, v.shape), grid) for v, g in sides)
    return a, b


def _agreement(first: Explanation, second: Explanation) -> tuple[float, float]:
    """Correlation and shared mass, means over query and match.

    Geometry is relative to the image, so that maps of two images can be compared.
    """
    sides = [
        on_common_grid(
            first.query_map, _relative(first.query_geometry), second.query_map,
            _relative(second.query_geometry),
        ),
        on_common_grid(
            first.match_map, _relative(first.match_geometry), second.match_map,
            _relative(second.match_geometry),
        ),
    ]  # fmt: skip
    return (
        sum(pearson_correlation(a, b) for a, b in sides) / 2,
        sum(shared_mass(a, b) for a, b in sides) / 2,
    )


def _relative(geometry: Geometry) -> Geometry:
    """The geometry with the image scaled to a square of side 1."""
    height, width = geometry.original_size
    top, left, crop_height, crop_width = geometry.crop
    crop = (top / height, left / width, crop_height / height, crop_width / width)
    return Geometry((1, 1), geometry.input_size, crop)


def _common_window(first: Geometry, second: Geometry) -> tuple[float, float, float, float]:
    """Top, left, bottom, right of the area that both saw, in original pixels."""
    (a_top, a_left, a_height, a_width), (b_top, b_left, b_height, b_width) = first.crop, second.crop
    return (
        max(a_top, b_top),
        max(a_left, b_left),
        min(a_top + a_height, b_top + b_height),
        min(a_left + a_width, b_left + b_width),
    )


def _in_cells(
    window: tuple[float, float, float, float], geometry: Geometry, grid: tuple[int, ...]
) -> tuple[float, float, float, float]:
    top, left, height, width = geometry.crop
    y, x = grid[0] / height, grid[1] / width
    return (
        (window[0] - top) * y,
        (window[1] - left) * x,
        (window[2] - top) * y,
        (window[3] - left) * x,
    )
