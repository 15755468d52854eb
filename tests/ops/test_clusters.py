"""Clusters without vectors, and their agreement with labels."""

import itertools

import pytest
import torch

from lookalike.ops.clusters import k_medoids, mutual_information, pair_f1


def test_planted_groups_are_found_from_distances_alone(noise):
    codes = torch.arange(60) % 5
    places = 9.0 * torch.eye(5)[codes] + 0.3 * noise(60, 5)
    clusters = k_medoids(60, 5, lambda a, b: torch.cdist(places[a], places[b]) ** 2, seed=3)
    assert mutual_information(codes, clusters)[0] == pytest.approx(1)


def test_every_cluster_has_a_member_even_among_equal_items():
    clusters = k_medoids(6, 4, lambda a, b: torch.zeros(len(a), len(b)))
    assert len(clusters.unique()) == 4
    with pytest.raises(ValueError, match="1 to the 6 items, got 7"):
        k_medoids(6, 7, lambda a, b: torch.zeros(len(a), len(b)))


def test_no_single_medoid_of_a_cluster_could_be_better(noise):
    places = noise(40, 3)
    table = torch.cdist(places, places)
    clusters = k_medoids(40, 4, lambda a, b: table[a][:, b], seed=1)
    asked = []
    k_medoids(40, 4, lambda a, b: asked.append(len(a) * len(b)) or table[a][:, b], seed=1)
    assert max(asked) < 40 * 40  # never the whole table
    medoids = []
    for i in range(4):
        members = (clusters == i).nonzero()[:, 0]
        medoids.append(members[table[members][:, members].sum(1).argmin()])
    nearest = table[:, torch.stack(medoids)].argmin(1)
    assert torch.equal(nearest, clusters)


@pytest.mark.parametrize("seed", range(4))
def test_f1_of_pairs_equals_a_loop_over_them(seed):
    generator = torch.Generator().manual_seed(seed)
    codes, clusters = (torch.randint(n, (25,), generator=generator) for n in (6, 4))
    right = found = relevant = 0
    for i, j in itertools.combinations(range(25), 2):
        same, together = codes[i] == codes[j], clusters[i] == clusters[j]
        right, found, relevant = right + (same and together), found + together, relevant + same
    precision, recall = right / found, right / relevant
    assert pair_f1(codes, clusters) == pytest.approx(float(2 * precision * recall / (precision + recall)))


def test_without_pairs_nothing_is_wrong():
    assert pair_f1(torch.arange(3), torch.arange(3)) == 1


SIZES = ((25, 6, 4), (300, 40, 40), (80, 3, 70), (9, 2, 1), (12, 12, 3), (7, 7, 7))


@pytest.mark.parametrize(("n", "n_labels", "n_clusters"), SIZES)
def test_mutual_information_is_that_of_another_library(n, n_labels, n_clusters):
    metrics = pytest.importorskip("sklearn.metrics")
    generator = torch.Generator().manual_seed(n)
    codes, clusters = (torch.randint(k, (n,), generator=generator) for k in (n_labels, n_clusters))
    if n == 7:  # all alone on both sides
        codes = clusters = torch.arange(7)
    nmi, ami = mutual_information(codes, clusters)
    assert nmi == pytest.approx(metrics.normalized_mutual_info_score(codes, clusters), abs=1e-9)
    assert ami == pytest.approx(metrics.adjusted_mutual_info_score(codes, clusters), abs=1e-9)
