"""Exported graphs in the user's cache folder, by the fingerprint of the model that they were made from."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from lookalike.models.embedder import Embedder
from lookalike.models.exporting import GraphFormat, export_graph

CACHE_VARIABLE = "LOOKALIKE_CACHE"
_SUFFIXES: dict[str, str] = {"onnx": ".onnx", "openvino": ".xml"}


def cache_folder() -> Path:
    """The folder for what can be made again: ``LOOKALIKE_CACHE``, or the user's cache of this system."""
    if given := os.environ.get(CACHE_VARIABLE):
        return Path(given).expanduser()
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA", Path.home() / "AppData" / "Local")) / "lookalike"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "lookalike"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "lookalike"


def cached_graph(embedder: Embedder, format: GraphFormat, *, again: bool = False) -> Path:
    """The file of an embedder's graph, exported at the first call; ``again`` replaces a damaged one.

    It is written whole or not at all, so that two processes may make it at once. Raises as ``export_graph``.
    """
    path = cache_folder() / "graphs" / f"{embedder.fingerprint()}{_SUFFIXES[format]}"
    files = [path] if format == "onnx" else [path, path.with_suffix(".bin")]
    if again or not all(file.is_file() for file in files):
        export_graph(embedder, path, format=format)
    return path
