"""The command ``evaluate``: its default, its output, and one sentence for every known error."""

import json

import numpy as np
import pytest
import typer
from typer.testing import CliRunner

from lookalike.cli import app
from lookalike.cli.default_command import DefaultCommandGroup


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


def test_json_holds_figures_intervals_and_classes(arrays):
    answer = json.loads(evaluate(arrays, "--json", "-k", "1,3", "--no-clustering").stdout)
    assert [each["metric"] for each in answer["figures"]] == [
        "recall_at_1", "recall_at_3", "r_precision", "map_at_r", "mean_average_precision",
        "mean_reciprocal_rank",
    ]  # fmt: skip
    assert all(each["low"] <= each["value"] <= each["high"] for each in answer["figures"])
    assert {each["label"] for each in answer["classes"]} == {"a", "b", "c"}
    assert answer["clusters"] is None and answer["n_without_match"] == 1
