from collections import Counter

import pytest

from lookalike.errors import DatasetError
from lookalike.training.batches import Batches

CODES = [0] * 5 + [1] * 3 + [2] * 4 + [3] * 9  # 21 images


def batches(**changes):
    options = {"batch_size": 6, "images_per_class": 2, "epochs": 3, "seed": 0} | changes
    return Batches(CODES, **options)


def test_a_batch_holds_so_many_images_of_each_class_that_was_drawn():
    for batch in batches():
        counts = Counter(CODES[draw.index] for draw in batch)
        assert len(counts) == 3 and set(counts.values()) == {2}
        assert len({draw.index for draw in batch}) == 6  # every class has two different images


def test_without_classes_an_epoch_shows_no_image_twice():
    found = list(batches(images_per_class=0))
    assert [len(batch) for batch in found] == [6] * 9
    for epoch in range(3):
        indices = [draw.index for batch in found[3 * epoch : 3 * epoch + 3] for draw in batch]
        assert len(set(indices)) == 18
    assert [d.index for d in found[0]] != [d.index for d in found[3]]


@pytest.mark.parametrize("images_per_class", [0, 2])
@pytest.mark.parametrize("step", [1, 3, 5])
def test_what_is_left_after_a_step_is_what_would_have_come(images_per_class, step):
    whole = list(batches(images_per_class=images_per_class))
    rest = list(batches(images_per_class=images_per_class, first_step=step))
    assert rest == whole[step:]


def test_processes_share_each_batch_in_order():
    whole = list(batches())
    first, second = (list(batches(process=p, n_processes=2)) for p in (0, 1))
    assert [a + b for a, b in zip(first, second, strict=True)] == whole


def test_every_image_of_every_step_is_augmented_otherwise():
    seeds = [draw.seed for batch in batches() for draw in batch]
    assert len(set(seeds)) == len(seeds) == 54


def test_another_seed_gives_other_batches():
    assert list(batches()) != list(batches(seed=1))


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"batch_size": 22}, DatasetError, "22 images can't be drawn from 21"),
        ({"batch_size": 12}, DatasetError, "needs 6 classes, the data has 4"),
        ({"n_processes": 4}, ValueError, "a batch of 6 can't be shared by 4 processes"),
    ],
)
def test_batches_that_can_not_be_are_refused(changes, error, message):
    with pytest.raises(error, match=message):
        batches(**changes)
