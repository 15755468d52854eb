"""Hand-made correspondences, and images with cells hidden, computed by hand."""

import numpy as np
import pytest
import torch
from PIL import Image

from lookalike.datasets.pairs import ImagePair, KnownImage
from lookalike.evaluation.explanations.cases import ExplainedPair, PairCase, Roster
from lookalike.evaluation.explanations.hiding import (
    blended,
    evaluation_grid,
    filling,
    hidden,
    most_important,
    random_halves,
    upsampled,
)
from lookalike.evaluation.explanations.methods import BoundMethod, CellCosines, make_method
from lookalike.evaluation.explanations.subjects import Subject
from lookalike.evaluation.explanations.truths import matching_values
from lookalike.images import Preprocessing
from lookalike.models.embedder import Embedder

BOTH = ("pck", "homography-hit")


class Halves:
    """A model that squashes pictures of 40 x 80 pixels to 20 x 40."""

    name = "halves"
    preprocessing = Preprocessing("squash", (20, 40))

    def embed(self, sources):
        return np.ones((len(sources), 3))


def matched(tmp_path, shift, *, parts=((4, 4), (44, 24)), homography=None, size=(80, 40)):
    """Two empty pictures whose cells (4 x 8) match at a shift of so many columns; the match has a size."""
    files = [tmp_path / name for name in ("a.png", "b.png")]
    for file, pixels in zip(files, ((80, 40), size), strict=True):
        Image.new("RGB", pixels).save(file)
    named = {f"part {i}": point for i, point in enumerate(parts)}
    query, match = (KnownImage(file, "x", box=(0, 0, 60, 40), parts=named) for file in files)
    pair = ImagePair(query, match, "made up", homography)

    def similarity(_query, _match):
        cells = torch.arange(32)
        values = torch.zeros(32, 32)
        values[cells, cells // 8 * 8 + (cells % 8 + shift) % 8] = 1
        return CellCosines(values, (4, 8), (4, 8))

    case = PairCase(Roster(Subject(Halves()), [pair], seed=0), 0)
    method = make_method("center")
    return matching_values(ExplainedPair(case, method, BoundMethod(None, similarity)), BOTH)


def test_a_mask_lies_where_the_model_that_crops_sees_it(tmp_path):
    """Of 80 x 40 pixels the network sees the middle 40 columns; the left half is masked."""
    rng = np.random.default_rng(0)
    files = [tmp_path / name for name in ("a.png", "b.png", "mask.png")]
    for file in files[:2]:
        Image.fromarray(rng.integers(0, 256, (40, 80, 3), np.uint8)).save(file)
    left = np.zeros((40, 80), np.uint8)
    left[:, :40] = 255
    Image.fromarray(left).save(files[2])
    embedder = Embedder.from_timm(
        "resnet10t", pretrained=False, preprocessing=Preprocessing("crop", (64, 64), 1.0), device="cpu"
    )
    pair = ImagePair(KnownImage(files[0], "x", mask=files[2]), KnownImage(files[1], "x"), "made up")
    case = PairCase(Roster(Subject(embedder), [pair], seed=0), 0)
    coverage, of_match = case.coverages
    h, w = case.grids[0]
    expected = (w / 2 - torch.arange(w)).clamp(0, 1).expand(h, w)
    torch.testing.assert_close(coverage, expected, atol=1e-5, rtol=0)
    assert of_match is None and (h, w) == (7, 7)


def test_parts_are_found_at_the_centers_of_the_matching_cells(tmp_path):
    """The radius is a tenth of 60 pixels; cell centers are (5, 5) and (45, 25)."""
    assert matched(tmp_path, 0)["pck"] == 1
    assert matched(tmp_path, 1)["pck"] == 0  # 10 pixels away
    assert matched(tmp_path, 0, parts=((4, 4), (49.5, 29.5)))["pck"] == 0.5  # 6.4 pixels away
    assert matched(tmp_path, 0, parts=((4, 4), (48, 28)))["pck"] == 1  # 4.2, beyond a tenth of 40
    assert matched(tmp_path, 0, parts=())["pck"] is None


def test_cells_are_found_under_a_homography_to_the_neighbor(tmp_path):
    moved = np.array([[1, 0, 20], [0, 1, 0], [0, 0, 1]], np.float32)  # two columns to the right
    hits = {shift: matched(tmp_path, shift, homography=moved)["homography-hit"] for shift in range(5)}
    assert hits == {0: 0, 1: 1, 2: 1, 3: pytest.approx(5 / 6), 4: 0}  # a shift of 3 wraps around once
    assert matched(tmp_path, 2)["homography-hit"] is None


def test_a_homography_counts_the_center_of_the_first_pixel_as_zero(tmp_path):
    """Column j has its center at 10 j + 4.5 and so at 80 j + 78 in the match, in column j of 80 pixels.

    Taken for a center at 10 j + 5 it would be at 80 j + 82, in the next column.
    """
    enlarged = np.array([[8, 0, 42], [0, 8, 0], [0, 0, 1]], np.float32)
    hits = {shift: matched(tmp_path, shift, homography=enlarged, size=(640, 320)) for shift in (7, 0, 2)}
    assert [hits[shift]["homography-hit"] for shift in (7, 0, 2)] == [7 / 8, 1, 0]  # 7 is one to the left


def test_a_homography_leads_to_the_pixels_of_the_match(tmp_path):
    doubled = np.diag([2, 2, 1]).astype(np.float32)
    hits = {shift: matched(tmp_path, shift, homography=doubled, size=(160, 80)) for shift in (0, 4)}
    assert [hits[shift]["homography-hit"] for shift in (0, 4)] == [1, 0]


def test_the_grid_keeps_the_proportions_of_a_wide_input():
    assert evaluation_grid((64, 192), (2, 6)) == (7, 21)
    assert evaluation_grid((300, 100), None) == (30, 10)


def test_each_fill_is_what_it_says():
    rng = np.random.default_rng(0)
    pixels, other = (rng.integers(0, 256, (56, 84, 3)).astype(np.uint8) for _ in range(2))
    assert (filling(pixels, "mean", other) == pixels.reshape(-1, 3).mean(0).round()).all()
    assert (filling(pixels, "swap", other) == other).all()
    assert filling(pixels, "swap", other[:20, :30]).shape == pixels.shape
    blur = filling(pixels, "blur", other)
    assert blur.mean() == pytest.approx(pixels.mean(), abs=2) and blur.std() < 0.6 * pixels.std()
    flat = np.full_like(pixels, 77)
    assert (filling(flat, "blur", other) == 77).all()
    with pytest.raises(ValueError, match="mean, blur, swap"):
        filling(pixels, "noise", other)


def test_the_blur_reaches_five_pixels_of_224_by_a_gaussian_of_sigma_5():
    pixels = np.zeros((224, 300, 3), np.uint8)
    pixels[90:111, 195:206] = 255  # as wide as the kernel, and higher
    blur = filling(pixels, "blur", pixels)
    assert blur[100, 200, 0] == 255 and blur[100, 211, 0] == 0
    kernel = np.exp(-(np.arange(-5, 6) ** 2) / 50)
    assert blur[100, 206, 0] == round(255 * kernel[:5].sum() / kernel.sum())  # columns 201 to 205


def test_the_most_important_cells_are_hidden_alone():
    pixels = np.full((4, 6, 3), 9, np.uint8)
    fill = np.zeros_like(pixels)
    values = torch.tensor([[0.0, 5.0, 1.0], [2.0, 2.0, -7.0]])
    top = most_important(values.flatten(), 3)
    assert top.int().tolist() == [
        [0, 0, 0, 0, 0, 0], [0, 1, 0, 1, 0, 0], [0, 1, 1, 1, 1, 0], [1, 1, 1, 1, 1, 1]]  # fmt: skip
    (image,) = hidden(pixels, fill, top[1:2], (2, 3))
    expected = np.full((4, 6), 9)
    expected[:2, 2:4] = expected[2:, :2] = 0
    np.testing.assert_array_equal(image[..., 0], expected)


def test_half_of_the_cells_are_kept_and_the_same_again():
    masks = random_halves(35, 32, (1, 2))
    assert masks.shape == (32, 35) and (masks.sum(1) == 17).all()
    assert torch.equal(masks, random_halves(35, 32, (1, 2)))
    assert not torch.equal(masks, random_halves(35, 32, (1, 3)))


def test_an_image_is_blended_by_an_enlarged_map():
    weights = upsampled(np.array([[0.0, 1.0]], np.float32), (2, 4))
    torch.testing.assert_close(weights, torch.tensor([[0.0, 0.25, 0.75, 1.0]]).expand(2, 4))
    image, fill = np.full((2, 4, 3), 100, np.uint8), np.zeros((2, 4, 3), np.uint8)
    assert blended(image, fill, weights)[1, :, 2].tolist() == [0, 25, 75, 100]
