import pytest
import torch
from torch.testing import assert_close

from lookalike.errors import UnsupportedMethodError
from lookalike.images import Preprocessing
from lookalike.models.attention_poolings import AttentionPooling, ClsPooling
from lookalike.models.backbones.timm_heads import timm_head
from lookalike.models.network import assemble
from lookalike.models.poolings import AveragePlusMaxPooling, MaxPooling, MeanPooling

TINY = {"embed_dim": 24, "depth": 2, "num_heads": 3}
SMALL = {"embed_dim": 96, "depth": 2}
# architecture, input (H, W), pooling, options
ENDS = [
    ("test_resnet", (64, 96), MeanPooling, {}),
    ("test_resnet", (64, 96), MaxPooling, {"global_pool": "max"}),
    ("test_resnet", (64, 96), AveragePlusMaxPooling, {"global_pool": "avgmax"}),
    ("test_efficientnet", (64, 96), MeanPooling, {}),
    ("test_convnext", (64, 96), MeanPooling, {}),
    ("mobilenetv3_small_050", (64, 96), MeanPooling, {}),
    ("poolformer_s12", (64, 96), MeanPooling, {}),
    ("vit_tiny_patch16_224", (48, 80), ClsPooling, TINY),
    ("vit_tiny_patch16_224", (48, 80), MeanPooling, TINY | {"global_pool": "avg"}),
    ("vit_tiny_patch16_224", (48, 80), MaxPooling, TINY | {"global_pool": "max"}),
    ("vit_small_patch14_reg4_dinov2", (42, 70), ClsPooling, TINY),
    ("deit_tiny_distilled_patch16_224", (48, 80), ClsPooling, TINY),
    ("vit_small_patch16_dinov3", (48, 80), MeanPooling, SMALL),
    ("vit_small_patch16_dinov3", (48, 80), ClsPooling, SMALL | {"global_pool": "token"}),
    ("eva02_tiny_patch14_224", (42, 70), MeanPooling, {"depth": 2}),
    ("beit_base_patch16_224", (48, 80), MeanPooling, TINY),
    ("beit_base_patch16_224", (48, 80), ClsPooling, TINY | {"global_pool": "token"}),
    ("test_vit_relpos", (48, 80), MeanPooling, {}),
    ("vit_base_patch16_siglip_224", (48, 80), AttentionPooling, TINY),
]


@pytest.fixture(scope="module", params=ENDS, ids=lambda p: f"{p[0]}-{p[2].__name__}")
def end(request, tiny_backbone):
    """A network with its own end, its images and the pooling that it should have."""
    architecture, size, pooling, options = request.param
    backbone = tiny_backbone(architecture, size, **options)
    generator = torch.Generator().manual_seed(1)
    for name, tensor in backbone.model.state_dict().items():
        # Fresh models have biases of 0, norms of 1 and layer scales of 1e-5: mistakes would not show.
        if tensor.ndim <= 1 and tensor.is_floating_point():
            tensor += 0.3 * torch.rand(tensor.shape, generator=generator)
        elif name.endswith("cls_token"):
            tensor.normal_(generator=generator)
    network = assemble(backbone, {"name": "own"}, None, Preprocessing("squash", size)).eval()
    return network, torch.randn(2, 3, *size, generator=generator), pooling


@torch.inference_mode()
def test_the_own_end_is_what_timm_computes_before_its_classifier(end):
    network, images, pooling = end
    model = network.backbone.model
    expected = model.forward_head(model.forward_features(images), pre_logits=True)
    assert type(network.pooling) is pooling
    assert_close(network(images), expected, rtol=1e-4, atol=1e-5 * float(expected.abs().max()))


@torch.inference_mode()
def test_shares_sum_to_the_embedding(end):
    network, images, _ = end
    shares, expected = network.shares(images), network(images)
    assert shares.values.shape == (2, shares.grid[0] * shares.grid[1] + 1, expected.shape[1])
    assert ((shares.values.sum(1) - expected).norm(dim=1) <= 1e-5 * expected.norm(dim=1)).all()


@torch.inference_mode()
def test_the_own_end_follows_the_model_to_another_precision(end):
    network, images, _ = end
    expected = network(images)
    network.double()
    try:
        actual = network(images.double())
    finally:
        network.float()
    assert_close(actual.float(), expected, rtol=1e-3, atol=1e-4 * float(expected.abs().max()))


@pytest.mark.parametrize("architecture", ["xcit_nano_12_p16_224", "cait_xxs24_224"])
def test_ends_that_are_not_understood_are_refused(architecture, tiny_backbone):
    backbone = tiny_backbone(architecture, embed_dim=24, num_heads=3, depth=1)
    with pytest.raises(UnsupportedMethodError, match=r"not understood.*choose pooling 'mean'"):
        timm_head(backbone.model)


def test_catenated_poolings_are_refused(tiny_backbone):
    with pytest.raises(UnsupportedMethodError, match="'catavgmax'"):
        timm_head(tiny_backbone("test_resnet", global_pool="catavgmax").model)
