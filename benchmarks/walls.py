"""Paintings on walls: the embedding alone, SIFT with RANSAC over everything, and verification by geometry.

    uv run python benchmarks/walls.py [--model mini] [--walls 20] [--seed 7] [--only boxes] [--groups made]

287 paintings. By box: 30 plain photographs (qsd1, the whole photograph), 30 on museum walls (qsd2, the box
of the mask) and the paintings of compositions: two to four paintings of the gallery, framed, turned by
quarters and tilted, in perspective and light, on walls made here that nothing was fitted to. Recall@1. By
the whole photograph: of how many photographs `search_regions` names every painting, and nothing else. Absent
paintings: the same boxes with the painting, and its copies in the gallery, left out: how many have a hit of
probability 0.5 or more, with the default odds. SIFT + RANSAC is the textbook: ratio 0.75, homography, 5
pixels, the most inliers of all 287.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from environment import add_shared, box_of_mask, describe_run, parser_of
from paintings import read_mask
from PIL import Image, ImageFilter

from lookalike import Gallery

# Pictures of the gallery that show the same painting; found by looking at every "false" verdict.
COPIES = ({"bbdd_00179.jpg", "bbdd_00219.jpg"}, {"bbdd_00043.jpg", "bbdd_00249.jpg"})
GROUPS = ("qsd1", "qsd2", "made")
WALL = (1500, 1050)  # (W, H) pixels


@dataclass(frozen=True)
class Case:
    """One painting by its box on a photograph."""

    group: str
    photograph: str
    image: Path
    box: tuple[int, int, int, int] | None
    right: frozenset[str]  # names of gallery files


# --- photographs ------------------------------------------------------------------------------


def museum_cases(folder: Path) -> list[Case]:
    """The real photographs, with the gallery files that each shows."""
    relevant = json.loads((folder / "relevant.json").read_text())
    cases = []
    for name in sorted(relevant):
        group = name[:4]
        box = box_of_mask(read_mask(folder / "masks" / f"{Path(name).stem}.png")) if group == "qsd2" else None
        cases.append(Case(group, name, folder / "queries" / name, box, with_copies(relevant[name])))
    return cases


def with_copies(names: Sequence[str]) -> frozenset[str]:
    """The names, and those of pictures that show the same."""
    return frozenset(names).union(*(copies for copies in COPIES if copies & set(names)))


def made_cases(folder: Path, out: Path, n_walls: int, seed: int) -> list[Case]:
    """Compositions of two to four paintings each, written to ``out``."""
    rng = np.random.default_rng(seed)
    files = sorted((folder / "gallery").glob("*.jpg"))
    order = iter(rng.permutation(len(files)))
    cases = []
    for number in range(n_walls):
        chosen = [files[next(order)] for _ in range(int(rng.integers(2, 5)))]
        photograph, boxes = composition([Image.open(file).convert("RGB") for file in chosen], rng)
        path = out / f"wall_{number:02d}.jpg"
        photograph.save(path, quality=int(rng.integers(60, 90)))
        cases += [
            Case("made", path.name, path, box, with_copies([file.name]))
            for file, box in zip(chosen, boxes, strict=True)
        ]
    return cases


def composition(
    paintings: Sequence[Image.Image], rng: np.random.Generator
) -> tuple[Image.Image, list[tuple[int, int, int, int]]]:
    """A wall with paintings in a row: the photograph, and the box of each painting with its frame."""
    canvas, boxes = wall(rng), []
    width = WALL[0] // len(paintings)
    for i, painting in enumerate(paintings):
        framed = in_a_frame(painting, int(min(width * 0.62, 520) * rng.uniform(0.7, 1.0)), rng)
        corners, warped, mask = hung(framed, rng)
        size = warped.shape[1], warped.shape[0]
        left = int(i * width + rng.integers(0, max(1, width - size[0])))
        top = int(rng.integers(20, max(21, WALL[1] - size[1] - 20)))
        shadow = cv2.GaussianBlur(np.roll(mask, (12, 9), (0, 1)), (0, 0), 8)[..., None] * 0.45
        area = canvas[top : top + size[1], left : left + size[0]]
        high, wide = area.shape[:2]
        alpha = mask[:high, :wide, None]
        area[:] = area * (1 - shadow[:high, :wide]) * (1 - alpha) + warped[:high, :wide] * alpha
        x, y = corners.T
        boxes.append((
            max(0, int(left + x.min())), max(0, int(top + y.min())),
            min(WALL[0], int(left + x.max()) + 1), min(WALL[1], int(top + y.max()) + 1),
        ))  # fmt: skip
    light = rng.uniform(0.75, 1.1, (2, 3, 1)).astype(np.float32)
    canvas *= cv2.resize(light, WALL, interpolation=cv2.INTER_CUBIC)[..., None]
    canvas *= rng.uniform(0.92, 1.08, 3)
    canvas += rng.normal(0, 4, canvas.shape)
    image = Image.fromarray(np.clip(canvas, 0, 255).astype(np.uint8))
    return image.filter(ImageFilter.GaussianBlur(float(rng.uniform(0, 1.1)))), boxes


def wall(rng: np.random.Generator) -> np.ndarray:
    """A wall (H, W, 3) float: plaster, bricks, panels or striped paper, in a random color."""
    width, height = WALL
    color = rng.uniform(70, 235, 3)
    canvas = np.ones((height, width, 3)) * color
    coarse = cv2.resize(rng.normal(0, 1, (height // 40, width // 40)).astype(np.float32), WALL)
    canvas += (coarse * rng.uniform(2, 8))[..., None]
    y, x = np.mgrid[0:height, 0:width]
    kind = rng.integers(0, 4)
    if kind == 1:  # bricks
        row = y // 38
        joint = (y % 38 < 4) | ((x + 45 * (row % 2)) % 90 < 4)
        tone = rng.uniform(-18, 18, (height // 38 + 1, width // 90 + 2))
        canvas += tone[row, (x + 45 * (row % 2)) // 90][..., None]
        canvas[joint] = color * 0.75
    elif kind == 2:  # panels
        canvas += (12 * np.sin(y / 9 + 3 * coarse))[..., None]
        canvas[:, x[0] % 190 < 5] *= 0.6
    elif kind == 3:  # striped paper
        canvas[(x // 55) % 2 == 0] += rng.uniform(-25, 25, 3)
    if rng.random() < 0.6:  # a floor
        canvas[int(height * rng.uniform(0.86, 0.95)) :] = rng.uniform(40, 160, 3)
    return canvas


def in_a_frame(painting: Image.Image, side: int, rng: np.random.Generator) -> np.ndarray:
    """The painting at a size, in a frame of two colors, sometimes with a mount: (H, W, 3)."""
    image = painting.copy()
    scale = side / max(image.size)
    image = image.resize((round(image.width * scale), round(image.height * scale)), Image.Resampling.LANCZOS)
    pixels = np.asarray(image, dtype=np.float64)
    layers = [
        (int(rng.integers(3, 8)), rng.uniform(20, 90, 3)),
        (int(rng.integers(8, 26)), rng.uniform(30, 220, 3)),
    ]
    if rng.random() < 0.35:
        layers.insert(0, (int(rng.integers(15, 40)), np.full(3, 238.0)))
    for thickness, color in layers:
        pad = ((thickness, thickness), (thickness, thickness))
        pixels = np.stack([np.pad(pixels[..., c], pad, constant_values=color[c]) for c in range(3)], axis=-1)
    return pixels


def hung(framed: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A framed painting turned, tilted and seen in perspective: its corners (4, 2), pixels and mask."""
    height, width = framed.shape[:2]
    corners = np.array([(0, 0), (width, 0), (width, height), (0, height)], dtype=np.float64)
    angle = np.deg2rad(rng.choice([0, 0, 90, 180, 270]) + rng.normal(0, 6))
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    seen = (corners - (width / 2, height / 2)) @ turn.T
    seen += rng.uniform(-0.06, 0.06, (4, 2)) * min(width, height)
    seen -= seen.min(0) - 14
    size = tuple(int(value) + 16 for value in seen.max(0))
    matrix = cv2.getPerspectiveTransform(corners.astype(np.float32), seen.astype(np.float32))
    warped = cv2.warpPerspective(framed, matrix, size, flags=cv2.INTER_AREA)
    mask = cv2.warpPerspective(np.ones((height, width)), matrix, size)
    return seen, warped, mask


# --- methods ----------------------------------------------------------------------------------


class Textbook:
    """SIFT with the ratio test and RANSAC over every picture of the gallery."""

    def __init__(self, files: Sequence[Path]) -> None:
        self.names = [file.name for file in files]
        self._features = [self.features(np.asarray(Image.open(file).convert("L"))) for file in files]

    def features(self, gray: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        keypoints, descriptors = cv2.SIFT_create(nfeatures=1000).detectAndCompute(gray, None)
        if descriptors is None:
            return np.zeros((0, 2), np.float32), np.zeros((0, 128), np.float32)
        return cv2.KeyPoint_convert(keypoints), descriptors

    def best(self, case: Case) -> str:
        image = Image.open(case.image).convert("L")
        points, descriptors = self.features(np.asarray(image if case.box is None else image.crop(case.box)))
        inliers = [self._inliers(points, descriptors, *other) for other in self._features]
        return self.names[int(np.argmax(inliers))]

    def _inliers(
        self, points: np.ndarray, descriptors: np.ndarray, others: np.ndarray, known: np.ndarray
    ) -> int:
        if len(descriptors) < 4 or len(known) < 4:
            return 0
        squares = (descriptors**2).sum(1)[:, None] + (known**2).sum(1) - 2 * descriptors @ known.T
        two = np.argpartition(squares, 1, axis=1)[:, :2]
        first, second = np.take_along_axis(squares, two, 1).T
        good = np.flatnonzero(first < 0.75**2 * second)
        if len(good) < 4:
            return 0
        cv2.setRNGSeed(0)
        _, mask = cv2.findHomography(points[good], others[two[good, 0]], cv2.RANSAC, 5.0)
        return 0 if mask is None else int(mask.sum())


def main() -> None:
    parser = parser_of(__doc__)
    parser.add_argument("--model", default="mini")
    parser.add_argument("--walls", type=int, default=20, help="compositions to make")
    parser.add_argument("--seed", type=int, default=7, help="of the compositions")
    parser.add_argument("--keep", type=Path, default=Path("walls"), help="folder for the compositions")
    parser.add_argument("--groups", nargs="+", choices=GROUPS, default=GROUPS, help="photographs to take")
    parser.add_argument("--only", choices=("boxes", "photographs"), help="one of the two tables")
    add_shared(parser)
    options = parser.parse_args()
    folder = options.shared / "data" / "paintings"
    options.keep.mkdir(parents=True, exist_ok=True)
    cases = museum_cases(folder) + made_cases(folder, options.keep, options.walls, options.seed)
    cases = [case for case in cases if case.group in options.groups]
    gallery = Gallery.in_memory(options.model)
    gallery.add(folder / "gallery")
    print(describe_run(), f"· model {gallery.embedder.name}", flush=True)
    if options.only != "photographs":
        by_box(cases, gallery, Textbook(sorted((folder / "gallery").glob("*.jpg"))))
    if options.only != "boxes":
        by_photograph(cases, gallery)


def by_box(cases: Sequence[Case], gallery: Gallery, textbook: Textbook) -> None:
    """Recall@1 by box of each method, and false verdicts with the painting left out."""
    found: dict[str, list[tuple[bool, bool, bool, bool]]] = {}
    false_verdicts, n_absent, seconds = 0, 0, []
    for case in cases:
        start = time.perf_counter()
        hits = gallery.search(case.image, box=case.box, k=len(gallery), rerank="geometry")
        seconds.append(time.perf_counter() - start)
        ours = hits[0].path.name in case.right
        by_cosine = gallery.search(case.image, box=case.box, k=1)[0].path.name in case.right
        sure = any(hit.path.name in case.right and hit.probability >= 0.5 for hit in hits)
        found.setdefault(case.group, []).append((by_cosine, textbook.best(case) in case.right, ours, sure))
        if case.group != "qsd1":
            n_absent += 1
            wrong = [hit for hit in hits if hit.path.name not in case.right and hit.probability >= 0.5]
            false_verdicts += bool(wrong)
            for hit in wrong:
                print(f"  false? {case.photograph} {sorted(case.right)}: {hit.path.name} {hit.verification}")
        best = [
            (round(hit.similarity, 3), hit.verification.n_inliers, hit.path.name)
            for hit in sorted(hits, key=lambda hit: -hit.verification.by_features)[:4]
            if hit.verification is not None
        ]
        print(f"  {case.photograph} {sorted(case.right)}: {best}", flush=True)
        if not ours:
            rank = next((h.rank for h in hits if h.path.name in case.right), None)
            print(f"  missed {case.photograph} {sorted(case.right)}: rank {rank}", flush=True)
    print("| by box | n | embedding | SIFT + RANSAC, all 287 | geometry | and sure of it |")
    print("|---|---|---|---|---|---|")
    for group, rows in found.items():
        n_right = np.array(rows).sum(0)
        counts = " | ".join(f"{n} ({n / len(rows):.0%})" for n in n_right)
        print(f"| {group} | {len(rows)} | {counts} |")
    rate = false_verdicts / n_absent
    print(f"absent paintings: {false_verdicts} false verdicts of {n_absent} boxes ({rate:.1%})")
    print(f"geometry: {np.median(seconds):.1f} s a query (median)", flush=True)


def by_photograph(cases: Sequence[Case], gallery: Gallery) -> None:
    """Photographs whose every painting is named by ``search_regions``, and what is named beside them."""
    shown: dict[str, list[Case]] = {}
    for case in cases:
        if case.group != "qsd1":
            shown.setdefault(case.photograph, []).append(case)
    rows: dict[str, list[tuple[bool, int, int, int]]] = {}
    seconds = []
    for photograph, paintings in shown.items():
        start = time.perf_counter()
        result = gallery.search_regions(paintings[0].image)
        seconds.append(time.perf_counter() - start)
        names = [{each.hit.path.name, *(o.path.name for o in each.others)} for each in result.matches]
        named = [any(case.right & each for each in names) for case in paintings]
        right = frozenset().union(*(case.right for case in paintings))
        wrong = [each for each in names if not each & right]
        rows.setdefault(paintings[0].group, []).append((all(named), sum(named), len(named), len(wrong)))
        if wrong or not all(named):
            missed = [sorted(case.right) for case, was in zip(paintings, named, strict=True) if not was]
            print(f"  {photograph}: missed {missed}, named beside {wrong}", flush=True)
    print("| by photograph | n | every painting named | paintings named | named wrongly |")
    print("|---|---|---|---|---|")
    for group, counts in rows.items():
        complete, named, n, wrong = np.array(counts).sum(0)
        share = complete / len(counts)
        print(f"| {group} | {len(counts)} | {complete} ({share:.0%}) | {named} of {n} | {wrong} |")
    print(f"search_regions: {np.median(seconds):.1f} s a photograph (median)")


if __name__ == "__main__":
    main()
