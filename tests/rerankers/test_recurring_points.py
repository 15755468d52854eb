"""An arrangement of points that moves and scales from picture to picture is found with its place."""

import numpy as np
import pytest

from lookalike.rerankers.local_features import LocalFeatures
from lookalike.rerankers.recurring_points import moving_groups

CARRIERS = {2: (10, 20, 1.0), 5: (150, 60, 1.5), 7: (40, 100, 0.8), 11: (90, 10, 1.0), 13: (0, 0, 1.2)}


def unit(values):
    return values / np.linalg.norm(values, axis=-1, keepdims=True)


def pictures(*, scattered=False, turned=0.0):
    """15 pictures of 300 x 200 pixels with 12 random points; five of them with a mark of 6 points."""
    rng = np.random.default_rng(0)
    mark, words = rng.uniform(0, 60, (6, 2)), unit(rng.normal(size=(6, 128)))
    found = []
    for i in range(15):
        points, descriptors = rng.uniform(0, 200, (12, 2)), unit(rng.normal(size=(12, 128)))
        sizes, angles = rng.uniform(4, 9, 12), rng.uniform(-3, 3, 12)
        if i in CARRIERS:
            x, y, scale = CARRIERS[i]
            places = rng.uniform(0, 200, (6, 2)) if scattered else mark * scale + (x, y)
            points = np.concatenate([points, places])
            descriptors = np.concatenate([descriptors, unit(words + 0.02 * rng.normal(size=(6, 128)))])
            sizes = np.concatenate([sizes, np.full(6, 5.0 * scale)])
            angles = np.concatenate([angles, np.full(6, 0.4 + turned * i)])
        parts = (each.astype(np.float32) for each in (points, sizes, angles, descriptors))
        found.append(LocalFeatures(*parts, (0.0, 0.0, 300.0, 200.0), (200, 300)))
    return found


def test_pictures_with_the_mark_are_one_group_with_its_place_in_each():
    (group,) = moving_groups(pictures(), least=3)
    assert set(group.frames) == set(CARRIERS)
    left, top, right, _ = group.frames[5]
    assert left == pytest.approx(150, abs=40) and top == pytest.approx(60, abs=40)
    assert right - left > 1.2 * (group.frames[7][2] - group.frames[7][0])  # it is larger there


def test_the_same_points_in_another_arrangement_are_no_mark():
    assert moving_groups(pictures(scattered=True), least=3) == []


def test_marks_that_are_turned_are_not_looked_for():
    assert moving_groups(pictures(turned=0.5), least=3) == []


def test_too_few_pictures_are_no_group():
    assert moving_groups(pictures(), least=5) == []
