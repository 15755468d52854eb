import numpy as np
import pytest
import torch
from PIL import Image
from torch.testing import assert_close

from lookalike import images as image_files
from lookalike.datasets import LabeledImages
from lookalike.errors import DatasetError
from lookalike.images import Preprocessing
from lookalike.training import TrainSettings
from lookalike.training.augmentation import augmented
from lookalike.training.batches import Draw
from lookalike.training.pictures import TrainingPictures, evaluation_batches, preprocessing_for, resized

HALF = Preprocessing("crop", (32, 48), crop_pct=0.8, mean=(0.5,) * 3, std=(0.5,) * 3)


@pytest.fixture
def data(pictures, tmp_path):
    for i, picture in enumerate(pictures):
        picture.save(tmp_path / f"{i}.png")
    return LabeledImages(tuple(sorted(tmp_path.iterdir())), ("b", "a", "b", "a"))


@pytest.mark.parametrize("mode", ["crop", "squash"])
def test_a_whole_picture_covers_the_target_and_keeps_its_proportions_unless_squashed(data, mode):
    preprocessing = Preprocessing(mode, (32, 48), crop_pct=0.8)
    for path in data.paths:
        with Image.open(path) as picture:
            width, height = picture.size
        found = resized(path, preprocessing)
        if mode == "squash":
            assert found.shape == (40, 60, 3)
        else:
            assert found.shape[0] >= 40 and found.shape[1] >= 60
            assert found.shape[0] == 40 or found.shape[1] == 60
            assert found.shape[1] / found.shape[0] == pytest.approx(width / height, rel=0.02)


@pytest.mark.parametrize("keep", [True, False])
def test_a_draw_is_its_augmented_picture_normalized_with_the_number_of_its_class(data, keep):
    settings = TrainSettings(input_size=(32, 48), crop_pct=0.8)
    pictures = TrainingPictures(data, HALF, settings, keep=keep)
    pictures.read_all()
    pixels, code = pictures[Draw(2, (0, 5, 1))]
    expected = augmented(
        resized(data.paths[2], HALF),
        (32, 48),
        area=(0.16, 1.0),
        flip=0.5,
        random=np.random.default_rng((0, 5, 1)),
    )
    assert code == 1  # of a, b
    assert_close(pixels, torch.from_numpy(expected).permute(2, 0, 1) / 127.5 - 1, rtol=0, atol=1e-6)


def test_evaluation_sees_what_the_saved_model_sees(data):
    (first, second) = evaluation_batches(data, HALF, batch_size=3)
    assert (first.shape, second.shape) == ((3, 3, 32, 48), (1, 3, 32, 48))
    read = np.stack([image_files.read(data.paths[3], HALF).pixels])
    assert_close(second, torch.from_numpy(image_files.normalize(read, HALF)))


def test_sizes_are_those_of_the_settings_and_the_rest_is_the_start_models():
    settings = TrainSettings(input_size=(64, 80), crop_pct=0.9)
    made = preprocessing_for(Preprocessing("squash", (32, 48), mean=(0.1, 0.2, 0.3)), settings)
    assert made == Preprocessing("squash", (64, 80), crop_pct=0.9, mean=(0.1, 0.2, 0.3))


@pytest.mark.parametrize("keep", [True, False])
def test_unreadable_images_stop_the_training_before_it_starts(data, keep):
    data.paths[1].write_text("no image")
    pictures = TrainingPictures(data, HALF, TrainSettings(), keep=keep)
    with pytest.raises(DatasetError, match=r"1 of 4 images can't be read, the first is .*1\.png"):
        pictures.read_all()
