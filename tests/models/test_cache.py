import os
import threading

import pytest

from lookalike.errors import UnknownModelError
from lookalike.explainers import explain
from lookalike.models import cache, loading
from lookalike.models.cache import load_cached
from lookalike.models.embedder import Embedder


@pytest.fixture
def loads(monkeypatch):
    """Names that were loaded, with an empty cache."""
    monkeypatch.setattr(cache, "_embedders", type(cache._embedders)())
    names, load_model = [], loading.load_model
    monkeypatch.setattr(loading, "load_model", lambda m, **o: names.append(str(m)) or load_model(m, **o))
    return names


def test_a_name_is_loaded_once(loads):
    assert load_cached("mini") is load_cached("mini")
    assert loads == ["mini"]


def test_explain_loads_a_model_by_name_once(loads, pictures):
    first, second = explain(*pictures[:2]), explain(*pictures[:2])
    assert loads == ["mini"]
    assert first.similarity == second.similarity


def test_a_folder_is_loaded_again_after_it_changed(loads, mini, tmp_path):
    mini.save(tmp_path / "saved")
    first = load_cached(tmp_path / "saved")
    assert load_cached(tmp_path / "saved") is first
    os.utime(tmp_path / "saved" / "config.json", ns=(1, 1))
    assert load_cached(tmp_path / "saved") is not first


def test_threads_share_one_loading(loads):
    threads = [threading.Thread(target=load_cached, args=("mini",)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert loads == ["mini"]


def test_the_least_recently_used_is_dropped(loads, mini, monkeypatch):
    monkeypatch.setattr(cache, "_SIZE", 2)
    monkeypatch.setattr(Embedder, "load", classmethod(lambda cls, name: loads.append(name) or object()))
    for name in ("a", "b", "a", "c", "a", "b"):
        load_cached(name)
    assert loads == ["a", "b", "c", "b"]


def test_an_unknown_name_is_not_kept(loads):
    for _ in range(2):
        with pytest.raises(UnknownModelError, match="no model is called 'minni'"):
            load_cached("minni")
