"""Bytes, hours, machines and cost an image towards a billion, from unit costs that were measured.

    python benchmarks/billion.py [--units benchmarks/unit_costs.json] [--width 256]
        [--core-hour 0.04] [--gigabyte-month 0.08] [--cores 32] [--memory 256]

The units say what one image or dimension takes (docs/benchmarks.md, benchmarks/accelerator.py). They are
scaled by what the algorithms do: embedding by N; the lists of an index number 4 sqrt(N), so assigning
vectors and training grow with N sqrt(N), and the vectors that a search looks at with sqrt(N). Prices and the
size of a machine are options, not measurements. Nothing here was run at these sizes.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

SIZES = {"1 M": 10**6, "100 M": 10**8, "1 B": 10**9}
PER_LIST, ROUNDS, LISTS = 64, 10, 4  # of store/faiss_indices.py


def products(n: int, width: int) -> float:
    """Multiplications that training and filling lists for n vectors takes."""
    lists = LISTS * n**0.5
    return width * (lists * n + ROUNDS * PER_LIST * lists**2)


def looked_at(n: int, searched_lists: int, width: int) -> float:
    """Multiplications of one search: the centers, then the vectors of some lists."""
    lists = LISTS * n**0.5
    return width * (lists + searched_lists * n / lists)


def costs(n: int, units: dict[str, float], options: argparse.Namespace) -> dict[str, float]:
    """One column of the table."""
    width = options.width
    table = n * (units["table_bytes_per_image"] + units["table_bytes_per_dimension"] * width)
    copy = n * units["vector_copy_bytes_per_dimension"] * width
    index = n * (units["index_bytes_per_image"] + units["index_bytes_per_dimension"] * width)
    embedding = n / units["images_per_core_second"] / 3600
    measured = int(units["index_rows"]), int(units["index_width"])
    building = units["index_build_core_seconds"] * products(n, width) / products(*measured) / 3600
    lists = int(units["search_lists"])
    search = units["search_ms"] * looked_at(n, lists, width) / looked_at(measured[0], lists, measured[1])
    money = (embedding + building) * options.core_hour
    return {
        "table_gb": table / 1e9,
        "vector_copy_gb": copy / 1e9,
        "index_in_memory_gb": index / 1e9,
        "records_in_memory_gb": n * units["table_bytes_per_image"] / 1e9,
        "embedding_core_hours": embedding,
        "building_core_hours": building,
        "days_on_one_machine": (embedding + building) / options.cores / 24,
        "machines_to_hold_both": -(
            -(index + n * units["table_bytes_per_image"]) // (0.8 * options.memory * 1e9)
        ),
        "search_core_ms": search,
        "dollars_once_a_million": money / n * 1e6,
        "dollars_a_month_a_million": (table + copy) / 1e9 * options.gigabyte_month / n * 1e6,
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--units", type=Path, default=Path(__file__).with_name("unit_costs.json"))
    parser.add_argument("--width", type=int, default=256)
    parser.add_argument("--core-hour", type=float, default=0.04, help="dollars; an assumption")
    parser.add_argument("--gigabyte-month", type=float, default=0.08, help="dollars, of disk; an assumption")
    parser.add_argument("--cores", type=int, default=32, help="of a machine")
    parser.add_argument("--memory", type=int, default=256, help="GB of a machine")
    options = parser.parse_args()
    units = json.loads(options.units.read_text())
    columns = {name: costs(n, units, options) for name, n in SIZES.items()}
    print(f"| | {' | '.join(columns)} |\n|---{'|---' * len(columns)}|")
    for row in columns["1 M"]:
        print(f"| {row.replace('_', ' ')} | {' | '.join(f'{each[row]:,.3g}' for each in columns.values())} |")


if __name__ == "__main__":
    main()
