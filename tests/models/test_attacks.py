"""Files and names of models that reach for something outside: nothing is read, written or run."""

import json
import shutil
import socket
import zipfile

import numpy as np
import pytest
import torch

from lookalike.datasets.arrays import read_arrays, read_labels
from lookalike.errors import LookalikeError
from lookalike.explainers import load_any
from lookalike.models.embedder import Embedder

onnx = pytest.importorskip("onnx")


@pytest.fixture
def no_network(monkeypatch):
    def refuse(*_, **__):
        raise AssertionError("the network was asked")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


def with_weights_elsewhere(path, location):
    """An ONNX model whose weights lie in another file, 3 x 5 float32."""
    weight = onnx.TensorProto(name="w", data_type=onnx.TensorProto.FLOAT, dims=[3, 5])
    weight.data_location = onnx.TensorProto.EXTERNAL
    for key, value in {"location": str(location), "offset": "0", "length": "60"}.items():
        weight.external_data.add(key=key, value=value)
    helper, kind = onnx.helper, onnx.TensorProto.FLOAT
    graph = helper.make_graph(
        [
            helper.make_node("ReduceMean", ["x"], ["mean"], axes=[2, 3], keepdims=0),
            helper.make_node("MatMul", ["mean", "w"], ["embedding"]),
        ],
        "made",
        [helper.make_tensor_value_info("x", kind, [1, 3, 32, 48])],
        [helper.make_tensor_value_info("embedding", kind, [1, 5])],
        [weight],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    path.write_bytes(made.SerializeToString())


@pytest.mark.parametrize("way", ["up", "absolute", "link"])
def test_weights_of_an_onnx_file_are_not_read_from_outside_its_folder(way, tmp_path):
    secret = tmp_path / "secret.bin"
    secret.write_bytes(np.ones((3, 5), np.float32).tobytes())
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "link.bin").symlink_to(secret)
    location = {"up": "../secret.bin", "absolute": secret, "link": "link.bin"}[way]
    with_weights_elsewhere(folder / "a.onnx", location)
    with pytest.raises(LookalikeError, match=r"a\.onnx") as caught:
        load_any(folder / "a.onnx")
    assert "\n" not in str(caught.value)


def test_weights_of_an_onnx_file_are_read_from_its_own_folder(tmp_path, pictures):
    (tmp_path / "own.bin").write_bytes(np.ones((3, 5), np.float32).tobytes())
    with_weights_elsewhere(tmp_path / "a.onnx", "own.bin")
    assert load_any(tmp_path / "a.onnx").embed([pictures[0]]).shape == (1, 5)


@pytest.mark.parametrize("name", ["../../evil.npy", "/tmp/evil.npy", "a/../../evil.npy", "evil.npy\0.png"])
def test_members_of_an_archive_write_nothing(name, tmp_path):
    np.save(tmp_path / "in.npy", np.eye(3, dtype=np.float32))
    folder = tmp_path / "deep" / "er"
    folder.mkdir(parents=True)
    with zipfile.ZipFile(folder / "a.npz", "w") as archive:
        archive.writestr(name, (tmp_path / "in.npy").read_bytes())
    before = sorted(tmp_path.rglob("*"))
    try:
        assert all(array.shape == (3, 3) for array in read_arrays(folder / "a.npz").values())
    except LookalikeError as error:
        assert "\n" not in str(error)
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("suffix", [".npy", ".npz", ".pt", ".pkl"])
def test_arrays_and_labels_of_objects_run_nothing(suffix, tmp_path):
    class Evil:
        def __reduce__(self):
            return (open, (str(tmp_path / "ran"), "w"))

    file = tmp_path / f"a{suffix}"
    objects = np.array([Evil()], dtype=object)
    if suffix == ".pt":
        torch.save(Evil(), file)
    elif suffix == ".npz":
        np.savez(file, objects)
    else:
        with file.open("wb") as handle:
            np.save(handle, objects, allow_pickle=True)
    for read in (read_arrays, read_labels):
        with pytest.raises(LookalikeError):
            read(file)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    "name",
    ["hf-hub:../../etc/passwd", "hf-hub:owner/../../x", "hf-hub:/etc/passwd", "hf-hub:a/b/c", "hf-hub:",
     "hf-hub:file:///etc/passwd", "hf-hub:https://elsewhere.example/x", "hf-hub:owner/na\nme"],
)  # fmt: skip
def test_a_name_of_the_hub_that_is_a_path_is_refused_without_asking_anybody(name, no_network):
    with pytest.raises(LookalikeError) as caught:
        Embedder.load(name)
    assert "root:" not in str(caught.value)


@pytest.mark.parametrize(
    "value", ["../secret", "/etc/passwd", "hf-hub:elsewhere/model", "https://elsewhere/"]
)
def test_settings_of_a_saved_model_name_no_other_place(value, tmp_path, no_network):
    folder = tmp_path / "saved"
    Embedder.load("mini").save(folder)
    shutil.copytree(folder, tmp_path / "secret")
    config = json.loads((folder / "config.json").read_text())
    config["backbone"]["architecture"] = value
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(LookalikeError) as caught:
        Embedder.load(folder)
    assert "\n" not in str(caught.value)
