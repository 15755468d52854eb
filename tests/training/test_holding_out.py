"""The part of each class that is held out where the data has no split to evaluate on."""

from collections import Counter
from pathlib import Path

from lookalike.datasets import LabeledImages
from lookalike.training.holding_out import held_out


def data(**sizes):
    rows = [(Path(f"/{label}/{i}.jpg"), label) for label, n in sizes.items() for i in range(n)]
    return LabeledImages(tuple(path for path, _ in rows), tuple(label for _, label in rows))


def test_a_fifth_of_each_class_is_held_out_and_nothing_is_lost_or_doubled():
    whole = data(a=20, b=10, c=4, d=3)
    learned, kept = held_out(whole, 0.2)
    assert Counter(kept.labels) == {"a": 4, "b": 2, "c": 2}  # d is too small to be split
    assert Counter(learned.labels) == {"a": 16, "b": 8, "c": 2, "d": 3}
    assert sorted([*learned.paths, *kept.paths]) == sorted(whole.paths)


def test_the_draw_depends_on_the_seed_only():
    whole = data(a=30, b=30)
    assert held_out(whole, 0.3, 1)[1] == held_out(whole, 0.3, 1)[1] != held_out(whole, 0.3, 2)[1]


def test_classes_of_three_images_leave_nothing_to_hold_out():
    whole = data(a=3, b=3)
    assert held_out(whole, 0.5) == (whole, None)
