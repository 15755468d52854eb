"""Embedders by name, loaded once per process."""

from __future__ import annotations

import threading
from collections import OrderedDict
from pathlib import Path

from lookalike.models.embedder import Embedder
from lookalike.models.saving import CONFIG_FILE, WEIGHTS_FILE

_SIZE = 4  # embedders that are kept; a large one takes some 2 GiB

_Key = tuple[str, tuple[tuple[str, int, int], ...]]
_lock = threading.Lock()
_embedders: OrderedDict[_Key, Embedder] = OrderedDict()


def load_cached(model: str | Path = "mini") -> Embedder:
    """The embedder of that name, as ``Embedder.load(model)``, loaded at the first call only.

    A folder or file is loaded again after it has changed (modification time or size). All callers
    get the same object: embed and explain with it; to move or train a model, load your own with
    ``Embedder.load``. The least recently used is dropped when four are held. Thread-safe.
    """
    key = _key(model)
    with _lock:  # held while loading: two threads that ask for one model load it once
        embedder = _embedders.pop(key, None) or Embedder.load(model)
        _embedders[key] = embedder
        while len(_embedders) > _SIZE:
            _embedders.popitem(last=False)
        return embedder


def _key(model: str | Path) -> _Key:
    path = Path(model)
    files = [path / CONFIG_FILE, path / WEIGHTS_FILE] if path.is_dir() else [path]
    stats = [(file, file.stat()) for file in files if file.is_file()]
    return str(model), tuple((str(f.resolve()), s.st_mtime_ns, s.st_size) for f, s in stats)
