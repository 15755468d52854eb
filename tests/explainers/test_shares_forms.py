"""Forms of method shares: which is the default of a model, and contrast."""

import pytest
import torch
from torch import nn

from lookalike.errors import UnsupportedMethodError
from lookalike.explainers import explain
from lookalike.models.embedder import Embedder

SIZE = (64, 96)


class Odd(nn.Module):
    """A function that no rule knows: a running product."""

    def forward(self, x):
        return x + x.flatten(2).cumprod(2).reshape(x.shape)


def small_network(odd=False):
    torch.manual_seed(0)
    embedder = Embedder.from_timm("resnet10t", pretrained=False, input_size=SIZE, device="cpu")
    if odd:
        embedder.network.backbone.model.layer4 = nn.Sequential(embedder.network.backbone.model.layer4, Odd())
    return embedder


def test_the_default_names_its_form_and_closes(pictures):
    why = explain(pictures[1], pictures[3], model=small_network())
    assert why.form == "layer -1, against its mean color and a blur, and the last layer"
    assert why.to_dict()["form"] == why.form
    assert abs(why.residual) < 1e-5 and abs(why.match_residual) < 1e-5


def test_a_network_with_an_unknown_function_falls_back_to_its_last_layer(pictures):
    embedder = small_network(odd=True)
    for _ in range(2):  # the second time from memory
        why = explain(pictures[1], pictures[3], model=embedder)
        assert why.form == "the last layer" and abs(why.residual) < 1e-5
    with pytest.raises(UnsupportedMethodError, match="miss the similarity"):
        explain(pictures[1], pictures[3], model=embedder, layer=-1, reference="mean")


def test_a_contrast_is_taken_out_of_the_maps_and_stated(pictures):
    embedder = small_network()
    shared = torch.nn.functional.normalize(embedder.embed(pictures).mean(0), dim=0) / 2
    plain = explain(pictures[1], pictures[3], model=embedder)
    why = explain(pictures[1], pictures[3], model=embedder, contrast=shared)
    unit = embedder.embed([pictures[1]])[0]
    assert dict(why.query.residual_parts)["shared with all"] == pytest.approx(float(unit @ shared), abs=1e-5)
    assert why.similarity == pytest.approx(plain.similarity, abs=1e-6)
    assert why.residual == pytest.approx(float(unit @ shared), abs=1e-5)
    itself = explain(pictures[1], pictures[3], model=embedder, contrast=embedder.embed([pictures[3]])[0])
    assert abs(itself.query_map).max() < 1e-6  # beyond the match itself nothing is shared


def test_a_contrast_of_another_width_is_refused(pictures):
    with pytest.raises(ValueError, match="512 numbers, got 3"):
        explain(pictures[1], pictures[3], model=small_network(), contrast=[1.0, 2.0, 3.0])
