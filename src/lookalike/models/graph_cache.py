"""Exported graphs in the user's cache folder, by the fingerprint of the model that they were made from."""

from __future__ import annotations

from pathlib import Path

from lookalike.models.embedder import Embedder
from lookalike.models.exporting import GraphFormat, export_graph
from lookalike.types.machine import cache_folder

_SUFFIXES: dict[str, str] = {"onnx": ".onnx", "openvino": ".xml"}


def cached_graph(embedder: Embedder, format: GraphFormat, *, again: bool = False) -> Path:
    """The file of an embedder's graph, exported at the first call; ``again`` replaces a damaged one.

    It is written whole or not at all, so that two processes may make it at once. Raises as ``export_graph``.
    """
    path = cache_folder() / "graphs" / f"{embedder.fingerprint()}{_SUFFIXES[format]}"
    files = [path] if format == "onnx" else [path, path.with_suffix(".bin")]
    if again or not all(file.is_file() for file in files):
        export_graph(embedder, path, format=format)
    return path
