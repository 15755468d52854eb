import io

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.testing import assert_close

from lookalike.errors import UnreadableImageError
from lookalike.images import Preprocessing, load
from lookalike.models.embedder import Embedder
from lookalike.models.network import assemble
from made_heads import HEADS

TINY = {"embed_dim": 24, "depth": 2, "num_heads": 3}
SWIN = {"embed_dim": 12, "depths": (1, 1, 1, 1), "num_heads": (1, 1, 2, 2), "window_size": 2}
# architecture, input (H, W), options
MODELS = [
    ("test_resnet", (96, 160), {}),
    ("test_convnext", (96, 160), {}),
    ("test_efficientnet", (96, 160), {}),
    ("mobilenetv3_small_050", (64, 96), {}),
    ("swin_tiny_patch4_window7_224", (64, 96), SWIN),
    ("vit_tiny_patch16_224", (48, 80), TINY),
    ("vit_small_patch14_reg4_dinov2", (42, 70), TINY),
    ("deit_tiny_distilled_patch16_224", (48, 80), TINY),
    ("beit_base_patch16_224", (48, 80), TINY),
    ("eva02_tiny_patch14_224", (42, 70), {"depth": 2}),
    ("vit_base_patch16_siglip_224", (48, 80), TINY),
]


def embedder_of(backbone, size, *, pooling="own", head=None, scales=(1.0,), scale_power=1.0, **options):
    preprocessing = Preprocessing("squash", size)
    network = assemble(backbone, {"name": pooling}, head, preprocessing)
    options = {"precision": "fp32", "device": "cpu"} | options
    return Embedder(network, preprocessing, name="tiny", scales=scales, scale_power=scale_power, **options)


@pytest.fixture(scope="module")
def resnet(tiny_backbone):
    return embedder_of(tiny_backbone("test_resnet"), (96, 160))


@pytest.mark.parametrize(("architecture", "size", "options"), MODELS, ids=[m[0] for m in MODELS])
def test_shares_sum_to_the_embedding_of_the_image(architecture, size, options, tiny_backbone, pictures):
    embedder = embedder_of(tiny_backbone(architecture, size, **options), size)
    shares = embedder.shares(pictures[0])
    assert shares.values.shape[0] == shares.grid[0] * shares.grid[1]
    assert shares.grid[0] < shares.grid[1]
    assert (shares.geometry.original_size, shares.geometry.input_size) == ((97, 151), size)
    assert_close(F.normalize(shares.total, dim=0), embedder.embed([pictures[0]])[0], rtol=0, atol=1e-5)


def test_embeddings_are_unit_length_float32_on_the_cpu(resnet, pictures):
    embeddings = resnet.embed(pictures)
    assert embeddings.dtype == torch.float32
    assert embeddings.device.type == "cpu"
    assert_close(embeddings.norm(dim=1), torch.ones(4))


def test_paths_bytes_images_and_pictures_embed_alike(resnet, pictures, tmp_path):
    path = tmp_path / "picture.png"
    pictures[1].save(path)
    sources = [pictures[1], path, str(path), path.read_bytes(), load(path)]
    embeddings = resnet.embed(sources)
    assert_close(embeddings, embeddings[:1].expand(5, -1), rtol=0, atol=1e-6)


def test_batches_do_not_change_embeddings(resnet, pictures):
    together = resnet.embed(pictures)
    assert_close(resnet.embed(pictures, batch_size=1), together, rtol=0, atol=1e-5)
    assert_close(resnet.embed(pictures, batch_size=3), together, rtol=0, atol=1e-5)
    assert_close(resnet.embed(pictures[::-1]).flip(0), together, rtol=0, atol=1e-5)


def test_pixels_of_several_sizes_come_back_in_order(resnet, pictures):
    small, large = resnet.read(pictures[0]).pixels[:64, :96], resnet.read(pictures[1]).pixels
    embeddings = resnet.embed_pixels([small, large, small])
    assert_close(embeddings[0], embeddings[2])
    assert_close(embeddings[1:2], resnet.embed_pixels([large]), rtol=0, atol=1e-5)


@pytest.mark.parametrize("architecture", ["test_resnet", "vit_tiny_patch16_224"])
def test_bf16_embeddings_stay_close(architecture, tiny_backbone, pictures):
    options = TINY if "vit" in architecture else {}
    backbone = tiny_backbone(architecture, (48, 80), **options)
    exact = embedder_of(backbone, (48, 80)).embed(pictures)
    rounded = embedder_of(backbone, (48, 80), precision="bf16").embed(pictures)
    assert rounded.dtype == torch.float32
    assert (exact * rounded).sum(1).min() >= 0.999


@torch.inference_mode()
def test_own_pooling_embeds_as_timm_does(resnet, pictures):
    images, _ = resnet.tensor(pictures[0])
    model = resnet.network.backbone.model
    expected = model.forward_head(model.forward_features(images), pre_logits=True)
    assert_close(resnet.embed([pictures[0]]), F.normalize(expected, dim=1), rtol=0, atol=1e-5)


@pytest.mark.parametrize("kind", ["str", "bytes", "image", "picture"])
def test_a_single_image_instead_of_a_list_is_refused(kind, resnet, pictures):
    image = pictures[0]
    single = {"str": "a.jpg", "bytes": b"abc", "image": image, "picture": load(image)}[kind]
    with pytest.raises(TypeError, match="put the single one in a list"):
        resnet.embed(single)


def test_nothing_to_embed_is_refused(resnet, pictures):
    with pytest.raises(ValueError, match="at least one image"):
        resnet.embed([])
    with pytest.raises(ValueError, match="batch_size is 1 or more, got 0"):
        resnet.embed(pictures, batch_size=0)


def test_an_unreadable_file_is_named(resnet, pictures, tmp_path):
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(b"no picture")
    with pytest.raises(UnreadableImageError, match=r"broken\.jpg"):
        resnet.embed([pictures[0], broken])


@pytest.mark.parametrize("scale_power", [1.0, 3.0])
def test_shares_of_several_scales_sum_to_the_merged_embedding(scale_power, tiny_backbone, pictures):
    backbone = tiny_backbone("test_resnet")  # after ReLU and a mean: nothing is negative
    embedder = embedder_of(backbone, (96, 160), scales=(1.0, 2.0, 0.6), scale_power=scale_power)
    shares = embedder.shares(pictures[2])
    assert shares.grid == (6, 10)
    assert_close(F.normalize(shares.total, dim=0), embedder.embed([pictures[2]])[0], rtol=0, atol=1e-5)


def test_an_embedding_of_zeros_is_finite(tiny_backbone, pictures):
    embedder = embedder_of(tiny_backbone("test_resnet"), (64, 96), pooling="mean", scales=(1.0, 2.0))
    width = embedder.shares(pictures[0]).values.shape[1]
    head = nn.Sequential(nn.Linear(width, 3, bias=False))
    head[0].weight.data.zero_()
    embedder = embedder_of(tiny_backbone("test_resnet"), (64, 96), pooling="mean", head=head, scales=(1, 2))
    assert torch.equal(embedder.embed([pictures[0]]), torch.zeros(1, 3))
    assert torch.equal(embedder.shares(pictures[0]).total, torch.zeros(3))


def test_embedding_and_explaining_leave_the_model_unchanged(resnet, pictures):
    before = resnet.fingerprint()
    resnet.embed(pictures)
    resnet.shares(pictures[0])
    assert resnet.fingerprint() == before
    assert not resnet.network.training


def test_fingerprints_tell_apart_what_embeds_differently(tiny_backbone):
    backbone, size = tiny_backbone("test_resnet"), (64, 96)
    other_weights = tiny_backbone("test_resnet", seed=1)
    embedders = [
        embedder_of(backbone, size),
        embedder_of(backbone, size, pooling="mean"),
        embedder_of(backbone, size, pooling="max"),
        embedder_of(backbone, size, pooling="max", head=nn.Sequential(nn.ReLU())),
        embedder_of(backbone, size, pooling="max", head=nn.Sequential(nn.GELU())),
        embedder_of(backbone, (96, 64)),
        embedder_of(backbone, size, scales=(1.0, 0.5)),
        embedder_of(other_weights, size),
    ]
    assert len({embedder.fingerprint() for embedder in embedders}) == len(embedders)
    assert embedder_of(backbone, size).fingerprint() == embedders[0].fingerprint()


def test_a_jpeg_in_memory_embeds(resnet, pictures):
    buffer = io.BytesIO()
    pictures[3].save(buffer, "JPEG", quality=95)
    similarity = resnet.embed([buffer.getvalue(), pictures[3]])
    assert similarity[0] @ similarity[1] > 0.99


def test_from_timm_takes_size_head_name_and_precision(pictures):
    embedder = Embedder.from_timm(
        "test_resnet",
        pretrained=False,
        pooling="gem",
        head=HEADS["none"](0),
        input_size=(64, 96),
        name="small",
        precision="fp32",
    )
    assert (embedder.name, embedder.precision) == ("small", "fp32")
    assert embedder.preprocessing.input_size == (64, 96)
    assert embedder.shares(pictures[0]).grid == (2, 3)
