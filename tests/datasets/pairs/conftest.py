"""Tiny files of the layouts of pairs."""

import numpy as np
import pytest
from PIL import Image


@pytest.fixture
def picture(tmp_path):
    """Writes a picture of 7 x 5 pixels (width, height) below the test's folder: picture("images/a.jpg")."""

    def write(name, size=(7, 5)):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", size, (200, 30, 10)).save(path)
        return path

    return write


@pytest.fixture
def mask(tmp_path):
    """Writes an 8-bit gray picture of given pixels below the test's folder: mask("masks/a.png", rows)."""

    def write(name, rows):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.array(rows, dtype=np.uint8)).save(path)
        return path

    return write
