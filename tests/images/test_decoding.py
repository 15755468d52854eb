"""Decoding processes: the same pixels as here, and no file takes the run down."""

import hashlib
import io
import os
import signal
from pathlib import Path

import numpy as np
import pytest

from lookalike.errors import UnreadableImageError
from lookalike.images import Decoders, Preprocessing, read

PREPROCESSING = Preprocessing("crop", (32, 48))


@pytest.fixture
def photo(tmp_path, pictures):
    path = tmp_path / "ein Bild.png"
    pictures[1].save(path)
    return str(path)


@pytest.mark.parametrize("workers", [0, 2])
def test_a_file_is_hashed_and_decoded_in_one_reading(photo, workers):
    with Decoders(workers, PREPROCESSING) as decoders:
        found = decoders.decode(photo).result()
        hashed = decoders.hash(photo).result()
    reading = read(photo, PREPROCESSING)
    data = Path(photo).read_bytes()
    assert found.hash == hashed.hash == hashlib.sha256(data).hexdigest()
    assert (found.size, found.mtime_ns) == (len(data), Path(photo).stat().st_mtime_ns)
    np.testing.assert_array_equal(found.pixels, reading.pixels)
    assert found.geometry == reading.geometry and hashed.pixels is None


@pytest.mark.parametrize("workers", [0, 1])
def test_what_is_wrong_with_a_file_comes_back_in_words(photo, tmp_path, workers):
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(b"\xff\xd8\xff no more")
    with Decoders(workers, PREPROCESSING) as decoders:
        for path, words in ((broken, "damaged or truncated"), (tmp_path / "none.jpg", "No such file")):
            with pytest.raises(UnreadableImageError, match=words):
                decoders.decode(str(path)).result()
        assert decoders.decode(photo).result().pixels is not None


def test_a_file_that_kills_its_decoder_costs_one_file(photo):
    with Decoders(1, PREPROCESSING) as decoders:
        decoders.decode(photo).result()
        os.kill(decoders._started[0]._process.pid, signal.SIGKILL)
        with pytest.raises(UnreadableImageError, match="crashed"):
            decoders.decode(photo).result()
        assert decoders.decode(photo).result().pixels is not None


def test_what_a_library_prints_about_a_damaged_file_stays_silent(tmp_path, pictures, capfd):
    buffer = io.BytesIO()
    pictures[0].save(buffer, "TIFF", compression="tiff_adobe_deflate")
    data = bytearray(buffer.getvalue())
    data[9000:9500] = bytes(500)
    damaged = tmp_path / "damaged.tif"
    damaged.write_bytes(data)
    with Decoders(1, PREPROCESSING) as decoders, pytest.raises(UnreadableImageError):
        decoders.decode(str(damaged)).result()
    assert capfd.readouterr().err == ""


def test_a_negative_number_of_workers_is_refused():
    with pytest.raises(ValueError, match="0 or more"):
        Decoders(-1, PREPROCESSING)
