"""Runtimes embed as eager does, or are refused; the fastest right one is chosen."""

import sys

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from lookalike import Gallery, scenes
from lookalike.errors import GalleryError, LookalikeError, UnknownNameError, UnsupportedMethodError
from lookalike.models import graph_cache, runtimes
from lookalike.models.graph_cache import cached_graph
from lookalike.models.runtimes import CheckedRuntime
from lookalike.types.machine import CACHE_VARIABLE, cache_folder
from made_rooms import save_rooms

NOISE = list(np.random.default_rng(0).integers(0, 256, (5, 160, 160, 3), dtype=np.uint8))


def eager(embedder, batch):
    with torch.inference_mode():
        return torch.nn.functional.normalize(embedder.network(torch.from_numpy(batch)), dim=1)


def form_of(change):
    """A runtime that gives eager's embeddings, changed."""

    def forms(embedder):
        yield "f32", "1.0", lambda batch: change(eager(embedder, batch)).numpy()

    return forms


def turned(units):
    """Each unit turned by about 0.06: its cosine with the original is 0.998."""
    other = torch.roll(units, 1, 1)
    return torch.nn.functional.normalize(units + 0.06 * (other - (other * units).sum(1, keepdim=True)), dim=1)


def test_a_runtime_gives_the_embeddings_and_states_its_lowest_cosine(mini, monkeypatch):
    monkeypatch.setitem(runtimes._FORMS, "onnx", form_of(lambda units: 3 * units))
    runtime = CheckedRuntime(mini, "onnx")
    assert runtime.facts is None
    assert_close(runtime.embed_pixels(NOISE), mini.embed_pixels(NOISE), rtol=0, atol=1e-6)
    assert (runtime.facts.runtime, runtime.facts.n_checked) == ("onnx", 5)
    assert runtime.facts.cosine == pytest.approx(1, abs=1e-6)


def test_a_runtime_that_misses_the_embeddings_is_refused(mini, monkeypatch):
    monkeypatch.setitem(runtimes._FORMS, "onnx", form_of(turned))
    with pytest.raises(LookalikeError, match=r"cosine of 0\.99[0-8].*at least 0\.9995"):
        CheckedRuntime(mini, "onnx").embed_pixels(NOISE)


def test_of_two_forms_the_first_that_is_right_is_used(mini, monkeypatch):
    def forms(embedder):
        yield "bf16", "1", lambda batch: turned(eager(embedder, batch)).numpy()
        yield "f32", "1", lambda batch: eager(embedder, batch).numpy()

    monkeypatch.setitem(runtimes._FORMS, "onnx", forms)
    runtime = CheckedRuntime(mini, "onnx")
    runtime.embed_pixels(NOISE[:2])
    assert runtime.facts.precision == "f32"


def test_auto_takes_the_fastest_that_is_right_or_stays_eager(mini, monkeypatch):
    seconds = iter([3.0, 2.0, 1.0])  # eager, openvino, onnx
    monkeypatch.setattr(runtimes, "_seconds", lambda work: next(seconds))
    monkeypatch.setattr(runtimes, "_missing", lambda name: [])
    monkeypatch.setitem(runtimes._FORMS, "openvino", form_of(lambda units: units))
    monkeypatch.setitem(runtimes._FORMS, "onnx", form_of(lambda units: units))
    runtime = CheckedRuntime(mini, "auto")
    runtime.embed_pixels(NOISE[:2])
    assert runtime.facts.runtime == "onnx"
    seconds = iter([1.0, 2.0])  # onnx is wrong, so it is not timed
    monkeypatch.setitem(runtimes._FORMS, "onnx", form_of(turned))
    runtime = CheckedRuntime(mini, "auto")
    assert torch.equal(runtime.embed_pixels(NOISE[:2]), mini.embed_pixels(NOISE[:2]))
    assert runtime.facts.runtime == "eager"


def test_what_can_not_be_had_is_one_sentence(mini, monkeypatch):
    with pytest.raises(UnknownNameError, match="runtime"):
        CheckedRuntime(mini, "tensorrt")
    monkeypatch.setattr(mini, "precision", "bf16")
    with pytest.raises(UnsupportedMethodError, match="replaces fp32"):
        CheckedRuntime(mini, "onnx")
    monkeypatch.setattr(mini, "precision", "fp32")
    monkeypatch.setattr(runtimes, "find_spec", lambda name: None if name == "openvino" else object())
    with pytest.raises(LookalikeError, match=r"needs openvino; install lookalike\[onnx,openvino\]"):
        CheckedRuntime(mini, "openvino")


def test_a_gallery_states_what_embedded_it(mini, monkeypatch, tmp_path):
    monkeypatch.setitem(runtimes._FORMS, "onnx", form_of(lambda units: units))
    (tmp_path / "rooms").mkdir()
    save_rooms(
        scenes.gallery_of_rooms(2, n_paintings=2, rooms_per_painting=1, size=(90, 120)), tmp_path / "rooms"
    )
    plain, faster = (Gallery.create(tmp_path / f"{name}.gallery", mini) for name in ("plain", "faster"))
    plain.add(tmp_path / "rooms", workers=0)
    faster.add(tmp_path / "rooms", workers=0, runtime="onnx")
    for record in plain.records():
        assert_close(faster.embedding(record.id), plain.embedding(record.id), rtol=0, atol=1e-6)
    stated = Gallery.open(tmp_path / "faster.gallery", mini).describe().runtimes["onnx f32"]
    assert stated["cosine"] == pytest.approx(1, abs=1e-6) and stated["n_checked"] == 2
    assert plain.describe().runtimes == {}


def test_a_gallery_that_keeps_shares_is_embedded_eagerly(mini, tmp_path):
    gallery = Gallery.create(tmp_path / "shares.gallery", mini, keep_shares=True)
    with pytest.raises(GalleryError, match="keeps shares"):
        gallery.add(tmp_path, runtime="onnx")


def test_a_graph_is_exported_once_for_each_model(mini, monkeypatch, tmp_path):
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "cache"))
    exported = []

    def export(embedder, path, *, format):
        exported.append(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"a graph")

    monkeypatch.setattr(graph_cache, "export_graph", export)
    path = cached_graph(mini, "onnx")
    assert path == cached_graph(mini, "onnx") and len(exported) == 1
    assert path.is_relative_to(tmp_path / "cache") and path.stem == mini.fingerprint()
    cached_graph(mini, "onnx", again=True)
    assert len(exported) == 2


def test_the_cache_folder_is_the_users(monkeypatch, tmp_path):
    monkeypatch.delenv(CACHE_VARIABLE, raising=False)
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "lookalike"


@pytest.mark.slow
@pytest.mark.parametrize("name", ["onnx", "openvino"])
def test_exported_graphs_embed_as_eager_does(mini, name, monkeypatch, tmp_path):
    for library in runtimes._NEEDED[name]:
        pytest.importorskip(library)
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path))
    runtime = CheckedRuntime(mini, name)
    found = runtime.embed_pixels(NOISE)
    assert runtime.facts.runtime == name
    cosines = torch.nn.functional.cosine_similarity(found, mini.embed_pixels(NOISE), dim=1)
    assert float(cosines.min()) >= runtimes.MIN_COSINE
