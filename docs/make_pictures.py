"""Render the pictures of README and docs/ideas.md: uv run python docs/make_pictures.py [--model mini]"""

from __future__ import annotations

import argparse
from pathlib import Path

from lookalike import render, scenes
from lookalike.explainers import SharesExplainer, difference, place_matches
from lookalike.models.embedder import Embedder
from lookalike.types import Picture

IMAGES = Path(__file__).parent / "images"
SIZE = (360, 480)  # (H, W) pixels of a room


def room_pictures(seed: int) -> tuple[Picture, Picture]:
    query, match, _ = scenes.room_pair(seed, size=SIZE)
    return Picture(query.image, SIZE, "query room"), Picture(match.image, SIZE, "room with the same painting")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="mini")
    parser.add_argument("--seed", type=int, default=9)
    arguments = parser.parse_args()
    embedder = Embedder.load(arguments.model, precision="fp32")
    why = SharesExplainer(embedder)(*room_pictures(arguments.seed))
    IMAGES.mkdir(exist_ok=True)
    picture = IMAGES / "why.jpg"
    render.side_by_side(why).save(picture, quality=90)
    query, match = room_pictures(arguments.seed)
    other = Picture(scenes.room(40, paintings=[40], size=SIZE).image, SIZE, "another room")
    pairs = place_matches(query, match, model=embedder)
    gap = difference(query, match, other, model=embedder)
    render.match_lines(pairs, width=900).save(IMAGES / "lines.jpg", quality=85)
    render.preference(gap, width=900).save(IMAGES / "preference.jpg", quality=85)
    print(f"wrote {picture}, lines.jpg and preference.jpg")


if __name__ == "__main__":
    main()
