"""The metrics of benchmarks/csa.py as one table, a row for each set and embedding.

uv run python benchmarks/csa_table.py [recipes/csa-mini/metrics.json]
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

METRICS = Path(__file__).parents[1] / "recipes/csa-mini/metrics.json"
METHODS = ("csa", "k-reciprocal", "dba+aqe", "dba", "diffusion", "aqe", "shares")


def main() -> None:
    results = json.loads(Path(sys.argv[1] if len(sys.argv) > 1 else METRICS).read_text())
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
