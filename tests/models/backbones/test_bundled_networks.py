import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from lookalike.errors import CheckpointError
from lookalike.models import loading
from lookalike.models.backbones import create_backbone, load_weights, resize_backbone, saved_backbone
from lookalike.models.backbones.bundled_networks import bundled_network
from lookalike.models.saving import fingerprint_of, load_folder, load_safetensors

BUNDLED = Path(loading.__file__).parent / "bundled"
NEVER = ("timm", "torchvision", "lancedb", "huggingface_hub", "sympy", "transformers", "jinja2")


def described(name):
    backbone = json.loads((BUNDLED / name / "config.json").read_text())["backbone"]
    tensors = load_safetensors(BUNDLED / name / "model.safetensors")
    weights = {key.removeprefix("backbone."): t for key, t in tensors.items() if key.startswith("backbone.")}
    return backbone["architecture"], backbone["kwargs"], weights


@pytest.fixture(params=["mini", "mini-vit"])
def both(request):
    """The bundled backbone as it is loaded, and as timm builds it, with the same weights."""
    architecture, options, weights = described(request.param)
    by_timm = create_backbone(architecture, **options)
    resize_backbone(by_timm, (160, 160))
    load_weights(by_timm, weights)
    return saved_backbone(architecture, options, weights, (160, 160)), by_timm


@torch.inference_mode()
def test_a_bundled_network_computes_what_timm_computes_bit_for_bit(both):
    ours, by_timm = both
    images = torch.randn(2, 3, 160, 160, generator=torch.Generator().manual_seed(0))
    assert "timm" in type(by_timm.model).__module__ and "timm" not in type(ours.model).__module__
    assert torch.equal(ours(images).cells, by_timm(images).cells)
    assert torch.equal(ours.own_embedding(images), by_timm.own_embedding(images))
    assert ours.token_grid((160, 160)) == by_timm.token_grid((160, 160))
    assert ours.model.feature_info == by_timm.model.feature_info


def test_a_bundled_network_names_and_orders_its_tensors_as_timm_does(both):
    ours, by_timm = (each.model.state_dict() for each in both)
    assert list(ours) == list(by_timm)
    assert {name: t.shape for name, t in ours.items()} == {name: t.shape for name, t in by_timm.items()}


@torch.inference_mode()
def test_the_convolutional_one_pads_odd_sizes_and_gives_levels_as_timm_does():
    architecture, options, weights = described("mini")
    ours, by_timm = (
        saved_backbone(architecture, options, weights, (160, 160)),
        create_backbone(architecture, **options),
    )
    load_weights(by_timm, weights)
    images = torch.randn(1, 3, 97, 131, generator=torch.Generator().manual_seed(1))
    last, below = ours.model.forward_intermediates(images, indices=[2, 3])
    same_last, same_below = by_timm.model.forward_intermediates(images, indices=[2, 3])
    assert torch.equal(last, same_last)
    assert all(torch.equal(a, b) for a, b in zip(below, same_below, strict=True))


def test_training_mode_moves_the_same_statistics_and_gradients():
    architecture, options, weights = described("mini")
    ours, by_timm = bundled_network(architecture, options), create_backbone(architecture, **options).model
    images = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(2))
    for network in (ours, by_timm):
        network.load_state_dict(weights | {k: v for k, v in network.state_dict().items() if k not in weights})
        network.train()(images).square().mean().backward()
    assert torch.equal(ours.blocks[3][1].bn2.running_var, by_timm.blocks[3][1].bn2.running_var)
    assert torch.equal(ours.conv_stem.weight.grad, by_timm.conv_stem.weight.grad)


def test_another_size_of_the_transformer_is_resampled_by_timm():
    architecture, options, weights = described("mini-vit")
    ours, by_timm = (
        saved_backbone(architecture, options, weights, (160, 160)),
        create_backbone(architecture, **options),
    )
    load_weights(by_timm, weights)
    for backbone in (ours, by_timm):
        resize_backbone(backbone, (96, 160))
    images = torch.randn(1, 3, 96, 160, generator=torch.Generator().manual_seed(3))
    with torch.inference_mode():
        assert ours(images).grid == (6, 10)
        assert torch.equal(ours(images).cells, by_timm(images).cells)


@pytest.mark.parametrize(
    "form",
    [
        ("mobilenetv2_100", {"output_stride": 16}),
        ("mobilenetv2_100", {"output_stride": 16, "pad_type": "same", "drop_rate": 0.1}),
        ("vit_mobile_s16", {"img_size": 160}),
        ("vit_mobile_s16", {"img_size": 10**9, "depth": 4}),
        ("vit_mobile_s16", {"img_size": 160, "depth": 10**9}),
        ("resnet18", {}),
    ],
)
def test_any_other_form_is_left_to_timm(form):
    assert bundled_network(*form) is None


def test_weights_that_do_not_fit_are_refused_by_name():
    architecture, options, weights = described("mini")
    weights["conv_stem.weight"] = weights["conv_stem.weight"][:7]
    with pytest.raises(CheckpointError, match=r"conv_stem\.weight is \(7, 3, 3, 3\)"):
        saved_backbone(architecture, options, weights, (160, 160))


def test_a_bundled_model_keeps_the_fingerprint_that_galleries_know():
    known = {"mini": "aeab8c06d6411748", "mini-vit": "cbff851755437025"}
    assert {name: fingerprint_of(load_folder(BUNDLED / name))[:16] for name in known} == known


def test_explaining_with_a_bundled_model_imports_no_library_that_it_does_not_need(pictures, tmp_path):
    paths = [str(tmp_path / f"{number}.png") for number in range(2)]
    for picture, path in zip(pictures, paths, strict=False):
        Image.fromarray(np.asarray(picture)).save(path)
    code = (
        "import sys; from lookalike.cli import app\n"
        f"try: app(['explain', *{paths!r}])\n"
        "except SystemExit as end: assert not end.code\n"
        f"print(*[name for name in {NEVER!r} if name in sys.modules])"
    )
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout.splitlines()[-1] == ""
