"""A summary: records are read once for each version of the table, and never an old count is told."""

import pytest

from lookalike.gallery import Gallery


@pytest.fixture
def described(mini, room_files, tmp_path):
    gallery = Gallery.create(tmp_path / "g", model=mini)
    gallery.add(room_files[1][:3], workers=0)
    return gallery


def test_records_are_read_once_for_a_version(described, monkeypatch):
    first = described.describe()
    monkeypatch.setattr(type(described._store), "records", None)
    assert described.describe() == first and first.n_images == 3


def test_what_another_opener_adds_is_counted(described, room_files):
    assert described.describe().n_images == 3
    Gallery.open(described.uri).add(room_files[1][3:5], workers=0)
    assert described.describe().n_images == 5
