"""Files that ask for more memory than they hold are refused before anything is allocated."""

import contextlib
import json
import resource
import struct
import zipfile

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from lookalike.datasets.arrays import read_arrays
from lookalike.datasets.pickles import read_pickle
from lookalike.errors import CheckpointError, DatasetError, GalleryError, LookalikeError
from lookalike.gallery import Gallery
from lookalike.models.checkpoints.files import read_checkpoint
from lookalike.models.embedder import Embedder


@pytest.fixture
def little_memory():
    """3 GiB more than are in use, so that a bomb is a MemoryError and not a dead machine."""
    with open("/proc/self/statm") as file:  # noqa: PTH123
        used = int(file.read().split()[0]) * resource.getpagesize()
    old = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (used + 3 * 2**30, old[1]))
    yield
    resource.setrlimit(resource.RLIMIT_AS, old)


BOMBS = {
    "memory of objects": b"\x80\x02Nr\xff\xff\xff\x0f.",
    "long string": b"\x80\x04\x8e" + struct.pack("<Q", 2**33),
    "long bytearray": b"\x80\x05\x96" + struct.pack("<Q", 2**33),
}


@pytest.mark.parametrize("bomb", BOMBS)
def test_a_pickle_of_a_few_bytes_takes_no_gigabytes(bomb, tmp_path, little_memory):
    path = tmp_path / "x.pkl"
    path.write_bytes(BOMBS[bomb])
    with contextlib.suppress(DatasetError):  # refused, or read without reserving what it asks for
        read_pickle(path)


def zeros_archive(path, n_bytes):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive, archive.open("a.npy", "w") as member:
        np.lib.format.write_array_header_1_0(
            member, {"descr": "<f4", "fortran_order": False, "shape": (n_bytes // 4, 1)}
        )
        for _ in range(n_bytes // 2**20):
            member.write(bytes(2**20))


@pytest.mark.parametrize("read", [read_arrays, read_checkpoint])
def test_an_archive_that_expands_a_thousand_times_is_refused(read, tmp_path):
    path = tmp_path / "x.npz"
    zeros_archive(path, 300 * 2**20)
    with pytest.raises(LookalikeError, match=r"x\.npz .*bytes expand to 314,572,9"):
        read(path)


def test_zeros_of_a_usual_size_are_read(tmp_path):
    np.savez_compressed(tmp_path / "x.npz", a=np.zeros((1000, 512), np.float32))
    assert read_arrays(tmp_path / "x.npz")["a"].shape == (1000, 512)


@pytest.mark.parametrize("suffix", [".npy", ".npz"])
def test_an_array_that_announces_more_than_it_holds_is_refused(suffix, tmp_path, little_memory):
    path = tmp_path / f"x{suffix}"
    header = {"descr": "<f4", "fortran_order": False, "shape": (2**40, 2)}
    if suffix == ".npy":
        with path.open("wb") as file:
            np.lib.format.write_array_header_1_0(file, header)
    else:
        with zipfile.ZipFile(path, "w") as archive, archive.open("a.npy", "w") as member:
            np.lib.format.write_array_header_1_0(member, header)
    with pytest.raises(LookalikeError, match=r"announces \(1099511627776, 2\) of float32 and holds"):
        read_arrays(path)


def test_a_tensor_that_repeats_one_number_is_refused(tmp_path, little_memory):
    torch.save({"a": torch.zeros(1, dtype=torch.float16).expand(2**20, 2**20)}, tmp_path / "x.pth")
    with pytest.raises(CheckpointError, match=r"a announces \(1048576, 1048576\) and holds fewer"):
        read_checkpoint(tmp_path / "x.pth")


# --- settings of a saved embedder -------------------------------------------------------------


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    folder = tmp_path_factory.mktemp("saved") / "vit"
    Embedder.from_timm("vit_tiny_patch16_224", pretrained=False, depth=1, input_size=(64, 64)).save(folder)
    return folder


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"backbone": {"architecture": "vit_tiny_patch16_224", "kwargs": {"depth": 3000}}},
            "option depth is 3000",
        ),
        (
            {
                "backbone": {
                    "architecture": "vit_tiny_patch16_224",
                    "kwargs": {"depth": 1, "embed_dim": 60_000},
                }
            },
            "its options describe",
        ),
        (
            {"backbone": {"architecture": "vit_tiny_patch16_224", "kwargs": {"embed_dim": 10**9}}},
            "numbers of at most 65,536",
        ),
        ({"scales": [1.0] * 100_000}, "scales are numbers above 0, 1 to 16 of them; got 100000"),
        ({"scales": 3}, "no saved embedder"),
        (
            {"preprocessing": {"mode": "fit", "input_size": [4096, 4096]}, "scales": [2.0]},
            "beyond 16,777,216 pixels",
        ),
        ({"backbone": []}, "no saved embedder"),
        ({"head": [{"layer": 7}]}, "no saved embedder"),
    ],
)
def test_settings_that_ask_for_more_than_the_weights_hold_are_refused(
    change, message, saved, tmp_path, little_memory
):
    config = json.loads((saved / "config.json").read_text()) | change
    (tmp_path / "config.json").write_text(json.dumps(config))
    (tmp_path / "model.safetensors").write_bytes((saved / "model.safetensors").read_bytes())
    with pytest.raises(CheckpointError, match=message):
        Embedder.load(tmp_path)


def test_settings_of_a_saved_embedder_pass(saved):
    assert Embedder.load(saved).width == 192


@pytest.mark.parametrize(
    "text", ["[" * 100_000, "[]", "3", '{"format": 1}', '{"format": 1, "backbone": null}']
)
def test_settings_of_another_form_are_one_sentence(text, saved, tmp_path):
    (tmp_path / "config.json").write_text(text)
    save_file({"a": torch.zeros(1)}, tmp_path / "model.safetensors")
    with pytest.raises(CheckpointError, match="is no saved embedder"):
        Embedder.load(tmp_path)


# --- the manifest of a gallery ----------------------------------------------------------------


@pytest.fixture
def gallery(mini, tmp_path):
    Gallery.create(tmp_path / "g", mini)
    return tmp_path / "g"


@pytest.mark.parametrize(
    "change",
    [
        {"width": 10**12},
        {"width": "12"},
        {"width": True},
        {"model": 3},
        {"preprocessing": []},
        {"calibration": 1},
    ],
)
def test_a_manifest_with_odd_values_is_damaged(change, gallery, mini):
    file = gallery / "gallery.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | change))
    with pytest.raises(GalleryError, match=r"gallery\.json is damaged"):
        Gallery.open(gallery, mini)


def test_a_gallery_that_lost_its_manifest_is_not_made_anew(gallery, mini):
    (gallery / "gallery.json").unlink()
    for attempt in (Gallery.create, Gallery.open, Gallery.open_or_create):
        with pytest.raises(GalleryError, match=r"has lost its gallery\.json"):
            attempt(gallery, mini)
    assert not (gallery / "gallery.json").exists()
