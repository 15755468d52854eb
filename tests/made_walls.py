"""Pictures full of detail, and a wall on which some of them hang turned."""

import numpy as np
from PIL import Image, ImageDraw


def detailed(seed, size=(231, 303)):
    """A picture (H, W) of many discs and bars in random colors."""
    rng = np.random.default_rng(seed)
    image = Image.new("RGB", (size[1], size[0]), tuple(int(c) for c in rng.integers(0, 256, 3)))
    draw = ImageDraw.Draw(image)
    for _ in range(140):
        x, y, r = rng.integers(0, size[1]), rng.integers(0, size[0]), rng.integers(3, 16)
        color = tuple(int(c) for c in rng.integers(0, 256, 3))
        shape = draw.ellipse if rng.random() < 0.5 else draw.rectangle
        shape([int(x - r), int(y - r // 2), int(x + r), int(y + r)], fill=color)
    return image


def wall_of(pictures, turns, size=(500, 901)):
    """A plain wall with pictures in a row, each turned by quarters; and the box of each."""
    wall = Image.new("RGB", (size[1], size[0]), (205, 200, 188))
    boxes, step = [], size[1] // len(pictures)
    for i, (picture, quarters) in enumerate(zip(pictures, turns, strict=True)):
        hung = picture.rotate(90 * quarters, expand=True)
        left, top = i * step + 40, 60 + 37 * i
        wall.paste(hung, (left, top))
        boxes.append((left, top, left + hung.width, top + hung.height))
    return wall, boxes
