"""The commands ``evaluate`` and ``compare``: output, and one sentence for every known error."""

import json
import re

import numpy as np
import pytest
import typer
from typer.testing import CliRunner

from lookalike.cli import app
from lookalike.cli.default_command import DefaultCommandGroup
from lookalike.gallery import Gallery, folder_labels
from made_classes import class_folders


def run(*arguments):
    return CliRunner().invoke(app, ["evaluate", *map(str, arguments)])


@pytest.fixture
def arrays(tmp_path):
    """Three classes of 2, 3 and 4 rows in 5 dimensions, and one row that is alone in its class."""
    rng = np.random.default_rng(0)
    labels = np.array(["a"] * 2 + ["b"] * 3 + ["c"] * 4 + ["alone"])
    np.save(tmp_path / "e.npy", rng.normal(size=(10, 5)).astype(np.float32))
    np.save(tmp_path / "l.npy", labels)
    return tmp_path


def evaluate(arrays, *options):
    return run("--embeddings", arrays / "e.npy", "--labels", arrays / "l.npy", *options)


def test_the_first_command_of_a_group_is_meant_where_none_is_named():
    toy = typer.Typer(cls=DefaultCommandGroup)

    @toy.command()
    def usual(name: str = "nobody") -> None:
        typer.echo(f"usual {name}")

    @toy.command()
    def other() -> None:
        typer.echo("other")

    answers = [CliRunner().invoke(toy, words).stdout for words in ([], ["--name", "x"], ["other"], ["usual"])]
    assert answers == ["usual nobody\n", "usual x\n", "other\n", "usual nobody\n"]


def test_arrays_are_evaluated_and_the_rules_are_told(arrays):
    result = evaluate(arrays)
    assert result.exit_code == 0, result.output
    for words in ("Recall@1", "MAP@R", "mAP", "MRR", "NMI", "AMI", "its own row is no result",
                  "1 queries without a match", "9 queries, 10 images of 4 classes"):  # fmt: skip
        assert words in result.stdout, words


def test_json_holds_metrics_intervals_and_classes(arrays):
    answer = json.loads(evaluate(arrays, "--json", "-k", "1,3", "--no-clustering").stdout)
    assert [each["name"] for each in answer["metrics"]] == [
        "recall_at_1", "recall_at_3", "r_precision", "map_at_r", "mean_average_precision",
        "mean_reciprocal_rank",
    ]  # fmt: skip
    assert all(each["low"] <= each["value"] <= each["high"] for each in answer["metrics"])
    assert {each["label"] for each in answer["classes"]} == {"a", "b", "c"}
    assert answer["clusters"] is None and answer["n_without_match"] == 1


def test_queries_may_be_others_than_the_gallery(arrays):
    np.save(arrays / "q.npy", np.eye(5, dtype=np.float32)[:3])
    (arrays / "q.txt").write_text("a\nb\nnobody\n")
    options = ("--query-embeddings", arrays / "q.npy", "--query-labels", arrays / "q.txt", "--no-clustering")
    answer = json.loads(evaluate(arrays, *options, "--json").stdout)
    assert (answer["n_queries"], answer["n_without_match"], answer["n_gallery"]) == (2, 1, 10)
    assert (
        "2 queries" not in answer["rules"][0] and "3 queries against 10 gallery images" in answer["rules"][0]
    )


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """Three classes of four generated pictures, and a file that is none."""
    folder = class_folders(tmp_path_factory.mktemp("photos") / "data")
    (folder / "class1" / "broken.png").write_text("no picture")
    return folder


def test_images_are_evaluated_with_a_report_and_bad_files_are_named(photos, tmp_path):
    report = tmp_path / "new" / "report.html"
    result = run(photos, "--no-clustering", "--report", report, "--worst", 1)
    assert result.exit_code == 0, result.output
    assert "with mini" in result.stdout and "12 images of 3 classes" in result.stdout
    assert re.search(r"left out: .*broken\.png: ", result.stderr)
    html = report.read_text()
    assert html.count("<img") == 3 * 2 * (1 + 5)  # classes, queries, the query and its hits
    assert "http:" not in html and "https:" not in html and "broken.png" in html
    assert "Traceback" not in result.output


def test_a_gallery_is_evaluated_by_its_labels(photos, tmp_path):
    uri = str(tmp_path / "g")
    gallery = Gallery.create(uri)
    gallery.add(photos, metadata=folder_labels(photos))
    answer = json.loads(run(uri, "--no-clustering", "--json").stdout)
    alone = json.loads(run(photos, "--no-clustering", "--json").stdout)
    assert (answer["model"], answer["n_gallery"], answer["n_classes"]) == ("mini", 12, 3)
    for ours, theirs in zip(answer["metrics"], alone["metrics"], strict=True):
        assert ours == pytest.approx(theirs, abs=1e-6)
    check_sentence(run(uri, "--field", "color"), "none of the 12 pictures .* 'color' .*they have label")
    check_sentence(run(uri, "--model", "mini"), "is a gallery")


def write_bad(folder):
    np.save(folder / "short.npy", np.array(["a", "b"]))
    np.save(folder / "one.npy", np.array(["a"] * 10))
    np.save(folder / "each.npy", np.arange(10))
    values = np.ones((10, 5), np.float32)
    values[3, 2] = np.nan
    np.save(folder / "nan.npy", values)
    np.save(folder / "other.npy", np.ones((4, 5), np.float32))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--labels", "short.npy"), "10 embeddings and 2 labels"),
        (("--labels", "one.npy"), "two classes or more"),
        (("--labels", "each.npy"), "every class has one image"),
        (("--embeddings", "nan.npy"), "NaN or infinity, first in row 3"),
        (("--labels", "missing.npy"), "no file"),
        (("--labels", "e.npy"), "one array of labels"),
        (("--query-embeddings", "other.npy", "--query-labels", "short.npy"), "4 embeddings and 2 labels"),
    ],
)
def test_bad_arrays_are_one_sentence_and_exit_code_1(arrays, options, words, monkeypatch):
    monkeypatch.chdir(arrays)
    write_bad(arrays)
    given = {"--embeddings": "e.npy", "--labels": "l.npy"} | dict(
        zip(options[::2], options[1::2], strict=True)
    )
    check_sentence(run(*(part for option in given.items() for part in option)), words)


def test_bad_data_and_models_are_one_sentence(photos, tmp_path):
    check_sentence(run(tmp_path / "nowhere"), "no dataset")
    check_sentence(run(photos, "--model", "resnet5o"), "resnet50")
    check_sentence(run(photos, "--split", "test"), "'test'")


def compare(*arguments):
    return CliRunner().invoke(app, ["compare", *map(str, arguments)])


def test_two_arrays_are_compared(arrays):
    np.save(arrays / "f.npy", np.random.default_rng(1).normal(size=(10, 5)).astype(np.float32))
    options = (
        "--embeddings",
        arrays / "e.npy",
        "--embeddings",
        arrays / "f.npy",
        "--labels",
        arrays / "l.npy",
    )
    report = arrays / "report.html"
    result = compare(*options, "--report", report)
    assert result.exit_code == 0, result.output
    for words in ("Recall@1", "difference", "only", "Jaccard", "rank-biased overlap", "sign-flip"):
        assert words in result.stdout, words
    assert "e.npy" in report.read_text() and "<img" not in report.read_text()
    answer = json.loads(compare(*options, "--json").stdout)
    assert sum(answer["outcomes"].values()) == answer["n_queries"] == 9 and answer["maps"] == []


def test_bad_comparisons_are_one_sentence(arrays, photos):
    write_bad(arrays)
    files = ("--embeddings", arrays / "e.npy", "--embeddings", arrays / "other.npy")
    check_sentence(compare(*files, "--labels", arrays / "l.npy"), "4 embeddings and 10 labels")
    check_sentence(compare(photos, "--model", "mini", "--model", "resnet5o"), "resnet50")


@pytest.mark.parametrize(
    "arguments",
    [
        ["evaluate"],
        ["evaluate", "photos", "--embeddings", "e.npy"],
        ["evaluate", "--embeddings", "e.npy", "-k", "1,none"],
        ["compare", "photos", "--model", "mini"],
        ["compare", "--embeddings", "e.npy"],
        ["compare"],
    ],
)
def test_wrong_usage_is_exit_code_2(arguments, arrays, monkeypatch):
    monkeypatch.chdir(arrays)
    assert CliRunner().invoke(app, arguments).exit_code == 2


@pytest.mark.parametrize("command", ["evaluate", "compare"])
def test_help_shows_an_example(command):
    words = " ".join(CliRunner().invoke(app, [command, "--help"]).output.split())
    assert f"Example: lookalike {command}" in words


def check_sentence(result, words):
    assert result.exit_code == 1, result.output
    message = result.stderr.strip().splitlines()[-1]
    assert "Traceback" not in result.output
    assert message.startswith("lookalike: ") and re.search(words, message), message
