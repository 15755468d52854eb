import math

import numpy as np
import pytest
import torch
import torchvision
from PIL import Image
from torch.nn import functional as F
from torch.testing import assert_close

from lookalike.errors import CheckpointError
from lookalike.models.checkpoints import load_checkpoint
from lookalike.models.embedder import Embedder

D = 512
SCALES = (1, 2**-0.5, 0.5)
KINDS = {  # what the network has
    "gem": {"pooling": "gem"},
    "mac": {"pooling": "mac"},
    "spoc": {"pooling": "spoc"},
    "rmac": {"pooling": "rmac"},
    "gem-w": {"pooling": "gem", "whitening": True},
    "gem-lw-w": {"pooling": "gem", "local_whitening": True, "whitening": True},
    "gem-r-w": {"pooling": "gem", "regional": True, "whitening": True},
    "mac-r": {"pooling": "mac", "regional": True},
    "spoc-lw-r": {"pooling": "spoc", "regional": True, "local_whitening": True},
}


@pytest.fixture(scope="module")
def resnet():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = torchvision.models.resnet18(weights=None).eval()
        for module in network.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.running_mean.normal_(0, 0.1)
                module.running_var.uniform_(0.5, 1.5)
    return network.requires_grad_(False)


@pytest.fixture
def checkpoint(resnet, tmp_path):
    def write(kind, name="network.pth", power=2.7, **changes):
        features = torch.nn.Sequential(*list(resnet.children())[:-2])
        tensors = {f"features.{key}": tensor for key, tensor in features.state_dict().items()}
        meta = {"architecture": "resnet18", "outputdim": D, "mean": [0.4, 0.5, 0.6], "std": [0.2, 0.3, 0.25]}
        meta |= {"local_whitening": False, "regional": False, "whitening": False} | KINDS[kind]
        generator = torch.Generator().manual_seed(1)
        if meta["pooling"] == "gem":
            tensors["pool.rpool.p" if meta["regional"] else "pool.p"] = torch.tensor([power])
        layers = {"lwhiten": "local_whitening", "pool.whiten": "regional", "whiten": "whitening"}
        for layer, key in layers.items():
            if meta[key]:
                tensors[f"{layer}.weight"] = torch.randn(D, D, generator=generator) / D**0.5
                tensors[f"{layer}.bias"] = torch.randn(D, generator=generator) / D
        for key, value in changes.items():
            tensors[key.replace("__", ".")] = value
        content = {"epoch": 7, "meta": meta, "state_dict": tensors}
        torch.save(content, tmp_path / name)
        return tmp_path / name, tensors, meta

    return write


# --- the formulas, written out ----------------------------------------------------------------


def unit(vector):
    return vector / (vector.norm() + 1e-6)


def squares(h, w, n_levels=3):
    """Tolias et al., ICLR 2016: (top, left, side) of the squares of every level."""
    short = min(h, w)
    extra = 0
    if h != w:
        overlap = [1 - (max(h, w) - short) / n / short for n in range(1, 7)]
        extra = 1 + int(np.argmin(np.abs(np.array(overlap) - 0.4)))
    for level in range(1, n_levels + 1):
        side = 2 * short // (level + 1)
        n_rows, n_columns = level + extra * (h > w), level + extra * (w > h)
        for i in range(n_rows):
            for j in range(n_columns):
                if side > 0:
                    top = math.floor(i * (h - side) / (n_rows - 1)) if n_rows > 1 else 0
                    left = math.floor(j * (w - side) / (n_columns - 1)) if n_columns > 1 else 0
                    yield top, left, side


def pool(features, kind, power):
    """(C, h, w) to (C,)."""
    match kind:
        case "gem":
            return features.clamp(min=1e-6).pow(power.view(-1, 1, 1)).mean((1, 2)).pow(1 / power)
        case "mac":
            return features.amax((1, 2))
        case "spoc":
            return features.mean((1, 2))
        case "rmac":
            regions = [features[:, t : t + s, left : left + s] for t, left, s in squares(*features.shape[1:])]
            return sum(unit(region.amax((1, 2))) for region in [features, *regions])


def describe(resnet, image, tensors, meta):
    """The published network on one image (1, 3, H, W), by its formulas: (D,)."""
    features = torch.nn.Sequential(*list(resnet.children())[:-2])(image)[0]
    power = tensors.get("pool.p", tensors.get("pool.rpool.p"))

    def layer(name, vector):
        return F.linear(vector, tensors[f"{name}.weight"], tensors[f"{name}.bias"])

    if meta["local_whitening"]:
        features = layer("lwhiten", features.permute(1, 2, 0)).permute(2, 0, 1)
    if meta["regional"]:
        _, h, w = features.shape
        regions = [features, *(features[:, t : t + s, left : left + s] for t, left, s in squares(h, w))]
        pooled = [
            unit(layer("pool.whiten", unit(pool(region, meta["pooling"], power)))) for region in regions
        ]
        vector = unit(unit(sum(pooled)))
    else:
        vector = unit(pool(features, meta["pooling"], power))
    return unit(layer("whiten", vector)) if meta["whitening"] else vector


def expected_embedding(resnet, picture, tensors, meta, side):
    thumbnail = picture.copy()
    thumbnail.thumbnail((side, side), Image.Resampling.LANCZOS, reducing_gap=None)
    image = torch.from_numpy(np.array(thumbnail)).permute(2, 0, 1)[None].float() / 255
    mean, std = (torch.tensor(meta[key]).view(1, 3, 1, 1) for key in ("mean", "std"))
    image = (image - mean) / std
    plain_gem = meta["pooling"] == "gem" and not meta["regional"] and not meta["whitening"]
    power = float(tensors["pool.p"]) if plain_gem else 1.0
    total = torch.zeros(D)
    for scale in SCALES:
        scaled = image if scale == 1 else F.interpolate(image, scale_factor=scale, mode="bilinear")
        total += describe(resnet, scaled, tensors, meta).pow(power)
    return F.normalize((total / len(SCALES)).pow(1 / power), dim=0)


def embedder(path, side=160, **options):
    return Embedder.load(path, input_size=(side, side), device="cpu", precision="fp32", **options)


# --- what the network says --------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_embeddings_are_those_of_the_formulas(checkpoint, resnet, pictures, kind):
    path, tensors, meta = checkpoint(kind)
    expected = [expected_embedding(resnet, picture, tensors, meta, side=160) for picture in pictures[1:3]]
    assert_close(embedder(path).embed(pictures[1:3]), torch.stack(expected), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_shares_of_three_scales_sum_to_the_embedding(checkpoint, pictures, kind):
    model = embedder(checkpoint(kind)[0], side=224)
    for picture in pictures[1:3]:
        shares = model.shares(picture)
        assert_close(F.normalize(shares.total, dim=0), model.embed([picture])[0], rtol=1e-4, atol=1e-6)
        assert shares.residual.abs().max() == 0
        height, width = shares.geometry.input_size
        assert shares.grid == (math.ceil(height / 32), math.ceil(width / 32))
        assert shares.geometry.crop == (0.0, 0.0, *map(float, shares.geometry.original_size))


def test_a_patch_of_texture_holds_the_shares(checkpoint):
    """On a gray picture with texture in its lower right, shares point there at every scale."""
    rng = np.random.default_rng(0)
    pixels = np.full((224, 320, 3), (102, 128, 153), dtype=np.uint8)  # the mean: zero after normalization
    pixels[128:, 192:] = rng.integers(0, 256, (96, 128, 3))
    path, _, _ = checkpoint("spoc")
    model = embedder(path, side=320)
    textured = model.shares(Image.fromarray(pixels))
    gray = model.shares(Image.fromarray(np.full_like(pixels, (102, 128, 153))))
    change = (textured.values - gray.values).norm(dim=1).view(textured.grid)
    rows, columns = change.shape
    assert change[rows // 2 :, columns // 2 :].mean() > 2 * change[: rows // 2, : columns // 2].mean()


def test_evaluation_is_the_published_one(checkpoint):
    plain = load_checkpoint(checkpoint("gem", power=2.5)[0])
    assert plain.scales == pytest.approx(SCALES) and plain.scale_power == pytest.approx(2.5)
    assert plain.preprocessing.mode == "fit" and plain.preprocessing.input_size == (1024, 1024)
    assert plain.preprocessing.interpolation == "lanczos"
    assert plain.preprocessing.mean == pytest.approx((0.4, 0.5, 0.6))
    for kind in ("gem-w", "gem-r-w", "mac", "rmac"):
        assert load_checkpoint(checkpoint(kind)[0]).scale_power == 1


def test_large_pictures_shrink_and_small_ones_stay(checkpoint, pictures):
    model = embedder(checkpoint("gem")[0], side=100)
    sizes = [model.read(picture).geometry.input_size for picture in pictures]
    assert sizes == [(64, 100), (100, 43), (35, 100), (100, 45)]
    assert embedder(checkpoint("gem")[0], side=1024).read(pictures[2]).geometry.input_size == (61, 175)


@pytest.mark.parametrize("size", [(1, 2), (1, 90), (33, 2)])
def test_pictures_a_pixel_thin_are_embedded(checkpoint, size):
    model = embedder(checkpoint("gem-r-w")[0])
    picture = Image.fromarray(np.full((*size, 3), 90, dtype=np.uint8))
    embedding = model.embed([picture])[0]
    assert_close(F.normalize(model.shares(picture).total, dim=0), embedding, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_the_network_comes_back_from_a_saved_folder(checkpoint, tmp_path, pictures, kind):
    model = embedder(checkpoint(kind)[0], side=96)
    model.save(tmp_path / "folder")
    again = Embedder.load(tmp_path / "folder", device="cpu", precision="fp32")
    assert again.scales == pytest.approx(SCALES)
    assert_close(again.embed(pictures[:1]), model.embed(pictures[:1]))


def test_one_power_per_channel(checkpoint, resnet, pictures):
    powers = torch.linspace(1.5, 4, D)
    path, tensors, meta = checkpoint("gem-w", pool__p=powers)
    expected = expected_embedding(resnet, pictures[0], tensors, meta, side=160)
    assert_close(embedder(path).embed(pictures[:1])[0], expected, rtol=1e-4, atol=1e-6)


def test_files_of_early_torch_without_batch_counts_are_read(checkpoint, pictures):
    path, tensors, meta = checkpoint("gem")
    early = {name: tensor for name, tensor in tensors.items() if "num_batches" not in name}
    torch.save({"meta": meta, "state_dict": early}, path.with_name("early.pth"))
    assert_close(
        embedder(path.with_name("early.pth")).embed(pictures[:1]), embedder(path).embed(pictures[:1])
    )


@pytest.mark.parametrize(
    ("kind", "meta", "tensors", "match"),
    [
        (
            "gem",
            {"architecture": "squeezenet1_0"},
            {"features.28.weight": torch.zeros(2)},
            "backbone squeezenet1_0 that is not",
        ),
        (
            "gem",
            {},
            {"features.6.2.conv1.weight": torch.zeros(2)},
            "backbone resnet18 that is not known; known",
        ),
        ("gem", {}, {"features.4.0.conv1.weight": torch.zeros(2)}, "1 have another size"),
        ("gem", {}, {"features.0.weight": None}, "conv1.weight is missing"),
        ("gem", {}, {"fc.weight": torch.zeros(2)}, r"fc.weight \(2,\) is no part of the layout"),
        ("gem", {}, {"pool.p": None}, "says pooling 'gem', and has no GeM power"),
        ("gem", {"pooling": "mac"}, {}, "says pooling 'mac', and has a GeM power"),
        ("gem", {"pooling": "netvlad"}, {}, "known are gem"),
        ("rmac", {"regional": True}, {}, "'rmac' by region"),
        ("gem-w", {}, {"whiten.weight": torch.zeros(9, 7)}, r"whiten should have a weight \(D, 512\)"),
        ("gem-w", {}, {"whiten.bias": torch.zeros(9)}, r"whiten.bias should be \(512,\)"),
        ("gem-lw-w", {}, {"lwhiten.weight": torch.zeros(9)}, r"found pool.p \(1,\), lwhiten.weight \(9,\)"),
        ("gem", {}, {"pool.p": torch.ones(7)}, "pool.p should be one number above 0, or 512"),
        ("gem", {}, {"pool.p": torch.tensor([-1.0])}, "pool.p should be one number above 0"),
        ("gem", {"mean": "no"}, {}, "no usable mean and std"),
        ("gem", {"std": [0.0, 1.0, 1.0]}, {}, "no usable mean and std"),
    ],
)
def test_what_does_not_fit_is_refused(checkpoint, tmp_path, kind, meta, tensors, match):
    _, whole, described = checkpoint(kind)
    changed = {name: tensor for name, tensor in (whole | tensors).items() if tensor is not None}
    torch.save({"meta": described | meta, "state_dict": changed}, tmp_path / "odd.pth")
    with pytest.raises(CheckpointError, match=match):
        load_checkpoint(tmp_path / "odd.pth")
