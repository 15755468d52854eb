"""Exported graphs in ONNX Runtime: the model's embeddings, and maps that sum to similarities."""

import json

import numpy as np
import onnxruntime
import pytest
import torch
from typer.testing import CliRunner

from lookalike import images as image_files
from lookalike.cli import app
from lookalike.errors import UnsupportedMethodError
from lookalike.models import exporting
from lookalike.models.embedder import Embedder
from lookalike.models.exporting import export_graph
from lookalike.models.onnx import OnnxEmbedder

SIZE = (32, 48)


@pytest.fixture(scope="module")
def vit():
    torch.manual_seed(0)
    options = {"embed_dim": 24, "depth": 2, "num_heads": 3}
    return Embedder.from_timm(
        "vit_tiny_patch16_224", pretrained=False, input_size=SIZE, device="cpu", **options
    )


@pytest.fixture(scope="module")
def exported(vit, tmp_path_factory):
    return export_graph(vit, tmp_path_factory.mktemp("graph") / "vit.onnx", with_shares=True)


def test_maps_of_the_graph_and_its_residual_sum_to_the_similarity(vit, exported, pictures):
    assert exported.outputs == {"embedding": (1, 24), "shares": (1, 2, 3, 24), "residual": (1, 24)}
    assert exported.parity <= 1e-5
    session = onnxruntime.InferenceSession(str(exported.path), providers=["CPUExecutionProvider"])
    pixels = np.stack([vit.read(picture).pixels for picture in pictures[:2]])
    batch = image_files.normalize(pixels, vit.preprocessing)
    embedding, shares, residual = session.run(None, {"images": batch})
    query_map = shares[0] @ embedding[1]
    assert query_map.shape == (2, 3)
    similarity = float(vit.similarity(pictures[0], pictures[1]))
    assert query_map.sum() + residual[0] @ embedding[1] == pytest.approx(similarity, abs=1e-5)
    own = vit.shares(pictures[0])
    np.testing.assert_allclose(shares[0].reshape(-1, 24), (own.values / own.total.norm()).numpy(), atol=1e-5)


def test_the_file_knows_its_preprocessing(vit, exported, pictures):
    loaded = OnnxEmbedder(exported.path)
    assert loaded.preprocessing == vit.preprocessing and loaded.output == "embedding"
    np.testing.assert_allclose(loaded.embed(pictures[:3]), vit.embed(pictures[:3]), atol=1e-5)


@pytest.mark.slow
def test_openvino_gives_the_same_by_command(vit, tmp_path):
    openvino = pytest.importorskip("openvino")
    vit.save(tmp_path / "vit")
    target = tmp_path / "vit.xml"
    command = ["models", "export", str(tmp_path / "vit"), str(target), "--format", "openvino", "--json"]
    result = CliRunner().invoke(app, command)
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["parity"] <= 1e-4
    carried = openvino.Core().read_model(str(target)).get_rt_info(["lookalike"]).astype(str)
    assert json.loads(carried)["fingerprint"] == Embedder.load(tmp_path / "vit").fingerprint()


def test_a_graph_that_differs_is_not_kept(vit, tmp_path, monkeypatch):
    monkeypatch.setattr(exporting, "_write_onnx", lambda *_: None)
    monkeypatch.setattr(exporting, "_onnx_run", lambda _: lambda images: [np.zeros((len(images), 24))])
    with pytest.raises(exporting.LookalikeError, match=r"differs by .* so it was not kept"):
        export_graph(vit, tmp_path / "wrong.onnx")
    assert not (tmp_path / "wrong.onnx").exists()


def test_models_without_one_size_or_shares_are_refused(vit, tmp_path):
    scaled = Embedder(vit.network, vit.preprocessing, name="scaled", scales=(1.0, 0.5), device="cpu")
    with pytest.raises(UnsupportedMethodError, match="merges 2 scales"):
        export_graph(scaled, tmp_path / "no.onnx")
