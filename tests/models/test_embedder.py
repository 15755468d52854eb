import io

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.testing import assert_close

from lookalike.errors import UnknownNameError, UnreadableImageError
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


@pytest.mark.parametrize("kind", ["path", "str", "bytes", "image", "picture", "array", "tensor"])
def test_a_single_image_embeds_as_a_list_of_one(kind, resnet, pictures, tmp_path):
    image, path = pictures[0], tmp_path / "a.png"
    image.save(path)
    array = np.array(image)
    single = {
        "path": path,
        "str": str(path),
        "bytes": path.read_bytes(),
        "image": image,
        "picture": load(image),
        "array": array,
        "tensor": torch.from_numpy(array).permute(2, 0, 1) / 255,
    }[kind]
    assert_close(resnet.embed(single), resnet.embed([image]), rtol=0, atol=1e-6)


def test_a_batch_as_one_array_or_tensor_is_many_images(resnet, pictures):
    batch = np.stack([resnet.read(picture).pixels for picture in pictures])  # (4, H, W, 3)
    assert_close(resnet.embed(batch), resnet.embed(list(batch)))
    assert_close(resnet.embed(torch.from_numpy(batch).permute(0, 3, 1, 2)), resnet.embed(list(batch)))


def test_workers_do_not_change_embeddings(resnet, pictures, tmp_path):
    paths = [tmp_path / f"{i}.jpg" for i in range(4)]
    for path, picture in zip(paths, pictures, strict=True):
        picture.save(path, quality=90)
    sources = [*paths, pictures[0]] * 3
    alone = resnet.embed(sources, batch_size=4)
    assert torch.equal(resnet.embed(sources, batch_size=4, workers=2), alone)


def test_progress_is_told_after_every_image_also_of_a_generator(resnet, pictures):
    for sources in (pictures, (picture for picture in pictures)):
        told = []
        resnet.embed(sources, batch_size=3, progress=told.append)
        assert [(p.stage, p.done, p.total) for p in told] == [("embedding", i, 4) for i in range(5)]


def test_similarity_takes_images_and_embeddings(resnet, pictures):
    embeddings = resnet.embed(pictures)
    expected = embeddings[:2] @ embeddings.T
    scaled = 7 * embeddings
    for a in (pictures[:2], embeddings[:2], scaled[:2], embeddings[:2].numpy().astype(np.float64)):
        similarity = resnet.similarity(a, scaled)
        assert similarity.dtype == torch.float32
        assert_close(similarity, expected, rtol=0, atol=1e-5)
    assert_close(resnet.similarity(pictures[0], pictures), expected[:1], rtol=0, atol=1e-5)


def test_a_two_dimensional_uint8_array_is_an_image(resnet):
    gray = np.arange(63 * 41, dtype=np.int64).reshape(63, 41).astype(np.uint8)
    assert_close(resnet.similarity(gray, gray), torch.ones(1, 1))


def test_embeddings_of_another_width_are_refused(resnet, pictures):
    with pytest.raises(ValueError, match=rf"are \(n, {resnet.width}\); got \(2, 3\)"):
        resnet.similarity(torch.zeros(2, 3), pictures)


@pytest.mark.parametrize("head", list(HEADS))
@pytest.mark.parametrize("pooling", ["own", "gem"])
def test_the_width_is_that_of_the_embeddings(pooling, head, tiny_backbone, pictures):
    backbone = tiny_backbone("mobilenetv3_small_050")
    channels = embedder_of(backbone, (64, 96), pooling=pooling).width
    embedder = embedder_of(backbone, (64, 96), pooling=pooling, head=HEADS[head](channels).eval())
    assert embedder.width == embedder.embed(pictures[:1]).shape[1]


def test_a_width_that_the_head_tells_needs_no_forward_pass(tiny_backbone, monkeypatch):
    head = nn.Sequential(nn.Linear(256, 7), nn.ReLU())
    embedder = embedder_of(tiny_backbone("test_resnet"), (64, 96), pooling="mean", head=head)
    monkeypatch.setattr(embedder.network, "forward", None)
    assert embedder.width == 7


def test_an_unknown_precision_is_refused_with_those_there_are(tiny_backbone):
    with pytest.raises(UnknownNameError, match="precision is one of fp32, bf16, fp16, auto; got 'fp17'"):
        embedder_of(tiny_backbone("test_resnet"), (64, 96), precision="fp17")


def test_moving_returns_the_embedder_and_keeps_its_numbers(resnet, pictures):
    before = resnet.embed(pictures)
    assert resnet.to("cpu") is resnet
    assert torch.equal(resnet.embed(pictures), before)
    filters = [p for p in resnet.network.parameters() if p.ndim == 4]
    assert all(f.is_contiguous(memory_format=torch.channels_last) for f in filters)


def test_group_norms_get_channels_first_where_they_are_exact(tiny_backbone, pictures):
    """Channels last, torch subtracts the square of the mean from that of the values, and loses digits."""
    narrow = {"channels": (128, 128, 128, 128), "stem_chs": 32}
    embedder = embedder_of(tiny_backbone("resnetv2_50x1_bit", **narrow), (96, 160))
    seen = []
    for layer in embedder.network.modules():
        if isinstance(layer, nn.GroupNorm):
            layer.register_forward_hook(lambda _layer, inputs, _output: seen.append(inputs[0]))
    embedder.embed(pictures[:1])
    assert len(seen) > 8 and all(x.is_contiguous() for x in seen)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_an_embedder_moves_to_the_gpu_and_back(tiny_backbone, pictures):
    embedder = embedder_of(tiny_backbone("test_resnet"), (96, 160))
    before = embedder.embed(pictures)
    assert embedder.to("cuda").device.type == "cuda"
    assert_close(embedder.embed(pictures), before, rtol=0, atol=1e-3)
    assert torch.equal(embedder.to("cpu").embed(pictures), before)


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
