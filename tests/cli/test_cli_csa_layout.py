"""From the folders of CSA's authors to a trained and tested re-ranker, on made-up descriptors."""

import json
import pickle

import numpy as np
import pytest
import torch
from torch.nn import functional as F
from typer.testing import CliRunner

from lookalike.cli import app
from lookalike.models.csa.checkpoint import load_scorer

NETWORKS = {"gl18-tl-resnet50-gem-w": 24, "gl18-tl-resnet101-gem-w": 24, "gl18-tl-resnet152-gem-w": 16}
NAME = "gl18-tl-resnet101-gem-w"
N_CLUSTERS, OF_EACH, N_GALLERY, N_QUERIES, N_DISTRACTORS, N_ANCHORS, K = 12, 6, 40, 5, 30, 20, 8
SMALL = ("--candidates", 15, "--anchors", N_ANCHORS, "--batch-size", 32, "--epochs", 2, "--set", "width=16",
         "--set", "heads=4", "--set", "hidden=24", "--device", "cpu")  # fmt: skip


def write(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(pickle.dumps(content, protocol=4))


def units(labels, width, noise, seed):
    centers = noise(N_CLUSTERS, width, seed=seed)
    return F.normalize(centers[labels] + 0.8 * noise(len(labels), width, seed=seed + 1), dim=1).numpy()


@pytest.fixture
def data(tmp_path, noise):
    """Annotations, training descriptors of three networks, and a test set with distractors."""
    folder = tmp_path / "data"
    clusters = torch.arange(N_CLUSTERS * OF_EACH) % N_CLUSTERS
    annotations = {"train": {"cluster": clusters.tolist(), "cids": ["x"]}, "val": {"cluster": [0]}}
    write(folder / "annotations" / "retrieval-SfM-120k.pkl", annotations)
    for i, (name, width) in enumerate(NETWORKS.items()):
        rows = units(clusters, width, noise, 10 * i)
        write(folder / "train" / f"{name}.pkl", {"train": rows, "val": rows[:1]})
    labels = torch.arange(N_GALLERY + N_QUERIES) % N_CLUSTERS
    rows = units(labels, NETWORKS[NAME], noise, 100)
    gallery, queries = rows[:N_GALLERY], rows[N_GALLERY:]
    write(folder / "test" / "roxford5k" / f"{NAME}.pkl", {"query": queries, "db": gallery})
    write(folder / "r1m" / f"{NAME}.pkl", units(torch.arange(N_DISTRACTORS) % 12, 24, noise, 200))
    entries = []
    for label in labels[N_GALLERY:].tolist():
        same = (labels[:N_GALLERY] == label).nonzero().flatten().tolist()
        entries.append({"easy": same[:2], "hard": same[2:], "junk": [(same[0] + 1) % N_GALLERY], "bbx": None})
    names = [f"image_{i}" for i in range(N_GALLERY)]
    gnd = {"imlist": names, "qimlist": [f"q{i}" for i in range(N_QUERIES)], "gnd": entries}
    write(folder / "annotations" / "roxford5k" / "gnd_roxford5k.pkl", gnd)
    return folder


def run(*arguments):
    result = CliRunner().invoke(app, list(map(str, arguments)))
    assert result.exit_code == 0, result.output
    return result.stdout


def evaluated(data, *options):
    gnd = data / "annotations" / "roxford5k" / "gnd_roxford5k.pkl"
    return json.loads(run("evaluate", "revisited", "--gnd", gnd, *options, "--json"))


def ranks_one_by_one(data, checkpoint):
    """Ranks of the whole gallery after re-ranking, query by query, as the paper describes them."""
    test = pickle.loads((data / "test" / "roxford5k" / f"{NAME}.pkl").read_bytes())
    distractors = pickle.loads((data / "r1m" / f"{NAME}.pkl").read_bytes())
    queries, gallery = torch.tensor(test["query"]), torch.tensor(np.concatenate([test["db"], distractors]))
    network = load_scorer(checkpoint).network
    columns = []
    for query in queries:
        order = (gallery @ query).argsort(descending=True)
        items = torch.cat([query[None], gallery[order[:K]]])
        anchors = torch.cat([query[None], gallery[order[: N_ANCHORS - 1]]])
        tokens = F.normalize(network((items @ anchors.T)[None])[0], dim=1)
        best = (tokens[1:] @ tokens[0]).argsort(descending=True)
        columns.append(torch.cat([order[:K][best], order[K:]]))
    return torch.stack(columns, dim=1).numpy()


def test_two_commands_lead_from_the_authors_folders_to_the_result(data, tmp_path):
    trained = json.loads(
        run("train-reranker", data, "--preset", "csa-augmented", *SMALL, "-o", tmp_path / "o", "--json")
    )
    assert trained["descriptors"] == {"retrieval-SfM-120k": sorted(NETWORKS)}
    assert trained["steps"] == 2 * 7  # 3 x 72 lists in batches of 32
    test, checkpoint = data / "test" / "roxford5k" / f"{NAME}.pkl", tmp_path / "o" / "model.safetensors"
    answer = evaluated(
        data, "--queries", test, "--gallery", test, "--distractors", data / "r1m" / f"{NAME}.pkl",
        "--rerank", "csa", "--checkpoint", checkpoint, "-k", K,
    )  # fmt: skip
    card = answer["protocol"]
    assert card["n_distractors"] == N_DISTRACTORS and card["n_images"] == N_GALLERY
    assert f"checkpoint {checkpoint}" in card["reranking"] and str(checkpoint) in card["files"]
    np.savez(tmp_path / "expected.npz", ranks=ranks_one_by_one(data, checkpoint))
    expected = evaluated(data, "--ranks", tmp_path / "expected.npz", "--n-distractors", N_DISTRACTORS)
    for name in ("easy", "medium", "hard"):
        assert answer[name] == expected[name]
    assert any(answer[name] != answer["before"][name] for name in ("easy", "medium", "hard"))


def test_ranks_with_distractors_from_rerank_are_judged_alike(data, tmp_path):
    test, distractors = data / "test" / "roxford5k" / f"{NAME}.pkl", data / "r1m" / f"{NAME}.pkl"
    sides = ("--queries", test, "--gallery", test, "--distractors", distractors)
    written = json.loads(
        run("rerank", *sides, "--method", "k-reciprocal", "-k", 30, "-o", tmp_path / "r.npz", "--json")
    )
    assert (written["n_gallery"], written["n_distractors"]) == (N_GALLERY + N_DISTRACTORS, N_DISTRACTORS)
    by_ranks = evaluated(data, "--ranks", tmp_path / "r.npz", "--n-distractors", N_DISTRACTORS)
    at_once = evaluated(data, *sides, "--rerank", "k-reciprocal", "-k", 30)
    assert [by_ranks[name] for name in ("easy", "medium", "hard")] == [
        at_once[name] for name in ("easy", "medium", "hard")
    ]


@pytest.mark.parametrize(
    ("options", "names"),
    [
        (("--preset", "csa"), [NAME]),
        (("--descriptors", f"{NAME},gl18-tl-resnet50-gem-w"), [NAME, "gl18-tl-resnet50-gem-w"]),
        (("--descriptors", NAME, "--descriptors", "gl18-tl-resnet152-gem-w"),
         [NAME, "gl18-tl-resnet152-gem-w"]),
        ((), sorted(NETWORKS)),
    ],
)  # fmt: skip
def test_descriptors_are_chosen_and_kept_when_the_training_goes_on(data, tmp_path, options, names):
    out = ("-o", tmp_path / "o", "--json")
    trained = json.loads(run("train-reranker", data, *options, *SMALL, *out))
    assert trained["descriptors"] == {"retrieval-SfM-120k": names}
    resumed = json.loads(run("train-reranker", data, "--resume", "--device", "cpu", *out))
    assert resumed["descriptors"] == trained["descriptors"] and resumed["settings"] == trained["settings"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--preset", "csa-big"), "a preset of a re-ranker is csa or csa-augmented; got 'csa-big'"),
        (("--descriptors", "vgg"), "holds no descriptors 'vgg'; it has gl18-tl-resnet101-gem-w"),
        (("--preset", "csa", "--resume"), "--preset starts a new training"),
        (("--candidates", 200), "lower the number of candidates to 71 or less"),
    ],
)
def test_what_cannot_be_trained_is_said_in_one_sentence(data, tmp_path, options, message):
    arguments = ["train-reranker", data, *SMALL, *options, "-o", tmp_path / "o"]
    result = CliRunner().invoke(app, list(map(str, arguments)))
    assert result.exit_code == 1 and message in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1


def test_a_re_rankers_options_go_with_a_re_ranker(data):
    test = data / "test" / "roxford5k" / f"{NAME}.pkl"
    gnd = data / "annotations" / "roxford5k" / "gnd_roxford5k.pkl"
    arguments = ["evaluate", "revisited", "--gnd", gnd, "--queries", test, "--gallery", test]
    assert CliRunner().invoke(app, list(map(str, [*arguments, "--checkpoint", test]))).exit_code == 2
    answer = evaluated(data, "--queries", test, "--gallery", test, "--rerank", "aqe", "--set", "n=3")
    assert answer["protocol"]["reranking"] == "aqe (n 3, alpha 3.0) of the first 40"
