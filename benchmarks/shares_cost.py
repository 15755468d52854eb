"""Processor time of the default explanation of one image, in forward passes of the same model timed in turn.

    uv run python benchmarks/shares_cost.py [--models mini,mini-vit,vits14-cls] [--shared ../shared]

*Open* is the pass of an image, *a direction* what one other image adds to it, *24 hits* the same pass split
for 24 at once. A pair opens and splits two images. Prints medians over rounds, on one thread.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch
from environment import add_shared, describe_run, parser_of
from explanation_models import MODELS
from torch.nn import functional as F

from lookalike import Embedder, images, scenes
from lookalike.models.passes import default_form, open_pass


def seconds_of(work: Callable[[], object]) -> float:
    start = time.process_time()
    work()
    return time.process_time() - start


@torch.inference_mode()
def forward(embedder: Embedder, image: torch.Tensor) -> torch.Tensor:
    return embedder.network(image)


def row(name: str, shared: Path, rounds: int) -> str:
    embedder = MODELS[name](shared) if name in MODELS else Embedder.load(name, device="cpu")
    assert isinstance(embedder, Embedder)
    reading = embedder.read(images.load(scenes.room(0, paintings=[0], size=(360, 480)).image))
    image, form = embedder.tensor(reading)[0], default_form(embedder)
    generator = torch.Generator().manual_seed(0)
    hits = F.normalize(torch.randn(24, embedder.width, generator=generator), dim=1)
    opened = open_pass(embedder, reading, form)  # the first one of a model compares it with a plain pass
    taken: list[tuple[float, ...]] = [
        (
            seconds_of(lambda: forward(embedder, image)),
            seconds_of(lambda: open_pass(embedder, reading, form)),
            seconds_of(lambda: opened.shares(hits[:1])),
            seconds_of(lambda: opened.shares(hits)),
        )
        for _ in range(rounds)
    ]
    one, *others = (statistics.median(column) for column in zip(*taken, strict=True))
    cells = " | ".join(f"{each / one:.1f}" for each in others)
    return f"| `{name}` | {1000 * one:.0f} ms | {cells} |"


def main() -> None:
    """Print the table."""
    parser = parser_of(__doc__)
    parser.add_argument("--models", default="mini,mini-vit")
    parser.add_argument("--rounds", type=int, default=7)
    add_shared(parser)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    print(describe_run())
    print("| model | one forward pass | open | a direction | 24 hits |\n|---|---|---|---|---|")
    for name in arguments.models.split(","):
        print(row(name, arguments.shared, arguments.rounds), flush=True)


if __name__ == "__main__":
    main()
