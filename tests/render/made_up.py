"""Results with known contents, for tests of pictures."""

import numpy as np
from PIL import Image

from lookalike.types import (
    CellMatch,
    CellSimilarity,
    Difference,
    Explanation,
    Geometry,
    GraphExplanation,
    ImageMap,
    LevelReason,
    NodeChain,
    NodeReason,
    Picture,
)

GRAY = (128, 128, 128)


def flat_picture(size, name="a.png", color=GRAY):
    """One color everywhere, so that every changed pixel is the map's doing."""
    return Picture(Image.new("RGB", (size[1], size[0]), color), size, name)


def squashed(size):
    return Geometry(size, (224, 224), (0.0, 0.0, float(size[0]), float(size[1])))


def flat_map(values, size, name):
    return ImageMap(flat_picture(size, name), squashed(size), values)


def one_hot(grid, cell, value=1.0):
    values = np.zeros(grid, np.float32)
    values[cell] = value
    return values


def explanation(
    query_map=None,
    match_map=None,
    *,
    query_size=(60, 90),
    match_size=(80, 50),
    names=("a.png", "b.jpg"),
    additive=True,
    similarity=0.7,
    method="shares",
):
    query_map = np.full((3, 5), 0.7 / 15, np.float32) if query_map is None else query_map
    match_map = np.full((3, 5), 0.7 / 15, np.float32) if match_map is None else match_map
    return Explanation(
        similarity=similarity,
        query=flat_map(query_map, query_size, names[0]),
        match=flat_map(match_map, match_size, names[1]),
        method=method,
        additive=additive,
        model="mini",
    )


def a_difference(values, *, size=(60, 90), names=("q.png", "x.png", "y.png")):
    return Difference(
        query=flat_map(values, size, names[0]),
        preferred_similarity=0.8,
        other_similarity=0.5,
        model="mini",
        preferred=flat_picture((50, 50), names[1]),
        other=flat_picture((30, 80), names[2]),
    )


def an_affinity(cells, *, query_size=(60, 90), match_size=(80, 50), names=("a.png", "b.jpg")):
    matches = tuple(CellMatch(query, match, 0.1 / rank, 0.9) for rank, (query, match) in enumerate(cells, 1))
    return CellSimilarity(
        values=np.zeros((15, 8), np.float32),
        query=flat_map(np.zeros((3, 5), np.float32), query_size, names[0]),
        match=flat_map(np.zeros((4, 2), np.float32), match_size, names[1]),
        matches=matches,
        similarity=0.6,
        model="mini",
    )


def pixels(image):
    return np.asarray(image, dtype=np.int16)


def changed(image, picture):
    """How far each pixel is from the photo: (H, W), sum over the channels."""
    plain = picture.image.resize(image.size)
    return np.abs(pixels(image) - pixels(plain)).sum(2)


def a_graph(level_map=None, *, reliability=0.6, query_size=(60, 90), match_size=(80, 50)):
    """An explanation by three levels, two chains of either kind and two corrected nodes."""

    def sides(grid, value=0.1):
        values = np.full(grid, value / (grid[0] * grid[1]), np.float32)
        query = values if level_map is None else level_map
        return flat_map(query, query_size, "a.png"), flat_map(values, match_size, "b.jpg")

    def node(level, number):
        return NodeReason(level, number, 0.5, 0.01, 0.02, *sides((2, 3)), (), reliability, 0.003)

    levels = [
        LevelReason(0.1, reliability, -0.02, *sides(grid), *sides(grid), (node(i, 3),), (node(i, 4),))
        for i, grid in enumerate([(4, 6), (2, 3), (1, 2)])
    ]
    chain = NodeChain(0.05, (node(2, 7), node(1, 5), node(0, 3)), (0.4, 0.1))
    plain = explanation(query_size=query_size, match_size=match_size, method="avsl")
    return GraphExplanation(
        **vars(plain),
        distance=0.6,
        own_distance=0.64,
        levels=tuple(levels),
        together=(chain,) * 2,
        apart=(chain,) * 2,
        corrected=(node(2, 7), node(1, 5)),
    )
