"""Shares at any layer: exact for networks of every kind, located, and named where they have no cell."""

import pytest
import torch
from PIL import Image
from torch.testing import assert_close

from lookalike import images
from lookalike.errors import UnsupportedMethodError
from lookalike.models.embedder import Embedder
from lookalike.models.frozen_pass import FrozenPass
from lookalike.models.layers import layers_of, prefix_names
from lookalike.ops.cell_index import cells_of
from made_layers import CASES, SIZE, colored_noise, directions, layered_embedder, total


@pytest.fixture(scope="module", params=CASES)
def case(request):
    return layered_embedder(request.param)


@pytest.fixture(scope="module")
def photo():
    return colored_noise()


def test_shares_of_every_layer_sum_to_the_similarities(case, photo):
    embedder, first, last = case
    reading, (unit,) = embedder.read(images.load(photo)), embedder.embed([photo])
    wanted = directions(len(unit))
    n_layers = len(layers_of(embedder.network.backbone))
    for layer in range(n_layers):
        run = FrozenPass(embedder, reading, layer=layer)
        shares = run.shares(wanted)
        assert_close(run.unit.float(), unit, rtol=0, atol=1e-5)
        assert_close(total(shares), wanted @ unit, rtol=0, atol=1e-5)
        assert shares.content.shape == (3, shares.grid[0] * shares.grid[1])
        assert (layer > 0 or shares.grid == first) and (layer < n_layers - 1 or shares.grid == last)


def test_prefix_tokens_have_names(case, photo):
    embedder, *_ = case
    names = prefix_names(embedder.network.backbone)
    shares = FrozenPass(embedder, embedder.read(images.load(photo)), layer=-1).shares(
        directions(embedder.width)
    )
    assert len(names) == embedder.network.backbone.n_prefix_tokens
    assert set(shares.residual) <= {*names, "position"}
    assert set(names) <= set(shares.residual)


def test_the_network_is_left_as_it_was(case, photo):
    embedder, *_ = case
    before = embedder.embed([photo])
    FrozenPass(embedder, embedder.read(images.load(photo)), layer=0).shares(directions(embedder.width))
    assert torch.equal(before, embedder.embed([photo])) and not embedder.network.training
    assert not any(p.requires_grad for p in embedder.network.parameters())


def test_a_changed_patch_is_found_before_attention_mixes_it(photo):
    """Mean over tokens of a network whose blocks are switched off: only the changed patch's share changes."""
    embedder = Embedder.from_timm(
        "vit_tiny_patch16_224", pretrained=False, img_size=SIZE, depth=2, global_pool="avg", input_size=SIZE,
        device="cpu",
    )  # fmt: skip
    for block in embedder.network.backbone.model.blocks:
        for layer in (block.attn.proj, block.mlp.fc2):
            layer.weight.data.zero_()
            layer.bias.data.zero_()
    plain = Image.new("RGB", (96, 64), (128, 128, 128))
    changed = plain.copy()
    changed.paste((250, 30, 30), (80, 32, 96, 48))  # the cell in row 2, column 5 of 4 x 6
    wanted = directions(embedder.width)[:1]
    before, after = (
        FrozenPass(embedder, embedder.read(images.load(image)), layer=0).shares(wanted)
        for image in (plain, changed)
    )
    change = (after.content - before.content)[0].abs()
    assert divmod(int(change.argmax()), 6) == (2, 5)
    assert change.max() > 2 * change.sort().values[-2]  # the preprocessing blurs into the next cell


def test_hiera_cells_are_where_its_own_reroll_puts_them(photo):
    architecture, options, *_ = CASES["unrolled windows"]
    embedder = Embedder.from_timm(architecture, pretrained=False, input_size=SIZE, device="cpu", **options)
    model = embedder.network.backbone.model
    for layer, grid in ((1, (16, 24)), (2, (8, 12)), (3, (4, 6))):  # what enters a block left the one before
        run = FrozenPass(embedder, embedder.read(images.load(photo)), layer=layer)
        numbers = cells_of(run._entering[0]).numbers
        rerolled = model.reroll(numbers, layer - 1)  # (1, h, w, C)
        assert run.grid == grid == rerolled.shape[1:3]
        assert rerolled[0, :, :, 0].flatten().tolist() == list(range(grid[0] * grid[1]))


def test_a_changed_patch_is_found_among_unrolled_tokens(photo):
    """The second block of Hiera's first stage, the blocks switched off: the change lies where it was made."""
    options = {"img_size": SIZE, "stages": (2, 1, 1, 1), "embed_dim": 24, "num_heads": 1}
    torch.manual_seed(0)
    embedder = Embedder.from_timm(
        "hiera_tiny_224", pretrained=False, input_size=SIZE, device="cpu", **options
    )
    for block in embedder.network.backbone.model.blocks:
        block.attn.proj.weight.data.zero_()
        block.mlp.fc2.weight.data.zero_()
    plain = Image.new("RGB", (96, 64), (128, 128, 128))
    changed = plain.copy()
    changed.paste((250, 30, 30), (80, 32, 96, 48))  # rows 8 to 11, columns 20 to 23 of 16 x 24
    wanted = directions(embedder.width)[:1]
    before, after = (
        FrozenPass(embedder, embedder.read(images.load(image)), layer=1).shares(wanted)
        for image in (plain, changed)
    )
    change = (after.content - before.content)[0].abs().reshape(16, 24)
    inside = torch.zeros(16, 24, dtype=torch.bool)
    inside[7:13, 19:24] = True  # patches overlap, so one cell more
    assert change[inside].mean() > 4 * change[~inside].mean()  # elsewhere only the norms changed


@pytest.mark.parametrize("layer", [3, -4])
def test_a_layer_that_is_not_there_is_refused(photo, layer):
    embedder = Embedder.from_timm("vit_tiny_patch16_224", pretrained=False, depth=3, device="cpu")
    with pytest.raises(UnsupportedMethodError, match="layers 0 to 2"):
        FrozenPass(embedder, embedder.read(images.load(photo)), layer=layer)


def test_networks_that_multiply_features_are_refused(photo):
    """Of a product of two features neither decides: it is of the second degree in what enters."""
    embedder = Embedder.from_timm(
        "vit_tiny_patch16_224", pretrained=False, img_size=SIZE, depth=2, input_size=SIZE, device="cpu"
    )
    blocks = embedder.network.backbone.model.blocks
    blocks[1].register_forward_hook(lambda _module, _args, output: output * output.roll(1, -1))
    with pytest.raises(UnsupportedMethodError, match="miss the similarity"):
        FrozenPass(embedder, embedder.read(images.load(photo)), layer=0).shares(directions(embedder.width))
