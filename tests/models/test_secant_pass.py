"""Shares against a picture without detail: exact for networks of every kind, and where they must lie."""

import numpy as np
import pytest
import torch
from PIL import Image
from torch.testing import assert_close

from lookalike import images
from lookalike.errors import UnknownNameError, UnsupportedMethodError
from lookalike.images import Preprocessing
from lookalike.models.embedder import Embedder
from lookalike.models.frozen_pass import FrozenPass
from lookalike.models.passes import SharesForm, open_pass, shares_form
from lookalike.models.secant_pass import SecantPass
from made_layers import CASES, SIZE, colored_noise, directions, layered_embedder, total


@pytest.fixture(scope="module", params=CASES)
def case(request):
    return layered_embedder(request.param)


@pytest.fixture(scope="module")
def photo():
    return colored_noise()


def test_shares_of_first_and_last_layer_sum_to_the_similarities(case, photo):
    embedder, first, last = case
    reading, (unit,) = embedder.read(images.load(photo)), embedder.embed([photo])
    wanted = directions(len(unit))
    for layer, grid in ((0, first), (-1, last)):
        run = SecantPass(embedder, reading, layer=layer)
        shares = run.shares(wanted)
        assert_close(run.unit.float(), unit, rtol=0, atol=1e-5)
        assert_close(total(shares), wanted @ unit, rtol=0, atol=1e-5)
        assert shares.grid == grid and shares.content.shape == (3, grid[0] * grid[1])


def test_the_network_is_left_as_it_was(case, photo):
    embedder, *_ = case
    before = embedder.embed([photo])
    SecantPass(embedder, embedder.read(images.load(photo))).shares(directions(embedder.width))
    assert torch.equal(before, embedder.embed([photo])) and not embedder.network.training
    assert not any(p.requires_grad for p in embedder.network.parameters())


def small_vit():
    torch.manual_seed(3)
    return Embedder.from_timm(
        "vit_tiny_patch16_224", pretrained=False, img_size=SIZE, depth=2, global_pool="avg", input_size=SIZE,
        preprocessing=Preprocessing("squash", SIZE), device="cpu",
    )  # fmt: skip


def test_detail_lies_where_the_picture_differs_from_its_mean_color():
    """One patch of 4 x 6 is patterned about the mean color: all other patches equal their reference."""
    embedder = small_vit()
    pixels = np.full((64, 96, 3), 128, np.uint8)
    pattern = np.random.default_rng(0).choice([64, 192], (8, 16, 1))
    pixels[32:48, 80:96] = np.concatenate([pattern, 256 - pattern])  # of mean 128
    reading = embedder.read(images.load(Image.fromarray(pixels)))
    run = SecantPass(embedder, reading, layer=0, references=["mean"])
    content = run.shares(directions(embedder.width)).content.reshape(3, 4, 6)
    changed = content[:, 2, 5].clone()
    content[:, 2, 5] = 0
    assert float(content.abs().max()) < 1e-3 * float(changed.abs().min())


def test_a_flat_picture_has_no_detail():
    embedder = small_vit()
    reading = embedder.read(images.load(Image.new("RGB", (96, 64), (200, 30, 90))))
    shares = SecantPass(embedder, reading).shares(directions(embedder.width))
    assert float(shares.content.abs().max()) < 1e-5
    assert float(shares.constants.abs().max()) > 1e-3


def test_references_are_averaged(photo):
    embedder = small_vit()
    reading, wanted = embedder.read(images.load(photo)), directions(embedder.width)
    mean, blur, both = (
        SecantPass(embedder, reading, layer=1, references=names).shares(wanted).values
        for names in (["mean"], ["blur"], ["mean", "blur"])
    )
    assert_close(both, (mean + blur) / 2, atol=1e-6, rtol=1e-5)
    assert not torch.allclose(mean, blur, atol=1e-4)


def test_references_are_checked(photo):
    embedder = small_vit()
    reading = embedder.read(images.load(photo))
    with pytest.raises(UnknownNameError, match="reference"):
        SecantPass(embedder, reading, references=["black"])
    with pytest.raises(ValueError, match="at least one reference"):
        SecantPass(embedder, reading, references=[])


@pytest.mark.parametrize("form", [
    SharesForm(), SharesForm(1), SharesForm(0, "blur"), SharesForm(-1, "both", with_last=True),
])  # fmt: skip
@pytest.mark.parametrize("name", ["registers", "mobilenet"])
def test_every_form_sums_to_the_similarities(name, form, photo):
    embedder, *_ = layered_embedder(name)
    (unit,) = embedder.embed([photo])
    wanted = directions(len(unit))
    shares = open_pass(embedder, embedder.read(images.load(photo)), form).shares(wanted)
    assert_close(total(shares), wanted @ unit, rtol=0, atol=1e-5)


def test_forms_are_read_from_options(mini):
    assert shares_form(mini, "last") == SharesForm("last")
    assert shares_form(mini, "2") == SharesForm(2, "none")
    assert shares_form(mini, 2, "blur") == SharesForm(2, "blur")
    assert shares_form(mini) == SharesForm(-1, "both", with_last=True)
    assert shares_form(mini, reference="mean") == SharesForm(-1, "mean")
    for wrong in (
        {"layer": "last", "reference": "mean"},
        {"reference": "black"},
        {"layer": 1, "with_last": True},
    ):
        with pytest.raises(UnknownNameError):
            shares_form(mini, **wrong)
    with pytest.raises(ValueError, match="whole number"):
        shares_form(mini, "first")


class OnlyPlain(torch.nn.Module):
    """What a function would do that runs differently where it is followed."""

    def forward(self, x):
        return 3 * x.flip(1) if torch.is_grad_enabled() else x


@pytest.mark.parametrize("run", [FrozenPass, SecantPass])
def test_a_run_that_is_not_the_networks_own_is_refused(run, photo):
    """Its sums would be exact, and of another network."""
    sound = small_vit()
    reading = sound.read(images.load(photo))
    run(sound, reading, layer=0).shares(directions(sound.width))
    embedder = small_vit()
    embedder.network.backbone.model.blocks[1].mlp.act = OnlyPlain()
    with pytest.raises(UnsupportedMethodError, match="misses its embedding"):
        run(embedder, reading, layer=0)


def test_the_last_layers_account_comes_from_the_same_run(case, photo):
    embedder, *_ = case
    reading, wanted = embedder.read(images.load(photo)), directions(embedder.width)
    run = SecantPass(embedder, reading)
    if embedder.network.pooling is None:
        with pytest.raises(UnsupportedMethodError, match="pools its features"):
            run.last_pass()
        return
    own, plain = run.last_pass(), open_pass(embedder, reading, SharesForm())
    assert_close(own.unit, plain.unit, rtol=0, atol=1e-5)
    assert_close(own.shares(wanted).content, plain.shares(wanted).content, rtol=1e-4, atol=1e-6)
