"""Names of weights that were saved through DataParallel and torch.compile."""

import pytest
import timm
import torch
from safetensors.torch import save_file
from torch import nn

from lookalike.errors import CheckpointError
from lookalike.models.embedder import Embedder
from lookalike.models.wrappers import without_wrappers


def network():
    return nn.Sequential(nn.Linear(3, 2), nn.Sequential(nn.Linear(2, 5), nn.BatchNorm1d(5)))


def compiled(module):
    return torch.compile(module, backend="eager")  # not run, so nothing is compiled


def part_compiled():
    whole = network()
    whole[1] = compiled(whole[1])
    return whole


@pytest.mark.parametrize(
    "wrapped",
    [
        network(),
        nn.DataParallel(network()),
        compiled(network()),
        compiled(nn.DataParallel(network())),
        nn.DataParallel(compiled(network())),
        part_compiled(),
        nn.DataParallel(part_compiled()),
    ],
    ids=["plain", "parallel", "compiled", "compiled parallel", "parallel compiled", "part", "parallel part"],
)
def test_wrapped_weights_have_the_names_of_the_network(wrapped):
    assert without_wrappers(wrapped.state_dict(), "w").keys() == network().state_dict().keys()


def test_a_part_of_the_network_that_is_called_module_keeps_its_name():
    own = {"block.module.weight": torch.ones(2), "block.module_scale": torch.ones(1)}
    assert without_wrappers(own, "w") == own


def test_two_networks_in_one_file_are_refused():
    with pytest.raises(CheckpointError, match=r"w\.pth holds a twice, once as module\.a"):
        without_wrappers({"a": torch.ones(2), "module.a": torch.zeros(2)}, "w.pth")


# --- prefixes of training code ----------------------------------------------------------------


def fresh(seed):
    torch.manual_seed(seed)
    return timm.create_model("resnet18", num_classes=0).state_dict()


def below(prefix, weights):
    return {f"{prefix}{name}": tensor for name, tensor in weights.items()}


LAYOUTS = {
    "plain": lambda w, _: w,
    "compiled parallel": lambda w, _: below("_orig_mod.module.", w),
    "lightning": lambda w, _: below("model.", w) | {"criterion.proxies": torch.zeros(4, 2)},
    "named backbone": lambda w, _: below("backbone.", w) | {"head.mlp.weight": torch.zeros(4, 2)},
    "deeper": lambda w, _: below("module.model.encoder.", w),
    "student alone": lambda w, _: below("student.", w),
    "averaged by torch": lambda w, _: below("module.", w) | {"n_averaged": torch.tensor(3)},
    "teacher": lambda w, other: below("student.module.backbone.", other) | below("teacher.backbone.", w),
    "moving average": lambda w, other: below("model.", other) | below("ema_model.module.", w),
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_weights_load_from_below_the_prefixes_of_training_code(layout, suffix, tmp_path):
    weights = fresh(1)
    stored = LAYOUTS[layout](weights, fresh(2))
    path = tmp_path / f"w{suffix}"
    save_file(stored, path) if suffix == ".safetensors" else torch.save(stored, path)
    model = Embedder.from_timm("resnet18", weights=path).network.backbone.model
    torch.testing.assert_close(model.state_dict()["layer4.1.conv2.weight"], weights["layer4.1.conv2.weight"])


@pytest.mark.parametrize(
    "content",
    [
        lambda w, other: {"state_dict": other, "state_dict_ema": w, "epoch": 3},
        lambda w, other: {"student": below("module.", other), "teacher": w},
        lambda w, _: {"model": below("model.", w), "optimizer": {"state": {}}},
    ],
)
def test_averaged_weights_of_a_training_checkpoint_are_taken(content, tmp_path):
    weights = fresh(1)
    torch.save(content(weights, fresh(2)), tmp_path / "w.pth")
    model = Embedder.from_timm("resnet18", weights=tmp_path / "w.pth").network.backbone.model
    torch.testing.assert_close(model.state_dict()["layer4.1.conv2.weight"], weights["layer4.1.conv2.weight"])


def test_which_of_two_networks_is_taken_is_said(tmp_path, caplog):
    save_file(below("student.", fresh(2)) | below("teacher.", fresh(1)), tmp_path / "w.safetensors")
    Embedder.from_timm("resnet18", weights=tmp_path / "w.safetensors")
    assert "holds student., teacher.; the weights below teacher. are taken" in caplog.text


def test_two_networks_of_equal_standing_are_refused(tmp_path):
    save_file(below("left.", fresh(2)) | below("right.", fresh(1)), tmp_path / "w.safetensors")
    with pytest.raises(CheckpointError, match=r"holds 2 networks of this kind, below 'left\.', 'right\.'"):
        Embedder.from_timm("resnet18", weights=tmp_path / "w.safetensors")


def test_a_checkpoint_of_a_known_layout_may_lie_below_a_prefix(tmp_path):
    numbers = {"conv1": 0, "bn1": 1, "layer1": 4, "layer2": 5, "layer3": 6, "layer4": 7}
    weights = {f"features.{numbers[k.split('.')[0]]}.{k.partition('.')[2]}": v for k, v in fresh(1).items()}
    weights["pool.p"] = torch.tensor([3.0])
    torch.save({"meta": {"pooling": "gem"}, "state_dict": weights}, tmp_path / "plain.pth")
    torch.save(
        {"meta": {"pooling": "gem"}, "state_dict": below("model.net.", weights)}, tmp_path / "deep.pth"
    )
    plain, deep = (Embedder.load(tmp_path / name) for name in ("plain.pth", "deep.pth"))
    assert plain.fingerprint() == deep.fingerprint()


def test_averaged_weights_whose_names_have_lost_the_dots_are_taken(tmp_path, caplog):
    raw, averaged = fresh(0), fresh(1)
    tensors = {f"model.{k}": v for k, v in raw.items()}
    tensors |= {"model_ema." + k.replace(".", ""): v for k, v in averaged.items()}  # as LitEma's buffers
    torch.save({"state_dict": tensors}, tmp_path / "w.pth")
    loaded = Embedder.from_timm("resnet18", weights=tmp_path / "w.pth")
    assert torch.equal(loaded.network.backbone.model.conv1.weight, averaged["conv1.weight"])
    assert "averaged weights" in caplog.text


def test_weights_without_counts_of_batches_load_and_quantized_ones_are_refused(tmp_path):
    weights = fresh(0)
    save_file({k: v for k, v in weights.items() if "num_batches" not in k}, tmp_path / "w.safetensors")
    loaded = Embedder.from_timm("resnet18", weights=tmp_path / "w.safetensors")
    assert torch.equal(loaded.network.backbone.model.conv1.weight, weights["conv1.weight"])
    save_file({k: (100 * v).to(torch.int8) for k, v in weights.items()}, tmp_path / "q.safetensors")
    with pytest.raises(CheckpointError, match=r"torch\.int8 instead of torch\.float32"):
        Embedder.from_timm("resnet18", weights=tmp_path / "q.safetensors")


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "pointer of Git LFS"),
        (b"<!DOCTYPE html><html>404", "page of the web"),
    ],
)
@pytest.mark.parametrize("suffix", [".pth", ".npz", ".safetensors"])
def test_what_lies_in_the_place_of_weights_is_named(tmp_path, content, kind, suffix):
    (tmp_path / f"w{suffix}").write_bytes(content)
    with pytest.raises(CheckpointError, match=kind):
        Embedder.from_timm("resnet18", weights=tmp_path / f"w{suffix}")
