"""An audit's places for planted marks: five kinds on 10 % of a set, three sets, and the sets as they are.

Each kind is drawn on 10 % of the pictures, which the audit is not told. The table has the place of the first
finding that has most of its pictures among those, how many of both, and Recall@1 of the marked pictures by
their class: on the set as it was, marked, and with that finding set aside; beside it, how often the nearest
picture of a marked one is marked.

    python benchmarks/audit.py --work /tmp/audit --sets birds clothing rooms --models mini
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from csa import mobilenet
from environment import add_shared, describe_run, parser_of
from PIL import Image, ImageDraw, ImageFont

from lookalike import Embedder, Gallery, scenes
from lookalike.gallery import Recurrence

WEIGHTS = "weights/mobilenetv2_100_imagenet1001.safetensors"
SIDE = 400  # pixels of the longer side, at most
Planting = Callable[[Image.Image, np.random.Generator], Image.Image]


def _laid_over(image: Image.Image, draw: Callable[[ImageDraw.ImageDraw], None]) -> Image.Image:
    layer = Image.new("RGBA", image.size, (0, 0, 0, 0))
    draw(ImageDraw.Draw(layer))
    return Image.alpha_composite(image.convert("RGBA"), layer).convert("RGB")


def _text(image: Image.Image, rng: np.random.Generator, *, moves: bool) -> Image.Image:
    font = ImageFont.load_default(max(10, int(image.width * 0.1)))
    left, top, right, bottom = ImageDraw.Draw(image).textbbox((0, 0), "© PHOTOBANK", font=font)
    x, y = (image.width - right + left) / 2, image.height * 0.62
    if moves:
        x, y = rng.uniform(0, image.width - right + left), rng.uniform(0, image.height - bottom + top)
    half, faint = (255, 255, 255, 128), (0, 0, 0, 70)
    return _laid_over(
        image,
        lambda draw: draw.text(
            (x - left, y - top), "© PHOTOBANK", half, font, stroke_width=1, stroke_fill=faint
        ),
    )


def _logo(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    side, margin = int(min(image.size) * 0.2), int(min(image.size) * 0.04)
    x, y = image.width - side - margin, image.height - side - margin

    def draw(layer: ImageDraw.ImageDraw) -> None:
        layer.ellipse((x, y, x + side, y + side), (210, 40, 30, 190))
        corners = [(0.5, 0.12), (0.85, 0.75), (0.15, 0.75)]
        layer.polygon([(x + side * a, y + side * b) for a, b in corners], (255, 255, 255, 210))

    return _laid_over(image, draw)


def _border(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    image, (width, height), margin = image.copy(), image.size, int(min(image.size) * 0.06)
    ImageDraw.Draw(image).rectangle((0, 0, width - 1, height - 1), outline=(30, 24, 20), width=margin)
    return image


def _caption(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """A light bar along the bottom; its words differ."""
    image, (width, height), high = image.copy(), image.size, int(image.height * 0.11)
    draw = ImageDraw.Draw(image)
    draw.rectangle((0, height - high, width, height), fill=(245, 245, 240))
    words = f"No. {rng.integers(1000, 9999)}  {rng.choice(['May', 'June', 'Oct'])} {rng.integers(1990, 2026)}"
    font = ImageFont.load_default(max(8, int(high * 0.6)))
    draw.text((width * 0.04, height - high * 0.85), words, (20, 20, 20), font)
    return image


KINDS: dict[str, Planting | None] = {
    "nothing": None,
    "text": lambda image, rng: _text(image, rng, moves=False),
    "text that moves": lambda image, rng: _text(image, rng, moves=True),
    "logo": _logo,
    "border": _border,
    "caption": _caption,
}


def pictures(name: str, n: int, shared: Path) -> tuple[list[Image.Image], np.ndarray]:
    """A seeded sample of a set, reduced, and the class of each."""
    if name == "rooms":
        rooms = scenes.gallery_of_rooms(0, n_paintings=n // 3, rooms_per_painting=3)
        return [room.image for room in rooms.rooms], np.array(rooms.labels)
    folder = shared / "data" / {"birds": "birds_cropped/test", "grocery": "grocery/test"}.get(name, name)
    files = sorted(folder.rglob("*.jpg"))
    chosen = [files[i] for i in sorted(np.random.default_rng(0).permutation(len(files))[:n])]
    images = []
    for file in chosen:
        image = Image.open(file).convert("RGB")
        image.thumbnail((SIDE, SIDE))
        images.append(image)
    return images, np.array([file.parent.name for file in chosen])


def recall(units: torch.Tensor, labels: np.ndarray, rows: np.ndarray) -> tuple[float, float]:
    """Recall@1 of some rows by class, and how often their nearest is one of them."""
    cosines = units @ units.T
    cosines.fill_diagonal_(-2)
    nearest = cosines.argmax(1).numpy()[rows]
    return float((labels[nearest] == labels[rows]).mean()), float(np.isin(nearest, rows).mean())


def units_of(gallery: Gallery, paths: list[str]) -> torch.Tensor:
    ids = {file.path: record.id for record in gallery.records() for file in record.files}
    return torch.from_numpy(np.stack([gallery.embedding(ids[path]) for path in paths]))


def planted(finding: Recurrence, marked: set[str]) -> bool:
    """Whether at least half of a finding's pictures are marked, and it has at least a third of those."""
    both = len(marked & set(finding.paths))
    return both >= 0.5 * len(finding.paths) and both >= len(marked) / 3


def row(
    kind: str, images: list[Image.Image], labels: np.ndarray, embedder: Embedder, work: Path
) -> list[str]:
    """One row of the table."""
    rng = np.random.default_rng(1)
    rows = np.sort(rng.permutation(len(images))[: len(images) // 10])
    clean = recall(embedder.embed(images), labels, rows)
    work.mkdir(parents=True, exist_ok=True)
    plant, paths = KINDS[kind], [str(work / f"{i:04}.png") for i in range(len(images))]
    for i, image in enumerate(images):
        (plant(image, rng) if plant is not None and i in rows else image).save(paths[i])
    gallery = Gallery.in_memory(embedder)
    gallery.add(work, workers=0)
    marked = {paths[i] for i in rows}
    start = time.perf_counter()
    audit = gallery.audit()
    took = time.perf_counter() - start
    if plant is None:
        words = "; ".join(f"{f.what} {f.place} in {len(f.paths)}" for f in audit) or "nothing beyond chance"
        return [kind, "", words, "", "", "", f"{took:.0f} s"]
    places = [i for i, found in enumerate(audit, start=1) if planted(found, marked)]
    before = recall(units_of(gallery, paths), labels, rows)
    if not places:
        return [kind, "not found", "", _pair(clean), _pair(before), "", f"{took:.0f} s"]
    found = audit[places[0] - 1]
    after = recall(units_of(gallery.without(found), paths), labels, rows)
    both = len(marked & set(found.paths))
    what = f"{found.what}, {found.place}: {both} of {len(marked)}, {len(found.paths) - both} others"
    return [
        kind,
        f"{places[0]} of {len(audit)}",
        what,
        _pair(clean),
        _pair(before),
        _pair(after),
        f"{took:.0f} s",
    ]


def _pair(both: tuple[float, float]) -> str:
    return f"{both[0]:.2f} / {both[1]:.2f}"


def main() -> None:
    parser = parser_of(__doc__)
    add_shared(parser)
    parser.add_argument("--work", type=Path, required=True, help="folder for pictures")
    parser.add_argument("--sets", nargs="+", default=["birds", "clothing", "rooms"])
    parser.add_argument("--models", nargs="+", default=["mini", "mini-vit", "mobilenet"])
    parser.add_argument("--kinds", nargs="+", default=list(KINDS), choices=list(KINDS))
    parser.add_argument("-n", type=int, default=300, help="pictures of a set")
    given = parser.parse_args()
    print(describe_run())
    for model in given.models:
        embedder = (
            mobilenet(given.shared / WEIGHTS, 224, "mean") if model == "mobilenet" else Embedder.load(model)
        )
        for name in given.sets:
            images, labels = pictures(name, given.n, given.shared)
            print(f"\n{name}, {len(images)} pictures, {model}\n")
            print("| kind | place | found as | unmarked | marked | set aside | time |\n" + "|---" * 7 + "|")
            for kind in given.kinds:
                work = given.work / f"{name}-{kind.replace(' ', '-')}"
                print("| " + " | ".join(row(kind, images, labels, embedder, work)) + " |", flush=True)


if __name__ == "__main__":
    main()
