"""Train a bundled model on a CPU, as its settings say.

    uv run python -m recipes.distil --settings recipes/mini/settings.json --shared ../shared --out runs/mini
    uv run python -m recipes.distil --settings recipes/mini-vit/settings.json --shared ../shared

Run the same command again after an interruption: it continues with the last finished block or checkpoint.
The last line of OUT/log.jsonl says how far it is; the exported model lies in OUT/export.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import torch

from .pictures import shared_default
from .settings import read_settings
from .training import distil


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m recipes.distil",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--settings", type=Path, required=True, help="JSON file, see recipes/mini")
    parser.add_argument("--shared", type=Path, default=shared_default(), help="data and teacher weights")
    parser.add_argument("--out", type=Path, help="run directory; default: runs/NAME")
    parser.add_argument("--steps", type=int, help="of the second part, instead of the settings'")
    parser.add_argument("--until", type=int, metavar="STEP", help="stop there, to be continued")
    arguments = parser.parse_args()
    settings = read_settings(arguments.settings)
    if arguments.steps is not None:
        settings = replace(settings, steps=arguments.steps)
    torch.set_num_threads(1)  # the workers are threads
    torch.set_flush_denormal(True)
    distil(settings, arguments.shared, arguments.out or Path("runs") / settings.name, arguments.until)


if __name__ == "__main__":
    main()
