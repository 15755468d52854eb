"""Cells matched at an earlier layer: exact sums, agreement with the maps, and patches moved on purpose."""

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn.functional import normalize
from torch.testing import assert_close

from lookalike.errors import UnsupportedMethodError
from lookalike.evaluation.explanations.methods import make_method
from lookalike.evaluation.explanations.subjects import Subject
from lookalike.explainers import SharesExplainer, place_matches, shares_at
from lookalike.images import Preprocessing
from lookalike.models.embedder import Embedder
from lookalike.models.frozen_pass import FrozenPass

SIZE = (64, 96)  # (H, W) pixels of the input
VIT = {"img_size": SIZE, "depth": 3, "embed_dim": 48, "num_heads": 3}
CASES = {  # architecture, options, layer, grid
    "vit, CLS and registers": ("vit_tiny_patch16_224", {**VIT, "reg_tokens": 2}, 1, (4, 6)),
    "vit, patch embedding": ("vit_tiny_patch16_224", {**VIT, "reg_tokens": 2}, 0, (4, 6)),
    "convnext": ("convnext_atto", {"depths": (1, 1, 2, 1), "dims": (8, 16, 24, 40)}, 2, (8, 12)),
}


def embedder_of(architecture, **options):
    torch.manual_seed(0)
    squash = Preprocessing("squash", SIZE)  # a picture of this size is not resampled
    return Embedder.from_timm(architecture, pretrained=False, preprocessing=squash, device="cpu", **options)


@pytest.fixture(scope="module", params=CASES)
def case(request):
    """A seeded network with biases of every kind, a layer, and its grid."""
    architecture, options, layer, grid = CASES[request.param]
    embedder = embedder_of(architecture, **options)
    generator = torch.Generator().manual_seed(1)
    for name, values in embedder.network.named_parameters():
        if values.ndim <= 3 and not name.endswith("weight"):
            values.data.add_(0.1 * torch.randn(values.shape, generator=generator))
    return embedder, layer, grid


@pytest.fixture(scope="module")
def readings(case):
    """Two images, of other sizes than the input."""
    rng = np.random.default_rng(0)
    drawn = [rng.integers(0, 256, (h, w, 3), np.uint8) for h, w in ((9, 13), (7, 5))]
    return [case[0].read(Image.fromarray(d).resize((d.shape[1] * 20, d.shape[0] * 20))) for d in drawn]


def test_cell_shares_sum_to_the_unit_embedding(case, readings):
    embedder, layer, grid = case
    shares = FrozenPass(embedder, readings[0], layer=layer).cell_shares()
    assert shares.grid == grid and shares.values.shape == (grid[0] * grid[1], embedder.width)
    assert_close(shares.total, embedder.embed([readings[0].picture.image])[0], rtol=0, atol=1e-5)


def test_cell_shares_hold_the_map_of_every_direction(case, readings):
    embedder, layer, _ = case
    run = FrozenPass(embedder, readings[0], layer=layer)
    directions = normalize(torch.randn(3, embedder.width, generator=torch.Generator().manual_seed(2)), dim=1)
    shares, maps = run.cell_shares(), run.shares(directions)
    assert_close(directions @ shares.values.T, maps.values, rtol=0, atol=1e-6)
    without_cell = sum(maps.residual.values(), torch.zeros(3))
    assert_close(directions @ shares.residual, without_cell, rtol=0, atol=1e-6)


def test_cells_and_residuals_of_a_layer_multiply_to_the_similarity(case, readings):
    embedder, layer, _ = case
    result = place_matches(*readings, model=embedder, layer=layer)
    a, b = (shares_at(embedder, reading, layer) for reading in readings)
    without_cell = a.total @ b.residual + a.residual @ b.values.sum(0)
    assert result.values.sum() + float(without_cell) == pytest.approx(result.similarity, abs=1e-5)
    unit_embeddings = embedder.embed([reading.picture.image for reading in readings])
    assert result.similarity == pytest.approx(float(unit_embeddings[0] @ unit_embeddings[1]), abs=1e-5)


def test_sums_over_the_other_image_are_the_maps_of_the_layer(case, readings):
    """Less what the other's parts without a cell have in common with each cell: nothing without prefix."""
    embedder, layer, grid = case
    result = place_matches(*readings, model=embedder, layer=layer)
    why = SharesExplainer(embedder, layer=layer)(*readings)
    a, b = (shares_at(embedder, reading, layer) for reading in readings)
    rows, columns = result.values.sum(1).reshape(grid), result.values.sum(0).reshape(grid)
    if embedder.network.backbone.n_prefix_tokens:
        rows = rows + (a.values @ b.residual).reshape(grid).numpy()
        columns = columns + (b.values @ a.residual).reshape(grid).numpy()
    np.testing.assert_allclose(rows, why.query_map, atol=1e-6)
    np.testing.assert_allclose(columns, why.match_map, atol=1e-6)
    np.testing.assert_allclose(result.query.values, result.values.sum(1).reshape(grid), atol=1e-6)


def test_cells_match_where_each_is_the_best_of_the_other(case, readings):
    embedder, layer, grid = case
    result = place_matches(*readings, model=embedder, layer=layer)
    a, b = (normalize(shares_at(embedder, r, layer).values.double(), dim=1) for r in readings)
    expected = set()
    for i in range(len(a)):
        cosines = [float(a[i] @ each) for each in b]
        j = int(np.argmax(cosines))
        if cosines[j] > 0 and int(np.argmax([float(each @ b[j]) for each in a])) == i:
            expected.add((divmod(i, grid[1]), divmod(j, grid[1])))
    assert {(m.query_cell, m.match_cell) for m in result.matches} == expected
    contributions = [m.contribution for m in result.matches]
    assert contributions == sorted(contributions, reverse=True)


def test_every_patch_is_found_where_it_was_moved():
    """A network whose blocks are switched off: at the patch embedding only the patch decides."""
    embedder = embedder_of("vit_tiny_patch16_224", **VIT, global_pool="avg")
    for block in embedder.network.backbone.model.blocks:
        for layer in (block.attn.proj, block.mlp.fc2):
            layer.weight.data.zero_()
            layer.bias.data.zero_()
    rng = np.random.default_rng(0)
    patches, order = rng.integers(0, 256, (24, 16, 16, 3), np.uint8), rng.permutation(24)
    query, match = (
        Image.fromarray(drawn.reshape(4, 6, 16, 16, 3).swapaxes(1, 2).reshape(64, 96, 3))
        for drawn in (patches, patches[order])
    )
    result = place_matches(query, match, model=embedder, layer="0")
    moved = {(divmod(int(i), 6), divmod(j, 6)) for j, i in enumerate(order)}
    assert {(m.query_cell, m.match_cell) for m in result.matches} == moved
    assert all(m.cosine == pytest.approx(1, abs=1e-5) for m in result.matches)


def test_the_leaderboard_matches_cells_at_the_layer_of_the_method(case, readings):
    embedder, layer, grid = case
    found = make_method(f"shares:layer={layer}").bind(Subject(embedder)).cell_similarity(*readings)
    cosines = {
        (m.query_cell, m.match_cell): m.cosine
        for m in place_matches(*readings, model=embedder, layer=layer).matches
    }
    values = found.values.reshape(*grid, *grid)
    assert (found.query_grid, found.match_grid) == (grid, grid)
    assert all(float(values[a][b]) == pytest.approx(cosine) for (a, b), cosine in cosines.items())


def test_what_is_no_layer_is_refused(case, readings):
    with pytest.raises(ValueError, match="'last' or a whole number"):
        place_matches(*readings, model=case[0], layer="first")
    with pytest.raises(UnsupportedMethodError, match="has layers 0 to"):
        place_matches(*readings, model=case[0], layer=9)
