import errno

import pytest

from lookalike.errors import GalleryError, LookalikeError, replacing, system_error, writing


def test_a_file_that_can_not_be_written_is_one_sentence(tmp_path):
    with (
        pytest.raises(LookalikeError, match=r"x/y can't be written: .*; choose another place"),
        writing("x/y"),
    ):
        (tmp_path / "no" / "folder").write_text("")
    with pytest.raises(GalleryError), writing(tmp_path, GalleryError):
        tmp_path.write_text("")
    with pytest.raises(ValueError, match="other"), writing(tmp_path):
        raise ValueError("other errors pass")


def test_a_file_that_fails_half_way_leaves_the_old_one(tmp_path):
    path = tmp_path / "report.html"
    path.write_text("old")
    with pytest.raises(RuntimeError), replacing(path) as beside:
        beside.write_text("half")
        raise RuntimeError("stopped")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_whole_file_takes_the_place_and_the_permissions_of_the_old_one(tmp_path):
    path, link = tmp_path / "a.txt", tmp_path / "link.txt"
    path.write_text("old")
    path.chmod(0o640)
    link.symlink_to(path)
    with replacing(link) as beside:
        beside.write_text("new")
    assert link.is_symlink()
    assert path.read_text() == "new"
    assert path.stat().st_mode & 0o777 == 0o640


def test_what_is_no_regular_file_is_written_directly():
    with replacing("/dev/null") as file:
        assert str(file) == "/dev/null"


def test_a_disk_that_is_full_is_said_with_what_to_do(tmp_path):
    with (
        pytest.raises(LookalikeError, match=r"a can't be written: No space left on device; free some space"),
        replacing(tmp_path / "a") as beside,
    ):
        beside.write_text("half")
        raise OSError(errno.ENOSPC, "No space left on device")
    assert not list(tmp_path.iterdir())


def test_a_panic_of_rust_is_read_as_the_error_of_the_system_that_it_quotes():
    words = 'Failed to build tokio runtime: Os { code: 24, kind: Uncategorized, message: "Too many" }'
    assert system_error(RuntimeError(words)).errno == errno.EMFILE
    assert system_error(RuntimeError("Os says nothing")) is None
