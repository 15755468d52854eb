import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch.testing import assert_close

from lookalike.datasets.arrays import read_labels, read_vectors, write_ranks
from lookalike.errors import LookalikeError
from lookalike.types import Ranking

SAVERS = {
    "a.npy": lambda path, t: np.save(path, t.numpy()),
    "A.NPY": lambda path, t: (
        np.save(path.with_suffix(".npy"), t.numpy()) or path.with_suffix(".npy").rename(path)
    ),
    "a.npz": lambda path, t: np.savez(path, features=t.numpy(), labels=np.arange(3)),
    "a.safetensors": lambda path, t: save_file({"features": t}, path),
    "a.pt": lambda path, t: torch.save(t, path),
    "b.pt": lambda path, t: torch.save({"features": t, "epoch": 3, "name": "mini"}, path),
}


@pytest.mark.parametrize("name", SAVERS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.float64])
def test_every_format_gives_the_same_vectors(name, dtype, tmp_path, noise):
    expected = noise(3, 5, dtype=dtype)
    SAVERS[name](tmp_path / name, expected)
    vectors = read_vectors(tmp_path / name)
    assert vectors.dtype == torch.float32
    assert_close(vectors, expected.float())


class Trap:
    def __reduce__(self):
        return print, ("executed",)


def make_bad(folder):
    (folder / "text.npy").write_text("no array")
    (folder / "text.npz").write_text("no array")
    (folder / "text.safetensors").write_text("no array")
    (folder / "text.pt").write_text("no array")
    (folder / "empty.npy").write_bytes(b"")
    np.save(folder / "line.npy", np.zeros(4))
    np.save(folder / "words.npy", np.array([["a", "b"]]))
    np.save(folder / "objects.npy", np.array([[{}]]), allow_pickle=True)
    np.save(folder / "none.npy", np.zeros((0, 4)))
    np.savez(folder / "two.npz", a=np.zeros((2, 3)), b=np.zeros((2, 3)))
    torch.save(Trap(), folder / "trap.pt")
    torch.save([torch.zeros(2, 3)], folder / "list.pt")
    (folder / "words.txt").write_text("1 2")
    whole = (folder / "two.npz").read_bytes()
    (folder / "cut.npz").write_bytes(whole[: len(whole) // 2])


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("text.npy", "can't be read"),
        ("text.npz", "can't be read"),
        ("text.safetensors", "can't be read"),
        ("text.pt", "can't be read"),
        ("empty.npy", "can't be read"),
        ("cut.npz", "can't be read"),
        ("objects.npy", "can't be read"),
        ("trap.pt", "can't be read"),
        ("words.npy", "got no array"),
        ("line.npy", r"one array of shape \(items, width\), got array \(4,\)"),
        ("list.pt", "got no array"),
        ("none.npy", "real numbers"),
        ("two.npz", r"got a \(2, 3\), b \(2, 3\)"),
        ("words.txt", r"\.npy"),
        ("missing.npy", "no file"),
    ],
)
def test_a_bad_file_is_named_with_the_reason(name, words, tmp_path, capsys):
    make_bad(tmp_path)
    with pytest.raises(LookalikeError, match=words) as caught:
        read_vectors(tmp_path / name)
    assert name in str(caught.value) and "\n" not in str(caught.value)
    assert "executed" not in capsys.readouterr().out


def test_rankings_are_written_as_they_are(tmp_path, noise):
    ranking = Ranking(noise(2, 5), noise(4, 5), torch.tensor([[1, 0], [3, 2]]), noise(2, 2))
    ranks = torch.arange(8).reshape(4, 2)
    with np.load(write_ranks(tmp_path / "r.npz", ranking, ranks)) as written:
        assert set(written.files) == {"ranks", "indices", "scores"}
        assert written["ranks"].dtype == np.int64 and written["ranks"].tolist() == ranks.tolist()
        assert written["indices"].tolist() == ranking.indices.tolist()
        np.testing.assert_array_equal(written["scores"], ranking.scores.numpy())
    with np.load(write_ranks(tmp_path / "s.npz", ranking, None)) as written:
        assert set(written.files) == {"indices", "scores"}


def test_rankings_have_one_format_and_need_a_folder(tmp_path, noise):
    ranking = Ranking(noise(2, 5), noise(4, 5), torch.tensor([[1, 0], [3, 2]]), noise(2, 2))
    with pytest.raises(LookalikeError, match=r"r\.npz"):
        write_ranks(tmp_path / "r.csv", ranking, None)
    with pytest.raises(LookalikeError, match="No such file"):
        write_ranks(tmp_path / "nowhere" / "r.npz", ranking, None)


def test_a_byte_order_mark_is_no_part_of_the_first_label(tmp_path):
    (tmp_path / "l.txt").write_text("cat\ncat\ndog\n", encoding="utf-8-sig")
    assert read_labels(tmp_path / "l.txt") == ("cat", "cat", "dog")


@pytest.mark.parametrize("values", [np.array([3, 1, 3]), np.array(["cat", "dog", "cat"])])
def test_labels_are_read_as_text(tmp_path, values):
    np.save(tmp_path / "l.npy", values)
    np.savez(tmp_path / "both.npz", embeddings=np.ones((3, 5)), labels=values)
    (tmp_path / "l.txt").write_text("\n".join(map(str, values.tolist())) + "\n")
    expected = tuple(map(str, values.tolist()))
    assert all(read_labels(tmp_path / name) == expected for name in ("l.npy", "both.npz", "l.txt"))
    assert read_vectors(tmp_path / "both.npz").shape == (3, 5)


def test_labels_of_tensors(tmp_path):
    save_file({"x": torch.ones(2, 3), "y": torch.tensor([7, 8])}, tmp_path / "both.safetensors")
    assert read_labels(tmp_path / "both.safetensors") == ("7", "8")


@pytest.mark.parametrize(
    ("values", "words"),
    [
        (np.ones((2, 3)), "one array of labels"),
        (np.array([0.5, 1.0]), "whole numbers or strings"),
    ],
)
def test_what_is_no_label_is_refused(tmp_path, values, words):
    np.save(tmp_path / "l.npy", values)
    with pytest.raises(LookalikeError, match=words):
        read_labels(tmp_path / "l.npy")
    with pytest.raises(LookalikeError, match=r"\.npy.*\.txt"):
        read_labels(tmp_path / "l.csv")
