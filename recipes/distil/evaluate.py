"""Metrics of a distilled model beside its teacher: Recall@K, maps of room pairs, pictures a second.

    uv run python -m recipes.distil.evaluate --shared ../shared [--model DIR] [--json metrics.json]

Pictures are squashed to each network's input size. Class folders: every picture against all others.
Paintings: fraction of queries with a relevant picture among the first K.
"""

from __future__ import annotations

import argparse
import datetime
import json
import platform
import time
from pathlib import Path
from typing import Any

import timm
import torch
from torch import Tensor

from lookalike.images import Preprocessing
from lookalike.models.embedder import Embedder
from lookalike.scenes import room_pair

from .pictures import LabeledFiles, class_folder, shared_default
from .teacher import INPUT_SIZE, WEIGHTS

CLASS_SETS = ("birds_cropped/test", "butterflies", "grocery/test")
PAINTING_SETS = ("qsd1", "qsd2")


def teacher_embedder(shared: Path) -> Embedder:
    """The teacher as the package embeds with it."""
    half = (0.5, 0.5, 0.5)
    return Embedder.from_timm(
        "mobilenetv2_100",
        pretrained=False,
        weights=shared / WEIGHTS,
        pooling="mean",
        preprocessing=Preprocessing("squash", INPUT_SIZE, 1.0, "bilinear", half, half),
        pad_type="same",
        precision="fp32",
    )


def recall_at_k(embeddings: Tensor, labels: tuple[str, ...]) -> dict[str, float]:
    """Fraction of pictures with one of their class among their first K others, K = 1, 2, 4, 8."""
    similarity = (embeddings @ embeddings.T).fill_diagonal_(-2)
    nearest = similarity.topk(8).indices
    names = {label: i for i, label in enumerate(sorted(set(labels)))}
    codes = torch.tensor([names[label] for label in labels])
    right = codes[nearest] == codes[:, None]
    return {f"recall_at_{k}": float(right[:, :k].any(1).float().mean()) for k in (1, 2, 4, 8)}


def labeled(shared: Path, name: str) -> LabeledFiles:
    """A class folder, or butterflies, whose species are the first three digits of the file names."""
    if name != "butterflies":
        return class_folder(shared / "data" / name)
    files = class_folder(shared / "data/butterflies/images")
    return LabeledFiles(files.paths, tuple(path.name[:3] for path in files.paths))


def paintings(embedder: Embedder, shared: Path) -> dict[str, dict[str, float]]:
    """Recall@1 and @5 of the query photographs against the museum's pictures."""
    folder = shared / "data/paintings"
    gallery, queries = class_folder(folder / "gallery"), class_folder(folder / "queries")
    similarity = embedder.embed(queries.paths) @ embedder.embed(gallery.paths).T
    order = similarity.argsort(1, descending=True)
    relevant = json.loads((folder / "relevant.json").read_text())
    metrics = {}
    for name in PAINTING_SETS:
        first = []  # rank of the first relevant picture, for each query
        for row, path in zip(order, queries.paths, strict=True):
            if path.name.startswith(name):
                ranked = [gallery.paths[i].name for i in row.tolist()]
                first.append(min(ranked.index(file) for file in relevant[path.name]))
        metrics[name] = {f"recall_at_{k}": sum(rank < k for rank in first) / len(first) for k in (1, 5)}
    return metrics


def pointing(embedder: Embedder, n_pairs: int = 100) -> dict[str, float]:
    """How often the highest cell of a room's map lies on the painting that both rooms of a pair share.

    A cell counts if its center is on the painting's mask; ``chance`` is the area of the mask.
    """
    hits, areas = [], []
    for seed in range(n_pairs):
        first, second, painting = room_pair(seed)
        for query, match in ((first, second), (second, first)):
            shares = embedder.shares(query.image)
            (unit,) = embedder.embed([match.image])
            height, width = shares.grid
            row, column = divmod(int((shares.values @ unit).argmax()), width)
            mask = query.masks[painting]
            y = int((row + 0.5) * mask.shape[0] / height)
            x = int((column + 0.5) * mask.shape[1] / width)
            hits.append(bool(mask[y, x]))
            areas.append(float(mask.mean()))
    return {"on_painting": sum(hits) / len(hits), "chance": sum(areas) / len(areas)}


@torch.inference_mode()
def pictures_per_second(embedder: Embedder, seconds: float = 8.0, batch: int = 32) -> float:
    """Speed of forward passes alone, in float32 on all threads."""
    pictures = torch.rand(batch, 3, *embedder.preprocessing.input_size)
    pictures = pictures.to(memory_format=torch.channels_last)
    embedder.network(pictures)
    begun, n = time.perf_counter(), 0
    while time.perf_counter() - begun < seconds:
        embedder.network(pictures)
        n += batch
    return n / (time.perf_counter() - begun)


def metrics_of(embedder: Embedder, shared: Path) -> dict[str, Any]:
    """All metrics of a model but its speed."""
    metrics: dict[str, Any] = {}
    for name in CLASS_SETS:
        files = labeled(shared, name)
        metrics[name] = recall_at_k(embedder.embed(files.paths), files.labels)
    return metrics | paintings(embedder, shared) | {"room_pairs": pointing(embedder)}


def table(metrics: dict[str, dict[str, Any]]) -> str:
    """Markdown with a row for each set, in percent."""
    names = list(metrics)
    lines = [
        f"| set | Recall@ | {' | '.join(names)} | {' / '.join(names)} at 1 |",
        "|---|---|" + "---|" * (len(names) + 1),
    ]
    for row in (*CLASS_SETS, *PAINTING_SETS):
        scores = [metrics[name][row] for name in names]
        cells = ["/".join(f"{100 * value:.1f}" for value in score.values()) for score in scores]
        at = "/".join(key.removeprefix("recall_at_") for key in scores[0])
        ratio = scores[0]["recall_at_1"] / scores[1]["recall_at_1"]
        lines.append(f"| {row} | {at} | {' | '.join(cells)} | {100 * ratio:.1f} % |")
    rooms = [f"{100 * metrics[name]['room_pairs']['on_painting']:.1f}" for name in names]
    lines.append(f"| room pairs, map's peak on the shared painting (%) | | {' | '.join(rooms)} | |")
    speeds = [f"{metrics[name]['images_per_second']:.0f}" for name in names]
    lines.append(f"| images/s, fp32 | | {' | '.join(speeds)} | |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m recipes.distil.evaluate",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--shared", type=Path, default=shared_default(), help="data and teacher weights")
    parser.add_argument("--model", default="mini", help="name or folder")
    parser.add_argument("--json", type=Path, help="write the metrics here too")
    arguments = parser.parse_args()
    torch.set_flush_denormal(True)
    student = Embedder.load(arguments.model, device="cpu", precision="fp32")
    embedders = {student.name: student, "teacher": teacher_embedder(arguments.shared)}
    metrics = {name: metrics_of(embedder, arguments.shared) for name, embedder in embedders.items()}
    for name, embedder in embedders.items():
        metrics[name]["images_per_second"] = pictures_per_second(embedder)
    print(table(metrics))
    if arguments.json:
        provenance = {
            "date": datetime.date.today().isoformat(),
            "hardware": f"{platform.machine()}, {torch.get_num_threads()} threads",
            "torch": torch.__version__,
            "timm": timm.__version__,
        }
        arguments.json.write_text(json.dumps(provenance | metrics, indent=2) + "\n")


if __name__ == "__main__":
    main()
