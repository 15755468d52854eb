"""Words over HTTP: searches, explanations, pictures; what galleries of other models say."""

import numpy as np
import pytest
from starlette.testclient import TestClient

from lookalike.gallery import Gallery
from lookalike.web import create_app
from made_image_text import save_transformers


@pytest.fixture(scope="module")
def worded(room_folder, tmp_path_factory):
    """A gallery of an image-text model."""
    gallery = Gallery.in_memory(save_transformers(tmp_path_factory.mktemp("model"), "clip"))
    gallery.add(room_folder, workers=0)
    return gallery


@pytest.fixture(scope="module")
def words_client(worded):
    with TestClient(create_app(worded)) as client:
        yield client


def route(client, rest):
    return f"/api/galleries/{client.get('/api/galleries').json()[0]['name']}/{rest}"


def test_galleries_say_whether_they_answer_words(client, words_client):
    assert words_client.get("/api/galleries").json()[0]["answers_words"]
    health = words_client.get("/api/health").json()
    assert health["answers_words"] == health["galleries"]
    assert client.get("/api/health").json()["answers_words"] == []
    answer = client.post(route(client, "search"), json={"text": "a sofa"})
    assert answer.status_code == 422 and "does not answer words" in answer.json()["detail"]


def test_a_search_by_words_is_that_of_the_library(worded, words_client):
    answer = words_client.post(route(words_client, "search"), json={"text": "red sofa", "k": 5}).json()
    hits = worded.search(text="red sofa", k=5)
    assert [hit["id"] for hit in answer["hits"]] == [hit.id for hit in hits]
    assert answer["query"] is None and answer["asked"] == "red sofa" and answer["hits"][0]["query_map"] == []
    match = answer["hits"][0]["id"]
    why = words_client.get(
        route(words_client, "explanation/words"), params={"text": "red sofa", "match": match}
    ).json()
    assert why["similarity"] == pytest.approx(hits[0].similarity, abs=1e-5)
    assert np.sum(why["match_map"]) + why["match_residual"] == pytest.approx(why["similarity"], abs=1e-5)
    assert [part["label"] for part in why["parts"]] == ["red", "sofa"] and why["part_limit"] > 0
    pictures = [
        words_client.get(
            route(words_client, "explanation/words.png"),
            params={"text": "red sofa", "match": match, "side": 200} | part,
        )
        for part in ({}, {"part": 1}, {"part": 2})
    ]
    assert [each.status_code for each in pictures] == [200, 200, 422]
    assert pictures[0].content != pictures[1].content


def test_a_picture_with_words_and_what_is_not_wanted(worded, words_client):
    ids = [record.id for record in worded.records()]
    asked = {"query": ids[0], "text": "stripes", "weight": 0.9, "unlike": [ids[1], "noise"]}
    answer = words_client.post(route(words_client, "search"), json=asked).json()
    direct = worded.search(ids[0], text="stripes", weight=0.9, unlike=[ids[1], "noise"])
    assert [hit["id"] for hit in answer["hits"][:10]] == [hit.id for hit in direct]
    assert answer["query"]["id"] == ids[0] and answer["query_geometry"] is None
    why = words_client.get(route(words_client, "explanation/words"), params=asked | {"match": ids[2]}).json()
    assert sum(part["value"] for part in why["parts"]) == pytest.approx(why["similarity"], abs=1e-5)
    report = words_client.post(route(words_client, "report"), json={"text": "stripes", "k": 2})
    assert report.status_code == 200 and "stripes" in report.text


def test_a_text_of_a_client_is_never_a_path(worded, words_client, room_folder):
    secret = str(sorted(room_folder.rglob("*.png"))[0])
    texts = words_client.post(route(words_client, "search"), json={"text": "a", "unlike": [secret]}).json()
    assert secret in texts["asked"]  # as words, not as the name of a picture
    unwanted = worded.query(text=secret)
    direct = worded.search(text="a", unlike=[unwanted])
    assert [hit["id"] for hit in texts["hits"]] == [hit.id for hit in direct]


@pytest.mark.parametrize(
    "asked",
    [
        {},
        {"text": ""},
        {"text": "  "},
        {"text": "a", "weight": 1},
        {"text": "a", "unlike": ["b"] * 9},
        {"text": "a" * 301},
    ],
)
def test_wrong_wishes_are_refused(words_client, asked):
    assert words_client.post(route(words_client, "search"), json=asked).status_code == 422
