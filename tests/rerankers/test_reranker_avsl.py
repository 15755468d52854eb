"""Re-ranking by the inferred distance: order, limits, and a gallery of an AVSL model."""

import json

import pytest
import torch
from fastapi.testclient import TestClient
from torch.testing import assert_close
from typer.testing import CliRunner

from lookalike.cli import app
from lookalike.errors import UnreadableImageError, UnsupportedMethodError
from lookalike.explainers import explain
from lookalike.gallery import Gallery, reranking
from lookalike.models.avsl import AvslModel
from lookalike.ops.avsl import Graph, Nodes, final_distances
from lookalike.rerankers import AvslReranking, first_stage, make_reranker
from lookalike.web import create_app
from made_avsl import avsl_embedder

WIDTH = 6


def nodes(n, seed):
    generator = torch.Generator().manual_seed(seed)
    return Nodes(
        tuple(torch.randn(n, WIDTH, generator=generator) for _ in range(3)),
        tuple(torch.rand(n, WIDTH, generator=generator) for _ in range(3)),
    )


@pytest.fixture
def made(noise):
    links = tuple(noise(WIDTH, WIDTH, seed=5 + i).relu() for i in range(2))
    nothing = (torch.zeros(WIDTH),) * 3
    graph = Graph(tuple(link / link.sum(0) for link in links), nothing, nothing)
    query, gallery = nodes(2, 1), nodes(9, 2)
    ranking = first_stage(query.embeddings[2], gallery.embeddings[2], k=9)
    asked = []

    def of_rows(rows):
        asked.extend(rows)
        return gallery.rows(torch.tensor(rows))

    def reranker(**options):
        return AvslReranking(lambda i: query.rows(slice(i, i + 1)), of_rows, graph, **options)

    return reranker, ranking, final_distances(query, gallery, graph), asked


def test_the_order_is_that_of_the_distance(made):
    reranker, ranking, distances, _ = made
    after = reranker()(ranking)
    assert torch.equal(after.indices, distances.argsort(dim=1))
    assert not torch.equal(after.indices, ranking.indices)
    assert_close(after.scores, 1 - distances.sort(dim=1).values / 2, atol=1e-5, rtol=1e-5)


def test_only_the_first_n_are_looked_at_and_the_rest_stay_behind(made):
    reranker, ranking, distances, asked = made
    first = reranker(n=4)
    after = first(ranking)
    first.explain(ranking, 1, int(ranking.indices[1, 0]))
    assert sorted(asked) == sorted({int(row) for row in ranking.indices[:, :4].flatten()})  # each once
    assert torch.equal(after.indices[:, 4:], ranking.indices[:, 4:])
    assert bool((after.scores.diff(dim=1) <= 1e-6).all())
    for i in range(2):
        mine = ranking.indices[i, :4]
        assert torch.equal(after.indices[i, :4], mine[distances[i, mine].argsort()])


def test_a_move_says_ranks_before_and_after(made):
    reranker, ranking, distances, _ = made
    row = int(distances[1].argmin())
    move = reranker().explain(ranking, 1, row)
    assert move.rank_after == 1 and move.rank_before == ranking.indices[1].tolist().index(row) + 1
    assert move.influences == ()


def test_without_a_gallery_it_says_what_it_needs():
    with pytest.raises(ValueError, match="needs query_nodes and gallery_nodes and graph"):
        make_reranker("avsl")
    with pytest.raises(ValueError, match="functions that return Nodes"):
        make_reranker("avsl", query_nodes=1, gallery_nodes=2, graph=3)


def test_a_gallery_of_an_avsl_model(pictures, tmp_path):
    model = avsl_embedder()
    files = []
    for i, picture in enumerate([*pictures, *(p.rotate(90, expand=True) for p in pictures)]):
        files.append(tmp_path / f"{i}.png")
        picture.save(files[-1])
    gallery = Gallery.in_memory(model)
    gallery.add(files, workers=0)
    hits = gallery.search(files[0], k=8, rerank="avsl")
    avsl = AvslModel(model)
    distances = avsl.distances(avsl.nodes(files[:1]), avsl.nodes(files))[0]
    assert [int(hit.path.stem) for hit in hits] == distances.argsort().tolist()
    assert_close(
        torch.tensor([hit.score for hit in hits]), 1 - distances.sort().values / 2, atol=1e-4, rtol=1e-4
    )
    assert hits[0].influences() == ()
    assert hits[2].why("avsl").similarity == pytest.approx(hits[2].score, abs=1e-4)
    assert explain(files[0], hits[2].path, model=model, method="avsl").distance == pytest.approx(
        2 - 2 * hits[2].score, abs=2e-4
    )
    with pytest.raises(UnsupportedMethodError, match="whole images"):
        gallery.search(files[0], box=(0, 0, 20, 20), rerank="avsl")


@pytest.fixture(scope="module")
def of_graph(pictures, tmp_path_factory):
    """A saved AVSL model, a gallery of it and the files in it."""
    folder = tmp_path_factory.mktemp("avsl")
    avsl_embedder(bias=-0.1).save(folder / "model")
    files = []
    for i, picture in enumerate([*pictures, *(p.rotate(90, expand=True) for p in pictures)]):
        files.append(folder / f"{i}.png")
        picture.save(files[-1])
    gallery = Gallery.create(folder / "g.gallery", model=str(folder / "model"))
    gallery.add(files, workers=0)
    return gallery, files


def test_python_the_command_line_and_http_rank_by_the_distance_unless_told_otherwise(of_graph):
    gallery, files = of_graph
    model = AvslModel(gallery.embedder)
    distances = model.distances(model.nodes(files[:1]), model.nodes(files))[0]
    unit = torch.from_numpy(gallery.embedding(gallery.search(files[0])[0].id))
    cosines = [float(unit @ torch.from_numpy(gallery.embedding(r.id))) for r in gallery.records()]
    by_cosine = [gallery.records()[i].path for i in torch.tensor(cosines).argsort(descending=True)]
    by_distance = [str(files[i]) for i in distances.argsort()]
    assert by_cosine != by_distance  # or this test could not tell them apart

    def in_python(rerank):
        found = gallery.search(files[0], k=8, rerank=rerank)
        return found.rerank, [str(hit.path) for hit in found]

    def in_the_shell(*options):
        asked = ["search", str(files[0]), "-g", gallery.uri, "-k", "8", "--json", *options]
        answer = json.loads(CliRunner().invoke(app, asked).stdout)
        return answer["rerank"], [hit["path"] for hit in answer["hits"]]

    client = TestClient(create_app(gallery, allowed_hosts=("testserver",)))
    (described,) = client.get("/api/galleries").json()
    assert described["infers_distance"]
    of_id = {record.id: record.path for record in gallery.records()}
    query = next(id for id, path in of_id.items() if path == str(files[0]))

    def over_http(**options):
        answer = client.post(f"/api/galleries/{described['name']}/search", json={"query": query, **options})
        return answer.json()["rerank"], [of_id[hit["id"]] for hit in answer.json()["hits"]]

    assert in_python(None) == in_the_shell() == over_http() == ("avsl", by_distance)
    assert in_python("none") == in_the_shell("--rerank", "none") == over_http(rerank="none")
    assert over_http(rerank="none") == (None, by_cosine)
    assert gallery.search(files[0])[1].why().method == "avsl"


def test_what_is_not_one_whole_image_is_ranked_by_the_cosine(of_graph):
    gallery, files = of_graph
    for found in (
        gallery.search(files[0], box=(5, 5, 80, 60)),
        gallery.search(files[:2]),
        gallery.search(gallery.search(files[0]).query.unit),
    ):
        assert found.rerank is None and all(hit.score == hit.similarity for hit in found)


def test_more_than_fifty_hits_have_a_distance_if_they_are_shown(monkeypatch, of_graph):
    gallery, files = of_graph
    monkeypatch.setattr(reranking, "_N_BY_NODES", 2)
    scores = [hit.score for hit in gallery.search(files[0], k=5)]
    model = AvslModel(gallery.embedder)
    nearest = [hit.path for hit in gallery.search(files[0], k=5, rerank="none")]
    distances = model.distances(model.nodes(files[:1]), model.nodes(nearest))[0].sort().values
    assert_close(torch.tensor(scores), 1 - distances / 2, atol=1e-4, rtol=1e-4)


def test_an_image_that_can_not_be_read_stays_behind_those_with_a_distance(made):
    reranker, ranking, distances, _ = made
    read = reranker()
    gone, of_rows = int(distances[0].argmin()), read._gallery_nodes

    def but_one(rows):
        if gone in rows:
            raise UnreadableImageError("gone.png: no such file")
        return of_rows(rows)

    read._gallery_nodes = but_one
    after = read(ranking)
    for i in range(2):
        assert after.indices[i].tolist() == [
            *(row for row in distances[i].argsort().tolist() if row != gone), gone
        ]  # fmt: skip
    assert bool((after.scores.diff(dim=1) <= 0).all())


def test_a_gallery_says_which_image_it_could_not_read(pictures, tmp_path):
    gallery = Gallery.in_memory(avsl_embedder())
    for i, picture in enumerate(pictures):
        picture.save(tmp_path / f"{i}.png")
    gallery.add(tmp_path, workers=0)
    gone = gallery.search(tmp_path / "0.png")[1].path
    gone.unlink()
    found = gallery.search(tmp_path / "0.png")
    assert list(found.unreadable) == [str(gone)] and found[-1].path == gone and len(found) == 4


def test_a_gallery_of_another_model_says_that_it_has_no_graph(pictures, tmp_path):
    pictures[0].save(tmp_path / "a.png")
    gallery = Gallery.in_memory("mini")
    gallery.add(tmp_path / "a.png", workers=0)
    with pytest.raises(UnsupportedMethodError, match="no graph of nodes"):
        gallery.search(tmp_path / "a.png", rerank="avsl")
