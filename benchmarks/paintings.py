"""Museum paintings searched by photographs of them: whole, by a box, and with each re-ranker.

    uv run python benchmarks/paintings.py [--model mini --model FOLDER] [--rerank shares] [--shared ../shared]

287 pictures; queries are 30 plain photographs (qsd1) and 30 on a wall (qsd2), the latter also by the box
of their mask. Prints Recall@1 and Recall@5 in percent: queries with a relevant picture among the first.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from environment import add_shared, box_of_mask, describe_run, parser_of
from PIL import Image

from lookalike import Gallery

K = 5
RERANKERS = (None, "aqe", "dba+aqe", "k-reciprocal", "diffusion", "superglobal", "shares", "transport", "csa")


def read_mask(path: Path) -> np.ndarray:
    """A mask file as a boolean array (H, W)."""
    with Image.open(path) as mask:
        return np.array(mask.convert("L")) > 127


def wanted(names: list[str] | None) -> list[str | None]:
    """The re-rankers asked for by name, all if there are none; "none" is the ranking by cosine."""
    return [None if name == "none" else name for name in names] if names else list(RERANKERS)


def recalls(gallery: Gallery, folder: Path, rerank: str | None) -> list[str]:
    """Recall@1 and @5 of qsd1, qsd2 and qsd2 by the box."""
    relevant = json.loads((folder / "relevant.json").read_text())
    cells = []
    for name, by_box in (("qsd1", False), ("qsd2", False), ("qsd2", True)):
        right = []
        for query in sorted(q for q in relevant if q.startswith(name)):
            box = box_of_mask(read_mask(folder / "masks" / f"{Path(query).stem}.png")) if by_box else None
            hits = gallery.search(folder / "queries" / query, k=K, box=box, rerank=rerank)
            right.append([hit.path.name in relevant[query] for hit in hits])
        found = np.array(right)
        cells.append(f"{found[:, 0].mean():.0%} / {found.any(1).mean():.0%}")
    return cells


def main() -> None:
    parser = parser_of(__doc__)
    parser.add_argument("--model", action="append", help="may be given several times; default mini")
    parser.add_argument("--rerank", action="append", help="may be given several times; default all")
    add_shared(parser)
    options = parser.parse_args()
    folder = options.shared / "data" / "paintings"
    print(describe_run())
    print("| model | re-ranker | qsd1 | qsd2 | qsd2, box |")
    print("|---|---|---|---|---|")
    for model in options.model or ["mini"]:
        gallery = Gallery.in_memory(model)
        gallery.add(folder / "gallery")
        for rerank in wanted(options.rerank):
            cells = " | ".join(recalls(gallery, folder, rerank))
            print(f"| {gallery.embedder.name} | {rerank or 'none'} | {cells} |", flush=True)


if __name__ == "__main__":
    main()
