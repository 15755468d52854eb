"""A gallery of an AVSL model: re-ranked by its distance, explained by its nodes."""

import numpy as np
import pytest
from fastapi.testclient import TestClient

from lookalike.gallery import Gallery
from lookalike.web import create_app
from made_avsl import avsl_embedder


@pytest.fixture(scope="module")
def client(pictures, tmp_path_factory):
    folder = tmp_path_factory.mktemp("avsl")
    for i, picture in enumerate(pictures):
        picture.save(folder / f"{i}.png")
    gallery = Gallery.in_memory(avsl_embedder())
    gallery.add(folder, workers=0)
    with TestClient(create_app(gallery, allowed_hosts=("testserver",))) as client:
        client.record = gallery.search(folder / "0.png")[0].id
        yield client


def search(client, **wanted):
    name = client.get("/api/health").json()["galleries"][0]
    body = {"query": client.record, "rerank": "avsl", "leave_self_out": True} | wanted
    answer = client.post(f"/api/galleries/{name}/search", json=body)
    answer.request_body = body
    return name, answer


def test_the_order_is_explained_by_what_made_it(client):
    assert "avsl" in client.get("/api/health").json()["rerankers"]
    name, answer = search(client)
    hits = answer.json()["hits"]
    assert len(hits) == 3
    asked = {"query": client.record, "match": hits[1]["id"], "method": "avsl"}
    why = client.get(f"/api/galleries/{name}/explanation", params=asked).json()
    assert why["method"] == "avsl" and why["similarity"] == pytest.approx(hits[1]["score"], abs=1e-4)
    assert len(why["query_map"]) == 8
    picture = client.get(f"/api/galleries/{name}/explanation/query.png", params=asked)
    assert picture.headers["content-type"] == "image/png"


def test_levels_chains_and_corrections_are_told(client):
    name, answer = search(client)
    asked = {"query": client.record, "match": answer.json()["hits"][0]["id"], "method": "avsl"}
    why = client.get(f"/api/galleries/{name}/explanation", params=asked).json()
    changed = sum(level["correction"] for level in why["levels"])
    assert why["own_distance"] + changed == pytest.approx(why["distance"])
    assert [level["level"] for level in why["levels"]] == [1, 2, 3]
    for level in why["levels"]:
        assert np.sum(level["query_map"]) == pytest.approx(level["common"], abs=1e-5)
        largest = max(np.abs(level[side]).max() for side in ("query_map", "match_map"))
        assert level["limit"] == pytest.approx(largest * np.size(level["query_map"]) / 100, rel=1e-5)
    assert sum(level["common"] for level in why["levels"]) == pytest.approx(
        np.sum(why["query_map"]), abs=1e-5
    )
    for chain in (*why["together"], *why["apart"]):
        assert [node["level"] for node in chain["nodes"]] == [3, 2, 1] and len(chain["links"]) == 2
    assert len(why["corrected"]) == 5 and np.shape(why["corrected"][0]["query_map"]) in ((2, 3), (4, 6))


def test_other_methods_have_no_graph(client):
    name, answer = search(client)
    asked = {"query": client.record, "match": answer.json()["hits"][0]["id"], "method": "shares"}
    assert "levels" not in client.get(f"/api/galleries/{name}/explanation", params=asked).json()


def test_the_report_says_which_method_it_is_and_draws_the_graph_of_every_match(client):
    name, answer = search(client)
    report = client.post(f"/api/galleries/{name}/report", json=answer.request_body)
    assert report.status_code == 200 and "avsl" in report.text
    assert report.text.count("nodes of the graph</summary>") == 2  # three hits, and the best is drawn whole


def test_parts_are_refused(client):
    name, _ = search(client)
    asked = {"query": client.record, "match": client.record, "method": "avsl", "box": "0,0,20,20"}
    assert client.get(f"/api/galleries/{name}/explanation", params=asked).status_code == 422
    assert search(client, box=[0, 0, 20, 20])[1].status_code == 422
