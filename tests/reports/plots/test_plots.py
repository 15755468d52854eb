import json
import pickle

import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

from lookalike.cli import app
from lookalike.evaluation.labeled import labeled
from lookalike.reports.plots.before_after import JudgedRanking, RankingComparison, write_plots
from lookalike.reports.plots.curves import Curve, average_precision_plot, precision_recall_plot
from lookalike.reports.plots.ranking_comparisons import compare_rankings, mean_average_precision
from lookalike.reports.plots.rankings import COLORS, Shown, ShownRanking, ranking_plot


def gray(width, height, level=120):
    return Image.new("RGB", (width, height), (level, level, level))


def colors_in(picture):
    packed = np.asarray(picture.convert("RGB"), dtype=np.int64) @ [1 << 16, 1 << 8, 1]
    return {(int(c) >> 16, int(c) >> 8 & 255, int(c) & 255) for c in np.unique(packed)}


def ranking(*verdicts, rank_before=None):
    shown = (Shown(gray(30, 50), verdict, i, rank_before) for i, verdict in enumerate(verdicts, 1))
    return ShownRanking("before", tuple(shown))


def test_frames_have_the_colors_of_what_is_shown_and_of_nothing_else():
    picture = ranking_plot(gray(80, 20), "query", [ranking("right", "wrong"), ranking("wrong")])
    found = colors_in(picture)
    assert {COLORS["query"], COLORS["right"], COLORS["wrong"]} <= found
    assert COLORS["ignored"] not in found
    assert COLORS["ignored"] in colors_in(ranking_plot(gray(9, 9), "query", [ranking("ignored")]))


def test_right_and_wrong_differ_without_color():
    right, wrong = (
        np.asarray(ranking_plot(gray(40, 40), "q", [ranking(verdict)]).convert("L"), dtype=int)
        for verdict in ("right", "wrong")
    )
    strokes = [(picture > 240) & (other < 200) for picture, other in ((right, wrong), (wrong, right))]
    assert all(stroke.sum() > 100 for stroke in strokes)  # the white tick and the white cross


def test_every_line_has_its_results_and_the_page_its_width():
    one = ranking_plot(gray(10, 10), "q", [ranking("right", "wrong")], width=900)
    two = ranking_plot(gray(10, 10), "q", [ranking("right", "wrong")] * 2, width=900)
    assert one.width == two.width == 900 and two.height > one.height + 100
    with pytest.raises(ValueError, match="one result or more"):
        ranking_plot(gray(10, 10), "q", [ranking()])


def test_arrows_say_how_many_queries_gain_lose_and_stay():
    before = np.array([0.5, 0.9, np.nan, 0.2, 0.4])
    after = np.array([0.7, 0.8, np.nan, 0.2, 0.6])
    axes = average_precision_plot(list("abcde"), after, before, title="t").axes[0]
    words = [text.get_text() for text in axes.get_legend().get_texts()]
    assert words == ["before", "2 gain", "1 lose", "1 stay"]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["b", "a", "e", "d"]


def test_many_queries_become_a_cloud_with_the_same_counts():
    before, after = np.linspace(0, 1, 200), np.full(200, 0.5)
    axes = average_precision_plot([""] * 200, after, before, title="t").axes[0]
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["100 gain", "100 lose", "0 stay"]


def test_curves_before_and_after_share_a_color_and_differ_in_style():
    curves = [Curve("hard", np.ones(5), True), Curve("hard", np.ones(5)), Curve("easy", np.ones(5))]
    lines = precision_recall_plot(np.linspace(0, 1, 5), curves, title="t").axes[0].lines
    assert lines[0].get_color() == lines[1].get_color() != lines[2].get_color()
    assert lines[0].get_linestyle() != lines[1].get_linestyle()


def test_the_queries_that_change_most_are_chosen(tmp_path):
    best, verdicts = torch.zeros(6, 1, dtype=torch.long), torch.zeros(6, 1, dtype=torch.int8)
    flat = {"": torch.ones(101)}
    changes = torch.tensor([0.0, 0.3, -0.1, -0.4, torch.nan, 0.2], dtype=torch.float64)
    before = JudgedRanking("before", torch.full((6,), 0.5, dtype=torch.float64), flat, best, verdicts)
    after = JudgedRanking("after", 0.5 + changes, flat, best, verdicts)
    comparison = RankingComparison(
        "t", "AP", tuple("abcdef"), lambda i: gray(9, 9), lambda i: gray(9, 9), after, before
    )
    names = [path.name for path in write_plots(comparison, tmp_path)]
    assert names[2:] == [f"ranking-00{i}.png" for i in (1, 5, 2, 3)]
    assert all((tmp_path / name).stat().st_size > 1000 for name in names)
    with pytest.raises(ValueError, match="numbered 0 to 5, got 6"):
        write_plots(comparison, tmp_path, shown=[6])


def test_average_precision_of_labels_leaves_the_image_itself_out():
    # rows on a circle: 0 and 1 (a) lie beside each other, 2 (b) between them and 3 (a)
    angles = torch.tensor([0.0, 0.1, 0.3, 0.7])
    values = torch.stack([angles.cos(), angles.sin()], dim=1)
    comparison = compare_rankings(None, labeled(values, list("aaba"), source="made"), "aqe", n=1, k=1)
    # 0: a b a -> (1 + 2/3) / 2; 1: a b a; 3: b a a -> (1/2 + 2/3) / 2; 2 has no match
    expected = [5 / 6, 5 / 6, float("nan"), 7 / 12]
    assert comparison.before.average_precision.tolist() == pytest.approx(expected, nan_ok=True)
    assert comparison.before.best.tolist() == [[1, 2, 3], [0, 2, 3], [1, 0, 3], [2, 1, 0]]
    assert comparison.before.verdicts.tolist() == [[1, 0, 1], [1, 0, 1], [0, 0, 0], [0, 1, 1]]
    assert mean_average_precision(comparison)[0] == pytest.approx((5 / 6 * 2 + 7 / 12) / 3)


@pytest.fixture
def benchmark(tmp_path, noise):
    """Six pictures, two of them queries, with ground truth and descriptors."""
    (tmp_path / "jpg").mkdir()
    for i in range(6):
        gray(40, 30, 40 * i).save(tmp_path / "jpg" / f"i{i}.png")
    gnd = [
        {"easy": [1], "hard": [2], "junk": [3], "bbx": [5, 5, 30, 20]},
        {"easy": [4], "hard": [], "junk": [0], "bbx": [0, 0, 9, 9]},
    ]
    names = [f"i{i}" for i in range(6)]
    whole = {"imlist": names, "qimlist": ["i0", "i5"], "gnd": gnd}
    (tmp_path / "gnd_made.pkl").write_bytes(pickle.dumps(whole))
    for name, n in (("q", 2), ("g", 6), ("more", 50)):
        np.save(tmp_path / f"{name}.npy", noise(n, 5, seed=n))
    return tmp_path


def run(*arguments):
    return CliRunner().invoke(app, ["evaluate", *map(str, arguments)])


def test_the_revisited_command_draws_before_and_after(benchmark):
    paths = ("revisited", "--gnd", benchmark / "gnd_made.pkl", "--queries", benchmark / "q.npy", "--gallery",
             benchmark / "g.npy", "--images", benchmark / "jpg", "--plots", benchmark / "out")  # fmt: skip
    result = run(*paths, "--rerank", "aqe", "--show", "1,0", "--json")
    assert result.exit_code == 0, result.output
    names = [path.rsplit("/", 1)[1] for path in json.loads(result.stdout)["plots"]]
    assert names == ["precision-recall.png", "ap-per-query.png", "ranking-001.png", "ranking-000.png"]
    with Image.open(benchmark / "out" / "ranking-000.png") as picture:
        assert {COLORS["right"], COLORS["wrong"], COLORS["ignored"]} <= colors_in(picture)
    among = run(*paths, "--distractors", benchmark / "more.npy", "--difficulty", "easy")  # have no pictures
    assert among.exit_code == 0, among.output
    refused = run(*paths, "--show", "2")
    assert refused.exit_code == 1 and "numbered 0 to 1, got 2" in refused.stderr
    assert run(*paths, "--show", "x").exit_code == 2
    assert "one of easy, medium, hard" in run(*paths, "--difficulty", "none").stderr


def test_before_after_of_class_folders(tmp_path):
    rng = np.random.default_rng(0)
    for i in range(6):
        folder = tmp_path / "data" / "ab"[i % 2]
        folder.mkdir(parents=True, exist_ok=True)
        pixels = rng.integers(0, 256, (32, 40, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{i}.png")
    result = run("before-after", tmp_path / "data", "--plots", tmp_path / "out", "--show", "0", "--json")
    assert result.exit_code == 0, result.output
    answer = json.loads(result.stdout)
    assert len(answer["plots"]) == 3 and 0 < answer["map_before"] <= 1
