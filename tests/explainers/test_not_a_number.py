"""A model that gives NaN is named with the picture, by every method and by the gallery."""

import pytest
import torch

import lookalike
from lookalike.errors import ModelOutputError
from lookalike.explainers import EXPLAINERS, Avsl
from lookalike.models.embedder import Embedder


@pytest.fixture(params=["resnet18", "vit_tiny_patch16_224"])
def broken(request, tiny_backbone):
    embedder = Embedder.from_timm(
        request.param, pretrained=False, input_size=(64, 64) if "vit" in request.param else None
    )
    matrices = [p for p in embedder.network.backbone.model.parameters() if p.ndim > 1]
    with torch.no_grad():
        matrices[-1][(0,) * matrices[-1].ndim] = float("nan")
    return embedder


@pytest.fixture
def files(tmp_path, pictures):
    for name, picture in zip("ab", pictures, strict=False):
        picture.save(tmp_path / f"{name}.png")
    return tmp_path / "a.png", tmp_path / "b.png"


ONLY_TRANSFORMERS = {"rollout", "rollout-conserving", "legrad", "leave-tokens-out"}


@pytest.mark.parametrize("method", [name for name in EXPLAINERS if name != Avsl.name])
def test_every_method_names_the_picture(method, broken, files):
    if method in ONLY_TRANSFORMERS and "resnet" in broken.name:
        pytest.skip("a method for transformers")
    with pytest.raises(ModelOutputError, match=rf"the model {broken.name} gives NaN for a\.png; repair"):
        lookalike.explain(*files, model=broken, method=method)


def test_a_gallery_and_embed_name_the_file(broken, files):
    with pytest.raises(ModelOutputError, match=rf"gives NaN for {files[0]}; repair"):
        broken.embed(list(files))
    with pytest.raises(ModelOutputError, match=rf"gives NaN for {files[0]}; repair"):
        lookalike.Gallery.in_memory(broken).add(list(files), workers=0)


def test_a_picture_that_overflows_is_named_among_those_that_do_not(mini, files):
    embedder = Embedder.load("mini")
    forward = embedder.network.forward

    def overflowing(images):
        out = forward(images)
        out[1] = float("inf")
        return out

    embedder.network.forward = overflowing
    with pytest.raises(ModelOutputError, match=rf"the model mini gives (infinity|NaN) for {files[1]}"):
        embedder.embed(list(files))
