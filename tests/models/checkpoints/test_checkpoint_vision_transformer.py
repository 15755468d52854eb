import numpy as np
import pytest
import torch
from scipy import ndimage
from torch.testing import assert_close

from lookalike.errors import CheckpointError, LookalikeError
from lookalike.models.checkpoints import load_checkpoint
from lookalike.models.embedder import Embedder
from lookalike.ops.attribution import similarity_maps
from lookalike.ops.rollout import attention_rollout, roll_out
from made_checkpoints import DEPTH, GRID, HIDDEN, PATCH, WIDTH, in_jax, published

GOLDEN = ["xformer_vit_p16_mean", "xformer_vit_p32_mean", "xformer_vit_p16_cls"]


@pytest.fixture
def save(tmp_path):
    def write(tensors, name="network.pth"):
        torch.save(tensors, tmp_path / name)
        return tmp_path / name

    return write


def embedder(path, **options):
    return Embedder.load(path, device="cpu", precision="fp32", **options)


# --- goldens ----------------------------------------------------------------------------------


@pytest.fixture(scope="module", params=GOLDEN)
def golden(request, goldens, shared):
    return np.load(goldens / f"{request.param}.npz"), embedder(shared / f"goldens/{request.param}.pth")


@pytest.mark.parametrize("side", ["a", "b"])
def test_inputs_tokens_and_embeddings_are_those_of_the_published_code(golden, goldens, side):
    metrics, model = golden
    picture = goldens / f"image_{side}.png"
    tensor, _ = model.tensor(picture)
    assert_close(tensor.numpy(), metrics[f"input_{side}"], rtol=0, atol=1e-6)
    with torch.inference_mode():
        features = model.network.backbone(tensor)
        tokens = model.network.head(torch.cat([features.prefix, features.cells], 1)).numpy()
    assert_close(tokens, metrics[f"tokens_{side}"], rtol=1e-4, atol=1e-5)
    expected = torch.from_numpy(metrics[f"embedding_{side}"])
    assert_close(model.embed([picture]), expected / expected.norm(), rtol=0, atol=1e-6)
    assert_close(model.shares(picture).total[None], expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("side", ["a", "b"])
def test_attention_and_rollout_are_those_of_the_published_code(golden, goldens, side):
    metrics, model = golden
    tensor, _ = model.tensor(goldens / f"image_{side}.png")
    with torch.inference_mode():
        trace = model.network.backbone.trace(tensor)
    weights = torch.stack([call.weights for call in trace.attention])
    assert_close(weights.numpy(), metrics[f"attention_{side}"], rtol=1e-5, atol=1e-6)
    layers = [call.weights[0] for call in trace.attention]
    for name, options in (
        ("rollout", {}),
        ("rollout_min", {"fusion": "min"}),
        ("rollout_max", {"fusion": "max"}),
        ("rollout_from1", {"first_layer": 1}),
    ):
        expected = metrics[f"{name}_{side}"]
        assert_close(attention_rollout(layers, **options).numpy(), expected, rtol=1e-5, atol=1e-6)


def test_maps_and_score_are_those_of_the_published_code(golden, goldens):
    metrics, model = golden
    if "map_a" not in metrics:
        pytest.skip("the published code draws no map for CLS embeddings")
    shares = {side: model.shares(goldens / f"image_{side}.png") for side in "ab"}
    for side, other in ("ab", "ba"):
        match = torch.nn.functional.normalize(shares[other].total, dim=0)
        share_map = similarity_maps(shares[side].values, shares[side].residual, match[None])[0]
        assert_close(float(share_map.sum()), float(metrics["score"]), rtol=1e-5, atol=1e-6)
        tensor, _ = model.tensor(goldens / f"image_{side}.png")
        with torch.inference_mode():
            layers = [call.weights[0] for call in model.network.backbone.trace(tensor).attention]
        expected = torch.from_numpy(metrics[f"map_{side}"]).float()
        assert_close(roll_out(share_map, layers).view(expected.shape), expected, rtol=1e-4, atol=0)


# --- layouts ----------------------------------------------------------------------------------


def test_sizes_come_from_the_tensors(save):
    model = load_checkpoint(save(published()))
    vit = model.network.backbone.model
    assert model.preprocessing.input_size == (GRID * PATCH, GRID * PATCH)
    assert (len(vit.blocks), vit.embed_dim, vit.blocks[0].attn.num_heads) == (DEPTH, WIDTH, WIDTH // 64)
    assert vit.blocks[0].mlp.fc1.out_features == HIDDEN
    assert vit.norm.eps == 1e-6
    assert model.name == "network"


def test_parallel_prefix_and_jax_style_block_names_change_nothing(save, pictures):
    tensors = published()
    expected = embedder(save(tensors)).embed(pictures)
    renamed = {
        "module." + name.replace(".layer.", ".encoderblock_"): tensor for name, tensor in tensors.items()
    }
    assert_close(embedder(save({"state_dict": renamed}, "renamed.pth")).embed(pictures), expected)


@pytest.mark.parametrize("mode", ["cls", "mean"])
def test_files_of_the_original_authors_are_the_same_network(save, tmp_path, pictures, mode):
    tensors = published()
    np.savez(tmp_path / "jax.npz", **in_jax(tensors))
    expected = embedder(save(tensors), pooling=mode).embed(pictures)
    assert_close(embedder(tmp_path / "jax.npz", pooling=mode).embed(pictures), expected)


@pytest.mark.parametrize("mode", ["cls", "mean"])
@pytest.mark.parametrize("grid", [(GRID + 2, GRID + 2), (GRID - 1, GRID + 3)])
def test_positions_of_the_original_authors_are_zoomed_as_in_their_code(tmp_path, mode, grid):
    """By ``scipy.ndimage.zoom`` of order 1, without the position of the CLS token."""
    arrays = in_jax(published())
    np.savez(tmp_path / "jax.npz", **arrays)
    size = (grid[0] * PATCH, grid[1] * PATCH)
    model = embedder(tmp_path / "jax.npz", pooling=mode, input_size=size)
    positions = arrays["Transformer/posembed_input/pos_embedding"][0]
    square = positions[1:].reshape(GRID, GRID, WIDTH)
    zoomed = ndimage.zoom(square, (grid[0] / GRID, grid[1] / GRID, 1), order=1).reshape(-1, WIDTH)
    expected = np.concatenate([positions[:1], zoomed]) if mode == "cls" else zoomed
    found = model.network.backbone.model.pos_embed[0].numpy()
    assert model.preprocessing.input_size == size
    assert_close(found, expected, rtol=0, atol=1e-6)


def test_positions_of_published_torch_files_keep_the_resampling_of_timm(save, tmp_path):
    size = ((GRID + 2) * PATCH, (GRID + 2) * PATCH)
    np.savez(tmp_path / "jax.npz", **in_jax(published()))
    files = (save(published()), tmp_path / "jax.npz")
    torch_like, jax_like = (
        embedder(file, pooling="mean", input_size=size).network.backbone.model.pos_embed for file in files
    )
    assert torch_like.shape == jax_like.shape and not torch.allclose(torch_like, jax_like, atol=1e-3)


def test_a_size_that_patches_do_not_divide_is_refused_for_files_of_the_original_authors(tmp_path):
    np.savez(tmp_path / "jax.npz", **in_jax(published()))
    with pytest.raises(LookalikeError, match="choose multiples"):
        embedder(tmp_path / "jax.npz", input_size=(GRID * PATCH + 1, GRID * PATCH))


def test_classifiers_of_the_original_authors_embed_by_their_cls_token_without_classifier(tmp_path):
    arrays = in_jax(published())
    arrays["head/kernel"], arrays["head/bias"] = (
        np.zeros((WIDTH, 1000), np.float32),
        np.zeros(1000, np.float32),
    )
    np.savez(tmp_path / "imagenet.npz", **arrays)
    model = load_checkpoint(tmp_path / "imagenet.npz")
    assert model.network.describe_pooling() == {"name": "cls"}
    assert len(model.network.head) == 0
    assert model.preprocessing.mean == (0.5, 0.5, 0.5)


def test_a_head_of_a_thousand_outputs_is_an_embedding_in_files_of_black_et_al(save):
    head = {"head.weight": torch.ones(1000, WIDTH), "head.bias": torch.zeros(1000)}
    assert load_checkpoint(save(published() | head)).network.head[0].weight.shape == (1000, WIDTH)


def test_the_number_of_heads_can_be_said_where_the_file_does_not(save, tmp_path, pictures):
    path = save(published())
    usual, other = embedder(path), embedder(path, heads=4)
    assert [model.network.backbone.model.blocks[1].attn.num_heads for model in (usual, other)] == [2, 4]
    assert not torch.allclose(usual.embed(pictures), other.embed(pictures), atol=1e-4)
    other.save(tmp_path / "folder")
    assert_close(embedder(tmp_path / "folder").embed(pictures), other.embed(pictures))
    refused(path, "width 128, which 3 heads do not divide", heads=3)
    np.savez(tmp_path / "jax.npz", **in_jax(published()))
    refused(tmp_path / "jax.npz", "says 2 attention heads, not 4", heads=4)
    with pytest.raises(CheckpointError, match="mini is none"):
        embedder("mini", heads=4)


def test_mean_mode_runs_without_the_cls_token(save, pictures):
    tensors = published()
    model = embedder(save(tensors))
    expected = model.embed(pictures)
    assert model.network.backbone.n_prefix_tokens == 0
    tensors["transformer.embeddings.cls_token"] += 5
    tensors["transformer.embeddings.position_embeddings"][:, 0] += 5
    assert_close(embedder(save(tensors)).embed(pictures), expected)
    without = published(n_positions=GRID**2)
    without |= {name: t for name, t in tensors.items() if "position" not in name and "cls" not in name}
    del without["transformer.embeddings.cls_token"]
    without["transformer.embeddings.position_embeddings"] = tensors[
        "transformer.embeddings.position_embeddings"
    ][:, 1:]
    assert_close(embedder(save(without)).embed(pictures), expected)


@pytest.mark.parametrize(
    ("name", "pooling", "mode"),
    [
        ("hotels.pth", None, "mean"),
        ("vit_cls_hotels.pth", None, "cls"),
        ("vit-CLS.pth", None, "cls"),
        ("classes.pth", None, "mean"),
        ("vit_mean.pth", None, "mean"),
        ("vit_cls.pth", "mean", "mean"),
        ("hotels.pth", "cls", "cls"),
        ("vit_cls.pth", "max", "cls"),
    ],
)
def test_the_mode_comes_from_the_caller_then_the_file_name_then_the_source(save, name, pooling, mode):
    model = load_checkpoint(save(published(), name), pooling=pooling)
    assert model.network.describe_pooling() == {"name": mode}


@pytest.mark.parametrize("pooling", ["own", "mean"])
def test_the_networks_own_pooling_is_the_mean(save, pictures, pooling):
    path = save(published())
    assert_close(embedder(path, pooling=pooling).embed(pictures), embedder(path).embed(pictures))


def test_a_missing_or_identical_head_is_no_layer(save):
    assert len(load_checkpoint(save(published(head=False))).network.head) == 0
    identity = published() | {"head.weight": torch.eye(WIDTH), "head.bias": torch.zeros(WIDTH)}
    assert len(load_checkpoint(save(identity)).network.head) == 0
    assert len(load_checkpoint(save(published())).network.head) == 1


@pytest.mark.parametrize("pooling", ["cls", "mean"])
def test_the_network_comes_back_from_a_saved_folder_and_takes_other_sizes(save, tmp_path, pictures, pooling):
    model = embedder(save(published()), pooling=pooling, input_size=(40, 24), normalization="sop")
    model.save(tmp_path / "folder")
    again = embedder(tmp_path / "folder")
    assert_close(again.embed(pictures), model.embed(pictures))
    shares = again.shares(pictures[1])
    assert shares.grid == (5, 3)
    unit = torch.nn.functional.normalize(shares.total, dim=0)
    assert_close(unit, model.embed(pictures)[1], rtol=1e-4, atol=1e-5)


# --- refusals ---------------------------------------------------------------------------------


def refused(path, match, **options):
    with pytest.raises(CheckpointError, match=match):
        load_checkpoint(path, **options)


def test_strange_tensors_are_named(save):
    tensors = published() | {"transformer.embeddings.hybrid_model.root.conv.weight": torch.zeros(2)}
    refused(save(tensors), r"hybrid_model.root.conv.weight \(2,\) is no part of the layout")


def test_missing_tensors_are_counted(save):
    tensors = published()
    del tensors["transformer.encoder.layer.1.attn.key.weight"]
    refused(save(tensors), r"1 of \d+ tensors are missing .*blocks.1.attn.qkv.weight is missing")


def test_tensors_of_another_size_are_named(save):
    tensors = published()
    tensors["transformer.encoder.layer.1.ffn.fc1.weight"] = torch.zeros(7, WIDTH)
    refused(save(tensors), r"blocks.1.mlp.fc1.weight is \(7, 128\) instead of \(200, 128\)")


def test_positions_that_fill_no_square_are_refused(save):
    refused(save(published(n_positions=12)), "12 positions of width 128 do not fit together")


def test_widths_that_heads_do_not_divide_are_refused(save):
    tensors = published()
    for name in ("patch_embeddings.weight", "position_embeddings"):
        full = f"transformer.embeddings.{name}"
        tensors[full] = tensors[full][:100] if "patch" in name else tensors[full][..., :100]
    refused(save(tensors), "tokens of width 100, no multiple of the 64 dimensions")


def test_without_a_position_for_it_there_is_no_cls_mode(save):
    refused(save(published(n_positions=GRID**2)), "pooling 'cls' is impossible", pooling="cls")


def test_a_patch_embedding_alone_is_no_network(save):
    refused(save({"embedding.weight": torch.zeros(4, 3, 2, 2)}), "no known layout")
