import math
from dataclasses import replace

import pytest
import torch
from made_nodes import LEVELS, D, make_graph, make_nodes
from torch.testing import assert_close

from lookalike.ops.avsl import (
    Graph,
    Nodes,
    all_pairs,
    corrections,
    distance_map,
    distance_shares,
    final_distances,
    inferred,
    level_distances,
    listed_pairs,
    nearest_nodes,
    strongest_parents,
)


def naive_distance(query, gallery, graph, i, j):
    """The paper's inference for one pair, number by number."""
    below = None
    for level in range(LEVELS):
        a, b = query.embeddings[level][i].double(), gallery.embeddings[level][j].double()
        a, b = (
            a / a.abs().pow(graph.power).sum() ** (1 / graph.power),
            b / b.abs().pow(graph.power).sum() ** (1 / graph.power),
        )
        here = []
        for d in range(D):
            own = float((a[d] - b[d]).abs() ** graph.power)
            if below is not None:
                certainty = float(query.certainties[level][i, d] * gallery.certainties[level][j, d])
                trust = certainty * float(graph.coefficients[level][d]) + float(graph.biases[level][d])
                gate = 1 / (1 + math.exp(-graph.sharpness * trust))
                said = sum(below[m] * float(graph.links[level - 1][m, d]) for m in range(D))
                own = gate * own + (1 - gate) * said
            here.append(own)
        below = here
    return sum(below)


@pytest.mark.parametrize("power", [2.0, 1.0, 3.0])
def test_distances_are_those_of_the_naive_loop(power):
    query, gallery, graph = make_nodes(3), make_nodes(4, seed=1), make_graph(power=power)
    expected = torch.tensor(
        [[naive_distance(query, gallery, graph, i, j) for j in range(4)] for i in range(3)]
    )
    assert_close(final_distances(query, gallery, graph), expected, rtol=1e-5, atol=1e-6)
    assert_close(all_pairs(query, gallery, graph=graph, tile=2), expected, rtol=1e-5, atol=1e-6)


def test_a_distance_by_hand():
    """Two nodes, two levels; the upper ones half believe themselves."""
    a = Nodes((torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 2.0]])), (torch.ones(1, 2),) * 2)
    b = Nodes((torch.tensor([[0.0, 3.0]]), torch.tensor([[0.0, 1.0]])), (torch.ones(1, 2),) * 2)
    nothing = torch.zeros(2)
    graph = Graph((torch.tensor([[0.25, 0.0], [0.75, 1.0]]),), (nothing, nothing), (nothing, nothing))
    # below: differences 1 and 1; links hand down 1 and 1; above: differences 0 and 0; gates 1/2
    assert_close(final_distances(a, b, graph), torch.tensor([[1.0]]))


@pytest.mark.parametrize("power", [2.0, 1.0])
def test_level_distances_are_the_formula(power, noise):
    query, gallery = noise(3, 7), noise(4, 7, seed=1)
    a = query / query.norm(p=power, dim=1, keepdim=True)
    b = gallery / gallery.norm(p=power, dim=1, keepdim=True)
    expected = (a[:, None] - b).abs().pow(power).sum(2)
    assert_close(level_distances(query, gallery, power), expected)


def test_where_gates_are_open_the_distance_is_that_of_the_highest_level(noise):
    nodes, graph = make_nodes(4), make_graph()
    sure = Graph(graph.links, graph.coefficients, tuple(torch.full((D,), 9.0) for _ in range(LEVELS)))
    assert_close(all_pairs(nodes, graph=sure), level_distances(nodes.embeddings[2], nodes.embeddings[2]),
                 atol=1e-5, rtol=1e-5)  # fmt: skip


def test_only_gates_learn_from_the_final_distance(graph):
    query = make_nodes(3)
    for embedding in query.embeddings:
        embedding.requires_grad_()
    biases = tuple(b.clone().requires_grad_() for b in graph.biases)
    learning = Graph(graph.links, graph.coefficients, biases)
    final_distances(query, make_nodes(4, seed=1), learning).sum().backward()
    assert all(e.grad is None for e in query.embeddings)
    assert biases[0].grad is None and float(biases[1].grad.abs().sum()) > 0


@pytest.mark.parametrize("tile", [1, 3, 8, 64])
def test_tiles_of_any_size_give_the_same(tile, graph):
    query, gallery = make_nodes(7), make_nodes(10, seed=1)
    assert_close(all_pairs(query, gallery, graph=graph, tile=tile), final_distances(query, gallery, graph))
    assert_close(all_pairs(query, graph=graph, tile=tile), final_distances(query, query, graph),
                 atol=1e-6, rtol=1e-5)  # fmt: skip


def test_nearest_are_those_of_the_whole_matrix(graph):
    query, gallery = make_nodes(5), make_nodes(11, seed=1)
    distances, rows = nearest_nodes(query, gallery, 4, graph=graph, tile=2)
    expected = final_distances(query, gallery, graph).sort(dim=1)
    assert_close(distances, expected.values[:, :4])
    assert torch.equal(rows, expected.indices[:, :4])


def test_listed_pairs_are_those_of_the_whole_matrix(graph):
    query, gallery = make_nodes(3), make_nodes(11, seed=1)
    rows = torch.tensor([[10, 0], [4, 4], [2, 7]])
    expected = final_distances(query, gallery, graph).gather(1, rows)
    assert_close(listed_pairs(query, gallery, rows, graph=graph), expected)


def test_nearest_of_a_small_gallery_are_all_of_it(graph):
    assert nearest_nodes(make_nodes(2), make_nodes(3), 10, graph=graph)[1].shape == (2, 3)
    with pytest.raises(ValueError, match="got 0"):
        nearest_nodes(make_nodes(2), make_nodes(3), 0, graph=graph)


# --- attribution ------------------------------------------------------------------------------


@pytest.mark.parametrize("power", [2.0, 1.0, 3.0])
def test_shares_of_all_nodes_sum_to_the_distance(power):
    query, match, graph = make_nodes(1), make_nodes(1, seed=1), make_graph(power=power)
    shares = distance_shares(query, match, graph)
    assert_close(shares.distance, final_distances(query, match, graph)[0, 0])
    assert_close(sum(w.sum() for w in shares.weights), torch.tensor(float(D)), rtol=1e-4, atol=0)


def test_a_planted_difference_is_found_at_its_node_and_parent():
    """Images that differ in one lower node, which one higher node listens to, that is not sure."""
    query, match = make_nodes(1), make_nodes(1)
    match.embeddings[0][0, 5] = -2 * match.embeddings[0].abs().max()
    links = torch.zeros(D, D)
    links[5, 11] = 1.0
    links[0, torch.arange(D) != 11] = 1.0
    nothing, closed = torch.zeros(D), torch.full((D,), -9.0)
    graph = Graph((links, torch.eye(D)), (nothing,) * 3, (nothing, closed, closed))
    shares = distance_shares(query, match, graph)
    assert [int(shares.of_level(level).argmax()) for level in range(1)] == [5]
    assert shares.of_level(0)[5] > 0.9 * shares.distance * 0.5
    assert float(shares.of_level(2).sum()) < 1e-6
    parents = strongest_parents(shares, graph, level=0, node=5)
    assert int(parents.nodes[0]) == 11
    assert_close(parents.amounts[0], shares.of_level(0)[5])


@pytest.mark.parametrize("level", range(LEVELS))
def test_what_parents_let_through_is_all_there_is(level, graph):
    shares = distance_shares(make_nodes(1), make_nodes(1, seed=1), graph)
    parents = strongest_parents(shares, graph, level=level, node=3, k=D)
    if level == LEVELS - 1:
        assert len(parents.nodes) == 0
    else:
        assert_close(parents.amounts.sum(), shares.of_level(level)[3])
        assert torch.equal(parents.amounts, parents.amounts.sort(descending=True).values)


@pytest.mark.parametrize("power", [2.0, 1.0, 3.0])
def test_a_map_of_cells_sums_to_the_levels_part(power, noise):
    cells, other, weights = noise(15, 6), noise(6, seed=1), noise(6, seed=2).abs()
    expected = (weights * (cells.sum(0) - other).abs().pow(power)).sum()
    assert_close(distance_map(cells, other, weights, power).sum(), expected, rtol=1e-4, atol=1e-5)


def test_the_cell_that_differs_is_the_one_that_counts():
    h, w = 3, 5
    cells = torch.full((h * w, 4), 0.1 / (h * w))
    cells[1 * w + 4, 2] += 1.0
    values = distance_map(cells, torch.full((4,), 0.1), torch.ones(4)).reshape(h, w)
    assert divmod(int(values.argmax()), w) == (1, 4)
    assert_close(values[1, 4], torch.tensor(1.0))


def test_the_inferred_differences_of_the_highest_level_sum_to_the_distance():
    query, match, graph = make_nodes(1), make_nodes(1, seed=1), make_graph()
    shares = distance_shares(query, match, graph)
    found = inferred(shares, graph, shares.differences)
    assert_close(found[-1].sum(), final_distances(query, match, graph)[0, 0])
    node, expected = 6, 0.0  # by hand, one node of the middle level
    for low in range(D):
        expected += float(graph.links[0][low, node] * shares.differences[0][low])
    gate = float(graph.gates(1, query.certainties[1][0], match.certainties[1][0])[node])
    own = float(shares.differences[1][node])
    assert float(found[1][node]) == pytest.approx(gate * own + (1 - gate) * expected, rel=1e-5)


def test_own_differences_and_corrections_sum_to_the_distance():
    query, match, graph = make_nodes(1), make_nodes(1, seed=1), make_graph()
    shares = distance_shares(query, match, graph)
    found = corrections(shares, graph)
    assert not found[0].any() and all(level.abs().max() > 1e-4 for level in found[1:])
    assert_close(shares.differences[-1].sum() + torch.stack(found).sum(), shares.distance)


def test_a_reliable_graph_corrects_nothing():
    query, match, graph = make_nodes(1), make_nodes(1, seed=1), make_graph()
    sure = replace(graph, biases=tuple(bias + 99 for bias in graph.biases))
    shares = distance_shares(query, match, sure)
    assert not torch.stack(corrections(shares, sure)).any()
