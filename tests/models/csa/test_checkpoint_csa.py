"""Checkpoints of CSA: sizes read off tensors, what does not fit, and nothing executed."""

import os

import pytest
import torch
from torch.testing import assert_close

from lookalike.errors import CheckpointError
from lookalike.models.csa.checkpoint import CSA_MINI, bundled_scorer, load_scorer, save_scorer
from lookalike.models.csa.network import ContextNetwork, ContextSizes
from lookalike.models.csa.shortlist import ExpandedScorer, ExpansionView, PublishedScorer

SIZES = ContextSizes(n_anchors=6, width=20, depth=3, heads=5, hidden=28)


@pytest.fixture
def published(tmp_path):
    network = ContextNetwork(SIZES)
    path = tmp_path / "checkpoint-epoch7.pth"
    torch.save({"epoch": 7, "state_dict": network.state_dict()}, path)
    return path


def changed(path, **tensors):
    content = torch.load(path, weights_only=True)
    content["state_dict"] |= {name.replace("__", "."): t for name, t in tensors.items()}
    torch.save(content, path)
    return path


def test_sizes_are_read_off_the_tensors_and_heads_are_said(published):
    assert load_scorer(published, heads=5).network.sizes == SIZES
    assert load_scorer(published).network.sizes.heads == 4  # nobody said


def test_a_network_without_biases_of_queries_keys_and_values_loads(tmp_path):
    sizes = ContextSizes(6, 20, 1, 4, 28, query_key_value_bias=False)
    torch.save({"state_dict": ContextNetwork(sizes).state_dict()}, tmp_path / "c.pth")
    assert load_scorer(tmp_path / "c.pth").network.sizes == sizes


@pytest.mark.parametrize("half", [False, True])
def test_what_is_saved_scores_the_same_when_loaded(tmp_path, noise, half):
    torch.manual_seed(3)
    scorer = ExpandedScorer(ContextNetwork(SIZES), ExpansionView(2, 1.5)).eval()
    torch.nn.init.normal_(scorer.direct)
    save_scorer(tmp_path / "new" / "m.safetensors", scorer, half=half)
    loaded = load_scorer(tmp_path / "new" / "m.safetensors")
    assert isinstance(loaded, ExpandedScorer)
    assert (loaded.view, loaded.network.sizes) == (scorer.view, SIZES)
    vectors = (noise(2, 7), noise(2, 9, 7, seed=1))
    assert_close(loaded(*vectors), scorer(*vectors), atol=0.02 if half else 0, rtol=0)
    save_scorer(tmp_path / "p.safetensors", PublishedScorer(ContextNetwork(SIZES)))
    assert isinstance(load_scorer(tmp_path / "p.safetensors"), PublishedScorer)


@pytest.mark.parametrize(
    ("tensors", "message"),
    [
        (
            {"blocks__1__attn__proj__weight": torch.zeros(20, 19)},
            r"attn.proj.weight of shape \(20, 20\).*\(20, 19\)",
        ),
        ({"feature_align__layers__0__weight": torch.zeros(7, 20)}, r"\(6, 20\).*6 anchors.*got \(7, 20\)"),
        ({"stranger__weight": torch.zeros(2)}, "stranger.weight of shape nothing"),
        ({"topk_proj__weight": torch.zeros(3)}, "no checkpoint of CSA"),
    ],
)
def test_tensors_of_other_sizes_are_named(published, tensors, message):
    with pytest.raises(CheckpointError, match=message):
        load_scorer(changed(published, **tensors))


def test_a_missing_tensor_a_missing_file_and_odd_heads_are_named(published, tmp_path):
    with pytest.raises(CheckpointError, match="20, which 3 heads do not divide"):
        load_scorer(published, heads=3)
    content = torch.load(published, weights_only=True)
    del content["state_dict"]["blocks.2.norm2.bias"]
    torch.save(content, published)
    with pytest.raises(CheckpointError, match=r"blocks.2.norm2.bias of shape \(20,\).*got nothing"):
        load_scorer(published)
    with pytest.raises(CheckpointError, match=r"no checkpoint .*nowhere"):
        load_scorer(tmp_path / "nowhere.pth")


def test_a_checkpoint_that_runs_code_is_refused_and_nothing_runs(tmp_path):
    class Evil:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "ran"),)

    torch.save({"epoch": 1, "state_dict": {"topk_proj.weight": Evil()}}, tmp_path / "evil.pth")
    with pytest.raises(CheckpointError, match="can run code"):
        load_scorer(tmp_path / "evil.pth")
    assert not (tmp_path / "ran").exists()


def test_the_bundled_network_is_small_and_loads_once():
    assert CSA_MINI.stat().st_size <= 8 * 2**20
    assert isinstance(bundled_scorer(), ExpandedScorer) and bundled_scorer() is bundled_scorer()
