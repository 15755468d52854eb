"""The transformer of CSA: metrics of the original code, and what its structure promises."""

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from lookalike.models.csa.checkpoint import load_scorer
from lookalike.models.csa.network import ContextNetwork, ContextSizes, DropPath, usual_heads
from lookalike.models.csa.shortlist import ExpandedScorer, ExpansionView, PublishedScorer
from lookalike.ops.affinity import contrastive_loss, exp_similarities, reconstruction_loss

SIZES = ContextSizes(n_anchors=6, width=20, depth=2, heads=4, hidden=28)
B, T = 3, 9


@pytest.fixture
def network():
    torch.manual_seed(5)
    network = ContextNetwork(SIZES, dropout=0.5).eval()
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return network


@pytest.mark.weights
def test_the_published_network_gives_the_published_metrics(goldens, shared):
    scorer = load_scorer(shared / "goldens" / "csa_checkpoint.pth")
    assert scorer.network.sizes == ContextSizes(32, 48, 2, 4, 192)
    with np.load(goldens / "csa.npz") as file:
        golden = {name: torch.as_tensor(file[name]) for name in file.files if file[name].dtype.kind in "fi"}
    candidates = golden["gallery"][golden["ranks"][:40].T]
    assert_close(scorer(golden["queries"], candidates), golden["rerank_scores"], rtol=1e-5, atol=1e-6)
    tokens = scorer.network(golden["loss_affinity"])
    ours = exp_similarities(tokens, 2.0)
    assert_close(ours, golden["exp_similarity"], rtol=1e-5, atol=0)
    rebuilt = scorer.network.rebuilt(tokens)
    assert_close(reconstruction_loss(rebuilt, golden["loss_affinity"]), golden["mse_loss"], rtol=1e-5, atol=0)
    loss = contrastive_loss(ours, golden["loss_targets"].bool())
    assert_close(loss, golden["contrastive_loss"], rtol=1e-5, atol=0)


def test_items_in_another_order_give_the_same_features_in_that_order(network, noise):
    affinity, order = noise(B, T, 6), torch.randperm(T, generator=torch.Generator().manual_seed(1))
    assert_close(network(affinity[:, order]), network(affinity)[:, order], rtol=1e-4, atol=1e-4)
    assert network(affinity).shape == (B, T, 20) and network.rebuilt(network(affinity)).shape == (B, T, 6)


def test_one_item_changes_the_features_of_all_others(network, noise):
    affinity = noise(1, T, 6)
    changed = affinity.clone()
    changed[0, 4] += 1
    differences = (network(changed) - network(affinity)).abs().sum(2)[0]
    assert (differences > 1e-4).all()


def test_attention_is_that_of_the_forward_pass(network, noise):
    """With values that are all one vector and no second layer, attention must mix to that vector."""
    weights = network.attention_of(noise(B, T, 6))
    assert weights.shape == (B, T, T)
    assert_close(weights.sum(2), torch.ones(B, T))
    block, x = network.blocks[0].attn, noise(B, T, 20, seed=3)
    value = block.split(block.qkv(x))[2]  # (B, A, T, d)
    mixed = (block.weights(x) @ value).transpose(1, 2).flatten(2)
    assert_close(block(x), block.proj(mixed), rtol=1e-4, atol=1e-5)


def test_a_dropped_path_leaves_out_whole_lists_and_keeps_the_mean(noise):
    path, branch = DropPath(0.25), noise(4000, 2, 3)
    torch.manual_seed(0)
    kept = path(branch)
    is_kept = kept.flatten(1).any(1)
    assert_close(kept[is_kept], branch[is_kept] / 0.75)
    assert abs(float(is_kept.float().mean()) - 0.75) < 0.03
    assert path.eval()(branch) is branch


def test_paths_are_dropped_more_often_in_later_blocks():
    def rates(depth):
        network = ContextNetwork(ContextSizes(6, 8, depth, 2, 8), drop_path=0.1)
        return [block.drop_path.p for block in network.blocks]

    assert rates(3) == pytest.approx([0.0, 0.05, 0.1]) and rates(1) == [0.0]


def test_heads_that_nobody_names_are_the_published_ones():
    assert (usual_heads(768), usual_heads(48), usual_heads(2048)) == (12, 4, 32)


def test_impossible_sizes_are_refused():
    with pytest.raises(ValueError, match="3 heads do not divide the width 20"):
        ContextSizes(width=20, heads=3)
    with pytest.raises(ValueError, match="1 or more"):
        ContextSizes(depth=0)
    with pytest.raises(ValueError, match="3 views need as many anchors each, got 5"):
        ExpandedScorer(ContextNetwork(ContextSizes(5, 8, 1, 2, 8)), ExpansionView())


def test_scorers_take_lists_of_any_length(network, noise):
    for k in (1, 2, 40):
        queries = torch.nn.functional.normalize(noise(B, 7), dim=1)
        candidates = torch.nn.functional.normalize(noise(B, k, 7, seed=1), dim=2)
        for scorer in (PublishedScorer(network), ExpandedScorer(network, ExpansionView(3, 2.0))):
            scores = scorer(queries, candidates)
            assert scores.shape == (B, k) and scores.isfinite().all()


def test_the_view_of_the_cosines_does_not_know_their_scale(network, noise):
    """An embedding whose vectors all share a large part looks like the same one without it."""
    scorer = ExpandedScorer(network, ExpansionView(1, 0.0))
    queries = torch.nn.functional.normalize(noise(1, 7), dim=1)
    candidates = torch.nn.functional.normalize(noise(1, 12, 7, seed=1), dim=2)
    inputs = scorer.inputs(queries, candidates)
    shift = torch.cat([torch.full((1, 1), 3.0), queries], dim=1) / 10**0.5
    shifted = torch.cat([torch.full((1, 12, 1), 3.0), candidates], dim=2) / 10**0.5
    assert_close(scorer.inputs(shift, shifted)[:, :, :2], inputs[:, :, :2], rtol=1e-3, atol=1e-3)


def test_scores_are_the_refined_cosine_and_the_gated_sum_by_hand(network, noise):
    scorer = ExpandedScorer(network, ExpansionView(2, 1.0))
    torch.nn.init.normal_(scorer.direct)
    torch.nn.init.normal_(scorer.gate.weight)
    inputs, tokens = noise(1, 4, 6), noise(1, 4, 20, seed=1)
    query = (tokens[0, 0] - tokens[0, 0].mean()) / (tokens[0, 0].var(correction=0) + 1e-5).sqrt()
    weights = scorer.direct + scorer.gate.weight @ query
    for k in range(3):
        cosine = torch.nn.functional.cosine_similarity(tokens[0, k + 1], tokens[0, 0], dim=0)
        expected = cosine + 0.1 * inputs[0, k + 1] @ weights
        assert_close(scorer.scores(inputs, tokens)[0, k], expected, rtol=1e-4, atol=1e-5)
