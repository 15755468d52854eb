import pytest
from PIL import Image

from lookalike.datasets import read_dataset, splits_of
from lookalike.errors import DatasetError


def picture(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (7, 5), (200, 30, 10)).save(path)


@pytest.fixture
def folders(tmp_path):
    for name in ("robin/b.png", "robin/a.png", "wren/deep/c.jpg"):
        picture(tmp_path / name)
    return tmp_path


def test_class_folders_give_paths_and_labels_in_order(folders):
    data = read_dataset(folders)
    assert [p.relative_to(folders).as_posix() for p in data.paths] == [
        "robin/a.png",
        "robin/b.png",
        "wren/deep/c.jpg",
    ]
    assert data.labels == ("robin", "robin", "wren")
    assert (len(data), data.classes, data.codes) == (3, ("robin", "wren"), (0, 0, 1))
    assert data.counts == {"robin": 2, "wren": 1}


def test_a_split_is_the_folder_of_that_name(tmp_path):
    picture(tmp_path / "train/robin/a.png")
    picture(tmp_path / "test/wren/b.png")
    assert read_dataset(tmp_path, "train").classes == ("robin",)
    assert read_dataset(tmp_path, "test").classes == ("wren",)


def test_splits_are_never_taken_for_classes(tmp_path):
    picture(tmp_path / "train/robin/a.png")
    picture(tmp_path / "test/wren/b.png")
    with pytest.raises(DatasetError, match="splits test, train; choose"):
        read_dataset(tmp_path)


def test_splits_beside_other_folders_are_no_classes(tmp_path):
    for name in ("train", "test", "extra"):
        (tmp_path / name / "a").mkdir(parents=True)
    with pytest.raises(DatasetError, match=r"named as splits \(test, train\) beside other folders \(extra\)"):
        read_dataset(tmp_path, "train")


def test_a_split_that_was_unpacked_into_a_folder_of_its_own_name_is_said(tmp_path):
    for name in ("train/train/robin/a.png", "train/train/wren/b.png", "test/wren/c.png"):
        picture(tmp_path / name)
    with pytest.raises(DatasetError, match=r"but a folder named as a split \(train\).*move the classes"):
        read_dataset(tmp_path, "train")
    assert read_dataset(tmp_path, "test").classes == ("wren",)


def test_a_class_without_images_is_named(folders):
    (folders / "owl").mkdir()
    with pytest.raises(DatasetError, match=r"1 of 3 classes.*owl"):
        read_dataset(folders)


@pytest.mark.parametrize(
    ("make", "split", "message"),
    [
        (lambda d: None, None, "no class folders"),
        (lambda d: picture(d / "a.png"), None, "no class folders"),
        (lambda d: picture(d / "robin/a.png"), "train", "leave the split out"),
        (lambda d: picture(d / "train/robin/a.png"), "test", "no split 'test'; it has train"),
    ],
)
def test_what_is_missing_is_said(tmp_path, make, split, message):
    make(tmp_path)
    with pytest.raises(DatasetError, match=message):
        read_dataset(tmp_path, split)


def test_a_missing_dataset_is_said(tmp_path):
    with pytest.raises(DatasetError, match="no dataset at"):
        read_dataset(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("train", "test"), [("train_set", "test_set"), ("Trainset", "Testset"), ("train2017", "test-images")]
)
def test_splits_by_longer_names_are_splits(tmp_path, train, test):
    for split in (train, test):
        for label in ("a", "b"):
            picture(tmp_path / split / label / "0.png")
    assert splits_of(tmp_path) == ("test", "train")
    assert read_dataset(tmp_path, "test").classes == ("a", "b")


def test_a_link_to_a_folder_above_brings_no_images_of_other_classes(tmp_path):
    for label in ("a", "b"):
        picture(tmp_path / label / "0.png")
    (tmp_path / "a" / "loop").symlink_to(tmp_path)
    assert read_dataset(tmp_path).counts == {"a": 1, "b": 1}


def test_images_beside_the_class_folders_are_said_to_be_left_out(tmp_path, caplog):
    for name in ("a/0.png", "b/0.png", "stray.png"):
        picture(tmp_path / name)
    assert len(read_dataset(tmp_path)) == 2
    assert "1 images lie in" in caplog.text and "stray.png" in caplog.text
