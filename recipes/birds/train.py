"""Gain by training on classes that were never seen: birds, from the ImageNet MobileNetV2.

    uv run python recipes/birds/train.py --shared ../shared --out runs/birds
    uv run python recipes/birds/train.py --out runs/birds --only proxy-anchor --seeds 0

Trains on 50 classes, evaluates on 50 others, with the same settings for every objective and the
untouched network beside them. No metric of the test classes influences a training. A run that was
interrupted continues; the table is written after each.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from statistics import mean
from typing import Any

import torch

from lookalike.datasets import LabeledImages, read_dataset
from lookalike.images import Preprocessing
from lookalike.models.loading import from_timm
from lookalike.models.saving import LoadedModel
from lookalike.ops.resampling import bootstrap_intervals
from lookalike.training import (
    AvslObjective,
    AvslSettings,
    EmbeddingLoss,
    Objective,
    RuntimeOptions,
    Trainable,
    TrainableAvsl,
    TrainableEmbedding,
    TrainSettings,
    train_network,
)
from lookalike.training.pictures import preprocessing_for
from lookalike.training.validation import metric_names, metrics_of_queries
from lookalike.types import Progress, ProgressCallback

NAMES = metric_names(TrainSettings())
WEIGHTS = "weights/mobilenetv2_100_imagenet1001.safetensors"
DIMS = 512
SETTINGS = TrainSettings(
    epochs=8,
    batch_size=90,
    images_per_class=0,
    backbone_rate=1e-4,
    head_rate=1e-3,
    loss_rate=1e-2,
    schedule="cosine",
    warm_up_epochs=1,
    # to save time: these compute on the most cells and change the least
    frozen=("conv_stem", "bn1", "blocks.0", "blocks.1", "blocks.2", "blocks.3"),
    precision="bf16",
    input_size=(160, 160),
    crop_pct=1.0,  # the photographs are cut to the birds already
    crop_area=(0.4, 1.0),
    evaluate_every=0,
)


def start_model(shared: Path) -> LoadedModel:
    half = (0.5, 0.5, 0.5)
    return from_timm(
        "mobilenetv2_100",
        weights=shared / WEIGHTS,
        preprocessing=Preprocessing("squash", (224, 224), interpolation="bicubic", mean=half, std=half),
        pad_type="same",
    )


def proxy_anchor(start: LoadedModel, n_classes: int, seed: int) -> tuple[Trainable, Objective]:
    model = TrainableEmbedding.of(start, dims=DIMS, seed=seed)
    return model, EmbeddingLoss("proxy-anchor", n_classes=n_classes, dims=DIMS, seed=seed)


def avsl(start: LoadedModel, n_classes: int, seed: int) -> tuple[Trainable, Objective]:
    settings = AvslSettings()  # as published for CUB
    model = TrainableAvsl.of(start, settings, dims=DIMS, seed=seed)
    return model, AvslObjective(model.network.gates, settings, n_classes=n_classes, seed=seed)


def avsl_last(start: LoadedModel, n_classes: int, seed: int) -> tuple[Trainable, Objective]:
    """AVSL on levels that each rank birds: the last two stages and the last convolution."""
    settings = AvslSettings(levels="last")
    model = TrainableAvsl.of(start, settings, dims=DIMS, seed=seed)
    return model, AvslObjective(model.network.gates, settings, n_classes=n_classes, seed=seed)


METHODS: dict[str, Callable[[LoadedModel, int, int], tuple[Trainable, Objective]]] = {
    "proxy-anchor": proxy_anchor,
    "avsl": avsl,
    "avsl-last": avsl_last,
}


def metrics(model: Trainable, test: LabeledImages, settings: TrainSettings) -> dict[str, Any]:
    """Each metric with its 95 % interval over queries."""
    values = metrics_of_queries(model, test, preprocessing_for(model.preprocessing, settings), settings)
    intervals = bootstrap_intervals(values, generator=torch.Generator().manual_seed(0))
    return {
        name: {"value": float(value), "low": float(low), "high": float(high)}
        for name, value, (low, high) in zip(metric_names(settings), values.mean(0), intervals, strict=True)
    }


def run(
    name: str, seed: int, shared: Path, out: Path, settings: TrainSettings, data: tuple[LabeledImages, ...]
) -> None:
    """Train once and write metrics.json, unless it exists."""
    folder = out / f"{name}-{seed}"
    if (folder / "metrics.json").exists():
        return
    train, test = data
    settings = replace(settings, seed=seed)
    start = start_model(shared)
    model, objective = METHODS[name](start, len(train.classes), seed)
    begun, cpu = time.perf_counter(), time.process_time()
    train_network(
        model,
        objective,
        train,
        settings,
        out=folder,
        description={"method": name, "start": "mobilenetv2_100, ImageNet", "dims": DIMS},
        resume=folder.exists(),
        runtime=RuntimeOptions(accelerator="cpu", checkpoint_every=20),
        progress=report(folder.name),
    )
    found: dict[str, Any] = {
        "method": name,
        "seed": seed,
        "settings": settings.to_dict(),
        "seconds": round(time.perf_counter() - begun),  # since the last start, on a shared machine
        "cpu_seconds": round(time.process_time() - cpu),
    }
    found |= metrics(model, test, settings)
    (folder / "metrics.json").write_text(json.dumps(found, indent=2) + "\n")


def baseline(shared: Path, out: Path, settings: TrainSettings, test: LabeledImages) -> None:
    """Metrics of the untouched network at the input size of the trainings and at its own."""
    for size in sorted({settings.input_size, (224, 224)}):
        file = out / f"frozen-{size[0]}.json"
        if not file.exists():
            model = TrainableEmbedding.of(start_model(shared))
            found = metrics(model, test, replace(settings, input_size=size))
            file.write_text(json.dumps({"method": "frozen", "size": size} | found, indent=2) + "\n")


def report(name: str) -> ProgressCallback:
    def show(progress: Progress) -> None:
        if progress.done % 5 == 0 or len(progress.values) > 1:
            row = {"run": name} | asdict(progress)
            print(
                json.dumps({k: round(v, 4) if isinstance(v, float) else v for k, v in row.items()}),
                flush=True,
            )

    return show


def table(out: Path) -> str:
    """Markdown table with a row for each frozen size and each run, and the mean of each method's seeds."""
    lines = ["| | Recall@1 | Recall@2 | Recall@4 | Recall@8 | MAP@R |", "|---|---|---|---|---|---|"]
    for file in sorted(out.glob("frozen-*.json")):
        found = json.loads(file.read_text())
        lines.append(f"| frozen, {found['size'][0]} px | {' | '.join(cell(found[m]) for m in NAMES)} |")
    runs: dict[str, list[dict[str, Any]]] = {}
    for file in sorted(out.glob("*/metrics.json")):
        found = json.loads(file.read_text())
        runs.setdefault(found["method"], []).append(found)
        row = " | ".join(cell(found[m]) for m in NAMES)
        lines.append(f"| {found['method']}, seed {found['seed']} | {row} |")
    for name, found_all in runs.items():
        means = [f"{100 * mean(found[m]['value'] for found in found_all):.1f}" for m in NAMES]
        lines.append(f"| {name}, mean of {len(found_all)} | {' | '.join(means)} |")
    return "\n".join(lines) + "\n"


def cell(metric: dict[str, float]) -> str:
    return f"{100 * metric['value']:.1f} ({100 * metric['low']:.1f}–{100 * metric['high']:.1f})"  # noqa: RUF001


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--shared", type=Path, default=Path("../shared"), help="data and start weights")
    parser.add_argument("--out", type=Path, default=Path("runs/birds"))
    parser.add_argument("--only", choices=["frozen", *METHODS], help="one method instead of all")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--epochs", type=int, default=SETTINGS.epochs)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    torch.set_flush_denormal(True)
    settings = replace(SETTINGS, epochs=arguments.epochs)
    birds = arguments.shared / "data/birds_cropped"
    data = (read_dataset(birds, "train"), read_dataset(birds, "test"))
    arguments.out.mkdir(parents=True, exist_ok=True)
    if arguments.only in (None, "frozen"):
        baseline(arguments.shared, arguments.out, settings, data[1])
    for seed in arguments.seeds:
        for name in [arguments.only] if arguments.only else METHODS:
            if name in METHODS:
                run(name, seed, arguments.shared, arguments.out, settings, data)
            (arguments.out / "table.md").write_text(table(arguments.out))
    print(table(arguments.out))


if __name__ == "__main__":
    main()
