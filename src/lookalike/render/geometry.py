"""Two pictures with lines between the points that agree, and the outline of what matches."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw

from lookalike.render.brush import photo
from lookalike.render.layout import Sheet, blank, composed, justified, row, side_title, stack
from lookalike.render.text import INK, MUTED, Color, text_line
from lookalike.types import Corners, GeometricMatch, Picture

_LINE: Color = (255, 196, 0)
_OUTLINE: Color = (0, 214, 120)
_FINER = 2  # antialiasing: lines are drawn at this scale and then reduced


def inlier_lines(found: GeometricMatch, *, n: int = 60, width: int = 1200) -> Image.Image:
    """Draw both pictures with up to n lines between inliers, and the outline of what matches: RGB.

    On the query the outline is that of the whole match; on the match it is that of the query, or of its
    box, which may reach beyond the picture. Lines are spread evenly over the picture. The image is
    ``width`` pixels wide (480 or more). Raises ValueError for n below 1 and a width that is too small.
    """
    if n < 1:
        raise ValueError(f"n, the number of lines to draw, must be at least 1, got {n}")
    sheet, evidence = Sheet(width), found.verification
    gap = 3 * sheet.gap
    sizes = justified(found.query.original_size, found.match.original_size, sheet.inner, gap)
    shift = sizes[0][1] + gap
    scene = row([photo(found.query, sizes[0]), photo(found.match, sizes[1])], gap)
    chosen = _spread(evidence.query_points, n)
    ends = (
        _on_scene(evidence.query_points[chosen], found.query, sizes[0], 0),
        _on_scene(evidence.match_points[chosen], found.match, sizes[1], shift),
    )
    outlines = (
        _outline(evidence.query_outline, found.query, sizes[0], 0, scene.size),
        _outline(evidence.match_outline, found.match, sizes[1], shift, scene.size),
    )
    scene = _drawn(scene, ends, outlines, sheet)
    names = blank(scene.width, sheet.line)
    names.paste(side_title("query", found.query.name, sheet, sizes[0][1]), (0, 0))
    names.paste(side_title("match", found.match.name, sheet, sizes[1][1]), (shift, 0))
    return composed(_headline(found, len(chosen), sheet), [stack([names, scene], sheet.gap // 2)], sheet)


def outlined(picture: Picture, boxes: Sequence[tuple[Corners, str]], *, width: int = 1200) -> Image.Image:
    """Draw corners (x, y), in original pixels, with a label each on a picture: RGB, ``width`` pixels wide."""
    height = max(1, round(width * picture.original_size[0] / picture.original_size[1]))
    scene = photo(picture, (height, width))
    lines = [_outline(corners, picture, (height, width), 0, scene.size) for corners, _ in boxes]
    sheet = Sheet(max(width, 480))
    scene = _drawn(scene, (np.zeros((0, 2)), np.zeros((0, 2))), lines, sheet)
    for line, (_, words) in zip(lines, boxes, strict=True):
        if line is None or not words:
            continue
        label = text_line(words, sheet.small, max_width=width // 2)
        points = np.array(line.getbbox() or (0, 0))[:2]
        x, y = np.clip(points + 2, 0, (scene.width - label.width, scene.height - label.height))
        scene.paste(label, (int(x), int(y)))
    return scene


def _headline(found: GeometricMatch, n_drawn: int, sheet: Sheet) -> Image.Image:
    evidence = found.verification
    title = text_line(
        f"probability {found.probability:z.2f} · similarity {found.similarity:z.3f} · "
        f"{evidence.n_inliers} inliers",
        sheet.large,
        bold=True,
    )
    what = "local features" if evidence.source == "sift" else "cells of the model"
    how = evidence.kind + (", mirrored" if evidence.mirrored else "")
    facts = f"{evidence.n_inliers} of {evidence.n_tentative} pairs of {what} agree with one {how or 'view'}"
    facts += f" · {n_drawn} drawn" if n_drawn < evidence.n_inliers else ""
    facts += f" · model {found.model}"
    return stack([title, text_line(facts, sheet.small, color=MUTED, max_width=sheet.inner)])


def _spread(points: np.ndarray, n: int) -> np.ndarray:
    """Rows of up to n points, each the farthest from those before."""
    if len(points) <= n:
        return np.arange(len(points))
    chosen = [0]
    distances = np.full(len(points), np.inf)
    while len(chosen) < n:
        distances = np.minimum(distances, np.linalg.norm(points - points[chosen[-1]], axis=1))
        chosen.append(int(distances.argmax()))
    return np.array(chosen)


def _on_scene(points: np.ndarray, picture: Picture, size: tuple[int, int], shift: int) -> np.ndarray:
    """Points (n, 2) of a picture on the scene, where it is drawn at size (H, W)."""
    height, width = picture.original_size
    return np.asarray(points, dtype=np.float64) * (size[1] / width, size[0] / height) + (shift, 0)


def _outline(
    corners: Corners, picture: Picture, size: tuple[int, int], shift: int, scene: tuple[int, int]
) -> Image.Image | None:
    """The outline as a mask over the scene, clipped to its picture; None without corners."""
    if not corners:
        return None
    at = np.clip(_on_scene(np.array(corners), picture, size, 0), -1e5, 1e5) * _FINER
    layer = Image.new("L", (size[1] * _FINER, size[0] * _FINER))
    closed = [tuple(point) for point in np.vstack([at, at[:1]]).tolist()]
    ImageDraw.Draw(layer).line(closed, 255, max(2, scene[0] // 250) * _FINER, joint="curve")
    mask = Image.new("L", scene)
    mask.paste(layer.resize((size[1], size[0]), Image.Resampling.BOX), (shift, 0))
    return mask


def _drawn(
    scene: Image.Image,
    ends: tuple[np.ndarray, np.ndarray],
    outlines: Sequence[Image.Image | None],
    sheet: Sheet,
) -> Image.Image:
    """The scene with its outlines, lines and points."""
    for mask in outlines:
        if mask is not None:
            scene.paste(_OUTLINE, (0, 0), mask)
    layer = Image.new("RGBA", (scene.width * _FINER, scene.height * _FINER))
    draw, thin = ImageDraw.Draw(layer), max(1, round(sheet.width / 600)) * _FINER
    for a, b in zip(*(side * _FINER for side in ends), strict=True):
        draw.line([*a, *b], (*_LINE, 190), thin)
    for x, y in np.vstack(ends) * _FINER:
        draw.ellipse([x - 2 * thin, y - 2 * thin, x + 2 * thin, y + 2 * thin], (*_LINE, 255), INK)
    lines = layer.resize(scene.size, Image.Resampling.BOX)
    return Image.alpha_composite(scene.convert("RGBA"), lines).convert("RGB")
