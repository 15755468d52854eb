"""Labeled embeddings from files: the layout of CSA's authors, ours, and hostile pickles."""

import os
import pickle

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch.testing import assert_close

from lookalike.datasets.descriptors import (
    Descriptors,
    read_descriptors,
    read_matrix,
    read_published_test,
    views_named,
)
from lookalike.errors import DatasetError, LookalikeError

N, D = 9, 5
CLUSTERS = [0, 0, 0, 1, 1, 1, 2, 2, 2]


def write(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(pickle.dumps(content, protocol=4))


@pytest.fixture
def published(tmp_path, noise):
    """Two descriptors of nine images, the authors' cached lists beside them, and a test set."""
    views = {"net50": noise(N, D).numpy(), "net101": noise(N, 7, seed=1).numpy()}
    write(tmp_path / "annotations" / "sfm.pkl", {"train": {"cluster": CLUSTERS}, "val": {"cluster": [1]}})
    for name, view in views.items():
        write(tmp_path / "train" / f"{name}.pkl", {"train": view, "val": view[:1]})
    write(tmp_path / "train" / "net50_512sim512topk.pkl", {"topk": np.zeros((N, 2), np.int64)})
    write(tmp_path / "test" / "roxford5k" / "net50.pkl", {"query": views["net50"][:2], "db": views["net50"]})
    return tmp_path


def test_the_layout_of_the_authors_is_one_set_with_a_view_for_each_file(published, noise):
    (found,) = read_descriptors(published)
    assert found.labels.tolist() == CLUSTERS and sorted(found.views) == ["net101", "net50"]
    assert_close(found.views["net50"], noise(N, D))
    assert found.views["net101"].shape == (N, 7)


def test_the_authors_test_features_are_queries_and_gallery(published, noise):
    file = published / "test" / "roxford5k" / "net50.pkl"
    assert_close(read_published_test(file, "query"), noise(N, D)[:2])
    assert read_published_test(file, "db").shape == (N, D)
    with pytest.raises(DatasetError, match="query and db, got query, db"):
        read_published_test(file, "distractors")
    write(published / "r1m" / "net50.pkl", noise(4, D, seed=2).numpy())
    assert_close(read_matrix(published / "r1m" / "net50.pkl", "db"), noise(4, D, seed=2))


def test_only_the_views_that_are_named_are_read(published, tmp_path, noise):
    (published / "train" / "net101.pkl").write_bytes(b"damaged")
    (found,) = read_descriptors(published, choose=views_named(["net50"]))
    assert list(found.views) == ["net50"]
    with pytest.raises(DatasetError, match=r"train holds no descriptors 'net7'; it has net101, net50"):
        read_descriptors(published, choose=views_named(["net50", "net7"]))
    file = tmp_path / "z.npz"
    np.savez(file, labels=np.array(CLUSTERS), a=noise(N, D).numpy(), b=noise(N, D).numpy())
    assert list(read_descriptors(file, choose=views_named(["b"]))[0].views) == ["b"]


def test_the_annotations_that_the_authors_read_are_found_among_others(published):
    theirs = {"train": {"cluster": [c + 5 for c in CLUSTERS]}}
    write(published / "annotations" / "retrieval-SfM-120k.pkl", theirs)
    (found,) = read_descriptors(published)
    assert found.name == "retrieval-SfM-120k" and found.labels.tolist() == [c + 5 for c in CLUSTERS]
    write(published / "annotations" / "retrieval-SfM-120k.pkl", {"train": {"cluster": [0.5] * N}})
    with pytest.raises(DatasetError, match="one whole number per image as cluster"):
        read_descriptors(published)


@pytest.mark.parametrize("uri", ["annotations/sfm.pkl", "train/net50.pkl"])
def test_a_pickle_that_runs_code_is_refused_and_nothing_runs(published, uri):
    class Evil:
        def __reduce__(self):
            return os.mkdir, (str(published / "ran"),)

    write(published / uri, {"train": Evil()})
    with pytest.raises(DatasetError, match="can run code"):
        read_descriptors(published)
    assert not (published / "ran").exists()


def test_a_file_of_other_content_is_named(published):
    write(published / "train" / "net50.pkl", {"test": np.zeros((N, D))})
    with pytest.raises(DatasetError, match=r"net50.pkl should hold train .* got no 'train'"):
        read_descriptors(published)
    write(published / "train" / "net50.pkl", {"train": "text"})
    with pytest.raises(DatasetError, match="matrix of numbers, got str"):
        read_descriptors(published)
    write(published / "annotations" / "second.pkl", {})
    with pytest.raises(DatasetError, match="one file annotations"):
        read_descriptors(published)


def test_safetensors_npz_and_npy_with_labels(tmp_path, noise):
    save_file(
        {"labels": torch.tensor(CLUSTERS), "a": noise(N, D), "b": noise(N, 3)}, tmp_path / "s.safetensors"
    )
    np.savez(tmp_path / "z.npz", labels=np.array(CLUSTERS), a=noise(N, D).numpy())
    first, second = read_descriptors(tmp_path)
    assert (first.name, second.name) == ("s", "z") and sorted(first.views) == ["a", "b"]
    np.save(tmp_path / "m.npy", noise(N, D).numpy())
    (tmp_path / "l.txt").write_text("\n".join(f"class {c}" for c in CLUSTERS))
    (alone,) = read_descriptors(tmp_path / "m.npy", labels=tmp_path / "l.txt")
    assert alone.labels.tolist() == CLUSTERS
    assert_close(alone.views["m"], first.views["a"])
    with pytest.raises(DatasetError, match="as labels beside its matrices"):
        read_descriptors(tmp_path / "m.npy")


def test_sets_that_cannot_teach_are_refused(noise, tmp_path):
    labels = torch.tensor(CLUSTERS)
    bad = noise(N, D)
    bad[4, 1] = torch.nan
    for views, classes, message in [
        ({"a": bad}, labels, "NaN or infinity in 1 of 9 rows of a"),
        ({"a": noise(8, D)}, labels, r"a of shape \(9, width\).* got \(8, 5\)"),
        ({}, labels, "at least one matrix"),
        ({"a": noise(N, D)}, torch.zeros(N, dtype=torch.long), "got 1 classes"),
        ({"a": noise(N, D)}, torch.arange(N), "1 images in the largest"),
    ]:
        with pytest.raises(DatasetError, match=message):
            Descriptors("birds", classes, views)
    with pytest.raises(DatasetError, match=r"annotations and train, or \.safetensors files"):
        read_descriptors(tmp_path)
    with pytest.raises(LookalikeError, match="there is no file"):
        read_descriptors(tmp_path / "none.npz")
