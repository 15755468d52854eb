"""Data sets are what they seem: splits by name, classes named as splits, copies across splits."""

import shutil

import pytest
from PIL import Image

from lookalike.datasets import read_dataset, splits_of
from lookalike.datasets.checks import check_training_data
from lookalike.datasets.leaks import copies_remark, leak_remark
from lookalike.errors import DatasetError
from lookalike.evaluation import evaluate


def fill(top, *folders, n=2):
    for i, folder in enumerate(folders):
        (top / folder).mkdir(parents=True)
        for j in range(n):
            Image.new("RGB", (40, 30), (40 * i % 256, 90 * j, 7 * len(folder))).save(
                top / folder / f"{j}.png"
            )
    return top


@pytest.mark.parametrize(
    ("names", "splits"),
    [(("Train", "TEST"), ("test", "train")), (("training", "Validation"), ("train", "val")),
     (("train", "dev", "testing"), ("test", "train", "val"))],
)  # fmt: skip
def test_splits_have_their_usual_names_in_any_case(tmp_path, names, splits):
    fill(tmp_path, *(f"{name}/{label}" for name in names for label in "ab"))
    assert splits_of(tmp_path) == splits
    for name in names:
        assert read_dataset(tmp_path, name).classes == ("a", "b")


def test_two_folders_of_one_split_are_refused(tmp_path):
    with pytest.raises(DatasetError, match="two folders of the split val: val and valid"):
        splits_of(fill(tmp_path, "train/a", "val/a", "valid/a"))


@pytest.mark.parametrize("name", ["test", "Train", "query", "validation"])
def test_a_folder_named_as_a_split_beside_classes_is_refused_until_it_is_said_to_be_one(tmp_path, name):
    fill(tmp_path, "ok", "nok", name)
    with pytest.raises(DatasetError, match=rf"named as splits \({name}\) beside other folders \(nok, ok\)"):
        read_dataset(tmp_path)
    assert len(read_dataset(tmp_path, layout="classes").classes) == 3


def test_splits_inside_classes_are_not_mixed(tmp_path):
    with pytest.raises(DatasetError, match=r"bottle looks like a class, but holds .* \(test, train\)"):
        read_dataset(fill(tmp_path, "bottle/train", "bottle/test", "cable/train"))


def test_folders_of_systems_hold_no_pictures(tmp_path):
    fill(tmp_path, "a", "b", "a/@eaDir/0.png", "@eaDir", "__MACOSX", ".ipynb_checkpoints")
    data = read_dataset(tmp_path)
    assert data.classes == ("a", "b") and len(data) == 4


def test_files_of_lists_are_splits_in_any_case(tmp_path):
    fill(tmp_path, "a")
    (tmp_path / "Test.TXT").write_text("a/0.png x\na/1.png y\n")
    assert splits_of(tmp_path) == ("test",) and len(read_dataset(tmp_path, "Test")) == 2


def test_copies_across_splits_are_reported_with_an_example(tmp_path, mini, caplog):
    fill(tmp_path, "train/a", "train/b", "test/c", "test/dd")
    shutil.copy(tmp_path / "train/a/1.png", tmp_path / "test/c/renamed.png")
    train, test = read_dataset(tmp_path, "train"), read_dataset(tmp_path, "test")
    said = leak_remark(train.paths, test.paths, of_learned="train", of_measured="test")
    assert said.startswith("Leak: 1 of 5 images of test") and "c/renamed.png and " in said
    assert leak_remark(test.paths[1:2], test.paths[2:], of_learned="x", of_measured="y") == ""
    check_training_data(train, test)
    assert "Leak: 1 of 5 images of evaluation are exact copies of images of training" in caplog.text
    rules = evaluate(tmp_path, mini, split="test", clustering=False).rules
    assert any(rule.startswith("Leak: 1 of 5") and "the split train" in rule for rule in rules)


def test_one_picture_in_two_classes_is_reported(tmp_path):
    fill(tmp_path, "a", "bb")
    assert copies_remark(read_dataset(tmp_path)) == ""
    shutil.copy(tmp_path / "a/0.png", tmp_path / "bb/again.png")
    said = copies_remark(read_dataset(tmp_path))
    assert said.startswith("1 of 5 images are exact copies") and "is 'a' and" in said and "is 'bb'" in said
