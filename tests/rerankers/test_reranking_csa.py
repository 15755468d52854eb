"""Re-ranking by CSA: the original code's order, what the bundled network does, and odd lists."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn import functional as F
from torch.testing import assert_close
from typer.testing import CliRunner

from lookalike.cli import app
from lookalike.models.csa.checkpoint import save_scorer
from lookalike.models.csa.network import ContextNetwork, ContextSizes
from lookalike.models.csa.shortlist import PublishedScorer
from lookalike.ops.metrics import average_precision
from lookalike.rerankers import ContextualReranking, QueryExpansion, first_stage, full_ranks, make_reranker

D = 16


@pytest.fixture(scope="module")
def golden(goldens):
    with np.load(goldens / "csa.npz") as file:
        return {name: torch.as_tensor(file[name]) for name in file.files if file[name].dtype.kind in "fi"}


@pytest.fixture
def checkpoint(tmp_path):
    """A small untrained network of 6 anchors."""
    torch.manual_seed(1)
    network = ContextNetwork(ContextSizes(6, 24, 2, 4, 32))
    save_scorer(tmp_path / "small.safetensors", PublishedScorer(network))
    return tmp_path / "small.safetensors"


def clusters(noise, *, n_classes=8, of_each=15, spread=0.42, seed=0):
    """Queries and gallery of noisy classes, and which gallery rows are relevant."""
    centers = F.normalize(noise(n_classes, 32, seed=seed), dim=1)
    labels = torch.arange(n_classes * of_each) % n_classes
    vectors = centers[labels] + spread * noise(len(labels), 32, seed=seed + 1) / 2
    ranking = first_stage(vectors[: 2 * n_classes], vectors[2 * n_classes :], k=1024)
    return ranking, labels[2 * n_classes :][None] == labels[: 2 * n_classes, None]


def mean_precision(ranking, relevant):
    hits = relevant.gather(1, ranking.indices)
    return sum(average_precision(row, int(row.sum())) for row in hits) / len(hits)


@pytest.mark.weights
def test_the_published_checkpoint_gives_the_published_scores_and_order(golden, shared):
    before = first_stage(golden["queries"], golden["gallery"], k=40)
    assert torch.equal(before.indices.T, golden["ranks"][:40])
    reranker = make_reranker("csa", checkpoint=str(shared / "goldens" / "csa_checkpoint.pth"))
    after = reranker(before)
    positions = (before.indices[:, :, None] == after.indices[:, None]).int().argmax(1)
    assert_close(after.scores, golden["rerank_scores"].gather(1, positions), rtol=1e-5, atol=1e-6)
    assert torch.equal(full_ranks(before, after), golden["reranked"])


@pytest.mark.weights
@pytest.mark.parametrize("k", [1, 7, 20, 31])
def test_lists_shorter_than_the_anchors_get_the_scores_and_order_of_the_original_code(
    golden, goldens, shared, k
):
    with np.load(goldens / "csa_short_lists.npz") as file:
        scores, order = torch.as_tensor(file[f"scores_{k}"]), torch.as_tensor(file[f"reranked_{k}"])
    before = first_stage(golden["queries"], golden["gallery"], k=k)
    after = make_reranker("csa", checkpoint=str(shared / "goldens" / "csa_checkpoint.pth"))(before)
    positions = (before.indices[:, :, None] == after.indices[:, None]).int().argmax(1)
    assert_close(after.scores, scores.gather(1, positions), rtol=1e-5, atol=1e-6)
    assert torch.equal(full_ranks(before, after), order.long())


@pytest.mark.weights
def test_the_command_line_gives_the_published_order(golden, shared, tmp_path):
    np.save(tmp_path / "q.npy", golden["queries"].numpy())
    np.save(tmp_path / "g.npy", golden["gallery"].numpy())
    files = ("--queries", tmp_path / "q.npy", "--gallery", tmp_path / "g.npy", "-o", tmp_path / "r.npz")
    checkpoint = shared / "goldens" / "csa_checkpoint.pth"
    arguments = [*files, "--method", "csa", "--checkpoint", checkpoint, "-k", 40]
    result = CliRunner().invoke(app, ["rerank", *map(str, arguments), "--json"])
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["method"] == "csa"
    with np.load(tmp_path / "r.npz") as written:
        np.testing.assert_array_equal(written["ranks"], golden["reranked"].numpy())


def test_the_bundled_network_ranks_noisy_classes_better(noise):
    ranking, relevant = clusters(noise)
    before, after = mean_precision(ranking, relevant), mean_precision(make_reranker("csa")(ranking), relevant)
    expanded = mean_precision(QueryExpansion()(ranking), relevant)
    assert before < 0.9  # there is something to gain
    assert after > before + 0.05 and after > expanded


def test_batches_change_nothing(noise, monkeypatch):
    ranking = clusters(noise)[0]
    together = ContextualReranking()(ranking)
    monkeypatch.setattr("lookalike.rerankers.csa.ITEMS_AT_ONCE", 1)
    one_by_one = ContextualReranking()(ranking)
    assert_close(one_by_one.scores, together.scores, atol=2e-5, rtol=0)


def test_bf16_ranks_almost_alike(noise):
    ranking = clusters(noise)[0]
    exact, rough = (ContextualReranking(precision=p)(ranking) for p in ("fp32", "bf16"))
    by_row = [
        torch.zeros(len(r.scores), len(r.gallery)).scatter(1, r.indices, r.scores) for r in (exact, rough)
    ]
    correlations = [torch.corrcoef(torch.stack(pair))[0, 1] for pair in zip(*by_row, strict=True)]
    assert min(correlations) > 0.99
    assert not torch.equal(exact.scores, rough.scores)


@pytest.mark.parametrize("published", [True, False])
def test_a_short_list_is_scored_in_the_context_of_the_whole_ranking(checkpoint, noise, published):
    ranking = clusters(noise)[0]
    reranker = ContextualReranking(checkpoint=checkpoint if published else None)
    n = reranker.n_context
    short, long = (first_stage(ranking.queries, ranking.gallery, k=k) for k in (3, n))
    items = ranking.gallery[long.indices]
    expected = reranker._scorer(ranking.queries, items[:, :3], items[:, 3:])
    after = reranker(short)
    assert after.indices.shape == (len(ranking.queries), 3)
    order = expected.sort(dim=1, descending=True, stable=True)
    assert_close(after.scores, order.values, atol=1e-5, rtol=0)
    if not published:  # the bundled network ranks the longer list, of which the first are kept
        whole = reranker(long)
        kept = [
            s[torch.isin(i, j)] for s, i, j in zip(whole.scores, whole.indices, short.indices, strict=True)
        ]
        assert_close(after.scores, torch.stack(kept), atol=1e-5, rtol=0)


def test_rows_that_may_not_be_results_are_no_anchors(checkpoint, noise):
    ranking = first_stage(noise(2, D), noise(9, D, seed=1), k=2)
    best = int(torch.mode(ranking.indices.flatten()).values)
    next_row = int(next(row for row in range(9) if row not in ranking.indices))
    allowed = torch.ones(9, dtype=torch.bool)
    allowed[next_row] = False
    kept = torch.tensor([row for row in range(9) if row != next_row])
    alone = first_stage(ranking.queries, ranking.gallery[kept], k=2)
    reranker = ContextualReranking(checkpoint=checkpoint)
    scores = reranker(replace(ranking, allowed=allowed)).scores
    assert best != next_row
    assert_close(scores, reranker(alone).scores, atol=1e-6, rtol=0)
    assert not torch.allclose(scores, reranker(ranking).scores, atol=1e-4)


def test_fewer_items_than_anchors_are_ranked(checkpoint, noise):
    """A gallery of 3 for 6 anchors: the missing anchors are like nothing."""
    ranking = first_stage(noise(2, D), noise(3, D, seed=1), k=40)
    reranker = ContextualReranking(checkpoint=checkpoint)
    after = reranker(ranking)
    affinity = torch.zeros(1, 4, 6)
    items = torch.cat([ranking.queries[:1], ranking.gallery[ranking.indices[0]]])
    affinity[0, :, :4] = items @ items.T
    tokens = F.normalize(reranker._scorer.network(affinity)[0], dim=1)
    assert_close(after.scores[0], (tokens[1:] @ tokens[0]).sort(descending=True).values, atol=1e-5, rtol=0)


@pytest.mark.parametrize("published", [True, False])
def test_duplicates_have_one_score_and_stay_together(checkpoint, noise, published):
    reranker = ContextualReranking(checkpoint=checkpoint if published else None)
    gallery = noise(9, D, seed=1).repeat_interleave(3, dim=0)
    after = reranker(first_stage(noise(3, D), gallery, k=27))
    for rows, scores in zip(after.indices.tolist(), after.scores.tolist(), strict=True):
        for item in range(9):
            positions = sorted(rows.index(3 * item + copy) for copy in range(3))
            assert positions == list(range(positions[0], positions[0] + 3))
            found = [scores[position] for position in positions]  # some processors round rows differently
            assert max(found) - min(found) < 1e-5


def test_queries_that_are_in_the_gallery_still_find_themselves_first(noise):
    ranking, _ = clusters(noise)
    inside = first_stage(ranking.gallery[:10], ranking.gallery, k=60)
    assert make_reranker("csa")(inside).indices[:, 0].tolist() == list(range(10))


def test_the_move_in_a_short_list_is_that_of_its_ranking(noise):
    ranking = clusters(noise)[0]
    short = first_stage(ranking.queries, ranking.gallery, k=6)
    reranker = ContextualReranking()
    after = reranker(short)
    for row in short.indices[1].tolist():
        move = reranker.explain(short, 1, row)
        assert move.rank_after == after.indices[1].tolist().index(row) + 1
        assert {influence.item for influence in move.influences} <= set(short.indices[1].tolist()) - {row}


def test_vectors_that_are_no_numbers_are_refused(noise):
    bad = noise(4, D)
    bad[1, 2] = torch.inf
    with pytest.raises(ValueError, match="queries hold NaN or infinity in 1 of 4 rows, first in row 1"):
        make_reranker("csa")(first_stage(bad, noise(4, D), k=2))


def test_wrong_options_are_refused(checkpoint):
    for options, message in [
        ({"precision": "int4"}, "fp32, bf16, got 'int4'"),
        ({"checkpoint": str(checkpoint), "heads": 0}, "heads must be a whole number"),
        ({"n_explained": 0}, "n_explained"),
        ({"n": 3}, "no option 'n'"),
    ]:
        with pytest.raises(ValueError, match=message):
            make_reranker("csa", **options)


def helped(noise):
    """A query, a candidate that is far from it, helpers between the two, and others."""
    query, far = torch.eye(24)[0], F.normalize(torch.eye(24)[0] * 0.3 + torch.eye(24)[1], dim=0)
    between = F.normalize(query + far, dim=0)
    others = F.normalize(0.45 * query + 0.5 * noise(40, 24, seed=4) / 24**0.5 * 2, dim=1)
    return first_stage(query[None], torch.stack([far, between, *others]), k=60)


def test_the_planted_helper_is_named_and_lifts(noise):
    ranking = helped(noise)
    reranker = make_reranker("csa")
    move = reranker.explain(ranking, 0, 0)
    amounts = {influence.item: influence.amount for influence in move.influences}
    assert move.influences[0].item == 1 and amounts[1] > 0
    assert move.rank_after < move.rank_before


def test_an_amount_is_what_the_score_would_be_without_that_item(noise):
    ranking = clusters(noise)[0]
    reranker, row = ContextualReranking(n_explained=4), int(ranking.indices[2, 20])
    move = reranker.explain(ranking, 2, row)
    assert len(move.influences) == 4
    scores = reranker(ranking)
    by_row = dict(zip(scores.indices[2].tolist(), scores.scores[2].tolist(), strict=True))
    for influence in move.influences:
        kept = ranking.indices[2][ranking.indices[2] != influence.item]
        nothing = ranking.gallery[kept[:0]][None]  # the list is longer than the context
        alone = reranker._scores(ranking.queries[2:3], ranking.gallery[kept][None], nothing)[0].tolist()
        changes = {r: by_row[r] - s for r, s in zip(kept.tolist(), alone, strict=True)}
        expected = changes[row] - sum(changes.values()) / len(changes)
        assert influence.amount == pytest.approx(expected, abs=1e-4)
