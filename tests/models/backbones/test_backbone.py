from dataclasses import dataclass

import pytest
import torch
from torch.testing import assert_close

from lookalike.errors import CheckpointError, LookalikeError, UnknownModelError, UnsupportedMethodError
from lookalike.models.backbones import (
    Backbone,
    create_backbone,
    load_weights,
    model_names,
    preprocessing_of,
    resize_backbone,
)

TINY = {"embed_dim": 24, "depth": 2, "num_heads": 3}
SWIN = {"embed_dim": 12, "depths": (1, 1, 1, 1), "num_heads": (1, 1, 2, 2), "window_size": 2}
# architecture, input (H, W), grid (h, w), prefix tokens, options
GRIDS = [
    ("test_resnet", (96, 160), (3, 5), 0, {}),
    ("test_resnet", (97, 159), (4, 5), 0, {}),
    ("test_convnext", (64, 128), (2, 4), 0, {}),
    ("test_efficientnet", (96, 160), (3, 5), 0, {}),
    ("swin_tiny_patch4_window7_224", (128, 192), (4, 6), 0, SWIN),
    ("vit_tiny_patch16_224", (48, 80), (3, 5), 1, TINY),
    ("vit_base_patch16_siglip_224", (48, 80), (3, 5), 0, TINY),
    ("vit_small_patch14_reg4_dinov2", (42, 70), (3, 5), 5, TINY),
    ("deit_tiny_distilled_patch16_224", (48, 80), (3, 5), 2, TINY),
    ("vit_small_patch16_dinov3", (48, 80), (3, 5), 5, TINY),
    ("eva02_tiny_patch14_224", (42, 70), (3, 5), 1, {"depth": 2}),
    ("beit_base_patch16_224", (48, 80), (3, 5), 1, TINY),
    ("test_vit_relpos", (48, 80), (3, 5), 0, {}),
]


@dataclass(frozen=True)
class Case:
    backbone: Backbone
    size: tuple[int, int]  # input (H, W)
    grid: tuple[int, int]
    n_prefix: int


@pytest.fixture(scope="module", params=GRIDS, ids=lambda p: f"{p[0]}-{p[1][0]}x{p[1][1]}")
def case(request, tiny_backbone):
    architecture, size, grid, n_prefix, options = request.param
    return Case(tiny_backbone(architecture, size, **options), size, grid, n_prefix)


@torch.inference_mode()
def test_grid_and_prefix_on_inputs_that_are_not_square(case, noise):
    features = case.backbone(noise(2, 3, *case.size))
    width = features.cells.shape[2]
    assert features.grid == case.grid
    assert features.cells.shape == (2, case.grid[0] * case.grid[1], width)
    assert features.prefix.shape == (2, case.n_prefix, width)


@torch.inference_mode()
def test_a_planted_square_changes_the_features_where_it_lies(case):
    h, w = case.grid
    (height, width), row, column = case.size, 1, case.grid[1] - 2
    gray = torch.zeros(1, 3, *case.size)
    planted = gray.clone()
    planted[
        :, :, height * row // h : height * (row + 1) // h, width * column // w : width * (column + 1) // w
    ] = 3.0
    change = (case.backbone(planted).cells - case.backbone(gray).cells)[0].norm(dim=1)
    assert divmod(int(change.argmax()), w) == (row, column)


@torch.inference_mode()
def test_tokens_equal_those_of_timm(tiny_backbone, noise):
    backbone = tiny_backbone("vit_small_patch14_reg4_dinov2", (42, 70), **TINY)
    images = noise(1, 3, 42, 70)
    features = backbone(images)
    (expected,) = backbone.model.forward_intermediates(
        images, indices=1, norm=True, intermediates_only=True, output_fmt="NCHW"
    )
    assert_close(features.cells.transpose(1, 2).unflatten(2, features.grid), expected)


@torch.inference_mode()
def test_a_map_equals_that_of_timm(tiny_backbone, noise):
    backbone = tiny_backbone("test_resnet")
    images = noise(1, 3, 64, 128)
    features, expected = backbone(images), backbone.model.forward_features(images)
    assert_close(features.cells[0, 1 * 4 + 3], expected[0, :, 1, 3])


def test_wrong_name_suggests_close_ones():
    with pytest.raises(UnknownModelError, match=r"'resnet5O' \(did you mean .*resnet50.*\?\); a model is"):
        create_backbone("resnet5O")


def test_a_name_like_no_other_is_refused_without_suggestions():
    with pytest.raises(UnknownModelError, match="no model is called 'qqqqqqqq'; a model is 'mini', a timm"):
        create_backbone("qqqqqqqq")


def test_wrong_tag_and_wrong_option_are_refused():
    with pytest.raises(UnknownModelError, match=r"'resnet18\.nonsense' could not be made"):
        create_backbone("resnet18.nonsense")
    with pytest.raises(UnknownModelError, match=r"could not be made: .*color"):
        create_backbone("resnet18", color="red")
    with pytest.raises(UnknownModelError, match=r"num_classes can't be set .* no classifier; leave"):
        create_backbone("resnet18", num_classes=7)


def test_pretrained_weights_offline_fail_in_one_sentence(monkeypatch, tmp_path):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(UnknownModelError, match=r"with its pretrained weights: .*network") as caught:
        create_backbone("test_resnet", pretrained=True)
    assert "\n" not in str(caught.value)


def test_sizes_that_patches_do_not_divide_are_refused(tiny_backbone):
    backbone = tiny_backbone("vit_tiny_patch16_224", **TINY)
    with pytest.raises(LookalikeError, match="can't take input of 50x80"):
        resize_backbone(backbone, (50, 80))


def test_a_model_of_one_size_refuses_others(tiny_backbone):
    with pytest.raises(LookalikeError, match="takes input of 224x224 only, got 96x160"):
        tiny_backbone("cait_xxs24_224", (96, 160), embed_dim=24, num_heads=3, depth=1)


@torch.inference_mode()
def test_features_that_are_no_grid_are_refused(tiny_backbone, noise):
    backbone = tiny_backbone("test_resnet")
    backbone.model.forward_features = lambda images: images.flatten(1)
    with pytest.raises(UnsupportedMethodError, match=r"features of shape \(1, 3072\), not a grid"):
        backbone(noise(1, 3, 32, 32))
    backbone.model.forward_features = lambda images: [images]
    with pytest.raises(UnsupportedMethodError, match="returns list instead of one feature tensor"):
        backbone(noise(1, 3, 32, 32))


@torch.inference_mode()
def test_tokens_that_do_not_fill_the_grid_are_refused(tiny_backbone, noise):
    backbone = tiny_backbone("vit_tiny_patch16_224", (48, 80), **TINY)
    forward = backbone.model.forward_features
    backbone.model.forward_features = lambda images: forward(images)[:, :-1]
    with pytest.raises(UnsupportedMethodError, match=r"14 patch tokens of .* do not fill a 3x5 grid"):
        backbone(noise(1, 3, 48, 80))


def test_weights_of_another_model_are_refused(tiny_backbone):
    backbone = tiny_backbone("test_resnet")
    weights = backbone.model.state_dict()
    first = next(iter(weights))
    with pytest.raises(CheckpointError, match=f"1 of {len(weights)} tensors are missing.*{first} is missing"):
        load_weights(backbone, {k: v for k, v in weights.items() if k != first})
    with pytest.raises(CheckpointError, match=f"1 have another size, e.g. {first} is \\(1, 2\\) instead"):
        load_weights(backbone, weights | {first: torch.zeros(1, 2)})


@torch.inference_mode()
def test_loaded_weights_give_the_same_features(tiny_backbone, noise):
    one, other = tiny_backbone("test_resnet"), tiny_backbone("test_resnet", seed=1)
    images = noise(1, 3, 64, 96)
    assert not torch.allclose(one(images).cells, other(images).cells)
    load_weights(other, one.model.state_dict() | {"fc.weight": torch.zeros(3)})
    assert torch.equal(one(images).cells, other(images).cells)


def test_preprocessing_is_that_of_timm(tiny_backbone):
    vit = preprocessing_of(tiny_backbone("vit_tiny_patch16_224", **TINY))
    assert (vit.mode, vit.input_size, vit.crop_pct, vit.interpolation) == ("crop", (224, 224), 0.9, "bicubic")
    assert vit.mean == (0.5, 0.5, 0.5)


def test_model_names_contain_the_pattern():
    assert "resnet10t" in model_names("net10")
    assert all(name.startswith("resnet10") for name in model_names("resnet10*"))
