import json
import re

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from typer.testing import CliRunner

from lookalike.cli import app


def run(*arguments):
    return CliRunner().invoke(app, ["rerank", *map(str, arguments)])


@pytest.fixture
def files(tmp_path, noise):
    np.save(tmp_path / "q.npy", noise(3, 7).numpy())
    save_file({"features": noise(20, 7, seed=1)}, tmp_path / "g.safetensors")
    return tmp_path


def rerank(files, *options):
    paths = ("--queries", files / "q.npy", "--gallery", files / "g.safetensors", "-o", files / "r.npz")
    return run(*paths, *options)


@pytest.mark.parametrize("method", ["aqe", "dba", "k-reciprocal", "diffusion", "superglobal", "dba+aqe"])
def test_rerank_writes_ranks_like_the_revisited_protocol(files, method):
    result = rerank(files, "--method", method, "-k", 8, "--json")
    assert result.exit_code == 0, result.output
    answer = json.loads(result.stdout)
    assert (answer["method"], answer["n_queries"], answer["n_gallery"], answer["k"]) == (method, 3, 20, 8)
    with np.load(files / "r.npz") as written:
        ranks, indices, scores = (written[name] for name in ("ranks", "indices", "scores"))
    assert ranks.shape == (20, 3) and ranks.dtype == np.int64
    assert indices.shape == scores.shape == (3, 8)
    np.testing.assert_array_equal(ranks[:8].T, indices)
    np.testing.assert_array_equal(np.sort(ranks, axis=0), np.arange(20)[:, None].repeat(3, axis=1))


def test_k_beyond_the_gallery_is_all_of_it(files):
    assert "the first 20 of 20 for 3 queries" in rerank(files).output


def test_options_reach_the_method(files):
    rerank(files, "--set", "n=1", "--set", "alpha=0")
    with np.load(files / "r.npz") as written:
        one = written["scores"]
    rerank(files, "--set", "n=9", "--set", "alpha=0")
    with np.load(files / "r.npz") as written:
        assert not np.allclose(one, written["scores"])


def nan_row(folder):
    bad = torch.ones(4, 7)
    bad[2, 3] = torch.nan
    torch.save(bad, folder / "nan.pt")
    np.save(folder / "wide.npy", np.ones((4, 9)))
    (folder / "text.npy").write_text("no array")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--gallery", "nan.pt"), "NaN or infinity in 1 of 4 rows, first in row 2"),
        (("--gallery", "wide.npy"), "width 7 and the gallery 9"),
        (("--gallery", "text.npy"), "text.npy can't be read"),
        (("--gallery", "missing.npy"), "no file"),
        (("--method", "magic"), "one of aqe, dba"),
        (("--method", "shares"), "needs query_shares"),
        (("--set", "beta=3"), "no option 'beta'"),
        (("--set", "n=many"), "whole number"),
        (("-o", "r.csv"), r"r\.npz"),
    ],
)
def test_bad_input_is_one_sentence_and_exit_code_1(files, options, words, monkeypatch):
    monkeypatch.chdir(files)
    nan_row(files)
    result = rerank(files, *options)
    assert result.exit_code == 1, result.output
    message = result.stderr.strip()
    assert message.startswith("lookalike: ") and len(message.splitlines()) == 1
    assert re.search(words, message), message


def test_wrong_usage_is_exit_code_2(files):
    assert rerank(files, "-k", "0").exit_code == 2
    assert run("--queries", files / "q.npy").exit_code == 2


def test_help_shows_an_example():
    assert "Example: lookalike rerank" in " ".join(run("--help").output.split())
