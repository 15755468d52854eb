"""How many decoding processes adding begins with."""

import numpy as np
import pytest
from PIL import Image

from lookalike.gallery import Gallery, adding
from lookalike.images import Decoders


@pytest.fixture
def began(monkeypatch):
    """The numbers of processes that were asked for."""
    numbers, begin = [], Decoders.__init__

    def noting(self, workers, preprocessing, *, at_first=None):
        numbers.append(at_first)
        begin(self, workers, preprocessing, at_first=at_first)

    monkeypatch.setattr(Decoders, "__init__", noting)
    monkeypatch.setattr(adding, "usable_cores", lambda: 2)
    return numbers


@pytest.mark.parametrize(("bytes_each", "n"), [(96 * 1024, 1), (400, 2)])
def test_large_files_get_more_at_once(mini, tmp_path, began, monkeypatch, bytes_each, n):
    monkeypatch.setattr(adding, "_BYTES_EACH", bytes_each)
    for number in range(adding._FEW + 1):
        Image.fromarray(np.full((9, 16, 3), number, np.uint8)).save(tmp_path / f"{number}.bmp")  # 486 bytes
    assert Gallery.in_memory(mini).add(tmp_path).added == adding._FEW + 1
    assert began == [n]


def test_what_is_asked_for_is_begun_with(mini, room_files, began):
    Gallery.in_memory(mini).add(room_files[0], workers=1)
    assert began == [None]
