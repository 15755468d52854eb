import pytest

from lookalike.errors import GalleryError, LookalikeError, writing


def test_a_file_that_can_not_be_written_is_one_sentence(tmp_path):
    with (
        pytest.raises(LookalikeError, match=r"x/y can't be written: .*; choose another path"),
        writing("x/y"),
    ):
        (tmp_path / "no" / "folder").write_text("")
    with pytest.raises(GalleryError), writing(tmp_path, GalleryError):
        tmp_path.write_text("")
    with pytest.raises(ValueError, match="other"), writing(tmp_path):
        raise ValueError("other errors pass")
