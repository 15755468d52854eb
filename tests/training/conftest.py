"""Pictures that a tiny network can tell apart, and such networks."""

import numpy as np
import pytest
import torch
from PIL import Image

from lookalike.datasets import read_dataset
from lookalike.models.loading import from_timm
from lookalike.training import EmbeddingLoss, RuntimeOptions, TrainableEmbedding, TrainSettings


@pytest.fixture(scope="session")
def colored(tmp_path_factory):
    """Class folders train and test: 4 + 3 other classes of 5 noisy pictures, each class with its color."""
    top = tmp_path_factory.mktemp("colored")
    random = np.random.default_rng(0)
    for split, n_classes in (("train", 4), ("test", 3)):
        for number in range(n_classes):
            folder = top / split / f"{split}{number}"
            folder.mkdir(parents=True)
            color = random.integers(30, 226, 3)
            for i in range(5):
                noise = random.normal(0, 25, (40 + 4 * i, 52, 3))
                pixels = np.clip(color + noise, 0, 255).astype(np.uint8)
                Image.fromarray(pixels).save(folder / f"{i}.png")
    return top


@pytest.fixture(scope="session")
def train_data(colored):
    return read_dataset(colored, "train")


@pytest.fixture(scope="session")
def test_data(colored):
    return read_dataset(colored, "test")


@pytest.fixture
def tiny_model():
    """Makes a seeded convolutional network with a new head of 6 dimensions."""

    def make(dims=6, seed=0):
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            start = from_timm("mobilenetv2_035", pretrained=False, input_size=(32, 48))
        return TrainableEmbedding.of(start, dims=dims, seed=seed)

    return make


@pytest.fixture
def settings():
    """Makes settings of a training of seconds."""

    def make(**changes):
        small = {
            "epochs": 3, "batch_size": 6, "images_per_class": 2, "input_size": (32, 48), "evaluate_every": 0,
            "warm_up_epochs": 1, "freeze_batch_norm": True, "backbone_rate": 1e-3, "head_rate": 1e-3,
        }  # fmt: skip
        return TrainSettings(**(small | changes))

    return make


@pytest.fixture
def proxy_anchor():
    def make(n_classes=4, dims=6, **options):
        return EmbeddingLoss("proxy-anchor", n_classes=n_classes, dims=dims, **options)

    return make


@pytest.fixture
def runtime():
    def make(**changes):
        return RuntimeOptions(**({"accelerator": "cpu"} | changes))

    return make
