"""Evaluation through a cluster's workers: the same embeddings in the same order, the same files left out.

A cluster's work is done in this process; gallery/test_adding_on_ray.py asks a real one.
"""

import pickle

import pytest
import torch

from lookalike.datasets import LabeledImages
from lookalike.errors import LookalikeError, UnknownNameError
from lookalike.evaluation import embed_images, evaluate, revisited_images
from lookalike.evaluation import embedding_parts as parts
from lookalike.evaluation.embedding_parts import RayEngine
from made_avsl import avsl_embedder
from made_classes import class_folders, tiny_cnn


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = class_folders(tmp_path_factory.mktemp("classes") / "data")
    (folder / "class1" / "2b.png").write_bytes(b"no picture")
    return folder


@pytest.fixture
def in_process(monkeypatch):
    """Parts of three images, worked on here; returns the numbers of items and the wanted workers."""
    seen = []

    class Cluster:
        def __init__(self, address, workers):
            seen.append((address, workers))

        def __enter__(self):
            return self

        def __exit__(self, *_):
            pass

    def map_here(_cluster, items, make_work, n_items):
        work = pickle.loads(pickle.dumps(make_work))()  # as it travels
        for start in range(0, len(items), n_items):
            seen.append(len(items[start : start + n_items]))
            yield work(items[start : start + n_items], False)

    monkeypatch.setattr(parts, "RayCluster", Cluster)
    monkeypatch.setattr(parts, "ordered_map", map_here)
    monkeypatch.setattr(parts, "_PART", 3)
    monkeypatch.setattr(revisited_images, "_PART", 3)
    return seen


def test_a_cluster_gives_the_metrics_of_one_process(folder, in_process):
    embedder = tiny_cnn()
    found = evaluate(folder, embedder, clustering=False, engine="ray", address="a:1", workers=2)
    expected = evaluate(folder, embedder, clustering=False)
    assert found.to_dict() == expected.to_dict() and len(found.left_out) == 1
    assert in_process == [("a:1", 2), 3, 3, 3, 3, 1]


def test_embeddings_keep_their_order_also_where_a_part_has_none(folder, in_process):
    embedder = tiny_cnn()
    files = sorted(folder.rglob("*.png"))
    bad = folder / "class1" / "2b.png"
    images = LabeledImages((files[0], bad, bad, bad, bad, *files[1:4]), ("a",) * 8)
    found, expected = (
        embed_images(embedder, images, source="x", ray=engine) for engine in (RayEngine(), None)
    )
    torch.testing.assert_close(found.values, expected.values, atol=1e-6, rtol=0)
    assert (found.paths, found.left_out) == (expected.paths, expected.left_out)


def test_nodes_of_an_avsl_model_come_back_too(folder, in_process):
    model = avsl_embedder()
    images = LabeledImages(tuple(sorted(folder.glob("*/[01].png"))), ("a", "a", "b", "b", "c", "c"))
    found, expected = (embed_images(model, images, source="x", ray=engine) for engine in (RayEngine(), None))
    torch.testing.assert_close(
        found.nodes.nodes.embeddings, expected.nodes.nodes.embeddings, rtol=1e-4, atol=1e-4
    )


def test_the_gallery_of_the_revisited_protocol_is_described_in_its_order(folder, in_process, tmp_path):
    embedder = tiny_cnn()
    for number, path in enumerate(sorted(folder.glob("*/[01].png"))[:5]):
        (tmp_path / f"{9 - number}.png").write_bytes(path.read_bytes())
    truth = type("Truth", (), {"images": ["7", "9", "5", "8", "6"], "name": "tiny"})
    found = revisited_images.describe_gallery(truth, tmp_path, embedder, ray=RayEngine(None, None))
    torch.testing.assert_close(found, revisited_images.describe_gallery(truth, tmp_path, embedder))
    assert in_process == [(None, None), 3, 2]


def test_what_can_not_be_is_a_sentence(folder, in_process):
    with pytest.raises(UnknownNameError, match="engine is one of local, ray"):
        evaluate(folder, tiny_cnn(), engine="rya")
    onnx = type("Onnx", (), {"name": "m.onnx"})()
    with pytest.raises(
        LookalikeError, match=r"m.onnx is a model in ONNX, which the engine ray does not take"
    ):
        next(parts.parts_on_ray(len, onnx, [1], 1, RayEngine(), "", None))
