"""Calibration of cosine and inliers together: altered copies on a made wall, and their wrong hits."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from lookalike.errors import GalleryError, UnreadableImageError
from lookalike.gallery.calibration import LabeledPair, alter
from lookalike.gallery.query import existing_file, image_query
from lookalike.gallery.regions import Box, Region
from lookalike.gallery.searchable import Searchable
from lookalike.models.embedder import Embedder
from lookalike.rerankers import MatchOdds, fit_match_odds, local_features, verify_features
from lookalike.rerankers.local_features import QUERY_FEATURES, QUERY_SIDE

MOST_QUERIES = 60  # each is compared with the nearest images
_SHORTLIST = 30
_COPY = 0.95  # cosine of two images of the gallery that may be copies of each other
_WALL = (900, 720)  # (W, H) pixels


def fit_geometry(gallery: Searchable, *, count: int, prior: float, seed: int) -> MatchOdds:
    """Fit the odds of a match to altered copies of the gallery's images, whole and by a box on a wall.

    Half of the copies are queries by themselves; the others hang turned on a made wall and are searched by
    their box. Matching pairs are those with the original; the others are the wrong hit with the most inliers
    of each query. Raises GalleryError for too few images or where inliers tell nothing.
    """
    rng = np.random.default_rng(seed)
    records = gallery.records()
    positives: list[tuple[float, int]] = []
    negatives: list[tuple[float, int]] = []
    for number, row in enumerate(rng.permutation(len(records))[: min(count, MOST_QUERIES)].tolist()):
        record = records[row]
        try:
            original = gallery.embedder.picture(existing_file(record)).image
        except UnreadableImageError:
            continue  # a deleted file costs one sample
        query, box = alter(original, rng), None
        if number % 2:
            query, box = on_a_wall(query, rng)
        region = Region.of(box, None)
        asked = image_query(query, gallery.embedder, region)
        hits = gallery.search(asked, k=2 * _SHORTLIST, rerank="geometry", shortlist=_SHORTLIST)
        own = torch.from_numpy(gallery.embedding(record.id))
        wrong = []
        for hit in hits:
            if hit.verification is None:
                continue
            values = (hit.similarity, hit.verification.by_features)
            if hit.id == record.id:
                positives.append(values)
            elif float(own @ torch.from_numpy(gallery.embedding(hit.id))) < _COPY:
                wrong.append(values)
        if wrong:
            negatives.append(max(wrong, key=lambda pair: (pair[1], pair[0])))
    source = "altered copies of the gallery's images, half of them turned on a wall, and the best wrong hits"
    return fit_match_odds(_rows(positives), _rows(negatives), prior=prior, source=source)


def fit_geometry_to_pairs(pairs: Sequence[LabeledPair], embedder: Embedder, *, prior: float) -> MatchOdds:
    """Fit the odds of a match to labeled pairs. Raises GalleryError for too few of a kind."""
    found: dict[bool, list[tuple[float, int]]] = {True: [], False: []}
    for first, second, is_match in pairs:
        a, b = embedder.picture(first), embedder.picture(second)
        query = local_features(a, side=QUERY_SIDE, n=QUERY_FEATURES)
        evidence = verify_features(query, local_features(b))
        units = embedder.embed([a, b])
        found[bool(is_match)].append((float(units[0] @ units[1]), evidence.by_features))
    return fit_match_odds(_rows(found[True]), _rows(found[False]), prior=prior, source="labeled pairs")


def on_a_wall(image: Image.Image, rng: np.random.Generator) -> tuple[Image.Image, Box]:
    """Return a made wall of 900 x 720 pixels with the image on it, turned by any angle, and its box."""
    color = rng.uniform(90, 230, 3)
    light = np.linspace(rng.uniform(0.8, 1.1), rng.uniform(0.8, 1.1), _WALL[0])[None, :, None]
    noise = rng.normal(0, 3, (_WALL[1], _WALL[0], 1))
    wall = Image.fromarray(np.clip(color * light + noise, 0, 255).astype(np.uint8))
    side = int(rng.integers(220, 480))
    hung = image.convert("RGB")
    hung.thumbnail((side, side))
    angle = float(rng.choice([0, 90, 180, 270]) + rng.uniform(-12, 12))
    mask = Image.new("L", hung.size, 255).rotate(angle, Image.Resampling.BILINEAR, expand=True)
    hung = hung.rotate(angle, Image.Resampling.BICUBIC, expand=True)
    left = int(rng.integers(0, max(1, _WALL[0] - hung.width)))
    top = int(rng.integers(0, max(1, _WALL[1] - hung.height)))
    wall.paste(hung, (left, top), mask)
    right, bottom = min(_WALL[0], left + hung.width), min(_WALL[1], top + hung.height)
    return wall, (float(left), float(top), float(right), float(bottom))


def _rows(pairs: Sequence[tuple[float, int]]) -> Tensor:
    return torch.tensor(pairs, dtype=torch.float64).reshape(-1, 2)


def geometry_or_none(gallery: Searchable, *, count: int, prior: float, seed: int) -> MatchOdds | None:
    """Return ``fit_geometry``, or None where it can't be fitted: the defaults then stay."""
    try:
        return fit_geometry(gallery, count=count, prior=prior, seed=seed)
    except GalleryError:
        return None
