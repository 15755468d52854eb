"""ONNX models: which output is the embedding, and what input they are fed."""

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper
from torch.nn import functional as F

from lookalike import Embedder, OnnxEmbedder
from lookalike.errors import CheckpointError, ModelOutputError, UnknownModelError, UnsupportedMethodError
from lookalike.explainers import load_any


def saved(path, nodes, outputs, *, shape=("b", 3, 8, 6), kind=TensorProto.FLOAT, constants=()):
    """A model of one input ``image``; outputs are (name, shape)."""
    graph = helper.make_graph(
        nodes,
        "made",
        [helper.make_tensor_value_info("image", kind, shape)],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, size) for name, size in outputs],
        [helper.make_tensor(name, TensorProto.INT64, (len(values),), values) for name, values in constants],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    onnx.save(model, path)
    return path


MEAN = (
    [helper.make_node("ReduceMean", ["image"], ["mean"], axes=[2, 3], keepdims=0)],
    ("mean", ("b", 3)),
)


def transformer(path, vector="pooler_output"):
    """Outputs as exporters of transformers write them: all tokens first, then one vector."""
    nodes = [
        helper.make_node("Reshape", ["image", "flat"], ["channels"]),
        helper.make_node("Transpose", ["channels"], ["last_hidden_state"], perm=[0, 2, 1]),
        helper.make_node("ReduceMean", ["channels"], [vector], axes=[2], keepdims=0),
    ]
    outputs = [("last_hidden_state", ("b", 48, 3)), (vector, ("b", 3))]
    return saved(path, nodes, outputs, constants=[("flat", (0, 3, -1))])


@pytest.fixture
def picture():
    return np.random.default_rng(3).integers(0, 256, (8, 6, 3), dtype=np.uint8)


def mean_color(picture, mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225)):
    return F.normalize(torch.tensor((picture / 255).mean((0, 1)) - mean) / torch.tensor(std), dim=0).float()


def test_tokens_are_not_taken_for_an_embedding(tmp_path, picture):
    model = OnnxEmbedder(transformer(tmp_path / "vit.onnx"))
    assert model.output == "pooler_output"
    torch.testing.assert_close(model.embed([picture])[0], mean_color(picture), atol=1e-5, rtol=1e-5)


def test_an_embedding_is_found_by_its_axes_whatever_its_name(tmp_path):
    assert OnnxEmbedder(transformer(tmp_path / "vit.onnx", "something")).output == "something"


def test_a_feature_map_alone_is_refused_by_name(tmp_path):
    path = saved(
        tmp_path / "grid.onnx", [helper.make_node("Relu", ["image"], ["map"])], [("map", ("b", 3, 8, 6))]
    )
    with pytest.raises(CheckpointError, match=r"returns map \(1, 3, 8, 6\): no embedding"):
        OnnxEmbedder(path)


def test_a_map_of_one_cell_is_an_embedding(tmp_path, picture):
    nodes = [helper.make_node("GlobalAveragePool", ["image"], ["pooled"])]
    model = OnnxEmbedder(saved(tmp_path / "m.onnx", nodes, [("pooled", ("b", 3, 1, 1))]))
    torch.testing.assert_close(model.embed([picture])[0], mean_color(picture), atol=1e-5, rtol=1e-5)


def two_vectors(path, names):
    nodes = [
        *MEAN[0],
        helper.make_node("Neg", ["mean"], [names[1]]),
        helper.make_node("Relu", ["mean"], [names[0]]),
    ]
    return saved(path, nodes, [(name, ("b", 3)) for name in names])


def test_of_several_vectors_one_must_be_named(tmp_path, picture):
    path = two_vectors(tmp_path / "two.onnx", ("one", "other"))
    with pytest.raises(CheckpointError, match=r"several outputs that could be .*--output-name one"):
        OnnxEmbedder(path)
    by_option, by_suffix = OnnxEmbedder(path, output="other"), OnnxEmbedder(f"{path}:other")
    expected = -mean_color(picture)
    for model in (by_option, by_suffix):
        torch.testing.assert_close(model.embed([picture])[0], expected, atol=1e-5, rtol=1e-5)


def test_class_scores_are_no_embedding_unless_they_are_named(tmp_path):
    path = saved(
        tmp_path / "c.onnx",
        [helper.make_node("ReduceMean", ["image"], ["logits"], axes=[2, 3], keepdims=0)],
        [("logits", ("b", 3))],
    )
    with pytest.raises(CheckpointError, match=r"class scores: logits \(1, 3\)"):
        OnnxEmbedder(path)
    assert OnnxEmbedder(path, output="logits").output == "logits"
    assert OnnxEmbedder(two_vectors(tmp_path / "d.onnx", ("logits", "code"))).output == "code"


def test_an_output_that_does_not_exist_is_named_with_those_that_do(tmp_path):
    with pytest.raises(CheckpointError, match="no output 'nope'; it has last_hidden_state, pooler_output"):
        OnnxEmbedder(transformer(tmp_path / "vit.onnx"), output="nope")


@pytest.mark.parametrize("kind", [TensorProto.FLOAT16, TensorProto.DOUBLE, TensorProto.UINT8])
def test_the_input_has_the_type_that_the_model_takes(kind, tmp_path, picture):
    nodes = [
        helper.make_node("Cast", ["image"], ["single"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["single"], ["mean"], axes=[2, 3], keepdims=0),
    ]
    model = OnnxEmbedder(saved(tmp_path / "m.onnx", nodes, [MEAN[1]], kind=kind))
    as_it_is = kind == TensorProto.UINT8  # such a model normalizes by itself
    expected = mean_color(picture, (0, 0, 0), (1, 1, 1)) if as_it_is else mean_color(picture)
    torch.testing.assert_close(model.embed([picture])[0], expected, atol=1e-3, rtol=1e-3)


def test_channels_may_come_last(tmp_path, picture):
    nodes = [helper.make_node("ReduceMean", ["image"], ["mean"], axes=[1, 2], keepdims=0)]
    model = OnnxEmbedder(saved(tmp_path / "m.onnx", nodes, [MEAN[1]], shape=("b", 8, 6, 3)))
    assert model.preprocessing.input_size == (8, 6)
    torch.testing.assert_close(model.embed([picture])[0], mean_color(picture), atol=1e-5, rtol=1e-5)


def test_free_sizes_can_be_given_and_fixed_ones_hold(tmp_path):
    free = saved(tmp_path / "free.onnx", MEAN[0], [MEAN[1]], shape=("b", 3, "h", "w"))
    assert OnnxEmbedder(free).preprocessing.input_size == (224, 224)
    assert OnnxEmbedder(free, input_size=(32, 48)).preprocessing.input_size == (32, 48)
    fixed = saved(tmp_path / "fixed.onnx", MEAN[0], [MEAN[1]])
    with pytest.raises(CheckpointError, match="takes images of 8 x 6 pixels, not 32 x 48"):
        OnnxEmbedder(fixed, input_size=(32, 48))


def test_a_fixed_batch_is_filled_up(tmp_path, picture):
    model = OnnxEmbedder(saved(tmp_path / "m.onnx", MEAN[0], [("mean", (4, 3))], shape=(4, 3, 8, 6)))
    found = model.embed([picture] * 5)
    assert found.shape == (5, 3)
    torch.testing.assert_close(found[4], mean_color(picture), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("shape", [("b", 1, 8, 6), ("b", 3, 8), (5000, 3, 8, 6), ("b", 3, 8, 99_999)])
def test_an_input_that_is_no_color_picture_is_refused(shape, tmp_path):
    nodes = [helper.make_node("Flatten", ["image"], ["flat"])]
    path = saved(tmp_path / "m.onnx", nodes, [("flat", ("b", "d"))], shape=shape)
    with pytest.raises(CheckpointError, match=r"m\.onnx (takes|can't be fed)"):
        OnnxEmbedder(path)


def test_numbers_that_are_none_are_said_with_the_picture(tmp_path, picture):
    nodes = [*MEAN[0], helper.make_node("Log", ["mean"], ["code"])]  # of a negative number
    model = OnnxEmbedder(saved(tmp_path / "m.onnx", nodes, [("code", ("b", 3))]))
    with pytest.raises(ModelOutputError, match=r"the model m\.onnx gives NaN for image; repair the weights"):
        model.embed([picture // 4])


def test_commands_that_need_layers_say_so(tmp_path):
    path = transformer(tmp_path / "vit.onnx")
    with pytest.raises(UnknownModelError, match=r"vit\.onnx only returns embeddings"):
        Embedder.load(path)
    with pytest.raises(
        UnsupportedMethodError, match="precision, mean image, whitening and heads of an ONNX model are fixed"
    ):
        load_any(path, pooling="mean")
    with pytest.raises(UnsupportedMethodError, match="only an ONNX model has outputs by name"):
        load_any("mini", output="pooler_output")
