"""Do the maps find what two pictures truly share? Measured on generated rooms with exact masks.

    uv run python benchmarks/rooms.py [--pairs 100] [--model mini --model FOLDER] [--method shares]

Each pair of rooms shares one painting and nothing else. Reported: how often the query map's highest
cell lies within one cell of the shared painting, and the median over pairs of the positive mass per
pixel inside the painting over that outside.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from environment import describe_run

from lookalike import scenes
from lookalike.explainers import load_any, make_explainer
from lookalike.ops.faithfulness import peak_is_inside, positive_density_ratio


@dataclass(frozen=True)
class Score:
    model: str
    method: str
    pairs: int
    size: tuple[int, int]  # (H, W) pixels of a room
    grid: tuple[int, int]
    peak_inside: float  # share of pairs
    density_ratio: float  # of the pooled mass: sum over pairs inside per pixel over outside per pixel
    median_density_ratio: float
    painting_area: float  # mean share of the picture: what a random peak would hit


def measure(model: str, method: str, n_pairs: int, size: tuple[int, int]) -> Score:
    explainer = make_explainer(load_any(model), method)
    hits, ratios, areas, grid = [], [], [], (0, 0)
    for seed in range(n_pairs):
        query, match, painting = scenes.room_pair(seed, size=size)
        explanation = explainer(query.image, match.image)
        grid = explanation.query_map.shape
        values = torch.from_numpy(explanation.query_map)
        coverage = torch.from_numpy(explanation.query_geometry.coverage_of(query.masks[painting], grid))
        hits.append(peak_is_inside(values, coverage))
        ratios.append(positive_density_ratio(values, coverage))
        areas.append(float(coverage.mean()))
    return Score(
        explanation.model, method, n_pairs, size, grid, float(np.mean(hits)), float(np.mean(ratios)),
        float(np.median(ratios)), float(np.mean(areas)),
    )  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=100)
    parser.add_argument("--model", action="append", help="may be given several times; default mini")
    parser.add_argument("--method", action="append", help="may be given several times; default shares")
    parser.add_argument("--size", type=int, nargs=2, default=(240, 320), metavar=("H", "W"))
    parser.add_argument("--json", type=Path, help="write the figures to this file as well")
    arguments = parser.parse_args()
    print(describe_run())
    print("| model | method | grid | peak inside | density ratio, mean | median |\n|---|---|---|---|---|---|")
    scores = []
    for model in arguments.model or ["mini"]:
        for method in arguments.method or ["shares"]:
            score = measure(model, method, arguments.pairs, tuple(arguments.size))
            scores.append(asdict(score))
            print(
                f"| {score.model} | {score.method} | {score.grid[0]} x {score.grid[1]} | {score.peak_inside:.0%} "
                f"| {score.density_ratio:.1f} | {score.median_density_ratio:.1f} |"
            )
    print(f"\n{arguments.pairs} pairs; the painting covers {score.painting_area:.0%} of the picture on average.")
    if arguments.json:
        arguments.json.write_text(json.dumps(scores, indent=2) + "\n")


if __name__ == "__main__":
    main()
