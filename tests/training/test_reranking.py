"""Training of re-rankers: what is learned from, that it learns, and that a killed run goes on."""

import math
import subprocess
import sys
from dataclasses import replace
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
from lookalike.training.reranking import _source, fit_reranker, make_scorer, shortlist_losses
from lookalike.training.reranking_lists import DrawnLists, ShortlistBatch, WholeLists
from lookalike.training.reranking_presets import reranker_preset
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
        "hidden": 24, "warm_up": 0.34,
    }  # fmt: skip
    return RerankerSettings(**(small | changes))


def runtime(**changes):
    return RuntimeOptions(accelerator="cpu", **changes)


def losses(folder):
    return [row["loss"] for row in CsvLog(folder / "log.csv").rows()]


def test_whole_lists_are_the_nearest_others_of_the_same_view(birds, tmp_path):
    source = WholeLists([birds], k=15, batch_size=8, seed=0, cache=tmp_path, n_context=20)
    batch = source.batch(0, 0, 1)
    widths = [view_of(birds, query)[1] for query in batch.queries]
    assert set(widths) == {12, 7}  # both views in one batch
    assert batch.queries.shape == (8, 12) and batch.following.shape == (8, 5, 12)
    for i, query in enumerate(batch.queries):
        view, width = view_of(birds, query)
        assert (query[width:] == 0).all() and (batch.candidates[i, :, width:] == 0).all()
        cosines = view @ query[:width]
        row = int(cosines.argmax())
        cosines[row] = -2
        best = cosines.argsort(descending=True)[:20]
        assert_close(batch.candidates[i, :, :width], view[best[:15]])
        assert_close(batch.following[i, :, :width], view[best[15:]])
        assert torch.equal(batch.relevant[i], birds.labels[best[:15]] == birds.labels[row])


def view_of(birds, query):
    """The units of the view that holds a row, and its width."""
    for view in birds.views.values():
        units, width = F.normalize(view, dim=1), view.shape[1]
        if float((units @ query[:width]).max()) > 1 - 1e-5 and not query[width:].any():
            return units, width
    raise AssertionError("no view holds the query")


def test_an_epoch_goes_through_every_list_once_in_a_new_order(birds, tmp_path):
    source = WholeLists([birds], k=15, batch_size=50, seed=0, cache=tmp_path)
    assert source.n_lists == 2 * N
    epochs = []
    for epoch in range(2):
        batches = [source.batch(3 * epoch + i, 0, 1) for i in range(3)]
        assert [len(batch.queries) for batch in batches] == [50, 50, 20]
        epochs.append(torch.cat([F.pad(b.queries, (0, 12 - b.queries.shape[1])) for b in batches]))
    expected = torch.cat([F.pad(F.normalize(v, dim=1), (0, 12 - v.shape[1])) for v in birds.views.values()])
    for found in epochs:
        nearest = (expected @ found.T).max(1)
        assert nearest.values.min() > 1 - 1e-5 and sorted(nearest.indices.tolist()) == list(range(2 * N))
    assert not torch.equal(*epochs)


def test_a_batch_larger_than_all_lists_is_all_lists(birds, tmp_path):
    source = WholeLists([birds], k=15, batch_size=999, seed=0, cache=tmp_path)
    assert len(source.batch(0, 0, 1).queries) == 2 * N
    assert settings(steps=0, epochs=3, batch_size=999).n_steps(source.n_lists) == 3


def test_anchors_go_on_beyond_a_short_list_in_training(birds, tmp_path):
    chosen = settings(candidates=3, n_anchors=8, lists="whole")
    batch = _source([birds], chosen, tmp_path).batch(0, 0, 1)
    assert batch.candidates.shape[1] == 3 and batch.following.shape[1] == 4
    inputs = make_scorer(chosen).inputs(batch.queries, batch.candidates, batch.following)
    ranked = torch.cat([batch.queries[:, None], batch.candidates, batch.following], dim=1)
    assert_close(inputs, torch.einsum("btd,bad->bta", ranked[:, :4], ranked))
    drawn = _source([birds], settings(candidates=3, n_anchors=8, lists="drawn"), tmp_path).batch(0, 0, 1)
    assert drawn.candidates.shape[1] == 3 and drawn.following.shape[1] == 4


def test_a_mixed_batch_has_the_mean_loss_of_its_lists(birds, tmp_path):
    chosen = settings(dropout=0.0, drop_path=0.0, batch_size=6)
    torch.manual_seed(0)
    scorer, batch = make_scorer(chosen), _source([birds], chosen, tmp_path).batch(0, 0, 1)
    alone = []
    for i, query in enumerate(batch.queries):
        width = view_of(birds, query)[1]
        one = ShortlistBatch(*(t[i : i + 1, ..., :width] for t in list(vars(batch).values())[:3]),
                             batch.relevant[i : i + 1])  # fmt: skip
        alone.append(sum(float(t.detach()) for t in shortlist_losses(scorer, one, chosen).values()))
    together = sum(float(t.detach()) for t in shortlist_losses(scorer, batch, chosen).values())
    assert together == pytest.approx(sum(alone) / 6, rel=1e-5)


def test_lists_are_read_from_disk_the_second_time(birds, tmp_path):
    first = WholeLists([birds], k=15, batch_size=4, seed=0, cache=tmp_path).batch(3, 0, 1)
    files = sorted(tmp_path.iterdir())
    assert len(files) == 2
    for file in files:
        np.save(file, np.load(file)[:, ::-1])
    second = WholeLists([birds], k=15, batch_size=4, seed=0, cache=tmp_path).batch(3, 0, 1)
    assert_close(second.candidates, first.candidates.flip(1))


def test_processes_share_a_batch_without_overlap(birds, tmp_path):
    one = replace(birds, views={"a": birds.views["a"]})
    source = WholeLists([one], k=15, batch_size=8, seed=0, cache=tmp_path)
    whole, parts = source.batch(5, 0, 1), [source.batch(5, process, 2) for process in range(2)]
    together = torch.cat([part.queries for part in parts])
    assert sorted(together.tolist()) == sorted(whole.queries.tolist())
    last, uneven = source.batch(7, 0, 1), [source.batch(7, process, 3) for process in range(3)]
    assert (len(last.queries), [len(part.queries) for part in uneven]) == (4, [2, 2, 2])
    repeated = last.queries @ torch.cat([part.queries for part in uneven]).T > 1 - 1e-5
    assert repeated.sum(1).tolist().count(1) == 2 and repeated.any(1).all()


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
    chosen = settings(dropout=0.0, drop_path=0.0, reconstruction=0.25, temperature=2.0)
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
    candidates = vectors[:, None].repeat(1, 5, 1)
    batch = ShortlistBatch(vectors, candidates, candidates[:, :0], torch.zeros(2, 5, dtype=torch.bool))
    assert float(shortlist_losses(make_scorer(chosen), batch, chosen)["order"].detach()) == 0


@pytest.mark.parametrize("kind", ["published", "expanded"])
def test_training_lowers_the_loss_and_its_file_is_a_checkpoint(birds, tmp_path, kind):
    changes = {"steps": 40, "batch_size": 2 * N, "dropout": 0.0, "drop_path": 0.0, "rate": 0.05,
               "clip": 1.0}  # fmt: skip
    if kind == "expanded":
        changes |= {
            "method": kind, "lists": "drawn", "loss": "ranking", "temperature": 0.1, "optimizer": "adamw",
            "rate": 0.003, "reconstruction": 0.1, "n_anchors": 9, "batch_size": 8,
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


@pytest.mark.parametrize(("warm_up", "n_rising"), [(0.2, 8), (0.0, 0), (0.025, 1), (1.0, 40)])
def test_rates_rise_along_a_line_and_fall_along_a_cosine(warm_up, n_rising):
    chosen = settings(rate=0.025, warm_up=warm_up, warm_up_from=0.01)
    rising = np.linspace(0.00025, 0.025, n_rising)
    falling = 0.5 * 0.025 * (1 + np.cos(math.pi * np.arange(40 - n_rising) / (40 - n_rising or 1)))
    expected = [*rising, *falling]
    assert [chosen.rate_at(step, 40) for step in range(40)] == pytest.approx(expected, abs=1e-12)


def test_the_log_has_the_rate_of_its_own_step(birds, tmp_path):
    chosen = settings(steps=0, epochs=2, batch_size=50, warm_up=0.5)
    fit_reranker([birds], chosen, out=tmp_path / "o", runtime=runtime())
    rows = CsvLog(tmp_path / "o" / "log.csv").rows()
    assert [row["step"] for row in rows] == [1, 2, 3, 4, 5, 6]
    assert [row["rate"] for row in rows] == pytest.approx([chosen.rate_at(step, 6) for step in range(6)])


def test_the_defaults_are_those_of_the_experiment_scripts():
    """Each number by its option there; rates are scaled by the 64 queries of a device, over 256."""
    found = RerankerSettings()
    scripts = {
        "width": 768, "heads": 12, "depth": 2, "candidates": 512 - 1, "n_anchors": 512, "batch_size": 256,
        "hidden": 4 * 768, "reconstruction": 0.2, "dropout": 0.1, "drop_path": 0.1, "epochs": 100,
        "momentum": 0.9, "weight_decay": 1e-6, "rate": 0.1 * 64 / 256, "temperature": 2.0, "clip": 0.0,
        "optimizer": "sgd", "loss": "contrastive", "lists": "whole", "method": "published",
    }  # fmt: skip
    assert {name: getattr(found, name) for name in scripts} == scripts
    images, views = 91_642, 3
    n_steps = found.n_steps(images * views)
    assert n_steps == 100 * 1074  # 274,926 lists in batches of 256
    rates = [found.rate_at(step, n_steps) for step in (0, 20 * 1074 - 1, 20 * 1074, 60 * 1074)]
    assert rates == pytest.approx([0.001 * 64 / 256, 0.025, 0.025, 0.0125])
    for name, n_descriptors in (("csa", 1), ("csa-augmented", 3)):
        assert reranker_preset(name).settings == found
        assert len(reranker_preset(name).descriptors) == n_descriptors


def test_a_preset_takes_its_descriptors_or_those_that_can_stand_in():
    one, several = (reranker_preset(name) for name in ("csa", "csa-augmented"))
    theirs = [f"gl18-tl-resnet{n}-gem-w" for n in (101, 152, 50)]
    assert one.choose(theirs, "d") == ["gl18-tl-resnet101-gem-w"]
    assert sorted(several.choose([*theirs, "mine"], "d")) == theirs
    assert one.choose(["mine"], "d") == ["mine"] and several.choose(["a", "b"], "d") == ["a", "b"]
    for preset, available in ((one, ["a", "b"]), (several, ["a"]), (one, [])):
        with pytest.raises(DatasetError, match=r"d should hold .* choose with --descriptors"):
            preset.choose(available, "d")
    with pytest.raises(ValueError, match="csa or csa-augmented; got 'cub'"):
        reranker_preset("cub")


@pytest.mark.long
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
        ({"epochs": 0}, "epochs is 1 or more"),
        ({"rate": 0}, "rate is above 0"),
        ({"drop_path": 1.0}, "drop_path is a probability below 1"),
        ({"warm_up": 20}, "warm_up is a part, from 0 to 1; got 20"),
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
