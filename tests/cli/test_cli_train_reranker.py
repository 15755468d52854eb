"""`lookalike train-reranker`: from labeled embeddings to a checkpoint of `rerank`."""

import json

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from typer.testing import CliRunner

from lookalike import Gallery
from lookalike.cli import app
from lookalike.cli.training_rerankers import RERANKER_SETTINGS
from lookalike.training.reranking_settings import RerankerSettings
from made_classes import class_folders, tiny_cnn

SMALL = ("--steps", 3, "--batch-size", 4, "--candidates", 9, "--anchors", 6, "--set", "width=16",
         "--set", "heads=2", "--set", "hidden=20", "--set", "depth=1", "--device", "cpu")  # fmt: skip


def run(*arguments):
    return CliRunner().invoke(app, list(map(str, arguments)))


@pytest.fixture
def data(tmp_path, noise):
    labels = torch.arange(30) % 5
    save_file(
        {"labels": labels, "one": noise(30, 6), "two": noise(30, 4, seed=1)}, tmp_path / "d.safetensors"
    )
    return tmp_path / "d.safetensors"


def test_a_trained_network_re_ranks(data, tmp_path, noise):
    result = run("train-reranker", data, *SMALL, "-o", tmp_path / "o", "--json")
    assert result.exit_code == 0, result.output
    answer = json.loads(result.stdout)
    assert answer["settings"]["n_anchors"] == 6 and answer["settings"]["width"] == 16
    assert (tmp_path / "o" / "curve.png").stat().st_size > 5_000
    np.save(tmp_path / "q.npy", noise(2, 6).numpy())
    np.save(tmp_path / "g.npy", noise(12, 6, seed=2).numpy())
    files = ("--queries", tmp_path / "q.npy", "--gallery", tmp_path / "g.npy", "-o", tmp_path / "r.npz")
    result = run(
        "rerank", *files, "--method", "csa", "--checkpoint", answer["checkpoint"], "--set", "heads=2"
    )
    assert result.exit_code == 0, result.output


def test_a_gallery_is_learned_from_by_a_field(tmp_path):
    gallery = Gallery.create(tmp_path / "g", tiny_cnn())
    folder = class_folders(tmp_path / "data", n_classes=4, n_images=5)
    gallery.add(folder, metadata=lambda path: {"kind": path.parent.name}, workers=0)
    arguments = ("train-reranker", tmp_path / "g", *SMALL, "-o", tmp_path / "o")
    refused = run(*arguments)
    assert refused.exit_code == 1 and "has the field 'label'" in refused.output
    result = run(*arguments, "--field", "kind")
    assert result.exit_code == 0 and "learned from" in result.output, result.output


def test_resume_takes_the_settings_that_the_training_was_started_with(data, tmp_path):
    run("train-reranker", data, *SMALL, "-o", tmp_path / "o")
    result = run("train-reranker", data, "-o", tmp_path / "o", "--resume", "--device", "cpu")
    assert result.exit_code == 0, result.output
    assert "trained 3 steps" in result.output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("nowhere.npz",), "there is no file nowhere.npz"),
        (("{data}", "--set", "color=red"), "unknown settings of a re-ranker's training: color"),
        (("{data}", "--candidates", "30"), "too few for lists of 30"),
        (("{data}", "--resume"), "no training to resume"),
    ],
)
def test_known_errors_are_one_sentence(data, tmp_path, arguments, message):
    arguments = [argument.format(data=data) for argument in arguments]
    result = run("train-reranker", *arguments, "--anchors", 4, "-o", tmp_path / "new")
    assert result.exit_code == 1 and message in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1


def test_every_setting_has_an_option():
    named = {"epochs", "steps", "batch_size", "candidates", "n_anchors", "rate", "temperature",
             "reconstruction", "precision", "seed"}  # fmt: skip
    assert set(RERANKER_SETTINGS) | named == set(RerankerSettings().to_dict())
    assert not set(RERANKER_SETTINGS) & named
