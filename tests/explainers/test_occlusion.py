"""Occlusion explains any function from pictures to vectors, an ONNX model included."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from PIL import Image

import lookalike
from lookalike.errors import CheckpointError, UnsupportedMethodError
from lookalike.explainers import Occlusion
from lookalike.models.onnx import OnnxEmbedder


def mean_colors(pictures):
    return np.stack([np.asarray(picture, dtype=np.float64).mean((0, 1)) + 1e-6 for picture in pictures])


def square_on_gray(box, color, size=(180, 120)):
    image = Image.new("RGB", size, (0, 0, 0))
    image.paste(color, box)
    return image


@pytest.fixture
def onnx_model(tmp_path):
    """Mean color of a (B, 3, 20, 30) input, as an ONNX file."""
    node = helper.make_node("ReduceMean", ["image"], ["embedding"], axes=[2, 3], keepdims=0)
    shapes = [("image", ["batch", 3, 20, 30]), ("embedding", ["batch", 3])]
    image, embedding = (helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in shapes)
    model = helper.make_model(
        helper.make_graph([node], "colors", [image], [embedding]),
        opset_imports=[helper.make_opsetid("", 13)],
    )
    model.ir_version = 8
    path = tmp_path / "colors.onnx"
    onnx.save(model, path)
    return path


def test_covering_what_is_shared_costs_most():
    """Of a red and a green square only red is in the match: its cells lose similarity, green's gain."""
    query = square_on_gray((126, 12, 162, 48), (255, 0, 0))
    query.paste((0, 255, 0), (18, 72, 54, 108))
    match = square_on_gray((30, 30, 90, 90), (255, 0, 0))
    why = Occlusion(mean_colors, cells=10, window=1.0)(query, match)
    assert why.query_map.shape == (10, 15)  # 120 x 180 pixels, 10 cells along the shorter side
    row, column = divmod(int(why.query_map.argmax()), 15)
    assert 1 <= row <= 3 and 10 <= column <= 13
    row, column = divmod(int(why.query_map.argmin()), 15)
    assert 6 <= row <= 8 and 1 <= column <= 4
    assert why.query_map.min() < 0 < why.query_map.max()


def test_one_window_is_the_difference_of_two_answers():
    query, match = square_on_gray((0, 0, 90, 120), (250, 10, 0)), square_on_gray((0, 0, 90, 60), (250, 60, 9))
    why = Occlusion(mean_colors, cells=1, window=9.0)(query, match)
    covered = Image.new("RGB", query.size, tuple(round(v) for v in mean_colors([query])[0]))
    unit = [v / np.linalg.norm(v) for v in mean_colors([covered, match])]
    np.testing.assert_allclose(why.query_map, why.similarity - unit[0] @ unit[1], atol=1e-6)


@pytest.mark.parametrize("window", [1.0, 2.0, 2.7])
def test_a_pixel_has_the_mean_drop_of_the_windows_that_cover_it(pictures, window):
    """Against loops over windows and cells; drops keep their signs."""
    query, match = pictures[0].crop((0, 0, 45, 30)), pictures[3]
    why = Occlusion(mean_colors, cells=3, window=window)(query, match)
    h, w = why.query_map.shape
    assert (h, w) == (3, 4)
    pixels = np.asarray(query)
    unit = [v / np.linalg.norm(v) for v in mean_colors([query, match])]
    sums, counts = np.zeros(pixels.shape[:2]), np.zeros(pixels.shape[:2])
    for i in range(h):
        for j in range(w):
            top, bottom = (round((i + 0.5 + side * window / 2) * 30 / h) for side in (-1, 1))
            left, right = (round((j + 0.5 + side * window / 2) * 45 / w) for side in (-1, 1))
            mask = np.zeros(pixels.shape[:2], bool)
            mask[max(top, 0) : bottom, max(left, 0) : right] = True
            covered = np.where(mask[..., None], pixels.mean((0, 1)).round(), pixels).astype(np.uint8)
            vector = mean_colors([covered])[0]
            sums[mask] += unit[0] @ unit[1] - vector @ unit[1] / np.linalg.norm(vector)
            counts[mask] += 1
    of_pixels = sums / counts
    rows, columns = ([round(k * length / n) for k in range(n + 1)] for length, n in ((30, h), (45, w)))
    expected = [
        [of_pixels[rows[i] : rows[i + 1], columns[j] : columns[j + 1]].mean() for j in range(w)]
        for i in range(h)
    ]
    np.testing.assert_allclose(why.query_map, expected, atol=1e-7)
    assert why.query_map.min() < 0 < why.query_map.max()


def test_windows_smaller_than_cells_count_covered_pixels_only():
    """The middle pixel of each cell is covered: its drop is the cell's value, not a ninth of it."""
    query, match = square_on_gray((0, 0, 3, 3), (255, 0, 0), (9, 9)), square_on_gray((0, 0, 9, 9), (9, 5, 0))
    query.paste((0, 200, 90), (3, 3, 9, 9))
    why = Occlusion(mean_colors, cells=3, window=1 / 3)(query, match)
    covered = np.array(query)
    covered[1, 1] = covered.mean((0, 1)).round()
    unit = [v / np.linalg.norm(v) for v in mean_colors([covered, match])]
    assert abs(why.query_map[0, 0]) > 1e-4
    np.testing.assert_allclose(why.query_map[0, 0], why.similarity - unit[0] @ unit[1], atol=1e-8)


@pytest.mark.parametrize("method", ["occlusion", "leave-one-out", "rise"])
def test_an_onnx_model_is_explained(method, onnx_model, pictures):
    why = lookalike.explain(pictures[0], pictures[1], model=onnx_model, method=method, cells=3)
    expected = OnnxEmbedder(onnx_model).embed(pictures[:2])
    assert why.model == "colors.onnx"
    assert why.similarity == pytest.approx(float(expected[0] @ expected[1]), abs=1e-5)
    if method != "occlusion":  # which covers parts of the picture itself
        assert why.query_geometry.input_size == (20, 30)


def test_other_methods_are_refused_for_an_onnx_model(onnx_model, pictures):
    with pytest.raises(UnsupportedMethodError, match="occlusion"):
        lookalike.explain(pictures[0], pictures[1], model=onnx_model)


def test_a_file_that_is_no_onnx_model_is_named(tmp_path):
    path = tmp_path / "text.onnx"
    path.write_text("not a model")
    with pytest.raises(CheckpointError, match=r"text\.onnx is no ONNX model"):
        OnnxEmbedder(path)


def test_a_model_that_answers_with_one_vector_is_refused(pictures):
    with pytest.raises(ValueError, match=r"should return \(2, D\)"):
        Occlusion(lambda batch: np.ones(3))(pictures[0], pictures[1])
