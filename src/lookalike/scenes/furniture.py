"""The large pieces that stand below the pictures: bed, sofa, sideboard, desk, armchair.

Each function takes the camera, a generator and the place on the wall (x of its middle, meters) and
returns an ``Item``.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from lookalike.scenes.camera import Camera, Patch
from lookalike.scenes.palettes import Rgb, mix, rgb, shade
from lookalike.scenes.solids import Point, box, cushion, gradient_quad, turned


@dataclass(frozen=True)
class Item:
    """A piece of furniture as the camera sees it."""

    patches: list[Patch]
    width: float  # meters along the wall
    lamps: list[Point] = field(default_factory=list)  # where light comes from, meters


def wood(rng: np.random.Generator) -> Rgb:
    """A wood tone, from ash to wenge."""
    return rgb(rng.uniform(0.045, 0.1), rng.uniform(0.3, 0.65), rng.choice([0.28, 0.45, 0.6, 0.78]))


def fabric(rng: np.random.Generator) -> Rgb:
    """A cloth color: mostly muted, sometimes strong."""
    strong = rng.random() < 0.35
    return rgb(
        rng.random(), rng.uniform(0.4, 0.75) if strong else rng.uniform(0.04, 0.3), rng.uniform(0.3, 0.9)
    )


def linen(rng: np.random.Generator) -> Rgb:
    """Near white."""
    return rgb(rng.uniform(0, 0.2), rng.uniform(0.0, 0.08), rng.uniform(0.86, 0.97))


def bed(camera: Camera, rng: np.random.Generator, x: float) -> Item:
    """A double bed with headboard, pillows, blanket, and often a night table with lamp on each side."""
    half, length, top = rng.uniform(0.75, 1.0), rng.uniform(1.7, 2.05), rng.uniform(0.46, 0.6)
    cloth, accent, sheet, frame = fabric(rng), fabric(rng), linen(rng), wood(rng)
    patches = _headboard(camera, rng, x, half + rng.uniform(0.02, 0.12), rng.uniform(0.9, 1.25), frame)
    lamps: list[Point] = []
    width = 2 * half
    if rng.random() < 0.75:
        table, lamp_color, style = wood(rng), linen(rng), int(rng.integers(2))
        for side in (-1, 1):
            place = x + side * (half + 0.35)
            patches += box(camera, (place - 0.22, place + 0.22), (0.1, top), (-0.45, -0.03), table)
            patches += _line(camera, (place - 0.2, place + 0.2), top * 0.6, -0.452, shade(table, 0.5))
            lamp = table_lamp(camera, (place, top, -0.24), lamp_color, frame, style)
            patches += lamp.patches
            lamps += lamp.lamps
        width += 1.2
    patches += box(camera, (x - half, x + half), (0.08, 0.3), (-length, -0.08), frame)
    patches += box(camera, (x - half + 0.02, x + half - 0.02), (0.28, top), (-length + 0.02, -0.08), sheet)
    patches += _pillows(camera, rng, x, half, top, [sheet, accent])
    fold = -rng.uniform(0.7, 1.0)
    patches += box(
        camera, (x - half - 0.02, x + half + 0.02), (0.2, top + 0.03), (-length - 0.02, fold), cloth
    )
    patches += box(
        camera, (x - half - 0.025, x + half + 0.025), (0.3, top + 0.045), (fold - 0.02, fold + 0.2), sheet
    )
    return Item(patches, width, lamps)


def _headboard(
    camera: Camera, rng: np.random.Generator, x: float, half: float, height: float, frame: Rgb
) -> list[Patch]:
    style = int(rng.integers(3))
    color = frame if style == 0 else fabric(rng)
    patches = box(camera, (x - half, x + half), (0.2, height), (-0.08, -0.01), color)
    count = int(rng.integers(3, 7))
    if style == 1:  # upholstered columns
        for column in range(count):
            middle = x - half + (column + 0.5) * 2 * half / count
            patches += cushion(
                camera, (middle, height * 0.72, -0.09), (half / count, height * 0.28), color, exponent=5
            )
    elif style == 0:  # panels in the wood
        for column in range(count):
            left = x - half + (column + 0.12) * 2 * half / count
            right = left + 0.76 * 2 * half / count
            face: tuple[Point, Point, Point, Point]
            face = (
                (left, 0.4, -0.085),
                (right, 0.4, -0.085),
                (right, height - 0.07, -0.085),
                (left, height - 0.07, -0.085),
            )
            patches += gradient_quad(camera, face, shade(color, 0.7), shade(color, 0.9))
    return patches


def _pillows(
    camera: Camera, rng: np.random.Generator, x: float, half: float, top: float, colors: list[Rgb]
) -> list[Patch]:
    patches: list[Patch] = []
    for side in (-1, 1):
        center = (x + side * half * 0.5, top + 0.22, -0.2)
        patches += cushion(
            camera, center, (half * 0.46, 0.24), colors[0], exponent=3.6, tilt=rng.normal(0, 0.03)
        )
    if rng.random() < 0.7:
        for side in (-1, 1):
            center = (x + side * half * 0.48, top + 0.16, -0.34)
            patches += cushion(
                camera, center, (half * 0.4, 0.19), mix(colors[0], colors[1], 0.25), exponent=3.6
            )
    for _ in range(int(rng.integers(0, 3))):
        center = (x + rng.uniform(-0.4, 0.4) * half, top + 0.14, -0.46)
        patches += cushion(camera, center, (0.22, 0.16), colors[1], exponent=4, tilt=rng.normal(0, 0.15))
    return patches


def sofa(camera: Camera, rng: np.random.Generator, x: float, *, seats: int | None = None) -> Item:
    """A sofa, or with one seat an armchair: back, arms, seat cushions and throw pillows."""
    seats = int(rng.integers(2, 4)) if seats is None else seats
    seat = rng.uniform(0.62, 0.75)
    half, depth = seats * seat / 2, rng.uniform(0.8, 0.95)
    back, arm, arm_height = rng.uniform(0.72, 0.95), rng.uniform(0.12, 0.22), rng.uniform(0.52, 0.68)
    cloth, leg = fabric(rng), wood(rng)
    left, right = x - half, x + half
    patches: list[Patch] = []
    for place in (left - arm + 0.05, right + arm - 0.1):
        patches += box(camera, (place, place + 0.05), (0.0, 0.12), (-depth, -depth + 0.05), leg, strips=1)
    patches += box(camera, (left, right), (0.12, back), (-0.25, -0.03), cloth)
    for index in range(seats):
        middle = left + (index + 0.5) * seat
        center = (middle, (0.42 + back) / 2 + 0.03, -0.3)
        patches += cushion(camera, center, (seat * 0.5, (back - 0.36) / 2), shade(cloth, 1.05), exponent=5)
    for index in range(int(rng.integers(0, seats + 1))):
        center = (left + (index + rng.uniform(0.3, 0.7)) * seat, 0.6, -0.42)
        patches += cushion(camera, center, (0.21, 0.19), fabric(rng), exponent=4, tilt=rng.normal(0, 0.3))
    patches += box(camera, (left, right), (0.12, 0.3), (-depth + 0.02, -0.25), shade(cloth, 0.88))
    middles = left + (np.arange(seats) + 0.5) * seat
    for index in np.argsort(-np.abs(middles - camera.position[0])).tolist():  # the nearest last
        span = (left + index * seat + 0.005, left + (index + 1) * seat - 0.005)
        patches += box(camera, span, (0.3, 0.44), (-depth, -0.3), shade(cloth, 1.06), strips=4)
    for span in ((left - arm, left), (right, right + arm)):
        patches += box(camera, span, (0.12, arm_height), (-depth, -0.03), shade(cloth, 0.97))
    return Item(patches, 2 * (half + arm))


def armchair(camera: Camera, rng: np.random.Generator, x: float) -> Item:
    """A sofa for one."""
    return sofa(camera, rng, x, seats=1)


def sideboard(camera: Camera, rng: np.random.Generator, x: float) -> Item:
    """A low cupboard with doors or drawers, and things on it."""
    half, height, depth = rng.uniform(0.6, 1.0), rng.uniform(0.62, 0.9), 0.42
    color = wood(rng) if rng.random() < 0.7 else linen(rng)
    foot = rng.uniform(0.05, 0.2)
    patches: list[Patch] = []
    for place in (x - half + 0.05, x + half - 0.09):
        patches += box(
            camera, (place, place + 0.04), (0, foot), (-depth, -depth + 0.04), shade(color, 0.6), strips=1
        )
    patches += box(camera, (x - half, x + half), (foot, height), (-depth, -0.02), color)
    columns, rows = int(rng.integers(2, 5)), int(rng.integers(1, 4))
    knob = shade(color, 0.35)
    for column in range(columns):
        for row in range(rows):
            patches += _front(
                camera, (x, half, foot, height, depth), (column, columns), (row, rows), color, knob
            )
    lamps: list[Point] = []
    for place in (x - half * 0.7, x, x + half * 0.7):
        thing = _ornament(camera, rng, (place + rng.uniform(-0.1, 0.1) * half, height, -0.22))
        patches += thing.patches
        lamps += thing.lamps
    return Item(patches, 2 * half, lamps)


def _front(
    camera: Camera,
    body: tuple[float, float, float, float, float],
    column: tuple[int, int],
    row: tuple[int, int],
    color: Rgb,
    knob: Rgb,
) -> list[Patch]:
    """One drawer or door of a sideboard with its knob."""
    x, half, foot, height, depth = body
    width, tall, front = 2 * half / column[1], (height - foot) / row[1], -depth - 0.004
    left, low = x - half + column[0] * width + 0.02, foot + row[0] * tall + 0.02
    right, high = left + width - 0.04, low + tall - 0.04
    face: tuple[Point, Point, Point, Point]
    face = ((left, low, front), (right, low, front), (right, high, front), (left, high, front))
    patches = camera.patches([(np.array(face) + np.array([0.008, -0.008, 0.0]), shade(color, 0.55))])
    patches += gradient_quad(camera, face, shade(color, 0.88), shade(color, 1.08), strips=4)
    middle = (left + right) / 2
    return patches + box(
        camera,
        (middle - 0.04, middle + 0.04),
        (high - 0.05, high - 0.035),
        (front - 0.01, front),
        knob,
        strips=1,
    )


def desk(camera: Camera, rng: np.random.Generator, x: float) -> Item:
    """A table against the wall with a chair before it, and things on it."""
    half, height, depth, color = (
        rng.uniform(0.5, 0.8),
        rng.uniform(0.72, 0.78),
        rng.uniform(0.5, 0.65),
        wood(rng),
    )
    patches: list[Patch] = []
    for place in (x - half + 0.02, x + half - 0.07):
        for front in (-0.08, -depth + 0.02):
            patches += box(
                camera,
                (place, place + 0.05),
                (0, height),
                (front, front + 0.05),
                shade(color, 0.8),
                strips=2,
            )
    patches += box(camera, (x - half, x + half), (height - 0.05, height), (-depth, -0.02), color, strips=2)
    lamps: list[Point] = []
    for place in (x - half * 0.65, x + half * 0.6):
        thing = _ornament(camera, rng, (place, height, -0.25))
        patches += thing.patches
        lamps += thing.lamps
    return Item(
        patches + chair(camera, rng, x + rng.uniform(-0.2, 0.2), -depth - 0.15).patches, 2 * half, lamps
    )


def chair(camera: Camera, rng: np.random.Generator, x: float, z: float) -> Item:
    """A chair seen from behind or in front, its seat around (x, z)."""
    color, seat = wood(rng), fabric(rng)
    patches: list[Patch] = []
    for place_z in (z + 0.2, z - 0.2):
        for place in (x - 0.2, x + 0.17):
            patches += box(
                camera, (place, place + 0.03), (0, 0.45), (place_z, place_z + 0.03), color, strips=1
            )
    patches += box(camera, (x - 0.22, x + 0.22), (0.43, 0.48), (z - 0.22, z + 0.22), seat, strips=2)
    back = z - 0.22 if rng.random() < 0.5 else z + 0.2
    height = rng.uniform(0.82, 1.0)
    for place in (x - 0.2, x + 0.17):
        patches += box(camera, (place, place + 0.03), (0.45, height), (back, back + 0.03), color, strips=2)
    if rng.random() < 0.5:
        return Item(patches + cushion(camera, (x, 0.74, back - 0.01), (0.2, 0.22), seat, exponent=5), 0.5)
    for low in np.arange(0.56, height - 0.05, 0.12):
        patches += box(
            camera,
            (x - 0.19, x + 0.19),
            (float(low), float(low) + 0.06),
            (back, back + 0.02),
            color,
            strips=1,
        )
    return Item(patches, 0.5)


def table_lamp(camera: Camera, foot: Point, shade_color: Rgb, stand: Rgb, style: int) -> Item:
    """A lamp for a table: a slim or a round stand and a light shade, switched on."""
    x, y, z = foot
    if style == 0:
        profile = [(0.0, 0.07), (0.015, 0.07), (0.02, 0.015), (0.24, 0.015)]
    else:
        profile = [(0.0, 0.05), (0.05, 0.09), (0.12, 0.1), (0.18, 0.06), (0.24, 0.02)]
    patches = turned(camera, foot, profile, stand)
    patches += turned(
        camera, (x, y + 0.22, z), [(0.0, 0.15), (0.2, 0.1)], mix(shade_color, (255, 240, 200), 0.5)
    )
    return Item(patches, 0.3, [(x, y + 0.3, z)])


def _ornament(camera: Camera, rng: np.random.Generator, foot: Point) -> Item:
    """A vase, a pile of books, a bowl, a lamp or nothing, standing on a table."""
    x, y, z = foot
    kind = int(rng.integers(5))
    if kind == 0:
        r, h = rng.uniform(0.05, 0.1), rng.uniform(0.18, 0.38)
        profile = [(0.0, r * 0.6), (h * 0.35, r), (h * 0.75, r * 0.5), (h * 0.9, r * 0.35), (h, r * 0.5)]
        return Item(turned(camera, foot, profile, fabric(rng)), 0.2)
    if kind == 1:
        patches: list[Patch] = []
        for book in range(int(rng.integers(2, 5))):
            half, shift = rng.uniform(0.1, 0.15), rng.normal(0, 0.01)
            span = (x - half + shift, x + half + shift)
            patches += box(
                camera,
                span,
                (y + book * 0.035, y + book * 0.035 + 0.033),
                (z - 0.1, z + 0.08),
                fabric(rng),
                strips=1,
            )
        return Item(patches, 0.3)
    if kind == 2:
        profile = [(0.0, 0.05), (0.02, 0.06), (0.09, 0.15)]
        return Item(turned(camera, foot, profile, fabric(rng)), 0.3)
    if kind == 3:
        return table_lamp(camera, foot, linen(rng), fabric(rng), int(rng.integers(2)))
    return Item([], 0.0)


def _line(camera: Camera, x: tuple[float, float], y: float, z: float, color: Rgb) -> list[Patch]:
    """A thin level line on a front."""
    ring = [(x[0], y, z), (x[1], y, z), (x[1], y + 0.012, z), (x[0], y + 0.012, z)]
    return camera.patches([(ring, color)])
