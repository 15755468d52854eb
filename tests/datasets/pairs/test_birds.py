import json

import pytest

from lookalike.datasets.pairs import read_pairs
from lookalike.errors import DatasetError


@pytest.fixture
def cub(tmp_path, picture):
    """Classes 1 and 2 of two images each, the second to test; image 4 shows one part of two."""
    rows = [(1, 1), (2, 1), (3, 2), (4, 2)]
    for image, number in rows:
        picture(f"images/{number:03}.Bird/{image}.jpg", size=(70, 50))
    (tmp_path / "images.txt").write_text("".join(f"{i} {c:03}.Bird/{i}.jpg\n" for i, c in rows))
    (tmp_path / "image_class_labels.txt").write_text("".join(f"{i} {c}\n" for i, c in rows))
    (tmp_path / "bounding_boxes.txt").write_text("".join(f"{i} {i}.0 5.0 30.0 20.5\n" for i, _ in rows))
    (tmp_path / "parts").mkdir()
    (tmp_path / "parts/parts.txt").write_text("1 back\n2 left eye\n")
    (tmp_path / "parts/part_locs.txt").write_text(
        "".join(f"{i} 1 {i + 10}.0 9.0 1\n{i} 2 {i + 20}.5 8.0 {int(i != 4)}\n" for i, _ in rows)
    )
    return tmp_path


def images(pairs):
    return {image.path.stem: image for p in pairs for image in (p.query, p.match)}


def test_cub_gives_test_classes_with_boxes_and_the_parts_that_are_visible(cub):
    found = images(read_pairs(cub, limit=10))
    assert set(found) == {"3", "4"}
    assert found["3"].box == (3, 5, 33, 25.5)
    assert found["3"].parts == {"back": (13, 9), "left eye": (23.5, 8)}
    assert found["4"].parts == {"back": (14, 9)}
    assert found["4"].label == "2"


def test_cub_without_boxes_and_parts_gives_pairs(cub):
    (cub / "bounding_boxes.txt").unlink()
    (cub / "parts/parts.txt").unlink()
    assert {(i.box, len(i.parts)) for i in images(read_pairs(cub, limit=10)).values()} == {(None, 0)}


def test_a_box_that_is_missing_names_file_and_image(cub):
    (cub / "bounding_boxes.txt").write_text("1 1 5 30 20\n")
    with pytest.raises(DatasetError, match=r"bounding_boxes\.txt: the box of image [34] is not 4 numbers"):
        read_pairs(cub, limit=10)


def test_a_part_that_has_no_name_is_refused(cub):
    (cub / "parts/parts.txt").write_text("1 back\n")
    with pytest.raises(DatasetError, match=r"part_locs\.txt: part 2 of image 1 has no name"):
        read_pairs(cub, limit=10)


@pytest.fixture
def annotated(tmp_path, picture):
    """Writes annotations of two images of one class, the second with the changes given."""

    def write(**changes):
        entry = {"class": "Crow", "box_xywh": [1, 2, 3, 2.5], "parts_xyv": [[2, 3, 1], [0, 0, 0]]}
        content = {"parts": ["beak", "tail"], "images": {"a.jpg": entry, "b.jpg": entry | changes}}
        for name in content["images"]:
            picture(f"images/{name}")
        (tmp_path / "annotations.json").write_text(json.dumps(content))
        return tmp_path

    return write


def test_annotations_give_box_and_visible_parts(annotated):
    for image in images(read_pairs(annotated(), limit=10)).values():
        assert (image.label, image.box, image.parts) == ("Crow", (1, 2, 4, 4.5), {"beak": (2, 3)})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"box_xywh": [1, 2, 3]}, r"box_xywh of b\.jpg is not 4 numbers"),
        ({"box_xywh": [1, 2, 0, 4]}, r"box_xywh of b\.jpg is empty"),
        ({"box_xywh": "1234x"}, r"box_xywh of b\.jpg is not 4 numbers"),
        ({"parts_xyv": [[2, 3, 1]]}, r"parts_xyv of b\.jpg is no list of a point .* of the 2 'parts'"),
        ({"parts_xyv": [[2, 3, 1], [0, None, 0]]}, r"parts_xyv of b\.jpg is not 3 numbers"),
        ({"class": ""}, r"b\.jpg has no 'class'"),
    ],
)
def test_a_malformed_annotation_names_file_and_entry(annotated, changes, message):
    with pytest.raises(DatasetError, match=r"annotations\.json: " + message):
        read_pairs(annotated(**changes), limit=10)


def test_annotations_of_another_kind_are_refused(annotated):
    folder = annotated()
    (folder / "annotations.json").write_text("[1]")
    with pytest.raises(DatasetError, match=r"annotations\.json holds no object 'images'"):
        read_pairs(folder, limit=10)


@pytest.mark.weights
def test_parts_of_real_birds_lie_in_their_boxes(shared):
    pairs = read_pairs(shared / "data/birds_full", limit=800)
    birds = images(pairs)
    assert len({p.query.label for p in pairs}) == 177  # of 195 classes, those with two images or more
    inside = [
        left - 1 <= x <= right + 1 and top - 1 <= y <= bottom + 1
        for bird in birds.values()
        for left, top, right, bottom in [bird.box]
        for x, y in bird.parts.values()
    ]
    assert len(inside) > 5000
    assert all(inside)


@pytest.mark.weights
def test_a_flycatcher_has_the_box_and_beak_of_its_annotation(shared):
    pairs = read_pairs(shared / "data/birds_full", limit=5000)
    assert len(pairs) == 1739  # the sum of n (n - 1) / 2 over classes of n images
    bird = images(pairs)["Acadian_Flycatcher_0010_29199"]
    assert bird.box == (193, 117, 193 + 236, 117 + 182)
    assert bird.parts["beak"] == (223, 152)
    assert "left leg" not in bird.parts
