"""Train csa-mini: embeddings of the training pictures, then ``lookalike train-reranker``.

    uv run python recipes/csa-mini/train.py --shared ../shared --out runs/csa-mini

About 25 minutes for the embeddings and as long for the training, on one core of a busy machine. A killed
run continues where it was. OUT/model.safetensors is src/lookalike/models/bundled/csa-mini/model.safetensors.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

SETTINGS = {
    "method": "expanded",
    "lists": "drawn",
    "variation": "true",
    "loss": "ranking",
    "optimizer": "adamw",
    "weight_decay": "0.05",
    "width": "192",
    "depth": "2",
    "heads": "4",
    "hidden": "384",
    "warm_up": "0.0385",  # 50 of 1300 steps
    "warm_up_from": "0.02",
    "clip": "1",
    "drop_path": "0",
}
OPTIONS = {
    "steps": "1300",
    "batch-size": "12",
    "candidates": "240",
    "anchors": "288",
    "rate": "0.002",
    "temperature": "0.1",
    "reconstruction": "0",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shared", type=Path, default=Path("../shared"))
    parser.add_argument("--out", type=Path, default=Path("runs/csa-mini"))
    arguments = parser.parse_args()
    features, training = arguments.out / "features", arguments.out / "training"
    recipe = Path(__file__).with_name("features.py")
    subprocess.run([sys.executable, recipe, "--shared", arguments.shared, "--out", features], check=True)
    command = [
        Path(sys.executable).with_name("lookalike"),
        "train-reranker",
        features,
        "-o",
        training,
        "--half",
    ]
    if (training / "training.json").exists():
        command.append("--resume")
    for name, value in OPTIONS.items():
        command += [f"--{name}", value]
    for name, value in SETTINGS.items():
        command += ["--set", f"{name}={value}"]
    subprocess.run(command, check=True)
    chooser, trained = Path(__file__).parents[2] / "benchmarks/csa_gate.py", training / "model.safetensors"
    options = ["--out", arguments.out / "model.safetensors", "--shared", arguments.shared]
    subprocess.run([sys.executable, chooser, trained, *options], check=True)


if __name__ == "__main__":
    main()
