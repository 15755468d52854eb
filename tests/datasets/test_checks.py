import logging
from pathlib import Path

import pytest
from PIL import Image

from lookalike.datasets import LabeledImages
from lookalike.datasets.checks import check_readable, check_training_data
from lookalike.errors import DatasetError


def images(*labels):
    return LabeledImages(tuple(Path(f"/none/{label}/{i}") for i, label in enumerate(labels)), labels)


def test_one_class_is_refused():
    with pytest.raises(DatasetError, match=r"two classes or more, got 1 \(robin\)"):
        check_training_data(images("robin", "robin"))


def test_a_class_with_one_image_is_named():
    with pytest.raises(DatasetError, match=r"1 of 2 classes have only one image, e\.g\. wren"):
        check_training_data(images("robin", "robin", "wren"))


def test_classes_in_both_splits_are_warned_of(caplog):
    with caplog.at_level(logging.WARNING):
        check_training_data(images("a", "a", "b", "b"), images("b", "c"))
    assert "1 of 2 classes are in training and in evaluation, e.g. b" in caplog.text


def test_other_classes_in_evaluation_are_no_news(caplog):
    check_training_data(images("a", "a", "b", "b"), images("c", "c"))
    assert not caplog.text


def test_unreadable_images_are_counted_and_the_first_is_named(tmp_path):
    for name in ("a", "b", "c"):
        Image.effect_noise((40, 50), 60).convert("RGB").save(tmp_path / f"{name}.jpg")
    data = LabeledImages(tuple(sorted(tmp_path.iterdir())), ("x", "x", "y"))
    seen = []
    check_readable(data, lambda progress: seen.append((progress.done, progress.total)))
    assert seen[-1] == (3, 3)
    whole = (tmp_path / "b.jpg").read_bytes()
    (tmp_path / "b.jpg").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "c.jpg").write_text("no image")
    with pytest.raises(DatasetError, match=r"2 of 3 images can't be read, the first is .*b\.jpg: truncated"):
        check_readable(data)
