"""BatchNorms that are computed by the convolution before them change results by rounding only."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.testing import assert_close

from lookalike.explainers import SharesExplainer
from lookalike.models.embedder import Embedder
from lookalike.models.folding import folded


@pytest.fixture
def network_of_timm():
    torch.manual_seed(0)
    embedder = Embedder.from_timm("resnet10t", pretrained=False, input_size=(64, 96), device="cpu")
    for norm in norms(embedder):
        norm.running_mean.normal_()
        norm.running_var.uniform_(0.5, 2)
    return embedder


def norms(embedder):
    return [module for module in embedder.network.modules() if isinstance(module, nn.BatchNorm2d)]


def noise(n):
    return list(np.random.default_rng(n).integers(0, 256, (n, 70, 90, 3), dtype=np.uint8))


@pytest.mark.parametrize("name", ["mini", "timm"])
def test_embeddings_and_shares_are_equal_to_rounding(name, mini, network_of_timm):
    embedder = mini if name == "mini" else network_of_timm
    found = folded(embedder)
    assert norms(embedder) and not norms(found)
    assert_close(found.embed(noise(2)), embedder.embed(noise(2)), rtol=0, atol=5e-6)
    ours, plain = (each.shares(noise(1)[0]) for each in (found, embedder))
    assert_close(ours.values, plain.values, rtol=0, atol=1e-5 * float(plain.total.norm()))


def test_what_is_explained_by_it_is_what_the_network_explains(mini):
    ours, plain = (SharesExplainer(each)(*noise(2)) for each in (folded(mini), mini))
    assert ours.similarity == pytest.approx(plain.similarity, abs=5e-6)
    np.testing.assert_allclose(ours.query_map, plain.query_map, atol=1e-5)
    np.testing.assert_allclose(ours.match_map, plain.match_map, atol=1e-5)


def test_the_network_itself_stays_as_it_was(mini):
    before = mini.fingerprint(), mini.embed(noise(1))
    folded(mini)
    assert mini.fingerprint() == before[0] and torch.equal(mini.embed(noise(1)), before[1])


def test_a_network_that_uses_a_norm_in_another_way_is_left_alone(network_of_timm):
    first = network_of_timm.network.backbone.model.bn1
    first.forward = lambda x: type(first).forward(first, x) + x
    assert folded(network_of_timm) is network_of_timm


def test_a_network_without_such_norms_is_left_alone(mini_vit_of_timm):
    assert folded(mini_vit_of_timm) is mini_vit_of_timm


@pytest.fixture
def mini_vit_of_timm():
    return Embedder.from_timm("vit_tiny_patch16_224", pretrained=False, input_size=(32, 48), device="cpu")
