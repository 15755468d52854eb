import inspect

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from lookalike.ops.rollout import attention_rollout, layer_transition, roll_out, roll_out_conserving

L, A, N = 4, 3, 6
MEAN_MODELS = ["xformer_vit_p16_mean", "xformer_vit_p32_mean"]
MODELS = [*MEAN_MODELS, "xformer_vit_p16_cls"]
VARIANTS = {
    "rollout": {},
    "rollout_min": {"fusion": "min"},
    "rollout_max": {"fusion": "max"},
    "rollout_from1": {"first_layer": 1},
}


@pytest.fixture
def attentions(noise):
    return list(noise(L, A, N, N).softmax(-1))


@pytest.mark.parametrize("fusion", ["mean", "min", "max"])
@pytest.mark.parametrize("first_layer", [0, 2])
def test_rollout_equals_an_explicit_matrix_product(fusion, first_layer, attentions):
    expected = torch.eye(N)
    for attention in attentions[first_layer:]:
        heads = {"mean": attention.mean(0), "min": attention.min(0)[0], "max": attention.max(0)[0]}[fusion]
        transition = heads + torch.eye(N)
        expected = (transition / transition.sum(-1, keepdim=True)) @ expected
    assert_close(attention_rollout(attentions, fusion=fusion, first_layer=first_layer), expected)


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("image", ["a", "b"])
def test_rollout_equals_the_published_code(model, variant, image, goldens):
    golden = np.load(goldens / f"{model}.npz")
    attentions = list(torch.from_numpy(golden[f"attention_{image}"])[:, 0])  # (A, N, N) each
    expected = torch.from_numpy(golden[f"{variant}_{image}"])
    assert_close(attention_rollout(attentions, **VARIANTS[variant]), expected)


@pytest.mark.parametrize("model", MEAN_MODELS)
@pytest.mark.parametrize("image", ["a", "b"])
def test_rolled_out_map_equals_the_published_code(model, image, goldens):
    golden = {name: torch.from_numpy(v) for name, v in np.load(goldens / f"{model}.npz").items() if v.ndim}
    other = golden[f"embedding_{'b' if image == 'a' else 'a'}"][0]
    embedding, tokens = golden[f"embedding_{image}"][0], golden[f"tokens_{image}"][0]
    shares = tokens / len(tokens)
    values = shares @ other / (embedding.norm() * other.norm())
    rolled = roll_out(values, list(golden[f"attention_{image}"][:, 0]))
    expected = golden[f"map_{image}"]
    assert_close(rolled.view_as(expected), expected)


def test_roll_out_equals_the_product_with_the_whole_rollout(attentions, noise):
    values = noise(N)
    expected = attention_rollout(attentions, fusion="max", first_layer=1) @ values
    assert_close(roll_out(values, attentions, fusion="max", first_layer=1), expected)


def test_conserving_roll_out_equals_the_product_with_the_transpose(attentions, noise):
    values = noise(N)
    expected = attention_rollout(attentions, fusion="min", first_layer=1).T @ values
    assert_close(roll_out_conserving(values, attentions, fusion="min", first_layer=1), expected)


def test_conserving_roll_out_keeps_the_sum(attentions, noise):
    values = noise(N)
    assert_close(roll_out_conserving(values, attentions).sum(), values.sum())


def test_rows_of_the_rollout_sum_to_one(attentions):
    assert_close(attention_rollout(attentions).sum(1), torch.ones(N))


def test_tokens_that_attend_to_themselves_change_nothing(noise):
    attentions, values = [torch.eye(N).expand(A, N, N)] * L, noise(N)
    assert_close(roll_out(values, attentions), values)
    assert_close(roll_out_conserving(values, attentions), values)


def test_a_planted_source_receives_what_attends_to_it():
    attention = torch.zeros(1, N, N)
    attention[0, :, 4] = 1.0  # everybody looks at token 4
    values = torch.zeros(N)
    values[1] = 1.0
    assert_close(roll_out_conserving(values, [attention]), torch.tensor([0.0, 0.5, 0.0, 0.0, 0.5, 0.0]))


@pytest.mark.parametrize("first_layer", [-1, L])
@pytest.mark.parametrize("function", [roll_out, roll_out_conserving])
def test_a_layer_out_of_range_is_refused(function, first_layer, attentions):
    with pytest.raises(ValueError, match=f"first_layer must be 0 to 3 .* got {first_layer}"):
        function(torch.ones(N), attentions, first_layer=first_layer)


def test_no_attention_at_all_is_refused():
    with pytest.raises(ValueError, match="at least one layer, got none"):
        attention_rollout([])


def test_an_unknown_fusion_is_refused(attentions):
    with pytest.raises(ValueError, match=r"mean, min, max.*'median'"):
        inspect.unwrap(layer_transition)(attentions[0], "median")  # without the type check
