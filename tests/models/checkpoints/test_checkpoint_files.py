import io
import pickle
from collections import OrderedDict

import numpy as np
import pytest
import torch

from lookalike.errors import CheckpointError
from lookalike.models.checkpoints import CHECKPOINT_SUFFIXES, load_checkpoint
from lookalike.models.checkpoints.files import read_checkpoint
from lookalike.models.embedder import Embedder


class Evil:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (str(self.path), "w"))


def test_a_pickle_with_code_is_refused_and_not_run(tmp_path):
    torch.save({"state_dict": {"a": torch.zeros(2)}, "extra": Evil(tmp_path / "ran")}, tmp_path / "evil.pth")
    with pytest.raises(CheckpointError, match=r"evil.pth holds Python objects .*open.* can run code"):
        load_checkpoint(tmp_path / "evil.pth")
    assert not (tmp_path / "ran").exists()


def test_a_plain_pickle_with_code_is_refused_and_not_run(tmp_path):
    (tmp_path / "evil.pth").write_bytes(pickle.dumps(Evil(tmp_path / "ran")))
    with pytest.raises(CheckpointError, match=r"evil\.pth") as refused:
        load_checkpoint(tmp_path / "evil.pth")
    assert "torch.load" not in str(refused.value)  # whose advice would run the code
    assert not (tmp_path / "ran").exists()


def test_a_whole_pickled_network_is_refused_with_advice(tmp_path):
    torch.save(torch.nn.Linear(2, 3), tmp_path / "network.pth")
    with pytest.raises(CheckpointError, match="save the network's state_dict alone"):
        load_checkpoint(tmp_path / "network.pth")


@pytest.mark.parametrize("suffix", [*CHECKPOINT_SUFFIXES, ".tar"])
@pytest.mark.parametrize(
    "content", [b"", b"\x89PNG not a checkpoint", b"PK\x03\x04" + bytes(60)], ids=["empty", "text", "zip"]
)
def test_files_that_are_no_checkpoints_are_refused_by_name(tmp_path, suffix, content):
    path = tmp_path / f"broken{suffix}"
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match="broken"):
        load_checkpoint(path)


@pytest.mark.parametrize("kept", [0.1, 0.5, 0.95])
@pytest.mark.parametrize("suffix", [".pth", ".npz", ".safetensors"])
def test_a_truncated_file_is_refused_by_name(tmp_path, suffix, kept):
    path = tmp_path / f"whole{suffix}"
    tensors = {"root.conv.weight": torch.randn(64, 50)}
    if suffix == ".pth":
        torch.save(tensors, path)
    elif suffix == ".npz":
        np.savez(path, **{name: t.numpy() for name, t in tensors.items()})
    else:
        from safetensors.torch import save_file

        save_file(tensors, path)
    cut = tmp_path / f"cut{suffix}"
    cut.write_bytes(path.read_bytes()[: int(kept * path.stat().st_size)])
    with pytest.raises(CheckpointError, match="cut"):
        load_checkpoint(cut)


def test_arrays_of_objects_are_refused_and_not_unpickled(tmp_path):
    array = np.empty(1, dtype=object)
    array[0] = Evil(tmp_path / "ran")
    np.savez(tmp_path / "objects.npz", array=array)
    with pytest.raises(CheckpointError, match=r"objects\.npz"):
        load_checkpoint(tmp_path / "objects.npz")
    assert not (tmp_path / "ran").exists()


def test_numpy_numbers_and_arrays_beside_the_weights_are_accepted(tmp_path):
    whitening = {"m": np.zeros((4, 1)), "P": np.eye(4, dtype=np.float32)}
    meta = {
        "mean": [np.float32(0.5)] * 3,
        "Lw": {"retrieval-SfM-120k": {"ms": whitening}},
        "outputdim": np.int64(4),
    }
    content = {"meta": meta, "state_dict": OrderedDict(a=torch.ones(2)), "min_loss": np.float64(0.25)}
    torch.save(content, tmp_path / "numbers.pth")
    read = read_checkpoint(tmp_path / "numbers.pth")
    assert read.meta["mean"] == [0.5, 0.5, 0.5]
    np.testing.assert_array_equal(read.meta["Lw"]["retrieval-SfM-120k"]["ms"]["P"], np.eye(4))


@pytest.mark.parametrize("key", ["state_dict", "model", "model_state_dict"])
def test_weights_are_found_inside_a_training_checkpoint_and_lose_their_wrappers(tmp_path, key):
    inside = {"module.a": torch.ones(2, dtype=torch.float16), "module._orig_mod.n": torch.tensor(3)}
    torch.save({"epoch": 3, key: inside, "optimizer": {"lr": 0.1}}, tmp_path / "training.pth")
    tensors = read_checkpoint(tmp_path / "training.pth").tensors
    assert set(tensors) == {"a", "n"}
    assert tensors["a"].dtype == torch.float32 and tensors["n"].dtype == torch.int64


def test_the_older_torch_format_is_read(tmp_path):
    torch.save({"a": torch.arange(3.0)}, tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    assert read_checkpoint(tmp_path / "old.pth").tensors["a"].tolist() == [0.0, 1.0, 2.0]


@pytest.mark.parametrize("content", [[1, 2], torch.zeros(2), {}, {"epoch": 3}])
def test_files_without_named_tensors_are_refused(tmp_path, content):
    torch.save(content, tmp_path / "odd.pth")
    with pytest.raises(CheckpointError, match=r"odd.pth holds .*state_dict"):
        load_checkpoint(tmp_path / "odd.pth")


def test_a_timm_state_dict_is_not_guessed_but_told_how_to_load(tmp_path, tiny_backbone):
    torch.save(tiny_backbone("resnet10t").model.state_dict(), tmp_path / "plain.pth")
    with pytest.raises(CheckpointError) as refusal:
        load_checkpoint(tmp_path / "plain.pth")
    message = str(refusal.value)
    for part in (
        "bn1.bias",
        "Black",
        "Radenović",
        "root.conv.weight",
        "from_timm(name",
        "lookalike models make",
    ):
        assert part in message


def test_a_text_array_file_is_an_unknown_layout(goldens):
    with pytest.raises(CheckpointError, match="no known layout: attention_a, attention_b"):
        load_checkpoint(goldens / "xformer_vit_p16_mean.npz")


def test_the_embedder_hands_on_the_refusal(tmp_path):
    buffer = io.BytesIO()
    torch.save({"a": torch.zeros(1)}, buffer)
    (tmp_path / "odd.pt").write_bytes(buffer.getvalue())
    with pytest.raises(CheckpointError, match="no known layout: a"):
        Embedder.load(tmp_path / "odd.pt")
