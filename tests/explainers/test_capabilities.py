"""A survey tells what a model supports by trying it."""

import pytest

from lookalike.explainers.capabilities import survey
from lookalike.models.embedder import Embedder

TINY = {"embed_dim": 24, "depth": 2, "num_heads": 3}


def test_a_transformer_without_cls_supports_everything():
    embedder = Embedder.from_timm(
        "vit_tiny_patch16_224", pretrained=False, pooling="mean", input_size=(64, 96), **TINY
    )
    result = survey(embedder)
    assert (result.grid, result.pooling, result.width) == ((4, 6), "mean", 24)
    assert result.completeness_error < 1e-5
    assert not any(answer.refusal for answer in result.methods.values())
    assert abs(result.methods["shares"].residual) < 1e-5
    assert result.methods["rollout"].residual is None  # a heat map


def test_what_is_not_understood_is_refused_with_a_reason():
    result = survey(Embedder.from_timm("xcit_nano_12_p16_224", pretrained=False, input_size=(64, 96)))
    assert result.grid is None and result.completeness_error is None
    assert "not understood" in result.methods["shares"].refusal
    assert result.methods["occlusion"].refusal is None


@pytest.mark.parametrize("name", ["resnet10t", "convnext_atto"])
def test_convolutional_networks_refuse_only_what_needs_tokens(name):
    result = survey(Embedder.from_timm(name, pretrained=False, input_size=(64, 96)))
    of_tokens = {"rollout", "rollout-conserving", "legrad", "leave-tokens-out"}
    assert {m for m, answer in result.methods.items() if answer.refusal} == of_tokens
