"""Fixtures for the whole suite: generated pictures, tiny seeded models, goldens, real data if any."""

import os
import sys
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")  # two tests run at once, and each has processes of its own
# Images of Python for containers often forbid bytecode: then every process compiles torch anew, for seconds.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from lookalike.images import loading
from lookalike.models.backbones import create_backbone, resize_backbone

TESTS = Path(__file__).parent

sys.dont_write_bytecode = False
torch.set_num_threads(1)  # tiny models: more threads cost more than they bring

# Small enough for a fast suite, with everything that makes an architecture different.
TINY_VIT = {"embed_dim": 24, "depth": 2, "num_heads": 3}


@pytest.fixture(scope="session")
def goldens():
    """Folder of numbers that the original research codes computed."""
    return TESTS / "goldens"


@pytest.fixture(scope="session")
def shared():
    """Folder of real photographs and weights, which are not part of the repository."""
    folder = Path(os.environ.get("LOOKALIKE_SHARED", TESTS.parents[1] / "shared"))
    if not (folder / "weights").is_dir():
        pytest.skip(f"real data and weights are not at {folder}; set LOOKALIKE_SHARED")
    return folder


@pytest.fixture(scope="session")
def pictures():
    """Four pictures of odd sizes, none of them square: noise, a gradient, stripes, a disc."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[0:203, 0:87]
    gradient = np.stack([x * 255 / 86, y * 255 / 202, 255 - x * 255 / 86], axis=-1)
    stripes = np.zeros((61, 175, 3))
    stripes[:, ::7] = (240, 60, 20)
    y, x = np.mgrid[0:131, 0:59]
    disc = np.where(((y - 40) ** 2 + (x - 35) ** 2 < 400)[..., None], (250, 220, 30), (20, 60, 110))
    arrays = [rng.integers(0, 256, (97, 151, 3)), gradient, stripes, disc]
    return [Image.fromarray(array.astype(np.uint8)) for array in arrays]


@pytest.fixture(scope="session")
def tiny_backbone():
    """Makes a seeded backbone with random weights: tiny_backbone(architecture, (H, W), **options)."""

    def make(architecture, size=None, seed=0, **options):
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            backbone = create_backbone(architecture, **options)
        if size is not None:
            resize_backbone(backbone, size)
        return backbone.requires_grad_(False)

    return make


@pytest.fixture(scope="session")
def mini():
    """The bundled model, in fp32."""
    from lookalike.models.embedder import Embedder  # later than the hook that checks the shapes of ops

    return Embedder.load("mini", precision="fp32", device="cpu")


@pytest.fixture
def noise():
    """Seeded normal numbers: noise(*shape, seed=0, dtype=torch.float32)."""

    def make(*shape, seed=0, dtype=torch.float32):
        generator = torch.Generator().manual_seed(seed)
        return torch.randn(*shape, generator=generator, dtype=torch.float64).to(dtype)

    return make


class Counts:
    """Decoded images and forward passes since the last ``take``."""

    def __init__(self):
        self.decoded = self.passes = 0

    def take(self):
        counted = (self.decoded, self.passes)
        self.decoded = self.passes = 0
        return counted


@pytest.fixture
def counts(mini, monkeypatch):
    found = Counts()
    decode = loading._upright_rgb

    def counting(image, *options):
        found.decoded += 1
        return decode(image, *options)

    monkeypatch.setattr(loading, "_upright_rgb", counting)
    first = next(m for m in mini.network.backbone.modules() if isinstance(m, nn.Conv2d))
    handle = first.register_forward_hook(lambda *_: setattr(found, "passes", found.passes + 1))
    yield found
    handle.remove()
