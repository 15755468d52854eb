"""A small trained model, generated rooms on disk, and galleries of them."""

import pytest
import torch
from PIL import Image

from lookalike import scenes
from lookalike.gallery import Gallery
from lookalike.models.embedder import Embedder
from made_rooms import save_rooms


@pytest.fixture(scope="session")
def other_model():
    """A tiny random network of another width."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        options = {"embed_dim": 24, "depth": 1, "num_heads": 3}
        return Embedder.from_timm(
            "vit_tiny_patch16_224", pretrained=False, pooling="mean", input_size=(32, 48), precision="fp32",
            **options,
        )  # fmt: skip


@pytest.fixture(scope="session")
def rooms():
    return scenes.gallery_of_rooms(3, n_paintings=6, rooms_per_painting=2, size=(150, 200))


@pytest.fixture(scope="session")
def room_files(rooms, tmp_path_factory):
    """Twelve rooms in the folders of their paintings; read-only, tests that write copy them."""
    folder = tmp_path_factory.mktemp("rooms")
    return folder, save_rooms(rooms, folder)


@pytest.fixture(scope="session")
def indexed(room_files, mini, tmp_path_factory):
    """A gallery of the rooms on disk; read-only."""
    from lookalike.gallery import folder_labels

    gallery = Gallery.create(tmp_path_factory.mktemp("galleries") / "rooms.gallery", mini)
    gallery.add(room_files[0], metadata=folder_labels(room_files[0]))
    return gallery


@pytest.fixture
def photos(tmp_path):
    """A folder of five small pictures, in two subfolders."""
    folder = tmp_path / "photos"
    (folder / "a" / "deep").mkdir(parents=True)
    (folder / "b").mkdir()
    for i, name in enumerate(["one.png", "a/two.jpg", "a/deep/three.png", "b/four.webp", "b/five.bmp"]):
        scenes.paint(i, 80 + i).crop((0, 0, 60 + 7 * i, 70)).save(folder / name)
    return folder


def save(path, color):
    Image.new("RGB", (40, 30), color).save(path)
