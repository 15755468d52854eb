import numpy as np
import pytest
import torch
from PIL import Image

from lookalike.gallery import AddReport, Calibration, Gallery, GalleryDescription
from lookalike.store import Record
from lookalike.types import (
    CellMatch,
    CellSimilarity,
    Difference,
    Explanation,
    Geometry,
    GraphExplanation,
    ImageMap,
    Influence,
    LevelReason,
    Move,
    NodeChain,
    NodePath,
    NodeReason,
    Picture,
    Ranking,
    Reading,
    Shares,
)

# Squash of a 60 x 100 picture: a (3, 5) grid has cells of 20 x 20 original pixels.
SQUASH = Geometry(original_size=(60, 100), input_size=(48, 160), crop=(0.0, 0.0, 60.0, 100.0))
# Center crop of a 60 x 100 picture: a (2, 4) grid on 40 x 60 pixels has cells of 20 x 15.
CROP = Geometry(original_size=(60, 100), input_size=(32, 48), crop=(10.0, 20.0, 40.0, 60.0))
# Letterbox of a 60 x 100 picture in a square: 20 rows of padding above and below; cells 50 x 25.
LETTERBOX = Geometry(original_size=(60, 100), input_size=(64, 64), crop=(-20.0, 0.0, 100.0, 100.0))


@pytest.mark.parametrize(
    ("geometry", "cell", "grid", "box"),
    [
        (SQUASH, (2, 4), (3, 5), (80, 40, 100, 60)),
        (SQUASH, (1, 0), (3, 5), (0, 20, 20, 40)),
        (CROP, (0, 3), (2, 4), (65, 10, 80, 30)),
        (LETTERBOX, (0, 1), (2, 4), (25, -20, 50, 30)),
    ],
)
def test_cell_box_is_left_top_right_bottom_in_original_pixels(geometry, cell, grid, box):
    assert geometry.cell_box(*cell, grid) == box


@pytest.mark.parametrize(
    ("geometry", "point", "grid", "cell"),
    [
        (SQUASH, (85, 45), (3, 5), (2, 4)),
        (SQUASH, (0, 0), (3, 5), (0, 0)),
        (SQUASH, (99.9, 59.9), (3, 5), (2, 4)),
        (CROP, (66, 12), (2, 4), (0, 3)),
        (CROP, (21, 49), (2, 4), (1, 0)),
        (LETTERBOX, (30, 0), (2, 4), (0, 1)),
        (LETTERBOX, (30, 31), (2, 4), (1, 1)),
    ],
)
def test_cell_at_is_the_row_and_column_that_cover_the_pixel(geometry, point, grid, cell):
    assert geometry.cell_at(*point, grid) == cell


@pytest.mark.parametrize(
    ("geometry", "point"),
    [
        (SQUASH, (100, 30)),
        (SQUASH, (-0.1, 30)),
        (CROP, (19, 30)),
        (CROP, (50, 9.9)),
        (CROP, (50, 50)),
        (LETTERBOX, (50, 80)),
    ],
)
def test_a_pixel_outside_the_crop_has_no_cell(geometry, point):
    assert geometry.cell_at(*point, (2, 4)) is None


@pytest.mark.parametrize("geometry", [SQUASH, CROP, LETTERBOX])
def test_the_middle_of_every_cell_box_is_in_that_cell(geometry):
    grid = (3, 7)
    for row in range(3):
        for column in range(7):
            left, top, right, bottom = geometry.cell_box(row, column, grid)
            assert geometry.cell_at((left + right) / 2, (top + bottom) / 2, grid) == (row, column)


def results():
    """One value of each result type that holds data only."""
    picture = Picture(Image.new("RGB", (100, 60)), (60, 100), "a.png")
    image_map = ImageMap(picture, SQUASH, np.ones((3, 5), np.float32))
    pair = {"similarity": 0.5, "query": image_map, "match": image_map, "model": "mini"}
    node = NodeReason(0, 3, 0.5, 0.1, 0.2, image_map, image_map, (NodePath(1, 0.1),), 0.7, 0.01)
    level = LevelReason(0.5, 0.7, 0.01, *(image_map,) * 4, (node,) * 5, (node,) * 5)
    chains = (NodeChain(0.1, (node,) * 3, (0.5, 0.5)),) * 2
    graph = {"own_distance": 0.9, "together": chains, "apart": chains, "corrected": (node,)}
    influences = tuple(Influence(row, 0.1) for row in range(100))
    record = Record("0" * 20, "/photos/a.png", "0" * 64, 10, 1, {"label": "cat", "tags": ["x"]})
    return [
        picture,
        image_map,
        Explanation(**pair, method="shares", additive=True),
        GraphExplanation(**pair, method="avsl", additive=True, distance=1.0, levels=(level,) * 3, **graph),
        Difference(image_map, 0.5, 0.4, "mini", picture, picture),
        CellSimilarity(np.ones((15, 15), np.float32), matches=(CellMatch((0, 0), (1, 1), 0.1, 0.9),), **pair),
        Reading(picture, np.zeros((48, 160, 3), np.uint8), SQUASH),
        Shares(torch.ones(15, 4), torch.zeros(4), (3, 5), SQUASH),
        Ranking(torch.ones(1, 4), torch.ones(9, 4), torch.zeros(1, 3, dtype=torch.int64), torch.ones(1, 3)),
        Influence(record, 0.1),
        Move(7, "csa", 4, 0, 0.5, 0.9, influences),
        record,
        AddReport(1, 2, (("/photos/b.png", "damaged"),) * 50, ("/photos/c.png",) * 50),
        Calibration(9.0, -2.0, 0.5, "altered copies of the gallery's images", 20, 20),
        GalleryDescription(
            *("/photos.gallery", 1, 1, "mini", "0" * 64, 960, "fp32", {"input_size": [224, 224]}, "1.0"),
            *("2026-01-01T00:00:00+00:00", False, 2, "none", None, {"label": 1}),
        ),
    ]


def check_compares_and_prints(result):
    assert result == result
    assert result != "something else"
    assert isinstance(hash(result), int)
    assert "\n" not in repr(result) and len(repr(result)) < 300


@pytest.mark.parametrize("result", results(), ids=lambda result: type(result).__name__)
def test_a_result_compares_hashes_and_prints_as_one_short_line(result):
    check_compares_and_prints(result)


def test_equal_results_have_equal_hashes():
    same = [
        pair
        for pair in zip(results(), results(), strict=True)
        if not isinstance(pair[0], Reading | Shares | Ranking)
    ]
    assert all(one == other and hash(one) == hash(other) for one, other in same)


def test_hits_and_search_results_compare_hash_and_print(tmp_path):
    rng = np.random.default_rng(0)
    for name in ("a.png", "b.png"):
        Image.fromarray(rng.integers(0, 256, (40, 60, 3), dtype=np.uint8)).save(tmp_path / name)
    gallery = Gallery.in_memory()
    gallery.add(tmp_path, metadata={"tags": ["x"]}, workers=0)
    found = gallery.search(tmp_path / "a.png", explain=True)
    for result in (found, found[0]):
        check_compares_and_prints(result)
