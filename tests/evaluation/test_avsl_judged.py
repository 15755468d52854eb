"""AVSL models are judged, compared and searched by the distance that they infer."""

import dataclasses
import json

import pytest
import torch
from torch.testing import assert_close
from typer.testing import CliRunner

from lookalike.cli import app
from lookalike.datasets import read_dataset
from lookalike.errors import DatasetError
from lookalike.evaluation import cluster_agreement, embed_images, evaluate, labeled, retrieve, summarize
from lookalike.evaluation.comparison import compare
from lookalike.gallery import Gallery, folder_labels
from lookalike.models.avsl import AvslModel
from lookalike.models.embedder import Embedder
from lookalike.ops import compared
from lookalike.ops.avsl import final_distances
from made_avsl import avsl_embedder
from made_classes import class_folders


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return class_folders(tmp_path_factory.mktemp("classes") / "data", n_classes=4, n_images=5)


@pytest.fixture(scope="module")
def embedder():
    """Links and gates with a say: the order by cosine is another."""
    return avsl_embedder(bias=-0.1)


@pytest.fixture(scope="module")
def judged(folder, embedder):
    return embed_images(embedder, read_dataset(folder), source="made up")


@pytest.fixture(scope="module")
def distances(judged, embedder):
    model = AvslModel(embedder)
    nodes = model.nodes(list(judged.paths))
    return final_distances(nodes, nodes, model.graph_on_cpu).detach()


def test_every_query_is_ranked_by_its_distance_to_every_image(judged, distances):
    retrieved = retrieve(judged, ks=[1, 3, 7])
    alone = distances.clone().fill_diagonal_(torch.inf)
    order = alone.argsort(dim=1)
    assert torch.equal(retrieved.nearest, order[:, :10])
    assert_close(retrieved.similarities, 1 - alone.gather(1, order)[:, :10] / 2, atol=1e-5, rtol=1e-5)
    codes = torch.tensor([judged.classes.index(label) for label in judged.labels])
    right = codes[order] == codes[:, None]
    for column, k in enumerate((1, 3, 7)):
        assert_close(retrieved.values[:, column], right[:, :k].any(1).double())
    by_cosine = retrieve(dataclasses.replace(judged, nodes=None), ks=[1])
    assert not torch.equal(by_cosine.nearest, retrieved.nearest)


def test_blocks_of_any_size_give_the_same(judged, monkeypatch):
    whole = retrieve(judged)
    monkeypatch.setattr(compared, "_KEPT", 4)  # streamed: no distances are kept
    monkeypatch.setattr("lookalike.evaluation.retrieval._BLOCK", 3 * len(judged))
    fresh = dataclasses.replace(judged, nodes=compared.ComparedNodes(judged.nodes.nodes, judged.nodes.graph))
    streamed = retrieve(fresh)
    assert torch.equal(streamed.nearest, whole.nearest) and torch.equal(streamed.values, whole.values)


def test_queries_of_another_split_are_compared_by_the_distance_too(judged, embedder, folder, distances):
    images = read_dataset(folder)
    rows = [0, 7, 13]
    asked = dataclasses.replace(images, paths=tuple(images.paths[i] for i in rows),
                                labels=tuple(images.labels[i] for i in rows))  # fmt: skip
    queries = embed_images(embedder, asked, source="queries")
    found = retrieve(queries, judged)
    assert found.nearest[:, 0].tolist() == rows  # a query among the gallery finds itself
    assert torch.equal(found.nearest, distances[rows].argsort(dim=1)[:, :10])
    plain = labeled(queries.values, queries.labels, source="plain")
    with pytest.raises(DatasetError, match="one of them by an AVSL model's distance"):
        retrieve(plain, judged)


def test_clusters_come_from_the_distance(judged):
    agreement = cluster_agreement(judged)
    assert agreement.method == "k-medoids of the inferred distance" and agreement.n_clusters == 4
    assert 0 <= agreement.f1 <= 1 and agreement.nmi <= 1
    with_vectors = cluster_agreement(dataclasses.replace(judged, nodes=None))
    assert with_vectors.method == "k-means"


def test_an_evaluation_says_what_it_is_judged_by(folder, embedder):
    evaluation = evaluate(folder, embedder, ks=[1, 100])
    rules = " ".join(evaluation.rules)
    assert "one minus half the distance that it infers" in rules and "k-medoids" in rules
    assert [row[0] for row in evaluation.rows()][-3:] == ["NMI", "AMI", "F1"]
    assert evaluation.metric("recall_at_100").value == 1
    assert json.loads(json.dumps(evaluation.to_dict()))["clusters"]["f1"] == evaluation.clusters.f1


def test_models_are_compared_by_their_own_similarity(judged):
    plain = dataclasses.replace(judged, nodes=None, model="plain")
    comparison = compare(judged, plain)
    expected = [summarize(retrieve(side)).metric("map_at_r").value for side in (judged, plain)]
    found = next(each for each in comparison.metrics if each.name == "map_at_r")
    assert [found.first, found.second] == pytest.approx(expected)
    assert expected[0] != expected[1]
    assert sum("inferred" in rule or "infers" in rule for rule in comparison.rules) == 1


@pytest.fixture(scope="module")
def gallery(folder, embedder, tmp_path_factory):
    embedder.save(tmp_path_factory.mktemp("model") / "avsl")
    uri = str(tmp_path_factory.mktemp("gallery") / "g")
    made = Gallery.create(uri, model=embedder)
    made.add(folder, workers=0)
    return uri, made


def test_a_gallery_says_that_it_lacks_the_nodes(embedder, folder, tmp_path):
    embedder.save(tmp_path / "avsl")
    saved = Embedder.load(tmp_path / "avsl", device="cpu")
    saved.name = str(tmp_path / "avsl")
    made = Gallery.create(str(tmp_path / "g"), model=str(tmp_path / "avsl"))
    made.add(folder, workers=0, metadata=folder_labels(folder))
    evaluation = evaluate(str(tmp_path / "g"), clustering=False)
    assert any("holds the embedding of its highest level only" in rule for rule in evaluation.rules)
    assert not any("highest level only" in rule for rule in evaluate(folder, saved, clustering=False).rules)


def search(gallery, monkeypatch, *arguments):
    monkeypatch.setattr(Gallery, "open", lambda *_, **__: gallery[1])
    result = CliRunner().invoke(app, ["search", "-g", gallery[0], *map(str, arguments)])
    assert result.exit_code == 0, result.output
    return result.stdout


def test_a_search_ranks_by_the_distance_unless_told_otherwise(gallery, monkeypatch, judged, distances):
    query = judged.paths[6]
    asked = ("-k", 20, "--json", query)
    by_distance = json.loads(search(gallery, monkeypatch, *asked))["hits"]
    ranked = [judged.paths[i].name + judged.labels[i] for i in distances[6].argsort().tolist()]
    found = [f"{hit['path'].split('/')[-1]}{hit['path'].split('/')[-2]}" for hit in by_distance]
    assert found == ranked
    assert by_distance[3]["score"] == pytest.approx(1 - float(distances[6].sort().values[3]) / 2, abs=1e-4)
    plain = json.loads(search(gallery, monkeypatch, "--rerank", "none", *asked))["hits"]
    assert [hit["path"] for hit in plain] != [hit["path"] for hit in by_distance]
    assert "ranked by AVSL's inferred distance" in search(gallery, monkeypatch, query)
    assert "ranked by" not in search(gallery, monkeypatch, query, "--box", "0,0,40,40")
