import numpy as np
import pytest
from PIL import Image

from lookalike.scenes import room, rooms
from lookalike.scenes.camera import area
from lookalike.scenes.layout import plan_room

SEEDS = range(8)


def paintings_of(seed):
    return [seed, seed + 40, seed + 90][: 1 + seed % 3]


@pytest.fixture(scope="module")
def many_rooms():
    return [room(seed, paintings=paintings_of(seed), size=(90, 120)) for seed in range(48)]


def recolored(monkeypatch, colors, seed, size):
    """The same room with every painting replaced by one color."""
    monkeypatch.setattr(rooms, "paint", lambda i, n: Image.new("RGB", (n, n), colors.get(i, (128, 128, 128))))
    return room(seed, paintings=paintings_of(seed), size=size)


def grown(mask):
    padded = np.pad(mask, 1)
    height, width = mask.shape
    shifts = [padded[i : i + height, j : j + width] for i in range(3) for j in range(3)]
    return np.any(shifts, axis=0), np.all(shifts, axis=0)


def test_the_same_seed_gives_the_same_room():
    first, second = (room(3, paintings=[7, 8], size=(90, 120)) for _ in range(2))
    assert first.image.tobytes() == second.image.tobytes()
    assert all((first.masks[i] == second.masks[i]).all() for i in (7, 8))


def test_another_seed_gives_another_room_around_the_same_painting():
    first, second = (room(seed, paintings=[7], size=(90, 120)) for seed in (1, 2))
    difference = np.abs(np.asarray(first.image, float) - np.asarray(second.image, float))
    outside = ~(first.masks[7] | second.masks[7])
    assert difference[outside].mean() > 20


@pytest.mark.parametrize("size", [(131, 277), (97, 64), (33, 200), (300, 40), (32, 32)])
def test_image_and_masks_have_the_size_asked_for(size):
    made = room(5, paintings=[1, 2, 3], size=size)
    assert made.image.mode == "RGB"
    assert made.image.size == (size[1], size[0])
    assert {mask.shape for mask in made.masks.values()} == {size}
    assert all(mask.dtype == bool and mask.any() for mask in made.masks.values())


def test_the_first_painting_is_seen_on_four_to_twenty_five_percent(many_rooms):
    shares = [made.masks[made.paintings[0]].mean() for made in many_rooms]
    assert min(shares) >= 0.04
    assert max(shares) <= 0.25


def test_other_paintings_are_seen_on_at_least_one_percent(many_rooms):
    shares = [made.masks[i].mean() for made in many_rooms for i in made.paintings[1:]]
    assert min(shares) >= 0.01
    assert max(shares) <= 0.25


def test_masks_of_a_room_do_not_overlap(many_rooms):
    assert all(sum(mask.astype(int) for mask in made.masks.values()).max() <= 1 for made in many_rooms)


def test_furniture_hides_a_part_of_some_paintings_but_never_most(many_rooms):
    shares = np.array([share for made in many_rooms for share in shares_left_visible(made)])
    assert (shares < 0.95).mean() > 0.1
    assert shares.min() > 0.5


def shares_left_visible(made):
    """Of each painting: pixels of its mask per pixel that it would have without furniture."""
    height, width = made.image.height * 2, made.image.width * 2
    plan = plan_room(made.seed, made.paintings, (height, width))
    areas = [area(plan.camera.project(hanging.rectangle())) / 4 for hanging in plan.hangings]
    return [made.masks[i].sum() / a for i, a in zip(made.paintings, areas, strict=True)]


@pytest.mark.parametrize("seed", SEEDS)
def test_repainting_changes_pixels_only_where_the_masks_say(monkeypatch, seed):
    size = (120, 160)
    original = room(seed, paintings=paintings_of(seed), size=size)
    changed = recolored(monkeypatch, {}, seed, size)
    seen = np.any(list(original.masks.values()), axis=0)
    reach, _ = grown(seen)
    difference = np.asarray(original.image, int) != np.asarray(changed.image, int)
    assert not difference[~reach].any()


@pytest.mark.parametrize("seed", SEEDS)
def test_a_planted_color_is_found_exactly_where_the_mask_says(monkeypatch, seed):
    size = (131, 177)
    target = paintings_of(seed)[0]
    dark, bright = (
        np.asarray(recolored(monkeypatch, {target: color}, seed, size).image, int)
        for color in ((0, 0, 0), (255, 255, 255))
    )
    made = recolored(monkeypatch, {}, seed, size)
    found = (bright - dark).max(axis=-1) > 0
    reach, core = grown(made.masks[target])
    assert not found[~reach].any()
    assert found[core].all()


@pytest.mark.parametrize("paintings", [[], [1, 1], [1, 2, 3, 4]])
def test_an_impossible_list_of_paintings_is_refused(paintings):
    with pytest.raises(ValueError, match="one to three different paintings"):
        room(0, paintings=paintings)


def test_a_tiny_size_is_refused():
    with pytest.raises(ValueError, match="at least 32"):
        room(0, paintings=[1], size=(16, 320))
