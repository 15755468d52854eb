"""Training of re-rankers: what is learned from, that it learns, and that a killed run goes on."""

import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch.nn import functional as F
from torch.testing import assert_close

from lookalike.datasets.descriptors import Descriptors
from lookalike.errors import DatasetError, TrainingError
from lookalike.models.csa.checkpoint import load_scorer
from lookalike.training import RuntimeOptions
from lookalike.training.log import CsvLog
from lookalike.training.reranking import _Loop, fit_reranker, make_scorer, shortlist_losses
from lookalike.training.reranking_lists import DrawnLists, ShortlistBatch, WholeLists
from lookalike.training.reranking_settings import RerankerSettings
from lookalike.training.reranking_variation import domain_shifted, perturbed

N = 60
SCRIPT = Path(__file__).with_name("two_processes_reranking.py")


@pytest.fixture
def birds(noise):
    """Six classes of ten, two embeddings of different widths."""
    labels = torch.arange(N) % 6
    views = {
        name: noise(6, width, seed=seed)[labels] + 0.9 * noise(N, width, seed=seed + 1)
        for name, width, seed in [("a", 12, 1), ("b", 7, 3)]
    }
    return Descriptors("birds", labels, views)


def settings(**changes):
    small = {
        "steps": 6, "batch_size": 4, "candidates": 15, "n_anchors": 8, "width": 16, "depth": 1, "heads": 2,
        "hidden": 24, "warm_up": 2,
    }  # fmt: skip
    return RerankerSettings(**(small | changes))


def runtime(**changes):
    return RuntimeOptions(accelerator="cpu", **changes)


def losses(folder):
    return [row["loss"] for row in CsvLog(folder / "log.csv").rows()]


def test_whole_lists_are_the_nearest_others_of_the_same_view(birds, tmp_path):
    source = WholeLists([birds], k=15, batch_size=4, seed=0, cache=tmp_path)
    batch = source.batch(0, 0, 1)
    view = F.normalize(birds.views["a" if batch.queries.shape[1] == 12 else "b"], dim=1)
    for query, candidates, relevant in zip(batch.queries, batch.candidates, batch.relevant, strict=True):
        row = int((view @ query).argmax())
        cosines = view @ query
        cosines[row] = -2
        best = cosines.argsort(descending=True)[:15]
        assert_close(candidates, view[best])
        assert torch.equal(relevant, birds.labels[best] == birds.labels[row])


def test_lists_are_read_from_disk_the_second_time(birds, tmp_path):
    first = WholeLists([birds], k=15, batch_size=4, seed=0, cache=tmp_path).batch(3, 0, 1)
    files = sorted(tmp_path.iterdir())
    assert len(files) == 2
    for file in files:
        np.save(file, np.load(file)[:, ::-1])
    second = WholeLists([birds], k=15, batch_size=4, seed=0, cache=tmp_path).batch(3, 0, 1)
    assert_close(second.candidates, first.candidates.flip(1))


def test_processes_share_a_batch_without_overlap(birds, tmp_path):
    source = WholeLists([birds], k=15, batch_size=4, seed=0, cache=tmp_path)
    whole, parts = source.batch(5, 0, 1), [source.batch(5, process, 2) for process in range(2)]
    together = torch.stack([parts[0].queries, parts[1].queries], dim=1).flatten(0, 1)
    assert_close(together, whole.queries)


def test_drawn_lists_follow_from_seed_and_step_and_hold_no_query(birds):
    source = DrawnLists([birds], k=20, batch_size=4, seed=3, variation=True)
    first, again, other = source.batch(2, 0, 1), source.batch(2, 0, 1), source.batch(3, 0, 1)
    assert_close(again.candidates, first.candidates)
    assert other.candidates.shape != first.candidates.shape or not torch.equal(
        other.candidates, first.candidates
    )
    for step in range(20):
        batch = source.batch(step, 0, 1)
        cosines = torch.einsum("bkd,bd->bk", batch.candidates, batch.queries)
        assert (cosines < 1 - 1e-5).all() and (cosines.diff(dim=1) <= 1e-5).all()  # best first


def test_variation_keeps_one_unit_row_an_image(noise):
    seen = set()
    for seed in range(12):
        new = perturbed(noise(30, 20), torch.Generator().manual_seed(seed))
        assert len(new) == 30 and new.isfinite().all()
        assert_close(new.norm(dim=1), torch.ones(30))
        seen.add(tuple(new.shape))
    assert len(seen) > 2  # widths differ


def test_estranged_queries_lean_one_way_and_stay_unit(noise):
    queries, others = F.normalize(noise(200, 30), dim=1), F.normalize(noise(50, 30, seed=2), dim=1)
    common = F.normalize(others[:2].sum(0) - others[2:4].sum(0), dim=0)
    leans = []
    for seed in range(5):
        new = domain_shifted(queries, others, torch.Generator().manual_seed(seed))
        assert_close(new.norm(dim=1), torch.ones(200))
        assert (new * queries).sum(1).min() > 0  # still nearer to themselves than to their opposite
        leans.append(float((new @ common).mean() - (queries @ common).mean()))
    assert min(leans) > 0 and max(leans) > 0.2


def test_the_published_loss_is_both_losses_by_hand(birds, tmp_path):
    chosen = settings(dropout=0.0, reconstruction=0.25, temperature=2.0)
    torch.manual_seed(0)
    scorer = make_scorer(chosen)
    batch = WholeLists([birds], k=15, batch_size=4, seed=0, cache=tmp_path).batch(0, 0, 1)
    terms = shortlist_losses(scorer, batch, chosen)
    items = torch.cat([batch.queries[:, None], batch.candidates], dim=1)
    affinity = items @ items[:, :8].transpose(1, 2)
    tokens = scorer.network(affinity).detach()
    expected = []
    for of_query, relevant in zip(tokens, batch.relevant, strict=True):
        e = [math.exp(float(F.cosine_similarity(t, of_query[0], dim=0)) / 2) for t in of_query]
        good = e[0] + sum(x for x, r in zip(e[1:], relevant, strict=True) if r)
        expected.append(-math.log(good / sum(e)))
    assert float(terms["order"].detach()) == pytest.approx(sum(expected) / 4, rel=1e-5)
    chords = F.normalize(scorer.network.rebuilt(tokens), dim=2) - F.normalize(affinity, dim=2)
    by_hand = 0.25 * float(chords.norm(dim=2).mean().detach())
    assert float(terms["reconstruction"].detach()) == pytest.approx(by_hand, rel=1e-4)


def test_without_the_querys_own_term_lists_of_no_relevant_item_teach_nothing():
    chosen = settings(loss="contrastive-others", reconstruction=0.0)
    vectors = F.normalize(torch.ones(2, 3) + torch.eye(3)[:2], dim=1)
    batch = ShortlistBatch(vectors, vectors[:, None].repeat(1, 5, 1), torch.zeros(2, 5, dtype=torch.bool))
    assert float(shortlist_losses(make_scorer(chosen), batch, chosen)["order"].detach()) == 0


@pytest.mark.parametrize("kind", ["published", "expanded"])
def test_training_lowers_the_loss_and_its_file_is_a_checkpoint(birds, tmp_path, kind):
    changes = {"steps": 40, "batch_size": 8, "dropout": 0.0, "rate": 0.05}
    if kind == "expanded":
        changes |= {
            "method": kind, "lists": "drawn", "loss": "ranking", "temperature": 0.1, "optimizer": "adamw",
            "rate": 0.003, "reconstruction": 0.1, "n_anchors": 9,
        }  # fmt: skip
    written = fit_reranker([birds], settings(**changes), out=tmp_path / "o", half=True, runtime=runtime())
    curve = losses(tmp_path / "o")
    assert len(curve) == 40 and sum(curve[-10:]) < 0.95 * sum(curve[:10])
    assert load_scorer(written).network.sizes.n_anchors in (8, 9)
    assert load_file(written)["topk_proj.weight"].dtype == torch.float16


class Killed(Exception):
    pass


@pytest.mark.parametrize("kept_every", [2, 3])
def test_a_resumed_training_is_the_one_that_never_stopped_bit_for_bit(birds, tmp_path, kept_every):
    def killed(progress):
        if progress.done == 4:
            raise Killed

    fit_reranker([birds], settings(), out=tmp_path / "whole", runtime=runtime())
    with pytest.raises(Killed):
        fit_reranker(
            [birds],
            settings(),
            out=tmp_path / "k",
            runtime=runtime(checkpoint_every=kept_every),
            progress=killed,
        )
    fit_reranker([birds], settings(), out=tmp_path / "k", resume=True, runtime=runtime())
    assert losses(tmp_path / "k") == losses(tmp_path / "whole")
    resumed, whole = (load_file(tmp_path / name / "model.safetensors") for name in ("k", "whole"))
    assert all(torch.equal(resumed[name], whole[name]) for name in whole)


def test_rates_rise_along_a_line_and_fall_along_a_cosine():
    loop = _Loop(make_scorer(settings()), settings(steps=10, warm_up=2), None)
    expected = [0.5, 1.0, *(0.5 * (1 + math.cos(math.pi * i / 8)) for i in range(9))]
    assert [loop.rate_factor(step) for step in range(11)] == pytest.approx(expected)


@pytest.mark.slow
def test_two_processes_learn_what_one_learns_from_the_whole_batch(tmp_path):
    weights = []
    for devices in ("1", "2"):
        command = [sys.executable, str(SCRIPT), str(tmp_path / devices), devices]
        subprocess.run(command, check=True, capture_output=True)
        weights.append(load_file(tmp_path / devices / "model.safetensors"))
    for name in weights[0]:  # the mean of two halves of a batch is the whole
        assert_close(weights[1][name], weights[0][name], rtol=1e-4, atol=1e-6)


def test_bf16_trains_with_fp32_weights(birds, tmp_path):
    written = fit_reranker([birds], settings(precision="bf16"), out=tmp_path / "o", runtime=runtime())
    assert load_file(written)["topk_proj.weight"].dtype == torch.float32
    assert all(map(math.isfinite, losses(tmp_path / "o")))


def test_what_cannot_be_trained_is_said_before_it_starts(birds, tmp_path):
    with pytest.raises(DatasetError, match="60 images, too few for lists of 60"):
        fit_reranker([birds], settings(candidates=60), out=tmp_path / "a", runtime=runtime())
    with pytest.raises(DatasetError, match="batch of 999 queries can't be drawn"):
        fit_reranker([birds], settings(batch_size=999), out=tmp_path / "b", runtime=runtime())
    with pytest.raises(TrainingError, match="no training to resume"):
        fit_reranker([birds], settings(), out=tmp_path / "c", resume=True, runtime=runtime())
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.txt").write_text("mine")
    with pytest.raises(TrainingError, match="is not empty"):
        fit_reranker([birds], settings(), out=tmp_path / "full", runtime=runtime())
    fit_reranker([birds], settings(steps=1), out=tmp_path / "d", runtime=runtime())
    with pytest.raises(TrainingError, match="started with other settings"):
        fit_reranker([birds], settings(steps=2), out=tmp_path / "d", resume=True, runtime=runtime())


def test_a_loss_that_is_no_number_stops_the_training(birds, tmp_path):
    with pytest.raises(TrainingError, match="lower the rate"):
        fit_reranker([birds], settings(rate=1e12, clip=0, steps=30), out=tmp_path / "o", runtime=runtime())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"loss": "hinge"}, "loss is contrastive"),
        ({"steps": 0}, "steps is 1 or more"),
        ({"clip": float("nan")}, "clip is 0 or more"),
        ({"temperature": 0}, "above 0"),
        ({"dropout": 1.0}, "below 1"),
    ],
)
def test_settings_that_make_no_sense_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        settings(**changes)
    with pytest.raises(ValueError, match=r"unknown settings .*: size"):
        RerankerSettings.from_dict({"size": 3})
