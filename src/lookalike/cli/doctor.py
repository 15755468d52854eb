"""``lookalike doctor``: what is installed, what this machine offers, and whether the main job runs."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import platform
import shutil
import sys
import time
from pathlib import Path
from typing import Any

import typer

from lookalike import __version__
from lookalike.cli.options import AsJson
from lookalike.cli.printing import echo, friendly_errors, print_json, print_table
from lookalike.cli.threads import free_cores

_LIBRARIES = ("torch", "torchvision", "timm", "lancedb", "numpy", "pillow")
_EXTRAS = {  # extra: the modules that it brings
    "train": ("lightning", "pytorch_metric_learning", "sklearn", "scipy", "matplotlib"),
    "web": ("fastapi", "multipart", "prometheus_client", "uvicorn"),
    "onnx": ("onnx", "onnxruntime", "onnxscript"),
    "openvino": ("openvino",),
    "mcp": ("mcp",),
    "sentence-transformers": ("sentence_transformers",),
    "scale": ("faiss", "ray"),
    "geometry": ("cv2",),
    "text": ("open_clip", "transformers"),
    "map": ("umap",),
    "heif": ("pillow_heif",),
}
_SIMILARITY = 0.867  # of the self-test's two rooms under the bundled model
_CLOSE = 5e-3  # to it, on any machine


def doctor(as_json: AsJson = False) -> None:
    """Show versions, device and models, and run a self-test.

    The text is what a report of a fault should carry. The exit code is 1 if the self-test fails.

    Example: lookalike doctor
    """
    with friendly_errors():
        found = {**_software(), **_machine(), **_models()}
        test = _self_test()
        if as_json:
            print_json({**found, "self_test": test})
        else:
            print_table(("what", "found"), [(name, _words(value)) for name, value in found.items()])
            verdict = "passed" if test["passed"] else "FAILED"
            echo(
                f"\nself-test {verdict}: similarity {test['similarity']:.3f}, its map sums to it within "
                f"{test['error']:.1e}; {test['load_s']:.1f} s to load the model, "
                f"{test['pair_s']:.2f} s for a pair"
            )
    if not test["passed"]:
        raise typer.Exit(1)


def _software() -> dict[str, Any]:
    versions = [f"{name} {importlib.metadata.version(name)}" for name in _LIBRARIES]
    missing = {
        extra: [module for module in modules if importlib.util.find_spec(module) is None]
        for extra, modules in _EXTRAS.items()
    }
    return {
        "lookalike": f"{__version__} in {Path(__file__).parents[1]}",
        "python": f"{platform.python_version()} ({sys.executable})",
        "system": platform.platform(),
        "libraries": versions,
        "extras": [extra for extra, modules in missing.items() if not modules],
        "extras not installed": [
            f"{extra} (pip install 'lookalike[{extra}]')" for extra, modules in missing.items() if modules
        ],
    }


def _machine() -> dict[str, Any]:
    import torch

    from lookalike.models.devices import choose_device

    total, _, free = shutil.disk_usage(Path.cwd())
    return {
        "device": _device_words(str(choose_device("auto"))),
        "threads": f"{torch.get_num_threads()} used, {free_cores()} of {os.cpu_count()} cores free",
        "memory": _memory(),
        "disk here": f"{free / 2**30:,.1f} of {total / 2**30:,.1f} GiB free",
    }


def _device_words(device: str) -> str:
    import torch

    if device.startswith("cuda"):
        return f"{device}: {torch.cuda.get_device_name()}, CUDA {torch.version.cuda}"
    return f"{device}: {platform.processor() or platform.machine()}"


def _memory() -> str:
    try:
        lines = dict(line.split(":") for line in Path("/proc/meminfo").read_text().splitlines())
        total, free = (int(lines[name].split()[0]) / 2**20 for name in ("MemTotal", "MemAvailable"))
    except (OSError, ValueError, KeyError):  # not Linux
        return "unknown"
    return f"{free:,.1f} of {total:,.1f} GiB free"


def _models() -> dict[str, Any]:
    from lookalike.models.hub import hub_cache
    from lookalike.models.loading import RECOMMENDED, bundled_names

    folder, cached = hub_cache()
    at_hand = [name for name in RECOMMENDED if name in bundled_names() or f"timm/{name}" in cached]
    return {
        "models bundled": bundled_names(),
        "model cache": folder,
        "recommended models at hand": at_hand,
        "recommended models to fetch": [name for name in RECOMMENDED if name not in at_hand],
    }


def _self_test() -> dict[str, Any]:
    """Explain two generated rooms with the bundled model: a known similarity, and a map that sums to it."""
    from lookalike.explainers import explain
    from lookalike.models.embedder import Embedder
    from lookalike.scenes import gallery_of_rooms

    start = time.perf_counter()
    embedder = Embedder.load("mini", device="cpu")
    loaded = time.perf_counter()
    rooms = gallery_of_rooms(0, n_paintings=1, rooms_per_painting=2, size=(240, 320)).rooms
    drawn = time.perf_counter()
    why = explain(rooms[0].image, rooms[1].image, model=embedder)
    error = abs(float(why.query_map.sum()) + why.residual - why.similarity)
    return {
        "passed": abs(why.similarity - _SIMILARITY) < _CLOSE and error < 1e-4,
        "similarity": why.similarity,
        "error": error,
        "load_s": loaded - start,
        "pair_s": time.perf_counter() - drawn,
    }


def _words(value: object) -> str:
    return (", ".join(value) or "none") if isinstance(value, list) else str(value)
