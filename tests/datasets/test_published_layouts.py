"""The layouts of CUB-200-2011, Cars196 and Stanford Online Products, made small."""

import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat

from lookalike.datasets import read_dataset, splits_of
from lookalike.errors import DatasetError


def picture(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (7, 5), (200, 30, 10)).save(path)


def names(data, top):
    return [path.relative_to(top).as_posix() for path in data.paths]


@pytest.fixture
def cub(tmp_path):
    """Four classes, the second and third images of class 3 listed apart."""
    rows = [(1, 1), (2, 3), (3, 2), (4, 4), (5, 3)]
    for image, number in rows:
        picture(tmp_path / f"images/{number:03}.Bird/{image}.jpg")
    lines = [f"{image} {number:03}.Bird/{image}.jpg" for image, number in rows]
    (tmp_path / "images.txt").write_text("\n".join(lines) + "\n")
    (tmp_path / "image_class_labels.txt").write_text("".join(f"{i} {c}\n" for i, c in rows))
    (tmp_path / "classes.txt").write_text("".join(f"{c} {c:03}.Bird\n" for c in (1, 2, 3, 4)))
    (tmp_path / "train_test_split.txt").write_text("".join(f"{i} {i % 2}\n" for i, _ in rows))
    return tmp_path


def test_cub_trains_on_the_first_half_of_the_classes(cub):
    assert splits_of(cub) == ("test", "train")
    train, test = read_dataset(cub, "train"), read_dataset(cub, "test")
    assert names(train, cub) == ["images/001.Bird/1.jpg", "images/002.Bird/3.jpg"]
    assert train.labels == ("001.Bird", "002.Bird")
    assert names(test, cub) == ["images/003.Bird/2.jpg", "images/004.Bird/4.jpg", "images/003.Bird/5.jpg"]
    assert test.classes == ("003.Bird", "004.Bird")


def test_cub_with_a_missing_image_is_refused(cub):
    (cub / "images/003.Bird/5.jpg").unlink()
    assert len(read_dataset(cub, "train")) == 2  # what is not asked for is not looked at
    with pytest.raises(DatasetError, match=r"1 of 3 images.*are missing.*5\.jpg"):
        read_dataset(cub, "test")


def test_cub_with_a_broken_line_is_refused(cub):
    (cub / "image_class_labels.txt").write_text("1 1\n2\n")
    with pytest.raises(DatasetError, match=r"line 2 of .*image_class_labels\.txt has 1 fields instead of 2"):
        read_dataset(cub, "train")


def annotations(rows, path_field, **extra):
    """A MATLAB struct array like that of Cars196."""
    kinds = [(path_field, "O"), ("bbox_x1", "O"), ("class", "O")]
    values = [(path, 3, number) for path, number in rows]
    if not extra.get("labeled", True):
        kinds, values = kinds[:2], [value[:2] for value in values]
    return {"annotations": np.array(values, dtype=kinds)[None]}


def test_cars_in_one_folder_train_on_the_first_half_of_the_classes(tmp_path):
    rows = [("car_ims/000001.jpg", 1), ("car_ims/000002.jpg", 4), ("car_ims/000003.jpg", 2),
            ("car_ims/000004.jpg", 3)]  # fmt: skip
    for path, _ in rows:
        picture(tmp_path / path)
    savemat(tmp_path / "cars_annos.mat", annotations(rows, "relative_im_path"))
    train, test = read_dataset(tmp_path, "train"), read_dataset(tmp_path, "test")
    assert names(train, tmp_path) == ["car_ims/000001.jpg", "car_ims/000003.jpg"]
    assert (train.labels, test.labels) == (("1", "2"), ("4", "3"))


def test_cars_in_two_folders_are_joined_before_the_classes_part(tmp_path):
    first, second = [("00001.jpg", 2), ("00002.jpg", 1)], [("00001.jpg", 1), ("00002.jpg", 2)]
    (tmp_path / "devkit").mkdir()
    for folder, rows in (("cars_train", first), ("cars_test", second)):
        for path, _ in rows:
            picture(tmp_path / folder / path)
    savemat(tmp_path / "devkit/cars_train_annos.mat", annotations(first, "fname"))
    savemat(tmp_path / "cars_test_annos_withlabels.mat", annotations(second, "fname"))
    train = read_dataset(tmp_path, "train")
    assert names(train, tmp_path) == ["cars_train/00002.jpg", "cars_test/00001.jpg"]
    assert set(train.labels) == {"1"}


def test_cars_without_the_labels_of_the_second_half_are_refused(tmp_path):
    savemat(tmp_path / "cars_train_annos.mat", annotations([("00001.jpg", 1)], "fname"))
    with pytest.raises(DatasetError, match=r"no cars_test_annos_withlabels\.mat"):
        read_dataset(tmp_path, "train")
    savemat(tmp_path / "cars_test_annos_withlabels.mat", annotations([("1.jpg", 1)], "fname", labeled=False))
    with pytest.raises(DatasetError, match="images without a class"):
        read_dataset(tmp_path, "train")


def test_a_damaged_matlab_file_is_refused(tmp_path):
    (tmp_path / "cars_annos.mat").write_bytes(b"MATLAB 5.0" + bytes(200))
    with pytest.raises(DatasetError, match="no annotations that can be read"):
        read_dataset(tmp_path, "train")


@pytest.mark.parametrize("lists", ["", "Info_Files"])
@pytest.mark.parametrize("images", ["", "images"])
def test_online_products_read_the_published_lists_wherever_the_images_lie(tmp_path, lists, images):
    (tmp_path / lists).mkdir(exist_ok=True)
    head = "image_id class_id super_class_id path\n"
    (tmp_path / lists / "Ebay_train.txt").write_text(
        head + "1 1 1 bicycle_final/1_0.JPG\n2 1 1 bicycle_final/1_1.JPG\n"
    )
    (tmp_path / lists / "Ebay_test.txt").write_text(head + "59552 11319 1 sofa_final/2_0.JPG\n")
    for path in ("bicycle_final/1_0.JPG", "bicycle_final/1_1.JPG", "sofa_final/2_0.JPG"):
        picture(tmp_path / images / path)
    train, test = read_dataset(tmp_path, "train"), read_dataset(tmp_path, "test")
    assert names(train, tmp_path / images) == ["bicycle_final/1_0.JPG", "bicycle_final/1_1.JPG"]
    assert (train.labels, test.labels) == (("1", "1"), ("11319",))
