"""The published code's metrics: two training steps and an evaluation."""

import pytest
import torch

from lookalike.ops.avsl import (
    Graph,
    Nodes,
    activation_maps,
    all_pairs,
    certainty,
    distance_shares,
    final_distances,
    level_distances,
    map_cosines,
    moving_average,
    node_embedding,
    proxy_anchor_loss,
    sparse_links,
)

LEVELS = range(3)
RELATIVE = 1e-5


def close(ours, published):
    assert ours.shape == published.shape
    assert float((ours - published).abs().max() / published.abs().max()) < RELATIVE


def maps_of(golden, part):
    return [
        activation_maps(
            golden[f"{part}/feature_{i}"],
            golden[f"embedder/conv1x1_{i}.weight"].flatten(1),
            golden[f"embedder/conv1x1_{i}.bias"],
        )
        for i in LEVELS
    ]


def embeddings_of(golden, part):
    return [
        node_embedding(
            golden[f"{part}/feature_{i}"],
            golden[f"embedder/conv1x1_{i}.weight"].flatten(1),
            golden[f"embedder/conv1x1_{i}.bias"],
        )
        for i in LEVELS
    ]


def nodes_of(golden, part):
    return Nodes(tuple(embeddings_of(golden, part)), tuple(certainty(m) for m in maps_of(golden, part)))


def graph_of(golden, links):
    return Graph(
        tuple(sparse_links(link, 6) for link in links),
        tuple(golden[f"collector_before/prob_coef_{i}"] for i in LEVELS),
        tuple(golden[f"collector_before/prob_bias_{i}"] for i in LEVELS),
    )


@pytest.mark.parametrize("part", ["train0", "train1", "eval"])
def test_embeddings_and_certainties(golden, part):
    for i, (embedding, maps) in enumerate(
        zip(embeddings_of(golden, part), maps_of(golden, part), strict=True)
    ):
        close(embedding, golden[f"{part}/embedding_{i}"])
        close(certainty(maps), golden[f"{part}/certainty_{i}"])


def test_activation_maps(golden):
    for i, maps in enumerate(maps_of(golden, "eval")):
        close(maps, golden[f"eval/cam_{i}"])


def test_links_and_their_moving_average_over_two_steps(golden):
    for low in LEVELS[:2]:
        key = f"{low}to{low + 1}"
        links = []
        for part in ("train0", "train1"):
            maps = maps_of(golden, part)
            links.append(map_cosines(maps[low], maps[low + 1]))
            close(links[-1], golden[f"{part}/link_{key}"])
        close(links[0], golden[f"train0/buffer_{key}"])  # the first step takes them as they are
        close(moving_average(links[0], links[1], 0.5), golden[f"train1/buffer_{key}"])


@pytest.mark.parametrize("part", ["train0", "train1"])
def test_the_four_distances_and_losses_of_a_training_step(golden, part):
    images, labels = nodes_of(golden, part), golden[f"{part}/labels"]
    proxies = Nodes(
        tuple(golden[f"collector_before/proxy_{i}"] for i in LEVELS),
        tuple(torch.ones(5, 20) * c.mean() for c in images.certainties),
    )
    graph = graph_of(golden, [golden[f"{part}/buffer_{i}to{i + 1}"] for i in LEVELS[:2]])
    distances = {
        f"level{i}": level_distances(images.embeddings[i], proxies.embeddings[i]) for i in LEVELS
    } | {"final": final_distances(images, proxies, graph)}
    for name, values in distances.items():
        close(values, golden[f"{part}/distance_{name}"])
        loss = proxy_anchor_loss(values, labels, golden["collector_before/proxy_labels"])
        close(loss, golden[f"{part}/loss_{name}"])


@pytest.mark.parametrize("compute", [
    lambda nodes, graph: final_distances(nodes, nodes, graph),
    lambda nodes, graph: all_pairs(nodes, graph=graph, tile=4),
    lambda nodes, graph: all_pairs(nodes, nodes, graph=graph, tile=5),
    lambda nodes, graph: torch.stack([
        torch.stack([distance_shares(nodes.rows(slice(i, i + 1)), nodes.rows(slice(j, j + 1)), graph).distance
                     for j in range(9)]) for i in range(9)]),
], ids=["formula", "half of the tiles", "all tiles", "sum of shares"])  # fmt: skip
def test_the_evaluation_distance(golden, compute):
    graph = graph_of(golden, [golden[f"train1/buffer_{i}to{i + 1}"] for i in LEVELS[:2]])
    close(compute(nodes_of(golden, "eval"), graph), golden["eval/distance"])
