"""Metrics of benchmarks/csa.py as one table, a row for each set and embedding.

uv run python benchmarks/csa_table.py [recipes/csa-mini/metrics.json]
"""

from __future__ import annotations

import json
from pathlib import Path

from environment import parser_of

METRICS = Path(__file__).parents[1] / "recipes/csa-mini/metrics.json"
METHODS = ("csa", "k-reciprocal", "dba+aqe", "dba", "diffusion", "aqe", "shares")


def main() -> None:
    parser = parser_of(__doc__)
    parser.add_argument("file", type=Path, nargs="?", default=METRICS)
    results = json.loads(parser.parse_args().file.read_text())
    found = {(r["set"], r["embedding"], r["method"]): r for r in results}
    print(f"| set | embedding | mAP | {' | '.join(METHODS)} | Recall@1 with csa |")
    print("|" + "---|" * (len(METHODS) + 4))
    for name, embedding in dict.fromkeys((r["set"], r["embedding"]) for r in results):
        rows = [found.get((name, embedding, method)) for method in METHODS]
        changes = [
            f"{r['map_after'] - r['map_before']:+.1%} ± {r['interval']:.1%}" if r else "" for r in rows
        ]
        recall = f"{rows[0]['recall_before']:.1%} → {rows[0]['recall_after']:.1%}"
        print(f"| {name} | {embedding} | {rows[0]['map_before']:.1%} | {' | '.join(changes)} | {recall} |")


if __name__ == "__main__":
    main()
