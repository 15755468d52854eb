"""Whitenings learned from pairs and by PCA, carried by retrieval networks, after the merging of scales."""

import numpy as np
import pytest
import torch
import torchvision
from torch.nn import functional as F
from torch.testing import assert_close
from typer.testing import CliRunner

from lookalike.cli import app
from lookalike.errors import CheckpointError
from lookalike.evaluation.revisited_images import for_protocol, provenance_of
from lookalike.models.embedder import Embedder
from lookalike.models.whitened import at_scales, whitened_by_components, whitened_by_pairs
from lookalike.models.whitening import discriminative_whitening, principal_whitening

D, KEPT = 512, 300
NAME = "retrieval-SfM-120k"


def applied(vectors, mean, projection):
    """The published formula on rows (B, C): P (x - m), then L2 with 1e-6."""
    whitened = (vectors.astype(np.float64) - mean.reshape(-1)) @ projection.T
    return whitened / (np.linalg.norm(whitened, axis=1, keepdims=True) + 1e-6)


@pytest.fixture(scope="module")
def carried():
    """m and P of both kinds, as files hold them: P has large and small entries."""
    rng = np.random.default_rng(3)
    made = {}
    for scales, width in (("ss", D), ("ms", KEPT)):
        turned, _ = np.linalg.qr(rng.standard_normal((D, D)))
        mean = np.float32(0.03 * rng.random((D, 1)))
        made[scales] = {"m": mean, "P": np.geomspace(300, 3, D)[:width, None] * turned[:width]}
    return made


@pytest.fixture(scope="module")
def checkpoint(carried, tmp_path_factory):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        resnet = torchvision.models.resnet18(weights=None).eval()
    features = torch.nn.Sequential(*list(resnet.children())[:-2])
    tensors = {f"features.{name}": tensor for name, tensor in features.state_dict().items()}
    meta = {"architecture": "resnet18", "pooling": "gem", "outputdim": D, "Lw": {NAME: carried}}
    meta |= {"mean": [0.4, 0.5, 0.6], "std": [0.2, 0.3, 0.25]}
    path = tmp_path_factory.mktemp("whitening") / "network.pth"
    torch.save({"meta": meta, "state_dict": tensors | {"pool.p": torch.tensor([2.7])}}, path)
    return path


@pytest.mark.parametrize(("name", "scales"), [(NAME, "ss"), (f"{NAME}:ss", "ss"), (f"{NAME}:ms", "ms")])
def test_a_carried_whitening_is_applied_after_the_scales_are_merged(
    name, scales, checkpoint, carried, pictures
):
    plain = Embedder.load(checkpoint, device="cpu")
    plain = at_scales(plain, (1.0,)) if scales == "ss" else plain
    whitened = Embedder.load(checkpoint, whitening=name, device="cpu")
    assert whitened.scales == plain.scales
    assert whitened.width == len(carried[scales]["P"])
    expected = applied(plain.embed(pictures).numpy(), carried[scales]["m"], carried[scales]["P"])
    assert_close(whitened.embed(pictures).double(), torch.from_numpy(expected), atol=1e-6, rtol=0)


@pytest.mark.parametrize("name", [NAME, f"{NAME}:ms"])
def test_shares_sum_to_the_whitened_embedding(name, checkpoint, pictures):
    whitened = Embedder.load(checkpoint, whitening=name, device="cpu")
    shares = whitened.shares(pictures[1])
    unit = F.normalize(shares.total.double(), dim=0)
    assert_close(unit, whitened.embed(pictures[1])[0].double(), atol=1e-6, rtol=0)


def test_a_whitened_network_is_saved_with_its_whitening(checkpoint, pictures, tmp_path):
    whitened = Embedder.load(checkpoint, whitening=f"{NAME}:ms", device="cpu")
    whitened.save(tmp_path / "half", half=True)
    again = Embedder.load(tmp_path / "half", device="cpu")
    assert again.whitening == whitened.whitening == f"learned on {NAME} at 3 scales, to {KEPT} dimensions"
    projections = (e.network.merged_head[1].get_buffer("projection") for e in (again, whitened))
    assert_close(*projections, atol=0, rtol=0)  # neither halved nor rounded
    whitened.save(tmp_path / "saved")
    again = Embedder.load(tmp_path / "saved", device="cpu")
    assert again.fingerprint() == whitened.fingerprint()
    assert_close(again.embed(pictures), whitened.embed(pictures), atol=0, rtol=0)


def test_the_card_names_the_whitening_and_keeps_its_scales(checkpoint):
    whitened = for_protocol(Embedder.load(checkpoint, whitening=NAME, device="cpu"))
    assert whitened.scales == (1.0,)
    assert provenance_of(whitened, crop=True).whitening == f"learned on {NAME} at 1 scale, to {D} dimensions"
    with pytest.raises(ValueError, match="leave out --scales"):
        for_protocol(whitened, scales=(1.0, 0.5))
    with pytest.raises(ValueError, match="scales can't change"):
        at_scales(whitened, (1.0, 0.5))


def test_an_unknown_whitening_is_answered_by_those_that_are_there(checkpoint):
    with pytest.raises(CheckpointError, match=f"carries no whitening 'sfm'; it has {NAME}, {NAME}:ms"):
        Embedder.load(checkpoint, whitening="sfm")
    with pytest.raises(CheckpointError, match="asked of mini, which carries none"):
        Embedder.load("mini", whitening=NAME)


@pytest.mark.parametrize("broken", [
    {"m": np.zeros((D + 1, 1)), "P": np.eye(D)}, {"m": np.zeros((D, 1)), "P": np.eye(D)[:, :9]},
    {"m": np.full((D, 1), np.nan), "P": np.eye(D)}, {"m": np.zeros((D, 1))}, {"m": "x", "P": np.eye(D)},
])  # fmt: skip
def test_a_whitening_that_does_not_fit_is_refused(broken, checkpoint, tmp_path):
    content = torch.load(checkpoint, weights_only=False)
    content["meta"]["Lw"] = {"odd": {"ss": broken}}
    torch.save(content, tmp_path / "odd.pth")
    with pytest.raises(CheckpointError, match="should have finite m"):
        Embedder.load(tmp_path / "odd.pth", whitening="odd")


# --- learning -----------------------------------------------------------------------------------


def test_pairs_whiten_what_differs_within_them_and_turn_to_the_principal_axes(noise):
    things = noise(40, 6, dtype=torch.float64)
    within = noise(6, 6, seed=1, dtype=torch.float64)
    first, second = (things + noise(40, 6, seed=s, dtype=torch.float64) @ within for s in (2, 3))
    vectors = torch.cat([first, second])
    learned = discriminative_whitening(vectors, range(40), range(40, 80))
    assert_close(learned.mean, first.mean(0))
    difference = (first - second) @ learned.projection.T
    assert_close(difference.T @ difference / 40, torch.eye(6, dtype=torch.float64))
    turned = (vectors - learned.mean) @ learned.projection.T
    scatter = turned.T @ turned
    assert_close(scatter, scatter.diagonal().diag(), atol=1e-8, rtol=0)
    assert bool((scatter.diagonal().diff() < 0).all())  # best first


def test_too_few_pairs_raise_the_variances_with_a_warning(noise, caplog):
    learned = discriminative_whitening(noise(10, 8), [0, 1, 2], [5, 6, 7])
    assert bool(learned.projection.isfinite().all())
    assert "more pairs than dimensions" in caplog.text


@pytest.mark.parametrize(("queries", "positives"), [([], []), ([0], [1, 2]), ([0], [10]), ([-1], [2])])
def test_pairs_must_be_pairs_of_what_is_there(queries, positives, noise):
    with pytest.raises(ValueError, match="pairs"):
        discriminative_whitening(noise(10, 3), queries, positives)


def test_components_have_unit_variance_and_are_as_many_as_asked(noise):
    vectors = noise(50, 7, dtype=torch.float64) @ noise(7, 7, seed=1, dtype=torch.float64)
    learned = principal_whitening(vectors, 4)
    whitened = (vectors - learned.mean) @ learned.projection.T
    assert_close(whitened.T @ whitened / 50, torch.eye(4, dtype=torch.float64))
    assert len(principal_whitening(vectors[:5]).projection) == 4  # what five vectors span
    with pytest.raises(ValueError, match="4 directions only"):
        principal_whitening(vectors[:5], 6)


def test_a_model_is_whitened_once(mini, pictures):
    whitened = whitened_by_components(mini, pictures, width=2)
    assert whitened.embed(pictures).shape == (4, 2)
    with pytest.raises(ValueError, match="already"):
        whitened_by_pairs(whitened, pictures, [0], [1])


# --- the commands -------------------------------------------------------------------------------


def run(*arguments):
    result = CliRunner().invoke(app, list(map(str, arguments)))
    assert result.exit_code == 0, result.output
    return result.output


def test_the_command_learns_from_a_table_of_pairs(pictures, tmp_path):
    for i, picture in enumerate(pictures):
        picture.save(tmp_path / f"{i}.png")
    (tmp_path / "twins.csv").write_text("query,match\n0.png,1.png\n2.png,3.png\n1.png,2.png\n")
    output = run("models", "whiten", "mini", tmp_path / "w", "--pairs", tmp_path / "twins.csv", "--width", 5)
    assert "learned on twins at 1 scale, to 5 dimensions" in output
    assert "learned on twins" in run("models", "show", tmp_path / "w")
    mini = Embedder.load("mini", device="cpu")
    learned = discriminative_whitening(mini.embed(pictures), [0, 2, 1], [1, 3, 2])
    expected = applied(mini.embed(pictures).numpy(), learned.mean.numpy(), learned.projection.numpy()[:5])
    ours = Embedder.load(tmp_path / "w", device="cpu").embed([tmp_path / f"{i}.png" for i in range(4)])
    assert_close(ours @ ours.T, torch.from_numpy(expected @ expected.T).float(), atol=1e-4, rtol=0)


def test_show_lists_what_the_file_carries(checkpoint):
    assert f"the file carries {NAME}, {NAME}:ms" in run("models", "show", checkpoint, "--input-size", 64)


def test_maps_of_a_whitened_network_sum_to_the_similarity(checkpoint, pictures, tmp_path):
    for side in (0, 1):
        pictures[side].save(tmp_path / f"{side}.png")
    for name in (NAME, f"{NAME}:ms"):
        options = ("--model", checkpoint, "--whitening", name, "--save-maps", tmp_path / "maps.npz")
        run("explain", tmp_path / "0.png", tmp_path / "1.png", *options)
        with np.load(tmp_path / "maps.npz") as maps:
            gap = maps["query_map"].sum() + maps["residual"] - maps["similarity"]
            assert abs(float(gap)) < 1e-4
