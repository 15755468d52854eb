import json
import pickle

import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

from lookalike.cli import app
from lookalike.datasets.revisited import read_truth
from lookalike.evaluation.revisited_images import (
    describe_gallery,
    describe_queries,
    for_protocol,
    shares_of_images,
)

ENTRIES = [
    {"easy": [0, 7], "hard": [3], "junk": [5], "bbx": [2, 1, 40, 30]},
    {"easy": [2], "hard": [], "junk": [1, 9], "bbx": [0, 0, 20, 20]},
]


def evaluate(*arguments):
    return CliRunner().invoke(app, ["evaluate", "revisited", *map(str, arguments)])


@pytest.fixture
def files(tmp_path, noise):
    """Ground truth of 2 queries among 11 images, descriptors, distractors, ranks by cosine."""
    names = [f"image_{i}" for i in range(11)]
    gnd = {"imlist": names, "qimlist": ["image_0", "image_2"], "gnd": ENTRIES}
    (tmp_path / "gnd_tiny.pkl").write_bytes(pickle.dumps(gnd))
    gallery, queries = noise(11, 6), noise(2, 6, seed=1)
    np.save(tmp_path / "g.npy", gallery)
    np.save(tmp_path / "q.npy", queries)
    np.save(tmp_path / "more.npy", noise(300, 6, seed=2))
    cosines = (queries / queries.norm(dim=1, keepdim=True)) @ (gallery / gallery.norm(dim=1, keepdim=True)).T
    np.save(tmp_path / "scores.npy", cosines)
    np.savez(tmp_path / "ranks.npz", ranks=cosines.argsort(dim=1, descending=True).T.numpy())
    return tmp_path


def metrics_of(result):
    assert result.exit_code == 0, result.output
    answer = json.loads(result.stdout)
    return {name: answer[name] for name in ("easy", "medium", "hard")}


def test_ranks_give_the_original_metrics_from_the_command_line(tmp_path, goldens):
    with np.load(goldens / "revisited.npz") as archive:
        golden = dict(archive)
    (tmp_path / "gnd.pkl").write_bytes(pickle.dumps(json.loads(str(golden["gnd"]))))
    np.savez(tmp_path / "ranks.npz", ranks=golden["ranks"])
    result = evaluate("--gnd", tmp_path / "gnd.pkl", "--ranks", tmp_path / "ranks.npz", "--json")
    for name, found in metrics_of(result).items():
        expected = [float(golden[f"eval/{name}/mAP"]), *golden[f"eval/{name}/mP_at_1_5_10"]]
        assert [found[key] for key in ("map", "mp@1", "mp@5", "mp@10")] == pytest.approx(expected, abs=1e-12)
    assert metrics_of(result)["hard"]["ap"][1] is None


def test_ranks_scores_and_descriptors_agree_and_say_what_they_came_from(files):
    gnd = ("--gnd", files / "gnd_tiny.pkl", "--json")
    ranks = evaluate(*gnd, "--ranks", files / "ranks.npz")
    scores = evaluate(*gnd, "--scores", files / "scores.npy")
    descriptors = evaluate(*gnd, "--queries", files / "q.npy", "--gallery", files / "g.npy")
    assert metrics_of(ranks) == metrics_of(scores) == metrics_of(descriptors)
    cards = [json.loads(result.stdout)["protocol"] for result in (ranks, scores, descriptors)]
    assert [card["given"] for card in cards] == ["ranks", "scores", "descriptors"]
    assert cards[0]["query_boxes"] == "unknown: not stated with the ranks"
    assert cards[2]["whitening"] == "none here"
    assert cards[0]["left_out"] == {"easy": 0, "medium": 0, "hard": 1}
    assert all(len(digest) == 64 for card in cards for digest in card["files"].values())


def test_distractors_are_ranked_and_named_on_the_card(files):
    paths = ("--gnd", files / "gnd_tiny.pkl", "--queries", files / "q.npy", "--gallery", files / "g.npy")
    alone = evaluate(*paths, "--json")
    among = evaluate(
        *paths, "--distractors", files / "more.npy", "--distractors", files / "more.npy", "--json"
    )
    assert json.loads(among.stdout)["protocol"]["n_distractors"] == 600
    assert metrics_of(among)["medium"]["map"] < metrics_of(alone)["medium"]["map"]
    assert "11 images + 300 distractors" in evaluate(*paths, "--distractors", files / "more.npy").output


def test_whitening_is_learned_on_the_features_that_are_named(files, noise):
    # gallery and queries differ from the made ones in length along one axis; whitening undoes that
    stretch = np.array([100.0, 1, 1, 1, 1, 1])
    for name in ("g", "q", "more"):
        np.save(files / f"{name}_stretched.npy", np.load(files / f"{name}.npy") * stretch)
    paths = (
        "--gnd",
        files / "gnd_tiny.pkl",
        "--queries",
        files / "q_stretched.npy",
        "--gallery",
        files / "g_stretched.npy",
    )
    plain = evaluate(*paths, "--json")
    whitened = evaluate(*paths, "--whiten", files / "more_stretched.npy", "--whiten-width", 5, "--json")
    assert metrics_of(whitened) != metrics_of(plain)
    card = json.loads(whitened.stdout)["protocol"]
    assert "5 directions kept" in card["whitening"] and "more_stretched.npy" in card["whitening"]
    assert any(name.endswith("more_stretched.npy") for name in card["files"])


def test_reranking_and_other_ranks_show_before_and_after(files):
    gnd = ("--gnd", files / "gnd_tiny.pkl")
    sides = ("--queries", files / "q.npy", "--gallery", files / "g.npy")
    reranked = json.loads(evaluate(*gnd, *sides, "--rerank", "aqe", "-k", 11, "--json").stdout)
    assert reranked["before"]["medium"] == metrics_of(evaluate(*gnd, *sides, "--json"))["medium"]
    assert reranked["protocol"]["reranking"] == "aqe (n 2, alpha 3.0) of the first 11"
    result = evaluate(
        *gnd, "--ranks", files / "ranks.npz", "--before", files / "ranks.npz", "--note", "two runs"
    )
    assert result.exit_code == 0, result.output
    assert all(word in result.output for word in ("before", "after", "two runs", "sha256"))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("superglobal",), "superglobal (n 9, beta 0.15, n_first 400) of the first 11"),
        (("superglobal", "--set", "n_first=4", "-k", 9), "(n 9, beta 0.15, n_first 4) of the first 4 of 9"),
        (("dba+aqe", "--set", "n=3"), "(dba n 3, dba alpha 3.0, aqe n 3, aqe alpha 3.0) of the first 11"),
        (("csa",), "csa (precision fp32) of the first 11"),
    ],
)
def test_the_card_says_what_a_reranking_depends_on_given_or_not(files, options, words):
    sides = ("--queries", files / "q.npy", "--gallery", files / "g.npy")
    result = evaluate("--gnd", files / "gnd_tiny.pkl", *sides, "--rerank", *options, "--json")
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["protocol"]["reranking"].endswith(words)


@pytest.fixture
def jpg(files):
    """A folder with the 11 images."""
    rng = np.random.default_rng(3)
    (files / "jpg").mkdir()
    for i in range(11):
        Image.fromarray(rng.integers(0, 256, (48, 64, 3), dtype=np.uint8)).save(
            files / "jpg" / f"image_{i}.png"
        )
    return files / "jpg"


def test_images_are_reranked_by_their_cells_and_descriptors_are_not(files, jpg):
    paths = ("--gnd", files / "gnd_tiny.pkl", "--resolution", 64, "--rerank", "transport")
    result = json.loads(evaluate(*paths, "--images", jpg, "--json").stdout)
    assert result["protocol"]["reranking"].startswith("transport (n 20, mix 0.7")
    assert result["protocol"]["reranking"].endswith("of the first 11")
    assert result["before"]["medium"] != result["medium"]
    refused = evaluate(*paths[:2], *paths[4:], "--queries", files / "q.npy", "--gallery", files / "g.npy")
    assert refused.exit_code == 1 and "transport reads the images" in refused.output


@pytest.mark.parametrize("crop", [True, False])
def test_shares_of_images_are_those_of_the_descriptors(files, jpg, mini, crop):
    truth = read_truth(files / "gnd_tiny.pkl")
    embedder = for_protocol(mini, resolution=64)
    shares = shares_of_images(truth, jpg, embedder, crop=crop)
    descriptors = describe_queries(truth, jpg, embedder, crop=crop), describe_gallery(truth, jpg, embedder)
    for side, rows, found in (("query", 2, descriptors[0]), ("gallery", 11, descriptors[1])):
        for i in range(rows):
            unit = torch.nn.functional.normalize(shares[f"{side}_shares"](i).total, dim=0)
            torch.testing.assert_close(unit, found[i], atol=2e-3, rtol=0)  # sizes of scales are rounded


def test_images_are_described_with_boxes_cut_out_and_scales_on_the_card(files, jpg, noise):
    paths = ("--gnd", files / "gnd_tiny.pkl", "--images", jpg, "--resolution", 64, "--json")
    cropped = evaluate(*paths, "--save-descriptors", files / "kept")
    whole = evaluate(*paths, "--whole-queries", "--scales", "1,0.5")
    metrics_of(cropped)
    one, other = (json.loads(result.stdout)["protocol"] for result in (cropped, whole))
    assert (one["query_boxes"], one["scales"][:14]) == ("cropped", "1, 0.707, 0.5,")
    assert (other["query_boxes"], other["scales"][:7]) == ("ignored: whole query images", "1, 0.5,")
    assert "64 pixels on the longer side" in one["resolution"] and "mini" in one["model"]
    # a whole query is its own image, and finds itself first; a cropped one has another descriptor
    assert json.loads(whole.stdout)["easy"]["mp@1"] == 1.0
    kept = {name: np.load(files / "kept" / f"{name}.npy") for name in ("queries", "gallery")}
    assert kept["gallery"].shape[0] == 11 and not np.allclose(kept["queries"][0], kept["gallery"][0])
    again = evaluate(
        *paths[:2], "--queries", files / "kept/queries.npy", "--gallery", files / "kept/gallery.npy", "--json"
    )
    assert metrics_of(again) == metrics_of(cropped)


def not_finite(files):
    rows = np.load(files / "g.npy")
    rows[4, 2] = np.nan
    np.save(files / "nan.npy", rows)
    np.save(files / "wide.npy", np.ones((11, 7)))
    np.savez(files / "short.npz", indices=np.zeros((2, 3), int), scores=np.zeros((2, 3)))
    np.savez(files / "floats.npz", ranks=np.zeros((11, 2)))
    repeated = np.load(files / "ranks.npz")["ranks"].copy()
    repeated[0] = repeated[1]
    np.savez(files / "repeated.npz", ranks=repeated)
    (files / "broken.npz").write_bytes(b"PK")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--queries", "q.npy", "--gallery", "nan.npy"), "nan.npy holds NaN or infinity, first in row 4"),
        (("--queries", "nan.npy", "--gallery", "g.npy"), "nan.npy holds NaN or infinity, first in row 4"),
        (("--queries", "q.npy", "--gallery", "wide.npy"), "has width 6 and"),
        (
            ("--queries", "g.npy", "--gallery", "g.npy"),
            "scores have 11 rows, but the ground truth tiny has 2",
        ),
        (("--queries", "q.npy", "--gallery", "more.npy"), "scores have 300 columns"),
        (("--ranks", "repeated.npz"), "of 11 images, first image"),
        (("--ranks", "short.npz"), "holds no array 'ranks'"),
        (("--ranks", "floats.npz"), "ranks should be integers"),
        (("--ranks", "broken.npz"), "is no .npz or .npy of ranks"),
        (("--ranks", "missing.npz"), "can't be read: No such file"),
        (("--ranks", "ranks.npz", "--n-distractors", 5), "images and 5 distractors"),
        (("--images", "nowhere"), "give the folder that holds the benchmark's images"),
        (("--queries", "q.npy", "--gallery", "g.npy", "--whiten", "q.npy"), None),
    ],
)
def test_a_known_error_is_one_sentence_and_exit_1(files, monkeypatch, options, message):
    not_finite(files)
    monkeypatch.chdir(files)
    result = evaluate("--gnd", "gnd_tiny.pkl", *options)
    if message is None:  # two features span one direction: little, but no error
        assert result.exit_code == 0, result.output
        return
    assert result.exit_code == 1, result.output
    assert result.stderr.startswith("lookalike: ") and message in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1


@pytest.mark.parametrize(
    "options",
    [
        (),
        ("--ranks", "r.npz", "--scores", "s.npy"),
        ("--queries", "q.npy"),
        ("--ranks", "r.npz", "--whiten", "w.npy"),
        ("--queries", "q.npy", "--gallery", "g.npy", "--before", "r.npz"),
        ("--images", ".", "--scales", "0"),
    ],
)
def test_wrong_usage_is_exit_2(files, monkeypatch, options):
    monkeypatch.chdir(files)
    assert evaluate("--gnd", "gnd_tiny.pkl", *options).exit_code == 2


def test_a_pickle_that_runs_code_is_refused(files):
    class Runs:
        def __reduce__(self):
            return exec, ("raise SystemExit(3)",)

    (files / "evil.pkl").write_bytes(pickle.dumps(Runs()))
    result = evaluate("--gnd", files / "evil.pkl", "--ranks", files / "ranks.npz")
    assert result.exit_code == 1 and "loading them can run code" in result.stderr
