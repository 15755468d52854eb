"""Near-duplicates: 200 planted among 3,000 photographs by ten kinds of change, found by groups.

The photographs are a seeded sample of caltech101, clothing, grocery, butterflies and photos. Each planted
copy is one of them, changed in one way and written as JPEG. Compared in one run: groups at its defaults;
imagededup's perceptual hashes and its CNN method, each at its default threshold and at the one with the
best F1 on the same planted pairs, which favors them; the cosine of ``mini``, at the best F1. imagededup runs
in an interpreter of its own, see imagededup_pairs.py:

    uv venv /tmp/rivals && VIRTUAL_ENV=/tmp/rivals uv pip install imagededup timm safetensors
    python benchmarks/duplicates.py --work /tmp/duplicates --rival-python /tmp/rivals/bin/python
"""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import torch
from environment import add_shared, describe_run, parser_of
from PIL import Image, ImageDraw, ImageEnhance, ImageFilter, ImageFont, ImageOps

from lookalike import Embedder, Gallery
from lookalike.ops.neighbors import nearest

SOURCES = {"caltech101": 1100, "clothing": 700, "grocery": 500, "butterflies": 300, "photos": 400}
PER_KIND = 20
WEIGHTS = "weights/mobilenetv2_100_imagenet1001.safetensors"  # for imagededup's CNN, see imagededup_pairs.py
REAL = Path(__file__).with_name("duplicates_real.json")
Pair = tuple[str, str]
Change = Callable[[Image.Image, np.random.Generator], Image.Image]


def crop(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Keep 55 to 75 % of the area, anywhere."""
    side = rng.uniform(0.55, 0.75) ** 0.5
    width, height = int(image.width * side), int(image.height * side)
    left, top = int(rng.uniform(0, image.width - width)), int(rng.uniform(0, image.height - height))
    return image.crop((left, top, left + width, top + height))


def resize(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """To 30 to 60 % of the sides."""
    factor = rng.uniform(0.3, 0.6)
    return image.resize((round(image.width * factor), round(image.height * factor)), Image.Resampling.LANCZOS)


def border(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Add a border in one color, 8 to 15 % of the longer side."""
    color = tuple(int(value) for value in rng.integers(0, 256, 3))
    return ImageOps.expand(image, int(max(image.size) * rng.uniform(0.08, 0.15)), color)


def text(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Lay two lines of large text over it."""
    image, size = image.copy(), max(12, int(image.width * rng.uniform(0.11, 0.16)))
    font = ImageFont.load_default(size)
    draw = ImageDraw.Draw(image)
    for line, at in (("SAMPLE 2026", rng.uniform(0.05, 0.3)), ("do not copy", rng.uniform(0.5, 0.75))):
        draw.text(
            (image.width * 0.05, image.height * at),
            line,
            (255, 255, 255),
            font,
            stroke_width=2,
            stroke_fill=0,
        )
    return image


def brightness(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Make it darker or brighter by half."""
    return ImageEnhance.Brightness(image).enhance(float(rng.choice([0.5, 1.5])))


def blur(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Blur by a Gaussian of 0.6 to 1 % of the longer side."""
    return image.filter(ImageFilter.GaussianBlur(max(image.size) * rng.uniform(0.006, 0.01)))


def rotation(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Rotate by 3 to 8 degrees; the corners are black."""
    return image.rotate(rng.uniform(3, 8) * rng.choice([-1, 1]), Image.Resampling.BICUBIC)


KINDS: dict[str, Change] = {
    "crop": crop,
    "re-encode": lambda image, rng: image,
    "resize": resize,
    "flip": lambda image, rng: ImageOps.mirror(image),
    "border": border,
    "text": text,
    "brightness": brightness,
    "blur": blur,
    "rotation": rotation,
    "grayscale": lambda image, rng: image.convert("L").convert("RGB"),
}


def plant(shared: Path, folder: Path, seed: int = 0) -> dict[Pair, str]:
    """Link the photographs into a folder and write the copies; return the kind of each planted pair."""
    rng = np.random.default_rng(seed)
    folder.mkdir(parents=True, exist_ok=True)
    names: list[str] = []
    for source, count in SOURCES.items():
        files = sorted(path for path in (shared / "data" / source).rglob("*.jpg") if "mask" not in str(path))
        for row in sorted(rng.permutation(len(files))[:count].tolist()):
            relative = files[row].relative_to(shared / "data")
            names.append("__".join(relative.parts))
            if not (folder / names[-1]).exists():
                (folder / names[-1]).symlink_to(files[row])
    pairs: dict[Pair, str] = {}
    chosen = rng.permutation(len(names))[: PER_KIND * len(KINDS)].reshape(len(KINDS), PER_KIND)
    for (kind, change), rows in zip(KINDS.items(), chosen.tolist(), strict=True):
        for row in rows:
            name = f"planted__{kind}__{row}.jpg"
            changed = change(Image.open(folder / names[row]).convert("RGB"), rng)
            changed.save(folder / name, quality=25 if kind == "re-encode" else 88)
            pairs[ordered(names[row], name)] = kind
    return pairs


def ordered(a: str, b: str) -> Pair:
    """Both names, the lower first."""
    return (a, b) if a < b else (b, a)


def rivals(folder: Path, weights: Path, python: str) -> dict[str, tuple[float, list[tuple[float, Pair]]]]:
    """Of each method of imagededup: its default threshold, and its pairs with scores, best first."""
    command = [python, str(Path(__file__).with_name("imagededup_pairs.py")), str(folder), str(weights)]
    lines = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout.splitlines()
    answers = [json.loads(line) for line in lines]
    return {
        answer["method"]: (
            answer["default"],
            sorted(((score, ordered(a, b)) for a, b, score in answer["pairs"]), reverse=True),
        )
        for answer in answers
    }


def scored_pairs(vectors: np.ndarray, names: list[str], k: int = 20) -> list[tuple[float, Pair]]:
    """The k nearest of each vector by cosine, each pair once, best first."""
    units = torch.nn.functional.normalize(torch.from_numpy(vectors), dim=1)
    cosines, rows = nearest(units, units, k + 1)
    found: dict[Pair, float] = {}
    for i, (values, others) in enumerate(zip(cosines.tolist(), rows.tolist(), strict=True)):
        for value, j in zip(values, others, strict=True):
            if i != j:
                found[ordered(names[i], names[j])] = value
    return sorted(((value, pair) for pair, value in found.items()), reverse=True)


def best_cut(scored: list[tuple[float, Pair]], true: Iterable[Pair], extra: set[Pair]) -> list[Pair]:
    """The pairs above the threshold with the highest F1; pairs in ``extra`` count neither way."""
    wanted, right, best = set(true), 0, (0.0, 0)
    scored = [each for each in scored if each[1] not in extra]
    for n, (_, pair) in enumerate(scored, start=1):
        right += pair in wanted
        best = max(best, (2 * right / (n + len(wanted)), n))
    return [pair for _, pair in scored[: best[1]]]


def table(found: dict[str, list[Pair]], planted: dict[Pair, str], extra: set[Pair]) -> str:
    """Recall of each kind of change, recall of all and precision, as a Markdown table."""
    lines = ["| | " + " | ".join(found) + " |", "|---" * (len(found) + 1) + "|"]
    for kind in KINDS:
        of_kind = {pair for pair, each in planted.items() if each == kind}
        lines.append(
            f"| {kind} | " + " | ".join(f"{_hit(pairs, of_kind)}/20" for pairs in found.values()) + " |"
        )
    recalls = [_hit(pairs, set(planted)) / len(planted) for pairs in found.values()]
    lines.append("| **recall** | " + " | ".join(f"**{value:.3f}**" for value in recalls) + " |")
    counted = [set(pairs) - extra for pairs in found.values()]
    precisions = [_hit(list(pairs), set(planted)) / max(1, len(pairs)) for pairs in counted]
    lines.append("| **precision** | " + " | ".join(f"**{value:.3f}**" for value in precisions) + " |")
    return "\n".join(lines)


def _hit(pairs: list[Pair], wanted: set[Pair]) -> int:
    return len(set(pairs) & wanted)


def found_pairs(gallery: Gallery) -> list[Pair]:
    """The pairs of near-duplicates that ``Gallery.groups`` links."""
    groups = gallery.groups(kinds=("copy", "near-duplicate"))
    return [ordered(Path(x.first).name, Path(x.second).name) for g in groups for x in g.links]


def embeddings(embedder: Embedder, folder: Path, names: list[str]) -> np.ndarray:
    """Unit embeddings (G, D)."""
    return embedder.embed([folder / name for name in names]).numpy()


def real_pairs(names: list[str], planted: dict[Pair, str], file: Path) -> set[Pair]:
    """Pairs that were near-duplicates before, as judged by eye; they count neither way for any method.

    The file lists pairs of photographs. Copies planted of one of them are duplicates of the other as well.
    """
    judged = {ordered(*pair) for pair in json.loads(file.read_text())} if file.exists() else set()
    source = {max(pair, key=lambda name: name.startswith("planted__")): pair for pair in planted}
    versions: dict[str, set[str]] = {name: {name} for name in names}
    for copy, pair in source.items():
        versions[next(name for name in pair if name != copy)].add(copy)
    return {ordered(a, b) for pair in judged for a in versions[pair[0]] for b in versions[pair[1]]}


def main() -> None:
    """Plant, search by every method, and print the table."""
    parser = parser_of(__doc__)
    add_shared(parser)
    parser.add_argument("--work", type=Path, required=True, help="folder for pictures and the galleries")
    parser.add_argument("--rival-python", required=True, help="an interpreter with imagededup")
    parser.add_argument("--seed", type=int, default=1, help="of the sample; thresholds were chosen on 0")
    options = parser.parse_args()
    pictures = options.work / "pictures"
    planted = plant(options.shared, pictures, options.seed)
    gallery = Gallery.open_or_create(options.work / "mini.gallery")
    gallery.add(pictures, workers=0)
    start = time.perf_counter()
    ours = found_pairs(gallery)
    duration = time.perf_counter() - start
    print(f"groups in {duration:.0f} s", flush=True)
    found = {"groups": ours}
    names = sorted(path.name for path in pictures.iterdir())
    own = real_pairs(names, planted, REAL)
    for name, (default, scored) in rivals(pictures, options.shared / WEIGHTS, options.rival_python).items():
        found[f"{name}, default"] = [pair for score, pair in scored if score >= default]
        found[f"{name}, best F1"] = best_cut(scored, planted, own)
    cosines = scored_pairs(embeddings(gallery.embedder, pictures, names), names)
    found["mini, cosine, best F1"] = best_cut(cosines, planted, own)
    print(table(found, planted, own))
    for name, pairs in found.items():
        others = sorted(set(pairs) - set(planted) - own)
        print(f"{name}: {len(pairs)} pairs, {len(others)} of them not planted")
        (options.work / f"not_planted_{name.replace(', ', '_').replace(' ', '_')}.json").write_text(
            json.dumps(others)
        )
    print(f"{len(names)} pictures, groups in {duration:.0f} s; {describe_run()}")


if __name__ == "__main__":
    main()
