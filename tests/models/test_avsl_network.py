"""AVSL on real architectures with random weights, and as a folder that every command takes."""

import json

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch.testing import assert_close

from lookalike.errors import CheckpointError, UnsupportedMethodError
from lookalike.models.avsl import AvslModel
from lookalike.models.avsl_network import AvslNetwork, Gates, GraphSettings
from lookalike.models.backbones import level_maps, level_widths
from lookalike.models.embedder import Embedder
from lookalike.ops.avsl import final_distances, level_distances
from made_avsl import SIZE, avsl_embedder


@pytest.fixture
def model():
    return avsl_embedder()


@pytest.mark.parametrize(("architecture", "widths"), [
    ("resnet50", (512, 1024, 2048)),
    ("mobilenetv2_100", (32, 96, 1280)),
    ("convnext_atto", (80, 160, 320)),
])  # fmt: skip
def test_three_levels_of_a_backbone(architecture, widths, tiny_backbone, noise):
    backbone = tiny_backbone(architecture)
    with torch.no_grad():
        maps = level_maps(backbone, noise(2, 3, *SIZE))
        top = backbone(noise(2, 3, *SIZE))
    assert level_widths(backbone) == widths
    assert [m.shape[1:] for m in maps] == [
        (c, 8 // s, 12 // s) for c, s in zip(widths, (1, 2, 4), strict=True)
    ]
    assert_close(maps[2].flatten(2).transpose(1, 2), top.cells)


@pytest.mark.parametrize("architecture", ["vit_tiny_patch16_224", "vit_tiny_r_s16_p8_224"])
def test_a_backbone_without_three_levels_is_refused(architecture, tiny_backbone):
    with pytest.raises(UnsupportedMethodError, match=r"3 resolutions and vit_\w+ has \d; choose"):
        AvslNetwork.new(tiny_backbone(architecture), 8)


def test_the_last_levels_are_the_last_stages_and_what_follows_them(tiny_backbone, noise):
    backbone = tiny_backbone("mobilenetv2_100")
    images = noise(2, 3, *SIZE)
    with torch.no_grad():
        maps = level_maps(backbone, images, "last")
        model = backbone.model
        stages = [model.bn1(model.conv_stem(images))]
        for block in model.blocks:
            stages.append(block(stages[-1]))
        top = backbone(images)
    assert level_widths(backbone, "last") == (96, 320, 1280)
    assert [m.shape[1:] for m in maps] == [(96, 4, 6), (320, 2, 3), (1280, 2, 3)]
    assert_close(maps[0], stages[5])
    assert_close(maps[1], stages[7])
    assert_close(maps[2].flatten(2).transpose(1, 2), top.cells)


def test_a_backbone_that_ends_with_its_last_stage_has_no_level_after_it(tiny_backbone):
    with pytest.raises(UnsupportedMethodError, match="resnet50 ends with that stage"):
        AvslNetwork.new(tiny_backbone("resnet50"), 8, GraphSettings(levels="last"))


def test_the_choice_of_levels_is_saved_and_explained(pictures, tmp_path):
    model = avsl_embedder(levels="last")
    model.save(tmp_path / "m")
    again = AvslModel(Embedder.load(tmp_path / "m", device="cpu", precision="fp32"))
    assert again.network.gates.settings.levels == "last"
    before = AvslModel(model)
    assert_close(again.distances(again.nodes(pictures)), before.distances(before.nodes(pictures)))
    shares = again.shares(pictures[1])
    assert shares.grids == ((4, 6), (2, 3), (2, 3))
    for level in range(3):
        assert_close(
            shares.shares[level].sum(0).float(), shares.nodes.embeddings[level][0], atol=1e-4, rtol=1e-5
        )


def test_other_levels_are_refused():
    with pytest.raises(ValueError, match="levels are resolutions or last, got 'all'"):
        GraphSettings(levels="all")


def test_the_embedder_is_the_highest_level(model, pictures):
    nodes = AvslModel(model).nodes(pictures)
    assert_close(torch.nn.functional.normalize(nodes.embeddings[2], dim=1), model.embed(pictures))


def test_shares_sum_to_the_nodes_and_agree_with_the_embedders_own(model, pictures):
    shares = AvslModel(model).shares(pictures[1])
    assert shares.grids == ((8, 12), (4, 6), (2, 3))
    for level in range(3):
        assert_close(
            shares.shares[level].sum(0).float(), shares.nodes.embeddings[level][0], atol=1e-4, rtol=1e-5
        )
    assert_close(shares.shares[2].float(), model.shares(pictures[1]).values, atol=1e-5, rtol=1e-4)


def test_distances_are_those_of_the_formula(model, pictures):
    avsl = AvslModel(model)
    nodes = avsl.nodes(pictures)
    distances = avsl.distances(nodes)
    assert_close(distances, final_distances(nodes, nodes, avsl.graph_on_cpu), atol=1e-5, rtol=1e-5)
    assert_close(distances.diagonal(), torch.zeros(4), atol=1e-5, rtol=0)
    plain = level_distances(nodes.embeddings[2], nodes.embeddings[2])
    assert float((distances - plain).abs().max()) > 1e-3


def test_links_follow_the_batches():
    gates = Gates(4, 3, GraphSettings(momentum=0.25))
    first, second = torch.ones(4, 4), torch.full((4, 4), 5.0)
    gates.update([first, second])
    assert_close(gates.links, torch.stack([first, second]))
    gates.update([second, first])
    assert_close(gates.links, torch.stack([first * 0.25 + second * 0.75, second * 0.25 + first * 0.75]))


def test_embeddings_learn_and_certainties_do_not(tiny_backbone, noise):
    network = AvslNetwork.new(tiny_backbone("mobilenetv2_050"), 6)
    nodes = network(noise(2, 3, *SIZE)).nodes
    assert all(e.requires_grad for e in nodes.embeddings)
    assert not any(c.requires_grad for c in nodes.certainties)


# --- on disk ----------------------------------------------------------------------------------


@pytest.mark.parametrize("half", [False, True])
def test_a_saved_folder_is_an_embedder_and_an_avsl_model(half, model, pictures, tmp_path):
    model.save(tmp_path / "m", half=half)
    again = Embedder.load(tmp_path / "m", device="cpu", precision="fp32")
    tolerance = 2e-2 if half else 1e-6
    assert_close(again.embed(pictures), model.embed(pictures), atol=tolerance, rtol=tolerance)
    before, after = AvslModel(model), AvslModel(again)
    assert after.network.gates.settings == GraphSettings(top_k=5)
    assert_close(after.distances(after.nodes(pictures)), before.distances(before.nodes(pictures)),
                 atol=tolerance, rtol=tolerance)  # fmt: skip
    if not half:
        assert again.fingerprint() == model.fingerprint()


def test_the_fingerprint_knows_the_graph(model):
    other = avsl_embedder()
    assert other.fingerprint() == model.fingerprint()
    other.network.graph.gates.links[0, 2, 3] += 0.1
    assert other.fingerprint() != model.fingerprint()


@pytest.mark.parametrize("damage", ["kind", "missing", "size"])
def test_a_damaged_graph_is_refused(damage, model, tmp_path):
    model.save(tmp_path)
    config, tensors = (
        json.loads((tmp_path / "config.json").read_text()),
        load_file(tmp_path / "model.safetensors"),
    )
    if damage == "kind":
        config["graph"]["kind"] = "other"
    elif damage == "missing":
        del tensors["graph.gates.links"]
    else:
        tensors["graph.projections.0.weight"] = torch.zeros(24, 3)
    (tmp_path / "config.json").write_text(json.dumps(config))
    save_file(tensors, tmp_path / "model.safetensors")
    with pytest.raises(CheckpointError, match="no saved embedder"):
        Embedder.load(tmp_path)


def test_a_model_without_a_graph_says_so():
    with pytest.raises(UnsupportedMethodError, match="no graph of nodes"):
        AvslModel(Embedder.load("mini", device="cpu"))
