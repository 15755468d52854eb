"""Decoding processes: the same pixels as here, and no file takes the run down."""

import hashlib
import io
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import wait
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lookalike.errors import UnreadableImageError
from lookalike.images import Decoders, Preprocessing, decoding, read
from lookalike.images.decoding import start_ahead

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


def test_more_processes_are_started_where_one_is_waited_for(photo):
    with Decoders(8, PREPROCESSING, at_first=1) as decoders:
        decoders.result(decoders.decode(photo))
        assert len(decoders._started) == 1
        deadline = time.monotonic() + 30
        while len(decoders._started) < 4 and time.monotonic() < deadline:
            waiting = [decoders.decode(photo) for _ in range(200)]
            for future in waiting:
                assert decoders.result(future).pixels is not None
        assert len(decoders._started) in (4, 8)  # 1, then as many again each time


def test_one_process_stays_one_where_it_is_not_waited_for(photo):
    with Decoders(8, PREPROCESSING, at_first=1) as decoders:
        decoders.result(decoders.decode(photo))
        for future in [decoders.decode(photo) for _ in range(20)]:
            wait([future])
            decoders.result(future)
        assert len(decoders._started) == 1


def test_files_that_nobody_waits_for_are_not_decoded_at_the_end(photo):
    with Decoders(1, PREPROCESSING) as decoders:
        futures = [decoders.decode(photo) for _ in range(500)]
    assert futures[-1].cancelled()


def test_a_process_that_was_started_ahead_serves_the_first_decoders(photo, monkeypatch):
    monkeypatch.setattr(decoding, "_ahead", [])
    start_ahead()
    start_ahead()  # one is enough
    (worker,) = decoding._ahead
    with Decoders(1, PREPROCESSING) as decoders:
        assert decoders.decode(photo).result().pixels is not None
        assert decoders._started == [worker]
    assert decoding._ahead == []


def test_a_process_that_knows_another_store_is_not_taken(photo, monkeypatch):
    """It has read its environment, and would ask the store of before."""
    monkeypatch.setattr(decoding, "_ahead", [])
    start_ahead()
    (worker,) = decoding._ahead
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    with Decoders(1, PREPROCESSING) as decoders:
        assert decoders.decode(photo).result().pixels is not None
        assert worker not in decoders._started and worker._process.poll() is not None
    assert decoding._ahead == []


def test_a_process_that_was_started_ahead_in_vain_ends_with_the_program():
    code = (
        "from lookalike.images import decoding; decoding.start_ahead(); "
        "print(decoding._ahead[0]._process.pid)"
    )
    environment = dict(os.environ, PYTHONPATH=os.pathsep.join(sys.path))
    run = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env=environment,
    )
    assert run.stderr == "" and not Path(f"/proc/{run.stdout.strip()}").exists()


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


# --- settings of the process ------------------------------------------------------------------

PLUGIN = """
from PIL import Image, ImageFile

class File(ImageFile.ImageFile):
    format = "HEIF"
    def _open(self):
        self._mode, self._size = "RGB", (6, 4)
        self.tile = [ImageFile._Tile("raw", (0, 0, 6, 4), 24, "RGB")]

def register_heif_opener():
    Image.register_open("HEIF", File, lambda prefix: prefix[4:8] == b"ftyp")
"""

READ_ALL = """
import sys
from lookalike.images import Decoders, Preprocessing
from lookalike.errors import UnreadableImageError
{settings}
for workers in (0, 1):
    with Decoders(workers, Preprocessing("squash", (4, 6))) as decoders:
        for path in sys.argv[1:]:
            try:
                print(workers, decoders.decode(path).result().pixels.shape)
            except UnreadableImageError as error:
                print(workers, error)
"""


def read_in_and_beside_a_process(*paths, settings="", plugins=None):
    """What a new process and its worker say of files, as two texts."""
    places = [str(plugins)] if plugins else []
    environment = dict(os.environ, PYTHONPATH=os.pathsep.join([*places, *sys.path]))
    run = subprocess.run(
        [sys.executable, "-c", READ_ALL.format(settings=settings), *map(str, paths)],
        capture_output=True, text=True, check=True, env=environment,
    )  # fmt: skip
    lines = run.stdout.splitlines()
    return [[line[2:] for line in lines if line.startswith(f"{workers} ")] for workers in (0, 1)]


def test_an_installed_heif_plugin_is_used_without_being_asked_for(tmp_path):
    (tmp_path / "plugins").mkdir()
    (tmp_path / "plugins" / "pillow_heif.py").write_text(PLUGIN)
    picture = tmp_path / "a.heic"
    picture.write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(range(72)))
    here, worker = read_in_and_beside_a_process(picture, plugins=tmp_path / "plugins")
    assert here == worker == ["(4, 6, 3)"]


def test_limits_of_the_process_hold_in_its_workers(photo):
    settings = "from lookalike.images import Limits, set_limits; set_limits(Limits(max_pixels=9))"
    here, worker = read_in_and_beside_a_process(photo, settings=settings)
    assert here == worker
    assert "is more than the limit of 9;" in here[0]


def test_higher_limits_of_the_process_hold_in_its_workers(tmp_path):
    wide = tmp_path / "wide.png"
    Image.new("1", (200_000, 1000)).save(wide)  # beyond our 120 million and Pillow's 179 million pixels
    settings = "from lookalike.images import Limits, set_limits; set_limits(Limits(max_pixels=10**9))"
    assert read_in_and_beside_a_process(wide, settings=settings) == [["(4, 6, 3)"]] * 2
    assert "--max-pixels 200000000" in read_in_and_beside_a_process(wide)[1][0]


def test_pillows_own_settings_hold_in_workers(tmp_path):
    cut = tmp_path / "cut.png"
    noise = np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8)
    Image.fromarray(noise).save(cut)
    cut.write_bytes(cut.read_bytes()[:3000])
    settings = "from PIL import ImageFile; ImageFile.LOAD_TRUNCATED_IMAGES = True"
    assert read_in_and_beside_a_process(cut, settings=settings) == [["(4, 6, 3)"]] * 2
    assert "truncated" in read_in_and_beside_a_process(cut)[1][0]
