"""TensorFlow's checkpoints: both forms, several files, sums, and files that are damaged."""

import numpy as np
import pytest
import torch

from lookalike.errors import CheckpointError
from lookalike.models.checkpoints.tensorflow import crc32c, is_tensorflow, read_tensorflow
from made_tensorflow import field, masked, table, varint, write_bundle, write_single

TENSORS = {
    "a/conv/weights": np.arange(24, dtype=np.float32).reshape(1, 2, 3, 4) / 7,
    "a/conv/biases": np.array([1.5, -2.0], np.float32),
    "a/double": np.linspace(-1, 1, 5).reshape(5, 1),
    "b/step": np.array(-7, np.int32),
    "b/long": np.array([[1, 2**40, -3]], np.int64),
    "c/none": np.zeros((0, 3), np.float32),
    "c/half": np.array([[1.5, -0.25], [65504, 0]], np.float16),
    "d/large": np.random.default_rng(0).normal(size=(37, 101)).astype(np.float32),
}


def check(found):
    assert found.keys() == TENSORS.keys()
    for name, tensor in found.items():
        assert tensor.shape == TENSORS[name].shape
        np.testing.assert_array_equal(tensor.numpy(), TENSORS[name])


def slow_crc32c(data):
    """Bit by bit."""
    total = 0xFFFFFFFF
    for byte in data:
        total ^= byte
        for _ in range(8):
            total = total >> 1 ^ (0x82F63B78 if total & 1 else 0)
    return total ^ 0xFFFFFFFF


@pytest.mark.parametrize("n", [0, 1, 63, 64, 65, 1000, 64 * 4096 + 17])
def test_the_sum_is_that_of_the_definition(n):
    data = np.random.default_rng(n).integers(0, 256, n, dtype=np.uint8).tobytes()
    assert crc32c(data) == slow_crc32c(data)


def test_the_sum_of_nine_digits_is_the_published_one():
    assert crc32c(b"123456789") == 0xE3069283


@pytest.mark.parametrize("n_shards", [1, 3])
@pytest.mark.parametrize("given", ["net", "net.index", "net.data-00000-of-0000{n}"])
def test_a_bundle_is_read_by_any_of_its_names(tmp_path, n_shards, given):
    write_bundle(tmp_path / "net", TENSORS, n_shards=n_shards)
    path = tmp_path / given.format(n=n_shards)
    assert is_tensorflow(path)
    check(read_tensorflow(path))


def test_a_prefix_with_dots_is_a_prefix(tmp_path):
    write_bundle(tmp_path / "model.ckpt-1234", TENSORS)
    check(read_tensorflow(tmp_path / "model.ckpt-1234"))


def test_the_older_form_is_read(tmp_path):
    write_single(tmp_path / "old.ckpt", TENSORS)
    assert is_tensorflow(tmp_path / "old.ckpt")
    check(read_tensorflow(tmp_path / "old.ckpt"))


def test_torch_files_folders_and_nothing_are_not_tensorflow(tmp_path):
    torch.save({"a": torch.ones(100)}, tmp_path / "a.ckpt")
    (tmp_path / "short").write_bytes(b"x")
    for name in ("a.ckpt", "short", "missing", "."):
        assert not is_tensorflow(tmp_path / name)


def test_a_changed_bit_in_the_data_or_the_table_is_named(tmp_path):
    write_bundle(tmp_path / "net", TENSORS)
    for name, at in (("net.data-00000-of-00001", 200), ("net.index", 90)):
        whole = (tmp_path / name).read_bytes()
        (tmp_path / name).write_bytes(whole[:at] + bytes([whole[at] ^ 4]) + whole[at + 1 :])
        with pytest.raises(CheckpointError, match="is damaged: its sum"):
            read_tensorflow(tmp_path / "net")
        (tmp_path / name).write_bytes(whole)
    check(read_tensorflow(tmp_path / "net"))


def test_a_missing_data_file_is_named(tmp_path):
    write_bundle(tmp_path / "net", TENSORS)
    (tmp_path / "net.data-00000-of-00001").unlink()
    with pytest.raises(CheckpointError, match=r"needs net\.data-00000-of-00001 beside it"):
        read_tensorflow(tmp_path / "net")


@pytest.mark.parametrize("write", [write_bundle, write_single])
def test_whatever_is_cut_off_or_overwritten_ends_in_one_sentence(tmp_path, write):
    file = tmp_path / ("net.index" if write is write_bundle else "net")
    write(tmp_path / "net", TENSORS)
    whole = file.read_bytes()
    rng = np.random.default_rng(0)
    n_refused = 0
    for _ in range(150):
        changed = bytearray(whole)
        start = int(rng.integers(0, len(whole)))
        changed[start : start + int(rng.integers(1, 9))] = rng.bytes(int(rng.integers(0, 9)))
        file.write_bytes(bytes(changed))
        try:
            found = read_tensorflow(tmp_path / "net")
        except CheckpointError as error:
            assert "\n" not in str(error)
            n_refused += 1
        else:
            check(found)  # what was overwritten was padding
    assert n_refused > 100


# --- files whose sums are right and whose content is hostile --------------------------------------


def entry_of(offset, n_bytes, data):
    """A bundle's entry of one row of floats."""
    shape = field(2, field(1, n_bytes // 4))
    return field(1, 1) + field(2, shape) + field(4, offset) + field(5, n_bytes) + varint(53) + masked(data)


def write_index(tmp_path, entries, data=bytes(64)):
    (tmp_path / "net.index").write_bytes(table([(b"", field(1, 1)), *entries], per_block=10**6))
    (tmp_path / "net.data-00000-of-00001").write_bytes(data)


def test_tensors_that_share_their_bytes_do_not_multiply_them(tmp_path):
    write_index(tmp_path, [(f"{i:04d}".encode(), entry_of(0, 64, bytes(64))) for i in range(2)])
    with pytest.raises(CheckpointError, match="overlap"):
        read_tensorflow(tmp_path / "net")


def test_long_keys_that_repeat_one_another_are_refused(tmp_path):
    write_index(tmp_path, [(b"k" * 5000 + bytes([i]), b"") for i in range(3)])
    with pytest.raises(CheckpointError, match="beyond the end"):
        read_tensorflow(tmp_path / "net")


@pytest.mark.parametrize("keys", [(b"b", b"a"), (b"a", b"a")])
def test_keys_out_of_order_are_refused(keys, tmp_path):
    write_index(tmp_path, [(key, entry_of(0, 0, b"")) for key in keys])
    with pytest.raises(CheckpointError, match="not in order"):
        read_tensorflow(tmp_path / "net")


@pytest.mark.parametrize("content", [
    field(1, 1) + field(2, 7),  # a number in place of a shape
    field(1, 1) + field(2, field(2, 5)),
    field(1, 1) + field(2, field(2, field(1, 2**60))),
    field(1, 1) + field(2, field(2, field(1, 2**20))),  # more than the file has
    field(1, 1) + field(2, field(2, field(1, 1))) + field(4, 2**62),
    field(1, 1) + field(2, field(2, field(1, 1))) + field(3, b"abcd"),
])  # fmt: skip
def test_an_entry_of_another_make_ends_in_one_sentence(content, tmp_path):
    write_index(tmp_path, [(b"odd", content)])
    with pytest.raises(CheckpointError, match=r"can't be read as a TensorFlow|needs net"):
        read_tensorflow(tmp_path / "net")


@pytest.mark.parametrize("saved", [7, field(1, 7), field(1, b"odd") + field(2, 7), field(1, b"\xff")])
def test_an_older_file_of_another_make_ends_in_one_sentence(saved, tmp_path):
    metas = field(1, field(1, field(1, b"odd") + field(2, b"") + field(3, 1)))
    (tmp_path / "net").write_bytes(table([(b"", metas), (b"\0odd", field(2, saved))]))
    with pytest.raises(CheckpointError, match="can't be read as a TensorFlow"):
        read_tensorflow(tmp_path / "net")
