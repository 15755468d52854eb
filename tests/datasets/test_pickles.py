"""Pickles of plain data load, all others are refused without running anything."""

import pickle
import tracemalloc

import numpy as np
import pytest

from lookalike.datasets.pickles import read_pickle
from lookalike.errors import DatasetError

PLAIN = {
    "imlist": ["a", "ä"],
    "gnd": [{"easy": [1, 2], "bbx": np.array([1.5, 2, 3, 4]), "set": {1}, "raw": b"\xff\x00"}],
    "ranks": np.asfortranarray(np.arange(6, dtype="<i4").reshape(2, 3)),
    "names": np.array([["one", "three"]]),
    "ragged": np.array([[1], "two", None], dtype=object),
    "number": np.float32(0.25),
    "flag": np.bool_(True),
    "complex": 1 + 2j,
    "buffer": bytearray(b"ab"),
    "empty": np.zeros((0, 3)),
}


def written(tmp_path, content, protocol=4):
    path = tmp_path / "file.pkl"
    path.write_bytes(content if isinstance(content, bytes) else pickle.dumps(content, protocol=protocol))
    return path


def assert_same(found, expected):
    if isinstance(expected, dict):
        assert found.keys() == expected.keys()
        for key, value in expected.items():
            assert_same(found[key], value)
    elif isinstance(expected, list):
        assert len(found) == len(expected)
        for one, other in zip(found, expected, strict=True):
            assert_same(one, other)
    elif isinstance(expected, np.ndarray):
        assert isinstance(found, np.ndarray)
        assert (found.dtype, found.shape) == (expected.dtype, expected.shape)
        assert found.tolist() == expected.tolist()
    else:
        assert type(found) is type(expected)
        assert found == expected


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_plain_data_of_every_protocol_comes_back_as_it_was(tmp_path, protocol):
    assert_same(read_pickle(written(tmp_path, PLAIN, protocol)), PLAIN)


def test_an_array_that_python_2_wrote_comes_back(tmp_path):
    # cPickle protocol 1 of numpy.array([1, 256], "<i2"), byte text as BINSTRING, by hand
    content = (
        b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(K\x00tU\x01btR"
        b"(K\x01(K\x02tcnumpy\ndtype\n(U\x02i2K\x00K\x01tR(K\x03U\x01<NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
        b"I00\nU\x04\x01\x00\x00\x01tb."
    )
    assert read_pickle(written(tmp_path, content)).tolist() == [1, 256]


def test_an_array_of_swapped_bytes_keeps_its_values(tmp_path):
    assert read_pickle(written(tmp_path, np.array([1, 256], ">i4"))).tolist() == [1, 256]


class Runs:
    def __init__(self, function, *arguments):
        self.reduced = function, arguments

    def __reduce__(self):
        return self.reduced


@pytest.mark.parametrize("protocol", [0, 2, 5])
def test_a_pickle_that_would_run_code_is_refused_and_runs_nothing(tmp_path, protocol):
    trace = tmp_path / "trace"
    path = written(tmp_path, {"gnd": Runs(exec, f"open({str(trace)!r}, 'w')")}, protocol)
    with pytest.raises(DatasetError, match=r"exec\) that are not loaded, because loading them can run code"):
        read_pickle(path)
    assert not trace.exists()


@pytest.mark.parametrize(
    "name",
    [
        b"cos\nsystem\n.",
        b"cbuiltins\neval\n.",
        b"cbuiltins\ngetattr\n.",
        b"cnumpy\nload\n.",
        b"cnumpy\nsave\n.",
        b"\x80\x04\x8c\x05numpy\x8c\x08fromfile\x93.",
    ],
)
def test_names_beyond_plain_data_are_refused_before_they_are_looked_up(tmp_path, name):
    with pytest.raises(DatasetError, match="not loaded"):
        read_pickle(written(tmp_path, name))


DTYPE_O = b"cnumpy\ndtype\n(VO8\nI00\nI01\ntR"
RECONSTRUCT = b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(I0\ntVb\ntR"


@pytest.mark.parametrize(
    "content",
    [
        # flags that say "no pointers" for an array of objects, and eight bytes as its pointer
        RECONSTRUCT + b"(I1\n(I1\nt" + DTYPE_O + b"(I3\nV|\nNNNI-1\nI-1\nI0\ntbI00\nVABCDEFGH\ntb.",
        b"cnumpy.core.multiarray\nscalar\n(" + DTYPE_O + b"VABCDEFGH\ntR.",
        b"cnumpy._core.numeric\n_frombuffer\n(VABCDEFGH\n" + DTYPE_O + b"(I1\ntVC\ntR.",
    ],
)
def test_bytes_are_never_taken_for_pointers(tmp_path, content):
    with pytest.raises(DatasetError, match="can't be read as a pickle"):
        read_pickle(written(tmp_path, content))


def test_a_pickle_cannot_change_what_the_next_one_is_read_with(tmp_path):
    change = b"cnumpy\ndtype\n}V_function\ncbuiltins\nset\nsb."
    with pytest.raises(DatasetError, match="can't modify"):
        read_pickle(written(tmp_path, change))
    assert_same(read_pickle(written(tmp_path, PLAIN)), PLAIN)


BYTES_OF_TEXT = b"cbuiltins\nbytearray\nh\x00\x85R"


def nested(depth, width):
    """A list of the same list, many times, at each of several depths: width ** depth numbers in all."""
    content = [1.5] * width
    for _ in range(depth - 1):
        content = [content] * width
    return content


@pytest.mark.parametrize(
    "content",
    [
        pickle.dumps({"gnd": nested(6, 50)}),  # 15 billion numbers in 2 KB
        pickle.dumps(np.array([nested(4, 100), None], dtype=object)),
        # one text of 100 kB, turned into bytes a hundred times
        b"\x80\x02]T\xa0\x86\x01\x00" + b"0" * 100_000 + b"q\x000(" + 100 * BYTES_OF_TEXT + b"e.",
        # strings of no length, a billion of them
        RECONSTRUCT + b"(I1\n(I1000000000\ntcnumpy\ndtype\n(VS0\nI00\nI01\ntRI00\nV\ntb.",
    ],
)
def test_a_small_file_cannot_grow_beyond_a_multiple_of_its_size(tmp_path, content):
    with pytest.raises(DatasetError, match="can't be read as a pickle"):
        read_pickle(written(tmp_path, content))


@pytest.mark.parametrize(
    "content",
    [
        b"\x80\x05\x96" + (1 << 37).to_bytes(8, "little") + b"ab.",  # a bytearray of 128 GiB
        b"\x80\x04\x8e" + (1 << 37).to_bytes(8, "little") + b"ab.",  # bytes
        b"\x80\x04\x95" + (1 << 37).to_bytes(8, "little") + b"ab.",  # a frame
        b"\x80\x02K\x01r\xff\xff\xff\x3fh\x00.",  # the number of a remembered object
    ],
)
def test_a_size_that_only_the_file_claims_reserves_no_memory(tmp_path, content):
    path = written(tmp_path, content)
    tracemalloc.start()
    with pytest.raises(DatasetError, match="can't be read as a pickle"):
        read_pickle(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 10_000_000


@pytest.mark.parametrize("content", [b"", b"no pickle", pickle.dumps(PLAIN)[:-40], b"\x80\x04]\x94(h\x09e."])
def test_a_damaged_file_is_named_in_one_sentence(tmp_path, content):
    with pytest.raises(DatasetError, match=r"file\.pkl can't be read as a pickle"):
        read_pickle(written(tmp_path, content))


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(DatasetError, match=r"none\.pkl can't be read: No such file"):
        read_pickle(tmp_path / "none.pkl")


@pytest.mark.weights
def test_the_published_ground_truth_loads_as_the_open_unpickler_reads_it(shared):
    for path in sorted((shared / "data" / "revisitop").glob("*.pkl")):
        with path.open("rb") as file:
            assert_same(read_pickle(path), pickle.load(file))
