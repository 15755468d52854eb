"""Leave one out: cells of the network's own input, for embedders, functions and ONNX models."""

import numpy as np
import pytest
from PIL import Image

from lookalike.errors import UnknownNameError
from lookalike.explainers import LeaveOneOut
from lookalike.images import Preprocessing
from lookalike.models.embedder import Embedder


def mean_colors(pictures):
    return np.stack([np.asarray(picture, dtype=np.float64).mean((0, 1)) + 1e-6 for picture in pictures])


def test_the_cell_with_what_is_shared_costs_most():
    query = Image.new("RGB", (180, 120))
    query.paste((255, 0, 0), (126, 12, 162, 48))
    query.paste((0, 255, 0), (18, 72, 54, 108))
    match = Image.new("RGB", (100, 140), (255, 0, 0))
    why = LeaveOneOut(mean_colors, fill="mean")(query, match)
    assert why.query_map.shape == (10, 15) and why.match_map.shape == (14, 10)
    row, column = divmod(int(why.query_map.argmax()), 15)
    assert 1 <= row <= 3 and 10 <= column <= 13
    assert why.query_map[7, 2] < 0 and why.query_map[5, 7] == pytest.approx(0, abs=1e-3)


@pytest.mark.parametrize("fill", ["mean", "blur"])
def test_each_cell_is_the_drop_of_a_picture_changed_there_alone(fill, mini, pictures):
    query, match = mini.read(pictures[0]), mini.read(pictures[3])
    why = LeaveOneOut(mini, fill=fill, cells=3)(query, match)
    explainer = LeaveOneOut(mini, fill=fill)
    changed = query.pixels.copy()  # 160 x 160: the cells begin at 0, 53 and 107
    changed[53:107, 107:] = explainer._filled(query.pixels)[53:107, 107:]
    whole, without = (
        mini.embed_pixels([query.pixels, changed]).double() @ mini.embed(match.picture)[0].double()
    )
    assert why.query_map[1, 2] == pytest.approx(float(whole - without), abs=1e-6)


def test_a_blurred_flat_cell_changes_nothing(mini):
    flat = Image.new("RGB", (160, 160), (90, 120, 40))
    other = Image.fromarray(np.random.default_rng(0).integers(0, 256, (160, 160, 3), dtype=np.uint8))
    assert np.abs(LeaveOneOut(mini, cells=2)(flat, other).query_map).max() < 1e-6


def test_a_fine_grid_is_held_to_sixteen_cells(tiny_backbone, pictures):
    embedder = Embedder.from_timm(
        "vit_tiny_patch16_224", pretrained=False, pooling="mean", input_size=(32, 288), device="cpu",
        embed_dim=24, depth=1, num_heads=3,
    )  # fmt: skip
    assert LeaveOneOut(embedder)(pictures[0], pictures[1]).query_map.shape == (2, 16)


def test_what_preprocessing_cuts_off_is_not_in_the_map(mini, pictures):
    """A center crop of a long picture: the geometry is that of the network's input."""
    crop = Preprocessing("crop", mini.preprocessing.input_size)
    embedder = Embedder(mini.network, crop, name="cropped", device="cpu")
    why = LeaveOneOut(embedder, cells=2)(pictures[2], pictures[3])
    assert why.query_geometry == embedder.read(pictures[2]).geometry
    assert why.query_geometry.crop[3] < pictures[2].width


def test_options_are_checked():
    with pytest.raises(UnknownNameError, match="fill is one of blur, mean; got 'black'"):
        LeaveOneOut(mean_colors, fill="black")
    with pytest.raises(ValueError, match="1 or more; got 0 and 32"):
        LeaveOneOut(mean_colors, cells=0)
