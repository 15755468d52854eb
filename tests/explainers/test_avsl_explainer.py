"""Method avsl: levels sum to the distance, maps to what they claim, and planted signals are found."""

import json

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

import lookalike
from lookalike.cli import app
from lookalike.errors import UnsupportedMethodError
from lookalike.explainers import explain, make_explainer
from lookalike.explainers.capabilities import survey
from lookalike.models.avsl import AvslModel
from made_avsl import avsl_embedder


@pytest.fixture(scope="module")
def model():
    return avsl_embedder()


@pytest.fixture(scope="module")
def why(model, pictures):
    return make_explainer(model, "avsl", n_nodes=24)(pictures[1], pictures[3])


def test_the_distance_is_that_of_the_model(why, model, pictures):
    avsl = AvslModel(model)
    expected = avsl.distances(avsl.nodes([pictures[1]]), avsl.nodes([pictures[3]]))
    assert why.distance == pytest.approx(float(expected), rel=1e-5)
    assert why.similarity == pytest.approx(1 - why.distance / 2)


def test_levels_nodes_and_cells_sum_to_the_distance(why):
    assert sum(level.share for level in why.levels) == pytest.approx(why.distance, rel=1e-9)
    assert all(level.share > 0.01 for level in why.levels)  # none of the sums is empty
    for level in why.levels:
        assert sum(node.share for node in level.apart) == pytest.approx(level.share, rel=1e-6)
        assert level.query.values.sum() == pytest.approx(level.share, rel=1e-4)
        assert level.match.values.sum() == pytest.approx(level.share, rel=1e-4)


def test_maps_are_what_the_nodes_have_in_common(why):
    common = sum(node.common for level in why.levels for node in level.together)
    assert why.query_map.sum() == pytest.approx(common, abs=1e-4)
    assert why.match_map.sum() == pytest.approx(common, abs=1e-4)
    assert why.query_map.shape == (8, 12) and why.query_map.dtype == np.float32
    assert why.residual == pytest.approx(why.similarity - common, abs=1e-4)


def test_nodes_say_where_they_look_and_are_in_order(why):
    for number, level in enumerate(why.levels):
        for nodes, key in ((level.apart, "share"), (level.together, "common")):
            assert [getattr(n, key) for n in nodes] == sorted((getattr(n, key) for n in nodes), reverse=True)
        for node in level.apart:
            assert node.level == number and node.weight >= 0
            assert node.query.values.shape == why.levels[number].query.values.shape
            assert node.share == pytest.approx(
                node.weight * (node.query.total - node.match.total) ** 2, rel=1e-4, abs=1e-9
            )
            assert sum(path.amount for path in node.paths) <= node.share * (1 + 1e-6)
            assert bool(node.paths) == (number < 2)


def test_the_maps_of_what_is_in_common_at_each_level_sum_to_the_whole_map(why):
    for side in ("query", "match"):
        totals = [getattr(level, f"{side}_common").total for level in why.levels]
        assert sum(totals) == pytest.approx(getattr(why, side).total, abs=1e-5)
    grids = [level.query_common.grid for level in why.levels]
    assert grids == [(8, 12), (4, 6), (2, 3)]


def test_the_highest_level_and_the_corrections_make_the_distance(why, model, pictures):
    first, second = model.embed([pictures[1], pictures[3]])
    assert why.own_distance == pytest.approx(2 - 2 * float(first @ second), abs=1e-5)
    changed = sum(level.correction for level in why.levels)
    assert why.own_distance + changed == pytest.approx(why.distance, rel=1e-9)
    assert why.levels[0].correction == 0 and abs(changed) > 1e-4
    sizes = [abs(node.correction) for node in why.corrected]
    assert sizes == sorted(sizes, reverse=True) and len(sizes) == 24
    assert why.corrected[0].reliability < 1


def test_reliabilities_are_what_a_level_keeps_of_its_weight(why):
    assert why.levels[0].reliability == 1
    for level, above in zip(why.levels, why.levels[1:], strict=False):
        kept = sum(node.weight for node in level.apart)
        arriving = sum(node.weight * (1 / node.reliability - 1) for node in above.apart)
        assert level.reliability == pytest.approx(kept / arriving, rel=1e-4)


def test_chains_follow_the_links_from_the_highest_level_down(why, model):
    graph = AvslModel(model).graph_on_cpu
    for chain in (*why.together, *why.apart):
        assert [node.level for node in chain.nodes] == [2, 1, 0]
        for high, low, link in zip(chain.nodes, chain.nodes[1:], chain.links, strict=False):
            assert link == pytest.approx(float(graph.links[low.level][low.node, high.node]), rel=1e-5)
    amounts = [chain.amount for chain in why.apart]
    assert amounts == sorted(amounts, reverse=True) and len(amounts) == 2


def test_the_amounts_of_all_chains_sum_to_what_they_are_part_of(model, pictures):
    all_chains = make_explainer(model, "avsl", n_chains=24)(pictures[1], pictures[3])
    assert sum(chain.amount for chain in all_chains.apart) == pytest.approx(all_chains.distance)
    common = all_chains.query.total
    assert sum(chain.amount for chain in all_chains.together) == pytest.approx(common, abs=1e-5)


def test_an_image_and_itself_have_no_distance(model, pictures):
    why = explain(pictures[0], pictures[0], model=model, method="avsl")
    assert why.distance == pytest.approx(0, abs=1e-9) and why.similarity == pytest.approx(1)
    np.testing.assert_allclose(why.query_map, why.match_map)


def test_where_all_nodes_are_believed_it_is_the_cosine_and_its_shares(pictures):
    sure = avsl_embedder(bias=9.0)
    why = explain(pictures[1], pictures[3], model=sure, method="avsl")
    plain = explain(pictures[1], pictures[3], model=sure, method="shares", layer="last")
    assert why.similarity == pytest.approx(plain.similarity, abs=1e-5)
    assert why.residual == pytest.approx(0, abs=1e-5)
    cells = why.query_map.reshape(2, 4, 3, 4).sum((1, 3))  # 8 x 12 to the highest level's 2 x 3
    np.testing.assert_allclose(cells, plain.query_map, atol=1e-5)


def test_exchanging_the_images_exchanges_the_maps(why, model, pictures):
    back = explain(pictures[3], pictures[1], model=model, method="avsl")
    assert back.distance == pytest.approx(why.distance, rel=1e-9)
    np.testing.assert_allclose(why.query_map, back.match_map, atol=1e-6)


def test_the_cell_that_was_changed_parts_the_images(model):
    """One corner of an image is painted over: the lowest level's distance lies there."""
    rng = np.random.default_rng(3)
    pixels = rng.integers(90, 160, (64, 96, 3)).astype(np.uint8)
    changed = pixels.copy()
    changed[:16, 72:] = (255, 0, 0)
    doubting = avsl_embedder(bias=-9.0)  # nothing but the lowest level counts
    why = explain(Image.fromarray(changed), Image.fromarray(pixels), model=doubting, method="avsl")
    lowest = why.levels[0]
    assert lowest.share == pytest.approx(why.distance, rel=1e-3)
    row, column = divmod(int(lowest.query.values.argmax()), 12)
    assert row <= 2 and column >= 8
    corner = lowest.query.values[:3, 8:].sum()
    assert corner > 3 * lowest.query.values.mean() * 12  # three times what 12 cells have on average


def test_a_model_without_a_graph_is_refused(pictures):
    with pytest.raises(UnsupportedMethodError, match=r"no graph of nodes; train one .*--avsl"):
        lookalike.explain(pictures[0], pictures[1], model="mini", method="avsl")
    with pytest.raises(UnsupportedMethodError, match="p = 3"):
        make_explainer(avsl_embedder(power=3.0), "avsl")
    with pytest.raises(ValueError, match="n_chains must be 1 or more, got 0"):
        make_explainer(avsl_embedder(), "avsl", n_chains=0)


def test_a_survey_asks_the_graph_only_where_there_is_one(model):
    assert survey(model).methods["avsl"].refusal is None
    assert survey(model).methods["shares"].refusal is None


def test_the_command_writes_numbers_and_pictures(model, pictures, tmp_path):
    model.save(tmp_path / "m")
    for name, picture in zip("ab", pictures[1:3], strict=True):
        picture.save(tmp_path / f"{name}.png")
    images = [tmp_path / "a.png", tmp_path / "b.png"]
    arguments = ["explain", *images, "--model", tmp_path / "m", "--method", "avsl",
                 "-o", tmp_path / "why.png", "--overlays", tmp_path / "o", "--json"]  # fmt: skip
    result = CliRunner().invoke(app, list(map(str, arguments)))
    assert result.exit_code == 0, result.output
    numbers = json.loads(result.stdout)
    assert sum(level["share"] for level in numbers["levels"]) == pytest.approx(numbers["distance"])
    assert len(numbers["levels"][0]["together"]) == 5 and numbers["levels"][1]["apart"][0]["paths"]
    assert np.shape(numbers["levels"][2]["apart"][0]["query_map"]) == (2, 3)
    changes = sum(level["correction"] for level in numbers["levels"])
    assert numbers["own_distance"] + changes == pytest.approx(numbers["distance"])
    assert len(numbers["together"][0]["nodes"]) == 3 and "query_map" not in numbers["corrected"][0]
    with Image.open(tmp_path / "why.png") as whole, Image.open(next((tmp_path / "o").glob("level*"))) as node:
        assert whole.height > node.height + 1000  # levels and nodes lie below the maps
    written = sorted(path.name for path in (tmp_path / "o").iterdir())
    assert (
        len([name for name in written if name.startswith("level")]) == 6 and (tmp_path / "why.png").exists()
    )
    assert len(written) == 8
