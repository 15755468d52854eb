"""What stands and hangs where: a plan of the room that keeps its paintings recognizable."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from PIL import Image, ImageDraw

from lookalike.scenes import accessories, furniture
from lookalike.scenes.camera import Camera, Patch, area
from lookalike.scenes.frames import Hanging, frame, with_frame
from lookalike.scenes.paintings import painting_format
from lookalike.scenes.solids import Point

# Visible share of the picture: of the first painting, and of the others.
FIRST_VISIBLE = (0.045, 0.24)
OTHER_VISIBLE = (0.015, 0.24)
_ATTEMPTS = 40
Piece = Callable[[Camera, np.random.Generator, float], furniture.Item]
_MAIN_PIECES: tuple[Piece, ...] = (
    furniture.bed,
    furniture.bed,
    furniture.sofa,
    furniture.sofa,
    furniture.sideboard,
    furniture.desk,
)


@dataclass(frozen=True)
class Plan:
    """A room before it is painted. Patches are in pixels of the supersampled picture."""

    camera: Camera
    ceiling: float  # meters
    walls: tuple[float, float]  # x of the left and right wall, meters
    hangings: tuple[Hanging, ...]
    behind: tuple[Patch, ...]  # frames and things on the wall; no painting is under them
    carpet: tuple[Patch, ...]
    before: tuple[Patch, ...]  # furniture, back to front; covers paintings
    lamps: tuple[Point, ...]  # meters


def plan_room(seed: int, paintings: Sequence[int], size: tuple[int, int]) -> Plan:
    """A plan whose paintings are all seen well enough; size is (H, W) of the supersampled picture."""
    for attempt in range(_ATTEMPTS):
        rng = np.random.default_rng([seed, 11, attempt])
        bare = _empty_room(rng, size)
        hangings = _hang_all(bare, rng, paintings)
        if hangings is None:
            continue
        plan = _furnish(replace(bare, hangings=hangings), rng)
        if _well_seen(plan):
            return plan
    return _plain_room(paintings, size)


def _empty_room(rng: np.random.Generator, size: tuple[int, int]) -> Plan:
    """Camera and walls."""
    focal = rng.uniform(0.82, 1.05) * float(np.sqrt(size[0] * size[1]))
    distance = rng.uniform(2.7, 3.9)
    yaw = float(np.clip(rng.normal(0, 0.28), -0.62, 0.62))
    eye = (-distance * np.tan(yaw), rng.uniform(1.25, 1.65), -distance)
    camera = Camera.looking(
        position=eye,
        yaw=yaw,
        pitch=rng.uniform(-0.09, 0.02),
        roll=rng.normal(0, 0.012),
        focal=focal,
        size=size,
    )
    left = min(-rng.uniform(1.5, 3.5), eye[0] - 0.7)
    right = max(rng.uniform(1.5, 3.5), eye[0] + 0.7)
    return Plan(camera, rng.uniform(2.45, 2.9), (left, right), (), (), (), (), ())


def _hang_all(plan: Plan, rng: np.random.Generator, paintings: Sequence[int]) -> tuple[Hanging, ...] | None:
    """Cells for all paintings, none touching another; None where they do not fit."""
    hangings: list[Hanging] = []
    for index, painting_id in enumerate(paintings):
        share = rng.uniform(0.065, 0.17) if index == 0 else rng.uniform(0.03, 0.1)
        share *= 1.0 if len(paintings) < 3 else 0.8
        for _ in range(40):
            hanging = _propose(plan, rng, painting_id, share)
            if _fits(plan, hanging) and not any(hanging.overlaps(other, 0.04) for other in hangings):
                hangings.append(hanging)
                break
            share = max(share * 0.98, 0.055 if index == 0 else 0.022)
        else:
            return None
    return tuple(hangings)


def _propose(plan: Plan, rng: np.random.Generator, painting_id: int, share: float) -> Hanging:
    """A painting that would cover about ``share`` of the picture, somewhere in its upper part."""
    camera, (height, width) = plan.camera, plan.camera.size
    x, y = camera.wall_point(rng.uniform(0.16, 0.84) * width, rng.uniform(0.2, 0.55) * height)
    probe = Hanging(painting_id, x, y, 0.1, 0.1, 0.0)
    if camera.depth((x, y, 0.0)) < 0.5:
        return probe
    surface = 0.01 * share * height * width / area(camera.project(probe.rectangle()))  # square meters
    ratio = painting_format(painting_id)
    wide, tall = (surface * ratio) ** 0.5, (surface / ratio) ** 0.5
    return with_frame(replace(probe, width=wide, height=tall, tilt=rng.normal(0, 0.012)), rng)


def _fits(plan: Plan, hanging: Hanging) -> bool:
    """Whether the painting lies on the wall and, all but a margin, in the picture."""
    world = hanging.rectangle(hanging.margin)
    if world[:, 0].min() < plan.walls[0] or world[:, 0].max() > plan.walls[1]:
        return False
    if world[:, 1].min() < 0.55 or world[:, 1].max() > plan.ceiling - 0.05:
        return False
    height, width = plan.camera.size
    points = plan.camera.project(hanging.rectangle(0.02))
    inside = (points >= 0).all() and (points[:, 0] <= width).all() and (points[:, 1] <= height).all()
    return bool(inside)


def _furnish(plan: Plan, rng: np.random.Generator) -> Plan:
    """Frames, things on the wall, furniture below the first painting and beside it."""
    camera, first = plan.camera, plan.hangings[0]
    behind = [patch for hanging in plan.hangings for patch in frame(camera, rng, hanging)]
    lamps: list[Point] = []
    decoration = _decorate(plan, rng)
    if decoration is not None:
        behind += decoration.patches
        lamps += decoration.lamps
    x = first.x + rng.normal(0, 0.3)
    piece = _MAIN_PIECES[rng.integers(len(_MAIN_PIECES))]
    items = _drapery(plan, rng)
    main = piece(camera, rng, x)
    items.append(main)
    for side in rng.permutation([-1, 1])[: int(rng.integers(0, 3))]:
        items.append(_beside(plan, rng, x + side * (main.width / 2 + rng.uniform(0.3, 0.6))))
    items += _before_a_painting(plan, rng) + _foreground(plan, rng, x, piece)
    carpet = accessories.rug(camera, rng, x) if rng.random() < 0.6 else []
    return replace(
        plan,
        behind=tuple(behind),
        carpet=tuple(carpet),
        before=tuple(patch for item in items for patch in item.patches),
        lamps=tuple(lamps + [lamp for item in items for lamp in item.lamps]),
    )


def _decorate(plan: Plan, rng: np.random.Generator) -> furniture.Item | None:
    """Something small on the wall where no painting hangs."""
    height, width = plan.camera.size
    for _ in range(6):
        x, y = plan.camera.wall_point(rng.uniform(0.05, 0.95) * width, rng.uniform(0.2, 0.5) * height)
        place = Hanging(0, x, y, 0.75, 0.6, 0.0)
        on_wall = plan.walls[0] + 0.4 < x < plan.walls[1] - 0.4 and 1.0 < y < plan.ceiling - 0.3
        if on_wall and not any(place.overlaps(hanging, 0.1) for hanging in plan.hangings):
            return accessories.wall_thing(plan.camera, rng, x, y) if rng.random() < 0.6 else None
    return None


def _drapery(plan: Plan, rng: np.random.Generator) -> list[furniture.Item]:
    """A curtain at one edge of the picture, in some rooms."""
    if rng.random() > 0.35:
        return []
    height, width = plan.camera.size
    column = rng.choice([0.0, 1.0])
    edge = plan.camera.wall_point(column * width, height / 2)[0]
    edge = float(np.clip(edge, plan.walls[0] + 0.05, plan.walls[1] - 0.05))
    reach = rng.uniform(0.3, 0.75)
    span = (edge - 0.1, edge + reach) if column == 0 else (edge - reach, edge + 0.1)
    return [accessories.curtain(plan.camera, rng, span, plan.ceiling)]


def _beside(plan: Plan, rng: np.random.Generator, x: float) -> furniture.Item:
    kind = int(rng.integers(4))
    if kind == 0:
        return accessories.floor_lamp(plan.camera, rng, x, -0.35)
    if kind == 1:
        return furniture.armchair(plan.camera, rng, x)
    return accessories.plant(plan.camera, rng, x, -0.4)


def _before_a_painting(plan: Plan, rng: np.random.Generator) -> list[furniture.Item]:
    """A lamp or plant that hides an edge of some painting, in some rooms."""
    if rng.random() > 0.35:
        return []
    target = plan.hangings[rng.integers(len(plan.hangings))]
    x = target.x + rng.choice([-1, 1]) * target.width * rng.uniform(0.3, 0.55)
    if rng.random() < 0.5:
        return [accessories.floor_lamp(plan.camera, rng, x, -0.4)]
    return [accessories.plant(plan.camera, rng, x, -rng.uniform(0.5, 0.9))]


def _foreground(plan: Plan, rng: np.random.Generator, x: float, piece: Piece) -> list[furniture.Item]:
    """What stands or hangs nearer to the camera than the main piece, in some rooms."""
    kind = int(rng.integers(7))
    aside = x + rng.choice([-1, 1]) * rng.uniform(0.5, 1.0)
    near = -rng.uniform(1.2, 1.6)
    if kind == 0 and piece is not furniture.bed:
        return [furniture.chair(plan.camera, rng, aside, near)]
    if kind == 1:
        return [accessories.plant(plan.camera, rng, aside * 1.2, near)]
    if kind == 2:
        return [accessories.pendant(plan.camera, rng, aside, near, plan.ceiling)]
    if piece is furniture.sofa and kind < 6:
        return [accessories.coffee_table(plan.camera, rng, x + rng.normal(0, 0.2), -1.35)]
    return []


def _well_seen(plan: Plan) -> bool:
    """Whether every painting's visible share of the picture is within its bounds."""
    scale = 160 / max(plan.camera.size)
    size = (round(plan.camera.size[0] * scale), round(plan.camera.size[1] * scale))
    owner = Image.new("L", (size[1], size[0]))
    draw = ImageDraw.Draw(owner)
    for index, hanging in enumerate(plan.hangings, start=1):
        draw.polygon(Patch(plan.camera.project(hanging.rectangle()), (0, 0, 0)).outline(scale), fill=index)
    hung = owner.histogram()
    for patch in plan.before:
        draw.polygon(patch.outline(scale), fill=0)
    seen = owner.histogram()
    for index in range(1, len(plan.hangings) + 1):
        low, high = FIRST_VISIBLE if index == 1 else OTHER_VISIBLE
        if not low <= seen[index] / (size[0] * size[1]) <= high or seen[index] < 0.55 * hung[index]:
            return False
    return True


def _plain_room(paintings: Sequence[int], size: tuple[int, int]) -> Plan:
    """A frontal room without furniture, its paintings in a row or column: nothing hides them.

    For pictures so narrow or flat that no random plan fits.
    """
    height, width = size
    camera = Camera.looking(position=(0, 1.5, -3.0), yaw=0, pitch=0, roll=0, focal=min(size), size=size)
    meter = min(size) / 3.0  # pixels a meter on the wall
    step = max(size) / len(paintings) / meter
    hangings = []
    for index, painting_id in enumerate(paintings):
        ratio = painting_format(painting_id)
        wide = (0.07 * height * width * ratio) ** 0.5 / meter
        wide = min(wide, 0.9 * min(3.0, step) * min(1.0, ratio))
        offset = (index - (len(paintings) - 1) / 2) * step
        x, y = (offset, 1.5) if width >= height else (0.0, 1.5 - offset)
        hangings.append(Hanging(painting_id, x, y, wide, wide / ratio, 0.0))
    reach, rng = width / meter, np.random.default_rng(0)
    frames = tuple(patch for hanging in hangings for patch in frame(camera, rng, hanging))
    return Plan(camera, 1.5 + height / meter, (-reach, reach), tuple(hangings), frames, (), (), ())
