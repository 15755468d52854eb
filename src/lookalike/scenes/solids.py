"""Simple shaded bodies for furniture: boxes, cushions, turned shapes and leaves."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from lookalike.scenes.camera import Array, Camera, Patch
from lookalike.scenes.palettes import Rgb, mix, shade

Span = tuple[float, float]  # from, to, in meters
Point = tuple[float, float, float]  # x, y, z in meters


def gradient_quad(
    camera: Camera, corners: tuple[Point, Point, Point, Point], low: Rgb, high: Rgb, *, strips: int = 6
) -> list[Patch]:
    """A four-cornered face, its color running from the side 0-1 (low) to the side 3-2 (high)."""
    a, b, c, d = (np.array(corner) for corner in corners)
    faces = []
    for strip in range(strips):
        start, stop = strip / strips, (strip + 1) / strips
        ring = np.stack([a + (d - a) * start, b + (c - b) * start, b + (c - b) * stop, a + (d - a) * stop])
        faces.append((ring, mix(low, high, (strip + 0.5) / strips)))
    return camera.patches(faces)


def box(camera: Camera, x: Span, y: Span, z: Span, color: Rgb, *, strips: int = 8) -> list[Patch]:
    """An upright box: the faces that the camera sees, lit from above and in front."""
    (x0, x1), (y0, y1), (z0, z1) = x, y, z
    eye_x, eye_y, _ = camera.position
    patches: list[Patch] = []
    for seen, side, tone in ((eye_x < x0, x0, 0.72), (eye_x > x1, x1, 0.64)):
        if seen:
            face = ((side, y0, z0), (side, y0, z1), (side, y1, z1), (side, y1, z0))
            patches += gradient_quad(camera, face, shade(color, tone * 0.8), shade(color, tone), strips=3)
    if eye_y > y1:
        top = ((x0, y1, z0), (x1, y1, z0), (x1, y1, z1), (x0, y1, z1))
        patches += gradient_quad(camera, top, shade(color, 1.2), shade(color, 1.02), strips=3)
    if eye_y < y0:
        patches += camera.patches(
            [([(x0, y0, z0), (x1, y0, z0), (x1, y0, z1), (x0, y0, z1)], shade(color, 0.5))]
        )
    front = ((x0, y0, z0), (x1, y0, z0), (x1, y1, z0), (x0, y1, z0))
    return patches + gradient_quad(camera, front, shade(color, 0.78), shade(color, 1.0), strips=strips)


def cushion(
    camera: Camera,
    center: Point,
    half: tuple[float, float],
    color: Rgb,
    *,
    exponent: float = 3.0,
    tilt: float = 0.0,
    layers: int = 10,
) -> list[Patch]:
    """A puffed rounded rectangle that faces the room; half is (width, height) / 2, tilt in radians."""
    angle = np.linspace(0, 2 * np.pi, 28, endpoint=False)
    ring_x = np.sign(np.cos(angle)) * np.abs(np.cos(angle)) ** (2 / exponent) * half[0]
    ring_y = np.sign(np.sin(angle)) * np.abs(np.sin(angle)) ** (2 / exponent) * half[1]
    faces = []
    for layer in np.linspace(0, 1, layers):
        grow, lift = 1 - 0.85 * layer**1.6, layer * 0.2 * half[1]
        x, y = ring_x * grow, ring_y * grow + lift
        turned_x, turned_y = x * np.cos(tilt) - y * np.sin(tilt), x * np.sin(tilt) + y * np.cos(tilt)
        depth = np.full_like(x, center[2])
        ring = np.stack([center[0] + turned_x, center[1] + turned_y, depth], axis=1)
        faces.append((ring, shade(color, 0.72 + 0.36 * layer**0.6)))
    return camera.patches(faces)


def turned(
    camera: Camera, foot: Point, profile: list[tuple[float, float]], color: Rgb, *, strips: int = 9
) -> list[Patch]:
    """A body of revolution: profile of (height above foot, radius) from bottom to top, in meters."""
    sideways = _sideways(camera, foot)
    heights, radii = np.array(profile).T
    axis = np.array(foot) + np.outer(heights, (0.0, 1.0, 0.0))
    edges = np.sin(np.linspace(-np.pi / 2, np.pi / 2, strips + 1))
    faces = []
    for start, stop in pairwise(edges):
        left = axis + np.outer(radii * start, sideways)
        right = axis + np.outer(radii * stop, sideways)
        middle = (start + stop) / 2
        tone = 0.55 + 0.55 * float(np.sqrt(max(0.0, 1 - (middle + 0.3) ** 2 / 1.8)))
        faces.append((np.concatenate([left, right[::-1]]), shade(color, tone)))
    patches = camera.patches(faces)
    if camera.position[1] > axis[-1, 1]:
        patches += disc_patches(
            camera, (foot[0], float(axis[-1, 1]), foot[2]), float(radii[-1]), shade(color, 0.45)
        )
    return patches


def disc_patches(camera: Camera, center: Point, radius: float, color: Rgb) -> list[Patch]:
    """A level disc."""
    angle = np.linspace(0, 2 * np.pi, 24, endpoint=False)
    ring = np.array(center) + radius * np.stack([np.cos(angle), np.zeros(24), np.sin(angle)], axis=1)
    return camera.patches([(ring, color)])


def leaf(camera: Camera, base: Point, reach: Point, width: float, color: Rgb) -> list[Patch]:
    """A leaf that rises from base, bends under its weight and ends at base + reach; two tones."""
    t = np.linspace(0, 1, 8)[:, None]
    bend = np.array([0.0, 0.25 * float(np.hypot(reach[0], reach[2])), 0.0])
    spine = np.array(base) + t * np.array(reach) + 4 * t * (1 - t) * bend
    across = np.cross(np.array(reach), np.array(spine[4] - camera.position))
    across = across / max(float(np.linalg.norm(across)), 1e-6)
    spread = width * np.sin(np.pi * t**0.75) * across
    lower, upper = (
        np.concatenate([spine, (spine + spread)[::-1]]),
        np.concatenate([spine, (spine - spread)[::-1]]),
    )
    return camera.patches([(lower, shade(color, 0.78)), (upper, shade(color, 1.08))])


def _sideways(camera: Camera, foot: Point) -> Array:
    """Level unit vector across the line of sight, to the right."""
    away = np.array(foot) - camera.position
    length = float(np.hypot(away[0], away[2]))
    return np.array([away[2], 0.0, -away[0]]) / length
