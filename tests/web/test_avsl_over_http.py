"""A gallery of an AVSL model: re-ranked by its distance, explained by its nodes."""

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
    return name, client.post(f"/api/galleries/{name}/search", json=body)


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


def test_the_report_says_which_method_it_is(client):
    name, _ = search(client)
    report = client.post(f"/api/galleries/{name}/report", json={"query": client.record, "rerank": "avsl"})
    assert report.status_code == 200 and "avsl" in report.text


def test_parts_are_refused(client):
    name, _ = search(client)
    asked = {"query": client.record, "match": client.record, "method": "avsl", "box": "0,0,20,20"}
    assert client.get(f"/api/galleries/{name}/explanation", params=asked).status_code == 422
    assert search(client, box=[0, 0, 20, 20])[1].status_code == 422
