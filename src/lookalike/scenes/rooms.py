"""Generated rooms with paintings on the wall, and masks that say exactly where.

Two rooms that share a painting are a true match: all else differs between two seeds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from lookalike.scenes import surfaces
from lookalike.scenes.camera import Camera, Patch, PixelBox, bounding_box
from lookalike.scenes.frames import Hanging, canvas_texture, glare, hang
from lookalike.scenes.layout import Plan, plan_room
from lookalike.scenes.light import cast_shadow, develop, light_map
from lookalike.scenes.paintings import paint
from lookalike.scenes.palettes import Rgb, mix, shade

_SUPERSAMPLING = 2
_LARGEST_TEXTURE = 2**22  # pixels of a wall; reached by pictures many times as long as wide
_SEAM = 3  # texture pixels repeated at the edge of a wall, so that no gap shows in the corner
_TEXTURE_SIZES = (64, 128, 256, 512, 1024)


@dataclass(frozen=True)
class Room:
    """A picture of a room and where its paintings are seen."""

    image: Image.Image  # RGB
    masks: Mapping[int, NDArray[np.bool_]]  # painting id -> (H, W), True where that painting is seen
    seed: int
    paintings: tuple[int, ...]  # ids; the first is the one the room is composed around


def room(seed: int, *, paintings: Sequence[int], size: tuple[int, int] = (240, 320)) -> Room:
    """The room of that seed with one to three paintings; size is (H, W) pixels, each at least 32.

    The first painting is seen on 4 to 25 % of the picture, others on at least 1 % (unless the picture
    is more than about eight times as long as wide). A mask holds the pixels of which at least half
    belongs to the painting; what stands before it is left out.
    """
    _check(seed, paintings, size)
    large = (size[0] * _SUPERSAMPLING, size[1] * _SUPERSAMPLING)
    plan = plan_room(seed, paintings, large)
    picture, owner = _draw(plan, np.random.default_rng([seed, 12]))
    rng = np.random.default_rng([seed, 13])
    light = light_map(rng, plan.camera, plan.lamps, size)
    pixels = develop(rng, np.asarray(picture.reduce(_SUPERSAMPLING)), light)
    return Room(Image.fromarray(pixels), _masks(owner, plan.hangings), seed, tuple(paintings))


def _check(seed: int, paintings: Sequence[int], size: tuple[int, int]) -> None:
    if seed < 0:
        raise ValueError(f"a room's seed is a number >= 0, got {seed}")
    if not 1 <= len(paintings) <= 3 or len(set(paintings)) < len(paintings):
        raise ValueError(f"a room holds one to three different paintings, got {list(paintings)}")
    if min(size) < 32:
        raise ValueError(f"a room needs a size (H, W) of at least 32 pixels each way, got {size}")


def _draw(plan: Plan, rng: np.random.Generator) -> tuple[Image.Image, NDArray[np.uint8]]:
    """The supersampled picture, and per pixel 1 + index of the painting seen there, else 0: (H, W)."""
    camera = plan.camera
    image = _empty_room(plan, rng)
    owner = Image.new("L", image.size)
    slant = rng.uniform(-0.02, 0.02)
    image = cast_shadow(image, plan.behind, offset=(slant / 2, 0.008), softness=0.008, strength=0.45)
    _fill(image, plan.behind)
    for index, hanging in enumerate(plan.hangings, start=1):
        _hang(image, owner, camera, hanging, index, rng)
    image = cast_shadow(image, plan.before, offset=(slant, -0.006), softness=0.02, strength=0.5)
    layer = Image.new("RGBA", image.size)
    _fill(layer, plan.before)
    coverage = layer.getchannel("A")
    image.paste(layer, mask=coverage)
    owner.paste(0, mask=coverage)
    return image, np.asarray(owner)


def _fill(image: Image.Image, patches: Sequence[Patch]) -> None:
    draw = ImageDraw.Draw(image)
    for patch in patches:
        draw.polygon(patch.outline(), fill=patch.color)


def _hang(
    image: Image.Image,
    owner: Image.Image,
    camera: Camera,
    hanging: Hanging,
    index: int,
    rng: np.random.Generator,
) -> None:
    """Put one painting on the picture and its index on the map of owners."""
    corners = camera.project(hanging.rectangle())
    box = bounding_box(corners, camera.size)
    longest = max(box[2] - box[0], box[3] - box[1])
    n = next((size for size in _TEXTURE_SIZES if size >= 0.7 * longest), _TEXTURE_SIZES[-1])
    texture = canvas_texture(paint(hanging.painting_id, n), glare(rng, n))
    seen = hang(camera, texture, hanging, box)
    shape = Image.new("L", seen.size)
    ImageDraw.Draw(shape).polygon(Patch(corners - box[:2], (0, 0, 0)).outline(), fill=255)
    image.paste(seen, box, mask=shape)
    owner.paste(index, box, mask=shape)


def _masks(owner: NDArray[np.uint8], hangings: Sequence[Hanging]) -> dict[int, NDArray[np.bool_]]:
    """Pixels of which at least half belongs to each painting."""
    s = _SUPERSAMPLING
    cells = owner.reshape(owner.shape[0] // s, s, owner.shape[1] // s, s)
    half = s * s / 2
    return {
        hanging.painting_id: (cells == index).sum(axis=(1, 3)) >= half
        for index, hanging in enumerate(hangings, start=1)
    }


def _empty_room(plan: Plan, rng: np.random.Generator) -> Image.Image:
    """Walls, ceiling, floor and carpet."""
    camera, (left, right), top = plan.camera, plan.walls, plan.ceiling
    back = float(camera.position[2]) - 0.5  # the room ends behind the camera
    scale = 0.6 * max(camera.size) / (-back)  # texture pixels a meter
    scale = min(scale, (_LARGEST_TEXTURE / ((right - left) * max(top, -back))) ** 0.5)
    paper = surfaces.wall(rng, (top, right - left), scale)
    boards = surfaces.floor(rng, (-back, right - left), scale)
    ceiling = mix((246, 244, 240), surfaces.wall_color(rng), rng.uniform(0, 0.25))
    image = Image.new("RGB", (camera.size[1], camera.size[0]), ceiling)
    meter = 1 / scale
    floor_corners = [(left, 0, back), (right, 0, back), (right, 0, 0), (left, 0, 0)]
    _cover(image, camera, boards, floor_corners, ((left, 0, 0), (meter, 0, 0), (0, 0, -meter)))
    side = Image.eval(paper, lambda value: int(value * 0.82))
    for x, seen in ((left, camera.position[0] > left), (right, camera.position[0] < right)):
        if seen:
            corners = [(x, 0, back), (x, 0, 0), (x, top, 0), (x, top, back)]
            _cover(image, camera, side, corners, ((x, top, 0), (0, 0, -meter), (0, -meter, 0)))
    wall_corners = [(left, 0, 0), (right, 0, 0), (right, top, 0), (left, top, 0)]
    _cover(image, camera, paper, wall_corners, ((left, top, 0), (meter, 0, 0), (0, -meter, 0)))
    _fill(image, [*_trim(plan, rng, ceiling), *plan.carpet])
    return image


Vector = tuple[float, float, float]


def _cover(
    image: Image.Image,
    camera: Camera,
    texture: Image.Image,
    corners: Sequence[Vector],
    plane: tuple[Vector, Vector, Vector],
) -> None:
    """Cover a plane of the room, given by its corners, with a texture: origin, across, down in meters."""
    points = camera.polygon(corners)
    if points is None:
        return
    box: PixelBox = bounding_box(points, camera.size)
    if box[0] >= box[2] or box[1] >= box[3]:
        return
    shape = Image.new("L", (box[2] - box[0], box[3] - box[1]))
    ImageDraw.Draw(shape).polygon(Patch(points - box[:2], (0, 0, 0)).outline(), fill=255)
    origin, across, down = (np.array(vector) for vector in plane)
    pixels = np.pad(np.asarray(texture), ((_SEAM, _SEAM), (_SEAM, _SEAM), (0, 0)), mode="edge")
    seen = camera.warp(Image.fromarray(pixels), origin - _SEAM * (across + down), across, down, box)
    image.paste(seen, box, mask=shape)


def _trim(plan: Plan, rng: np.random.Generator, ceiling: Rgb) -> list[Patch]:
    """Skirting board, and in some rooms a cornice."""
    left, right = plan.walls
    color = shade(ceiling, rng.uniform(0.75, 1.0)) if rng.random() < 0.7 else (70, 52, 40)
    height = rng.uniform(0.06, 0.12)
    board = [(left, 0, -0.01), (right, 0, -0.01), (right, height, -0.01), (left, height, -0.01)]
    faces = [
        (board, color),
        ([(x, 0.0, z) for x, _, z in board[:2]] + [(right, 0, -0.04), (left, 0, -0.04)], (60, 50, 45)),
    ]
    if rng.random() < 0.5:
        top, low = plan.ceiling, plan.ceiling - 0.07
        faces.append(
            (
                [(left, low, -0.02), (right, low, -0.02), (right, top, -0.02), (left, top, -0.02)],
                shade(ceiling, 0.9),
            )
        )
    return plan.camera.patches(faces)
