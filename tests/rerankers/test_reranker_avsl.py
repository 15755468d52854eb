"""Re-ranking by the inferred distance: order, limits, and a gallery of an AVSL model."""

import pytest
import torch
from torch.testing import assert_close

from lookalike.errors import UnreadableImageError, UnsupportedMethodError
from lookalike.explainers import explain
from lookalike.gallery import Gallery
from lookalike.models.avsl import AvslModel
from lookalike.ops.avsl import Graph, Nodes, final_distances
from lookalike.rerankers import AvslReranking, first_stage, make_reranker
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


def test_a_gallery_of_another_model_says_that_it_has_no_graph(pictures, tmp_path):
    pictures[0].save(tmp_path / "a.png")
    gallery = Gallery.in_memory("mini")
    gallery.add(tmp_path / "a.png", workers=0)
    with pytest.raises(UnsupportedMethodError, match="no graph of nodes"):
        gallery.search(tmp_path / "a.png", rerank="avsl")


def test_images_that_cannot_be_read_follow_those_that_can(made):
    whole, ranking, distances, _ = made
    bad = {int(ranking.indices[0, 0]), int(ranking.indices[0, 4])}
    asked = []

    def of_rows(rows):
        asked.append(list(rows))
        if bad & set(rows):
            raise UnreadableImageError("gone")
        return whole()._gallery_nodes(rows)

    reranker = AvslReranking(whole()._query_nodes, of_rows, whole().graph)
    after = reranker(ranking)
    reranker(ranking)
    assert asked == [ranking.indices[0].tolist(), *([row] for row in ranking.indices[0].tolist())]
    for i in range(2):
        readable = [row for row in distances[i].argsort().tolist() if row not in bad]
        lowest = min(0.0, float(1 - distances[i, readable].max() / 2))
        scores = dict(zip(after.indices[i].tolist(), after.scores[i].tolist(), strict=True))
        assert all(scores[row] == pytest.approx(lowest, abs=1e-5) for row in bad)
        assert [row for row in after.indices[i].tolist() if row not in bad] == readable


def test_a_shortlist_that_cannot_be_read_at_all_keeps_its_order(made):
    whole, ranking, _, _ = made

    def of_rows(rows):
        raise UnreadableImageError("gone")

    after = AvslReranking(whole()._query_nodes, of_rows, whole().graph)(ranking)
    assert torch.equal(after.indices, ranking.indices) and not after.scores.any()


def test_a_file_of_a_gallery_that_is_gone_is_named_and_ranks_last(pictures, tmp_path):
    for i, picture in enumerate(pictures):
        picture.save(tmp_path / f"{i}.png")
    gallery = Gallery.in_memory(avsl_embedder())
    gallery.add(tmp_path, workers=0)
    whole = gallery.search(tmp_path / "0.png", k=4, rerank="avsl")
    gone = whole[1].path
    gone.unlink()
    found = gallery.search(tmp_path / "0.png", k=4, rerank="avsl")
    assert list(found.unreadable) == [str(gone)] and "no such file" in found.unreadable[str(gone)]
    assert [hit.path for hit in found] == [hit.path for hit in whole if hit.path != gone] + [gone]
