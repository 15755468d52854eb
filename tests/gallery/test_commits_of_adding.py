"""When a run of adding commits: by rows, and by the bytes that wait."""

from pathlib import Path

import numpy as np
import pytest
import torch

from lookalike.gallery import add_run
from lookalike.gallery.add_run import AddRun, AddSettings
from lookalike.images import DecodedFile
from lookalike.store import MemoryStore

D = 8


class OneVector:
    device = torch.device("cpu")

    def embed_pixels(self, pixels, names):
        return torch.nn.functional.normalize(torch.ones(len(pixels), D))


@pytest.fixture(params=[1, 2], autouse=True)
def cores(request):
    """On several the model has two batches at once."""
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def commits(monkeypatch):
    """The rows of each commit."""
    sizes, commit = [], MemoryStore.commit

    def noting(self, entries, *rest):
        sizes.append(len(entries))
        return commit(self, entries, *rest)

    monkeypatch.setattr(MemoryStore, "commit", noting)
    monkeypatch.setattr(add_run, "_COMMIT_SECONDS", 1e9)
    return sizes


def add(n):
    run = AddRun(MemoryStore(D), OneVector(), AddSettings())
    paths = [f"/{number}.jpg" for number in range(n)]
    for number, path in enumerate(run.files_to_read(paths)):
        run.take(path, DecodedFile(path, f"{number:064x}"[::-1], 10 + number, 5, np.zeros((2, 2, 3)), None))
    return run.finish().added


def test_rows_are_committed_in_portions(commits):
    assert add(300) == 300
    assert commits == [128, 128, 44]


def test_bytes_that_wait_are_bounded_in_every_commit(commits, monkeypatch):
    monkeypatch.setattr(add_run, "_COMMIT_BYTES", 64 * 4 * D)
    assert add(200) == 200
    assert commits == [64, 64, 64, 8]


def test_a_copy_that_is_found_before_its_picture_is_embedded_is_stored_with_it(tmp_path, monkeypatch):
    monkeypatch.setattr(add_run, "_COMMIT_SECONDS", 1e9)
    monkeypatch.setattr(add_run, "BATCH", 2)
    store = MemoryStore(D)
    run = AddRun(store, OneVector(), AddSettings())
    contents = [0, 1, 2, 3, 4, 4, 5, 4]  # of the files
    paths = [str(tmp_path / f"{number}.jpg") for number in range(len(contents))]
    for path, content in zip(paths, contents, strict=True):
        Path(path).write_text(str(content))
    for number, (path, content) in enumerate(zip(run.files_to_read(paths), contents, strict=True)):
        if number == 5:  # a copy, when two batches are embedded, and their commit is due
            monkeypatch.setattr(add_run, "_COMMIT_SECONDS", -1.0)
        run.take(path, DecodedFile(path, f"{content:064x}"[::-1], 10, 5, np.zeros((2, 2, 3)), None))
    assert run.finish().added == 6
    files = sorted(sorted(Path(file.path).stem for file in record.files) for record in store.records())
    assert files == [["0"], ["1"], ["2"], ["3"], ["4", "5", "7"], ["6"]]
