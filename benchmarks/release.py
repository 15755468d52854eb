"""A built wheel, used by somebody who has nothing else: the main jobs, and each extra alone.

    uv build && uv run python benchmarks/release.py dist/lookalike-*.whl [--photographs DIR] [--only NAME ...]

For each name below a fresh environment gets the wheel with that extra. Its commands run in a folder of
their own, without PYTHONPATH and without the checkout. 50 photographs are taken evenly from --photographs,
or rooms are drawn. One line for each command says the environment, the command and its seconds; the exit
code is 1 if one of them failed. --keep DIR keeps environments, pages and pictures, to be looked at.

    jobs   web and train: demo, index, search with a report, one search in Chromium, training for an epoch
    core   no extra: the commands that need none, and what the others say
    NAME   an extra: import, and a command or call that needs it
    all    every extra at once: import of every module
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from environment import describe_run, parser_of

CHROMIUM = Path("/usr/bin/chromium")
N_PHOTOGRAPHS = 50
PICTURES = (".jpg", ".jpeg", ".png")

DRAW = """
from pathlib import Path
from lookalike.scenes import gallery_of_rooms
drawn = gallery_of_rooms(3, n_paintings=10, rooms_per_painting=5, size=(240, 320))
for i, (room, label) in enumerate(zip(drawn.rooms, drawn.labels)):
    folder = Path("classes") / f"painting {label}"
    folder.mkdir(parents=True, exist_ok=True)
    room.image.save(folder / f"room{i:02}.jpg")
"""
IMPORT_ALL = """
import importlib, pkgutil, lookalike
names = [module.name for module in pkgutil.walk_packages(lookalike.__path__, "lookalike.")]
for name in names:
    if name != "lookalike.__main__":
        importlib.import_module(name)
print(len(names), "modules")
"""
WORDS = """
import json, open_clip, pathlib, safetensors.torch
vision = {"layers": 2, "width": 24, "head_width": 8, "patch_size": 8, "image_size": 32}
text = {"context_length": 12, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 2}
config = {"embed_dim": 20, "vision_cfg": vision, "text_cfg": text}
folder = pathlib.Path("clip")
folder.mkdir()
weights = {k: t.contiguous() for k, t in open_clip.CLIP(**config).state_dict().items()}
safetensors.torch.save_file(weights, folder / "open_clip_model.safetensors")
(folder / "open_clip_config.json").write_text(json.dumps({"model_cfg": config, "preprocess_cfg": {}}))
"""
HEIF = """
import pillow_heif
from PIL import Image
pillow_heif.register_heif_opener()
Image.open("a.jpg").save("a.heic")
"""
MCP = """
import asyncio
from mcp import Client
from lookalike import Gallery
from lookalike.plugs.mcp_server import mcp_server

async def ask():
    async with Client(mcp_server(Gallery.open("g"))) as client:
        hit_id = Gallery.open("g").records()[0].id
        answer = await client.call_tool("search", {"picture": hit_id, "k": 2})
        assert not answer.is_error, answer
        print(sorted(tool.name for tool in (await client.list_tools()).tools))

asyncio.run(ask())
"""
SENTENCES = """
from sentence_transformers import util
from lookalike import Embedder
embedder = Embedder.load("mini")
hits = util.semantic_search(embedder.encode(["a.jpg"]), embedder.encode(["b.jpg", "a.jpg"]), top_k=1)
assert hits[0][0]["corpus_id"] == 1, hits
"""

INDEX = ["index", "photographs", "-g", "g"]
SEARCH = ["search", "q.jpg", "-g", "g", "-k", "5"]
TRAIN = ["train", "classes", "-o", "trained", "--epochs", "1", "--batch-size", "20"]
# name of the environment: what runs in it, a list of arguments of lookalike or a script for its Python
JOBS: dict[str, Sequence[list[str] | str]] = {
    "jobs": (
        ["demo"], INDEX, [*SEARCH, "--report", "report.html"], ["explain", "a.jpg", "b.jpg", "-o", "why.png"],
        TRAIN, ["explain", "a.jpg", "b.jpg", "--model", "trained"],
    ),
    "core": (
        ["doctor"], ["demo"], ["explain", "a.jpg", "b.jpg", "-o", "why.png", "--save-maps", "maps.npz"],
        INDEX, [*SEARCH, "--report", "report.html", "--csv", "hits.csv"], [*SEARCH, "--rerank", "csa"],
        ["search", "-g", "g", "--each", "photographs", "--csv", "each.csv"],
        ["audit", "-g", "g"], ["map", "-g", "g", "--layout", "pca", "--clusters", "0", "--out", "map.csv"],
        ["groups", "-g", "g", "--kind", "copy"], ["evaluate", "classes", "--no-clustering"],
        ["compare", "classes", "--model", "mini", "--model", "mini-vit", "--report", "compare.html"],
        ["models", "list"], ["models", "show", "mini"],
        ["gallery", "describe", "-g", "g"], ["gallery", "check", "-g", "g"],
    ),
    "geometry": (
        INDEX, [*SEARCH, "--rerank", "geometry"], [*SEARCH[:-2], "--regions", "40,30,180,120"],
        ["groups", "-g", "g"], ["same", "a.jpg", "a.jpg"],
    ),
    "heif": (HEIF, ["explain", "a.heic", "b.jpg"]),
    "map": (INDEX, ["map", "-g", "g", "--out", "map.parquet"]),
    "mcp": (INDEX, MCP),
    "onnx": (["models", "export", "mini", "mini.onnx", "--with-shares"],
             ["explain", "a.jpg", "b.jpg", "--model", "mini.onnx", "--method", "occlusion"]),
    "openvino": (["models", "export", "mini", "mini.xml", "--format", "openvino"],
                 [*INDEX, "--runtime", "openvino"]),
    "scale": ([*INDEX, "--engine", "ray", "--workers", "1"], ["gallery", "optimize", "-g", "g"], SEARCH),
    "sentence-transformers": (SENTENCES,),
    "text": (WORDS, [*INDEX, "--model", "clip"], ["search", "-g", "g", "--text", "a red sofa"]),
    "train": (TRAIN, ["evaluate", "classes", "--report", "evaluation.html"]),
    "web": (INDEX,),
    "all": (IMPORT_ALL, ["doctor"]),
}  # fmt: skip
# what the core answers with the extra to install, in one sentence
REFUSED = {
    "geometry": ["groups", "-g", "g"],
    "map": ["map", "-g", "g", "--layout", "umap", "--again"],
    "mcp": ["mcp", "-g", "g"],
    "onnx": ["models", "export", "mini", "mini.onnx"],
    "scale": ["index", "photographs", "-g", "r", "--engine", "ray"],
    "text": ["explain", "a.jpg", "--text", "a sofa", "--model", "open_clip:ViT-B-32"],
    "train": TRAIN,
    "web": ["serve", "-g", "g"],
}
EXTRAS = {"jobs": "web,train", "core": ""}
SERVED = ("jobs", "web")


class Environment:
    """A fresh environment with the wheel and extras, and an empty folder to work in."""

    def __init__(self, name: str, wheel: Path, folder: Path, python: str) -> None:
        self.name, self.failed = name, 0
        self.home, self.work = folder / name / "env", folder / name / "work"
        self.work.mkdir(parents=True)
        extras = EXTRAS.get(name, ",".join(sorted(set(JOBS) - {*EXTRAS, "all"})) if name == "all" else name)
        package = f"lookalike[{extras}] @ {wheel.as_uri()}" if extras else str(wheel)
        self.run(["uv", "venv", "-q", "--python", python, str(self.home)])
        self.run(["uv", "pip", "install", "-q", "--python", str(self.home / "bin" / "python"), package])

    def run(self, command: list[str]) -> bool:
        """Run a command, print its line and, if it fails, the end of what it said."""
        start = time.perf_counter()
        done = subprocess.run(
            command, cwd=self.work, env=_plain(), capture_output=True, text=True, check=False
        )
        (self.work / "log.txt").open("a").write(f"$ {command}\n{done.stdout}{done.stderr}\n")
        self.say(" ".join(command), time.perf_counter() - start, done.returncode == 0)
        if done.returncode:
            print((done.stdout + done.stderr)[-2000:], file=sys.stderr)
        return done.returncode == 0

    def refuses(self, command: list[str], extra: str) -> None:
        """Run a command that must fail in one sentence with the name of an extra."""
        start = time.perf_counter()
        whole = [str(self.home / "bin" / "lookalike"), *command]
        done = subprocess.run(whole, cwd=self.work, env=_plain(), capture_output=True, text=True, check=False)
        said = done.stderr.strip()
        passed = done.returncode == 1 and f"lookalike[{extra}]" in said and len(said.splitlines()) <= 3
        self.say(f"{' '.join(command)} (names {extra})", time.perf_counter() - start, passed)
        if not passed:
            print(said[-2000:], file=sys.stderr)

    def say(self, command: str, seconds: float, passed: bool) -> None:
        """Print one line of JSON."""
        self.failed += not passed
        first = " ".join(command.replace(str(self.home / "bin") + "/", "").split())[:100]
        line = {"environment": self.name, "command": first, "seconds": round(seconds, 1), "passed": passed}
        print(json.dumps(line), flush=True)

    def search_in_browser(self) -> None:
        """Serve the gallery, search with a picture in Chromium, open why, and keep a picture of each."""
        server = subprocess.Popen(
            [str(self.home / "bin" / "lookalike"), "serve", "-g", "g", "--port", "0"],
            cwd=self.work, env=_plain(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip
        start = time.perf_counter()
        try:
            said = server.stdout.readline()  # type: ignore[union-attr]
            found = re.search(r"http://\S+", said)
            passed = found is not None and _search_page(found.group(), self.work)
        finally:
            server.terminate()
            server.wait(20)
        self.say("serve, one search and why in Chromium", time.perf_counter() - start, passed)


def _search_page(address: str, folder: Path) -> bool:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as started:
        browser = started.chromium.launch(executable_path=CHROMIUM, chromium_sandbox=False)
        page = browser.new_page(viewport={"width": 1280, "height": 800})
        page.goto(address)
        page.wait_for_selector(".browse")
        with page.expect_file_chooser() as chooser:
            page.click("#choose")
        chooser.value.set_files(folder / "q.jpg")
        page.wait_for_selector(".hit")
        page.wait_for_load_state("networkidle")
        page.screenshot(path=folder / "page.png")
        first = page.locator(".hit").first.text_content() or ""
        browser.close()
    return "1.000" in first  # the photograph itself


def _plain() -> dict[str, str]:
    """The environment without what would lead back to a checkout."""
    return {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "VIRTUAL_ENV")}


def prepare(environment: Environment, photographs: Path | None) -> None:
    """Lay class folders, 50 photographs, one of them as q.jpg, and a.jpg and b.jpg into the work folder."""
    work = environment.work
    environment.run([str(environment.home / "bin" / "python"), "-c", DRAW])
    source = photographs or work / "classes"
    found = sorted(path for path in source.rglob("*") if path.suffix.lower() in PICTURES)
    (work / "photographs").mkdir()
    step = max(1, len(found) // N_PHOTOGRAPHS)
    for i, path in enumerate(found[::step][:N_PHOTOGRAPHS]):
        shutil.copy(path, work / "photographs" / f"{i:02}-{path.name}")
    shutil.copy(next((work / "photographs").iterdir()), work / "q.jpg")
    for name, path in zip(("a", "b"), sorted((work / "classes").rglob("*.jpg")), strict=False):
        shutil.copy(path, work / f"{name}.jpg")


def check(name: str, wheel: Path, folder: Path, options: argparse.Namespace) -> int:
    """Number of commands of one environment that failed."""
    environment = Environment(name, wheel, folder, options.python)
    prepare(environment, options.photographs)
    for job in JOBS[name]:
        if isinstance(job, str):
            environment.run([str(environment.home / "bin" / "python"), "-c", job])
        else:
            environment.run([str(environment.home / "bin" / "lookalike"), *job])
    for extra, command in REFUSED.items() if name == "core" else ():
        environment.refuses(command, extra)
    if name in SERVED and CHROMIUM.exists():
        environment.search_in_browser()
    if not options.keep:
        shutil.rmtree(folder / name)
    return environment.failed


def main() -> None:
    parser = parser_of(__doc__)
    parser.add_argument("wheel", type=Path)
    parser.add_argument(
        "--photographs", type=Path, help="folder to take 50 photographs from; else rooms are drawn"
    )
    parser.add_argument("--only", nargs="+", choices=list(JOBS), default=list(JOBS), metavar="NAME")
    parser.add_argument("--python", default=f"{sys.version_info.major}.{sys.version_info.minor}")
    parser.add_argument("--keep", type=Path, help="folder to keep everything in")
    options = parser.parse_args()
    print(describe_run())
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.keep or Path(temporary)
        failed = {name: check(name, options.wheel.resolve(), folder, options) for name in options.only}
    print({name: count for name, count in failed.items() if count} or "nothing failed")
    sys.exit(any(failed.values()))


if __name__ == "__main__":
    main()
