"""Adding on a device: memory that does not suffice, and the precision that a gallery states."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

from lookalike import Embedder, Gallery
from lookalike.cli import app
from lookalike.errors import DeviceMemoryError, GalleryError
from lookalike.gallery import add_run


@pytest.fixture
def own(mini):
    """An embedder on the weights of ``mini`` whose batches no other test sees."""
    return Embedder.of(mini.as_loaded(), device="cpu")


@pytest.fixture
def photos(tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    for number in range(9):
        noise = np.random.default_rng(number).integers(0, 256, (40, 60, 3), np.uint8)
        Image.fromarray(noise).save(folder / f"{number}.png")
    return folder


def with_memory_for(n, monkeypatch, *, passes=10**9):
    """Let the network run at most so many images at once, and none after so many passes."""
    from lookalike.models.network import EmbeddingNetwork

    forward, left = EmbeddingNetwork.forward, [passes]

    def limited(network, images):
        left[0] -= 1
        if len(images) > n or left[0] < 0:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 1 GiB")
        return forward(network, images)

    monkeypatch.setattr(EmbeddingNetwork, "forward", limited)


def embeddings(gallery):
    return {entry.path: gallery.embedding(entry.id) for entry in gallery.records()}


def test_a_gallery_is_the_same_where_memory_lacks_for_its_batches(mini, own, photos, monkeypatch):
    expected, found = Gallery.in_memory(mini), Gallery.in_memory(own)
    expected.add(photos)
    with_memory_for(2, monkeypatch)
    assert found.add(photos).added == 9
    for path, embedding in embeddings(expected).items():
        np.testing.assert_allclose(embeddings(found)[path], embedding, rtol=0, atol=1e-6)


def test_what_is_embedded_before_memory_lacks_for_one_image_is_kept(own, photos, monkeypatch):
    monkeypatch.setattr(add_run, "BATCH", 4)
    own._batches.most = 4
    gallery = Gallery.in_memory(own)
    with monkeypatch.context() as scarce:
        with_memory_for(4, scarce, passes=1)
        with pytest.raises(DeviceMemoryError, match="does not suffice for one image"):
            gallery.add(photos, workers=0)
    assert len(gallery) == 4
    report = gallery.add(photos, workers=0)
    assert (report.added, report.known) == (5, 4)


def test_a_copy_of_what_was_not_embedded_stays_out_with_it(own, photos, monkeypatch):
    monkeypatch.setattr(add_run, "BATCH", 4)
    own._batches.most = 4
    gallery = Gallery.in_memory(own)
    gallery.add(photos / "0.png", metadata={"room": 7})
    (photos / "5.png").replace(photos / "0.png")  # another content at a known path
    (photos / "6.png").write_bytes((photos / "0.png").read_bytes())
    with monkeypatch.context() as scarce:
        with_memory_for(4, scarce, passes=0)
        with pytest.raises(DeviceMemoryError):
            gallery.add(photos, workers=0)
    (before,) = gallery.records()
    assert [file.path for file in before.files] == [str(photos / "0.png")]
    gallery.add(photos, workers=0)
    files = {file.path: dict(file.metadata) for record in gallery.records() for file in record.files}
    assert len(files) == 8 and files[str(photos / "0.png")] == {"room": 7}


def test_the_precision_is_stated_kept_and_not_mixed(photos, tmp_path):
    uri = str(tmp_path / "g")
    run = CliRunner().invoke(app, ["index", str(photos), "-g", uri, "--precision", "bf16", "--device", "cpu"])
    assert run.exit_code == 0, run.output
    gallery = Gallery.open(uri)
    assert gallery.describe().precision == gallery.embedder.precision == "bf16"
    assert json.loads((tmp_path / "g" / "gallery.json").read_text())["precision"] == "bf16"
    with pytest.raises(GalleryError, match="made in bf16, not in fp32; leave the precision out"):
        Gallery.open_or_create(uri, precision="fp32")
    assert Gallery.open_or_create(uri, precision="auto").embedder.precision == "bf16"
    hit = gallery.search(photos / "3.png", k=1)[0]
    why = hit.why()
    assert hit.path == (photos / "3.png")
    assert float(why.query_map.sum()) + why.residual == pytest.approx(why.similarity, abs=1e-4)


def test_shares_are_not_kept_in_another_precision(tmp_path):
    with pytest.raises(GalleryError, match=r"shares are computed in fp32, .* in bf16"):
        Gallery.create(tmp_path / "g", keep_shares=True, precision="bf16")
    assert not (tmp_path / "g").exists()


def test_a_device_that_is_not_there_is_one_sentence(photos, tmp_path):
    run = CliRunner().invoke(app, ["index", str(photos), "-g", str(tmp_path / "g"), "--device", "gpu"])
    assert run.exit_code == 1 and "device is auto, cpu, cuda" in run.output
