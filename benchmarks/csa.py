"""Comparison of csa-mini with the other re-rankers, on sets and embeddings that it never saw.

    uv run python benchmarks/csa.py [--images 480] [--without shares] [--cache FOLDER] [--json FILE]

Sets, queries, relevance, mAP and intervals are those of benchmarks/rerank.py; no picture of them was
trained on. Embeddings: the ImageNet MobileNetV2 at a size and with a pooling that the training did not
have, the MobileNetV2 of iNaturalist's birds, OSNet for persons (ONNX), and ``mini``, which it has seen on
other pictures. Every method has its defaults and re-ranks the whole gallery, but ``shares`` (first 20; not
for ONNX models). The last table is the mean over sets and embeddings; there ``worse`` counts the pairs of
set and embedding that a method made worse by more than the interval.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

from environment import add_shared, describe_run, parser_of
from rerank import SETS, Task, half_interval, load_task, precisions
from safetensors.torch import load_file, save_file
from torch import Tensor

from lookalike.images import Preprocessing
from lookalike.models.embedder import Embedder
from lookalike.models.onnx import OnnxEmbedder
from lookalike.rerankers import first_stage, make_reranker

METHODS = ("csa", "aqe", "dba", "dba+aqe", "k-reciprocal", "diffusion", "shares")
UNSEEN = ("imagenet-gem-256", "inat-birds", "osnet")


@dataclass(frozen=True)
class Result:
    """Effect of one method on one set in one embedding."""

    set: str
    embedding: str
    method: str
    map_before: float
    map_after: float
    interval: float  # half of the 95 % interval of the change
    recall_before: float
    recall_after: float

    @property
    def gain(self) -> float:
        return self.map_after - self.map_before


def embedders(weights: Path) -> dict[str, Callable[[], Any]]:
    return {
        "imagenet-gem-256": lambda: mobilenet(
            weights / "mobilenetv2_100_imagenet1001.safetensors", 256, "gem"
        ),
        "inat-birds": lambda: mobilenet(weights / "mobilenetv2_100_inat_bird965.safetensors", 224, "mean"),
        "osnet": lambda: OnnxEmbedder(weights / "osnet_x0_25_msmt17.onnx"),
        "mini": lambda: Embedder.load("mini"),
    }


def mobilenet(file: Path, side: int, pooling: str) -> Embedder:
    half = (0.5, 0.5, 0.5)
    return Embedder.from_timm(
        "mobilenetv2_100",
        pretrained=False,
        weights=file,
        pooling=pooling,
        preprocessing=Preprocessing("squash", (side, side), 1.0, "bilinear", half, half),
        pad_type="same",
    )


def embedded(
    embedder: Callable[[], Any], name: str, task: Task, folder: Path | None
) -> tuple[Tensor, Tensor]:
    """Embeddings of queries and gallery, cached in a folder if one is given."""
    file = (
        None
        if folder is None
        else folder / f"{name}-{task.name.replace('/', '_')}-{len(task.gallery)}.safetensors"
    )
    if file is not None and file.exists():
        kept = load_file(file)
        return kept["queries"], kept["gallery"]
    queries, gallery = embedder().embed(task.queries), embedder().embed(task.gallery)
    if file is not None:
        file.parent.mkdir(parents=True, exist_ok=True)
        save_file({"queries": queries, "gallery": gallery}, file)
    return queries, gallery


def results(
    task: Task, name: str, embedder: Callable[[], Any], methods: list[str], folder: Path | None
) -> Iterator[Result]:
    queries, gallery = embedded(embedder, name, task, folder)
    before = first_stage(queries, gallery, k=len(gallery))
    first, recall = precisions(before, task)
    for method in methods:
        options: dict[str, Any] = {}
        if method == "shares":
            if name == "osnet":
                continue
            options["query_shares"] = cache(lambda i: embedder().shares(task.queries[i]))
            options["gallery_shares"] = cache(lambda row: embedder().shares(task.gallery[row]))
        after, recall_after = precisions(make_reranker(method, **options)(before), task)
        change = after - first
        yield Result(
            task.name, name, method, first.mean(), after.mean(), half_interval(change), recall, recall_after
        )


def print_rows(found: list[Result]) -> None:
    """Print the rows of one set in one embedding."""
    for i, r in enumerate(found):
        start = (
            f"| {r.set} | {r.embedding} | {r.map_before:.1%} / {r.recall_before:.1%}" if not i else "| | | "
        )
        change = r.recall_after - r.recall_before
        print(
            f"{start} | {r.method} | {r.map_after:.1%} ({r.gain:+.1%} ± {r.interval:.1%}) "
            f"| {r.recall_after:.1%} ({change:+.1%}) |",
            flush=True,
        )


def print_means(found: list[Result], embeddings: tuple[str, ...], title: str) -> None:
    print(f"\n{title}\n\n| method | pairs | mean change of mAP | of Recall@1 | worst | worse |")
    print("|---|---|---|---|---|---|")
    for method in METHODS:
        of = [r for r in found if r.method == method and r.embedding in embeddings]
        if of:
            gain = sum(r.gain for r in of) / len(of)
            recall = sum(r.recall_after - r.recall_before for r in of) / len(of)
            worse = sum(r.gain < -r.interval for r in of)
            worst = min(r.gain for r in of)
            print(f"| {method} | {len(of)} | {gain:+.1%} | {recall:+.1%} | {worst:+.1%} | {worse} |")


def main() -> None:
    parser = parser_of(__doc__)
    parser.add_argument("--images", type=int, default=480, help="about as many of each set")
    add_shared(parser)
    parser.add_argument("--cache", type=Path, help="folder that keeps embeddings")
    parser.add_argument("--without", action="append", default=[], help="a method to leave out")
    parser.add_argument("--embedding", action="append", help="one instead of all; may be given several times")
    parser.add_argument("--json", type=Path, help="file for all metrics; keeps those of other embeddings")
    arguments = parser.parse_args()
    print(describe_run())
    methods = [method for method in METHODS if method not in arguments.without]
    print(
        "\n| set | embedding | mAP / Recall@1 before | method | mAP | Recall@1 |\n|---|---|---|---|---|---|"
    )
    found: list[Result] = []
    for name in SETS:
        task = load_task(arguments.shared / "data", name, arguments.images)
        for embedding, make in embedders(arguments.shared / "weights").items():
            if arguments.embedding and embedding not in arguments.embedding:
                continue
            rows = list(results(task, embedding, cache(make), methods, arguments.cache))
            print_rows(rows)
            found += rows
    if arguments.json and arguments.json.exists():
        new = {(r.set, r.embedding) for r in found}
        kept = (Result(**row) for row in json.loads(arguments.json.read_text()))
        found = [r for r in kept if (r.set, r.embedding) not in new] + found
        found.sort(key=lambda r: list(SETS).index(r.set))
    print_means(found, UNSEEN, "Embeddings that csa-mini never saw, on sets that it never saw:")
    print_means(found, ("mini",), "`mini`, on the same sets:")
    if arguments.json:
        arguments.json.write_text(json.dumps([asdict(r) for r in found], indent=1) + "\n")


if __name__ == "__main__":
    main()
