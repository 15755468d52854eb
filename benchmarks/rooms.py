"""Agreement of maps with what two pictures truly share, on generated rooms with exact masks.

    uv run python benchmarks/rooms.py [--pairs 100] [--model mini --model FOLDER] [--rooms 150]

Each pair of rooms shares one painting and nothing else. Reported: how often the query map's highest
cell lies within one cell of the shared painting, and the positive mass per pixel inside the painting
over that outside. ``--rooms N`` measures each model also after setting aside what N other rooms with
other paintings have in common (Embedder.setting_aside, no labels).
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from environment import describe_run, parser_of

from lookalike import scenes
from lookalike.explainers import make_explainer
from lookalike.models.embedder import Embedder
from lookalike.ops.map_truth import peak_is_inside, positive_density_ratio
from lookalike.ops.regrid import mask_coverage


@dataclass(frozen=True)
class Score:
    model: str
    method: str
    pairs: int
    size: tuple[int, int]  # (H, W) pixels of a room
    grid: tuple[int, int]
    peak_inside: float  # share of pairs
    chance: float  # share of the grid's cells that would count as inside
    density_ratio: float  # mean over pairs
    median_density_ratio: float

    def row(self) -> str:
        h, w = self.grid
        return (
            f"| {self.model} | {self.method} | {h} x {w} | {self.peak_inside:.0%} ({self.chance:.0%}) "
            f"| {self.density_ratio:.1f} | {self.median_density_ratio:.1f} |"
        )


def measure(model: Embedder, method: str, n_pairs: int, size: tuple[int, int]) -> Score:
    explainer = make_explainer(model, method)
    hits, chances, ratios = [], [], []
    for seed in range(n_pairs):
        query, match, painting = scenes.room_pair(seed, size=size)
        why = explainer(query.image, match.image)
        values = torch.from_numpy(why.query_map)
        mask = query.masks[painting]
        coverage = mask_coverage(why.query_geometry, torch.from_numpy(mask), why.query_map.shape)
        hits.append(peak_is_inside(values, coverage))
        chances.append(np.mean([peak_is_inside(cell, coverage) for cell in single_cells(values.shape)]))
        ratios.append(positive_density_ratio(values, coverage))
    metrics = (float(np.mean(f)) for f in (hits, chances, ratios))
    return Score(model.name, method, n_pairs, size, why.query_map.shape, *metrics, float(np.median(ratios)))


def single_cells(shape: torch.Size) -> torch.Tensor:
    """Maps with one cell set, for every cell: (N, h, w)."""
    return torch.eye(shape.numel()).unflatten(1, shape)


def variants(names: list[str], n_rooms: int) -> Iterator[Embedder]:
    rooms = [scenes.room(10**6 + i, paintings=[10**6 + i]).image for i in range(n_rooms)]
    for name in names:
        embedder = Embedder.load(name)
        yield embedder
        if rooms:
            yield embedder.setting_aside(rooms)


def main() -> None:
    parser = parser_of(__doc__)
    parser.add_argument("--pairs", type=int, default=100)
    parser.add_argument("--model", action="append", help="may be given several times; default mini")
    parser.add_argument("--method", action="append", help="may be given several times; default shares")
    parser.add_argument(
        "--rooms", type=int, default=0, metavar="N", help="other rooms whose common part is set aside"
    )
    parser.add_argument("--size", type=int, nargs=2, default=(240, 320), metavar=("H", "W"))
    parser.add_argument("--json", type=Path, help="write the metrics to this file as well")
    arguments = parser.parse_args()
    print(describe_run())
    print("| model | method | grid | peak inside (by chance) | density ratio, mean | median |")
    print("|---|---|---|---|---|---|")
    scores = []
    for model in variants(arguments.model or ["mini"], arguments.rooms):
        for method in arguments.method or ["shares"]:
            scores.append(measure(model, method, arguments.pairs, tuple(arguments.size)))
            print(scores[-1].row(), flush=True)
    if arguments.json:
        arguments.json.write_text(json.dumps([asdict(score) for score in scores], indent=2) + "\n")


if __name__ == "__main__":
    main()
