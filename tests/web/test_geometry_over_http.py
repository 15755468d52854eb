"""Geometric evidence over HTTP: offered, and in each hit."""

import pytest

pytest.importorskip("cv2")


def test_geometry_is_offered_and_its_evidence_is_in_the_hits(client, uploaded):
    assert "geometry" in client.get("/api/health").json()["rerankers"]
    request = {"query": uploaded, "k": 3, "rerank": "geometry"}
    response = client.post("/api/galleries/rooms/search", json=request)
    assert response.status_code == 200, response.text
    first = response.json()["hits"][0]
    assert first["geometry"]["inliers"] > 20 and first["probability"] > 0.9
    assert first["geometry"]["outline"][0] == pytest.approx([0, 0], abs=1)  # the picture itself
    assert first["geometry"]["outline"][2] == pytest.approx([200, 150], abs=1)
    plain = client.post("/api/galleries/rooms/search", json={"query": uploaded, "k": 1}).json()
    assert plain["hits"][0]["geometry"] is None


def test_what_is_on_a_photograph_is_said_by_name_and_box_without_folders(client, uploaded, room_folder):
    answer = client.post("/api/galleries/rooms/regions", json={"query": uploaded, "limit": 2, "shortlist": 5})
    assert answer.status_code == 200, answer.text
    first = answer.json()["regions"][0]
    assert first["is_match"] and first["probability"] > 0.9 and first["inliers"] > 20
    assert first["box"] == pytest.approx([0, 0, 200, 150], abs=1)  # the picture itself
    assert str(room_folder) not in answer.text and "/" not in first["name"]
    bad = client.post("/api/galleries/rooms/regions", json={"query": uploaded, "where": "no filter ("})
    assert bad.status_code == 422
    assert client.post("/api/galleries/rooms/regions", json={"query": "0" * 32}).status_code == 404


def test_the_progress_of_regions_can_be_asked_for_by_ticket(client, uploaded):
    ticket = "a" * 16
    waiting = {"stage": "waiting", "done": 0, "total": 0, "remaining": None}
    assert client.get(f"/api/progress/{ticket}").json() == waiting
    request = {"query": uploaded, "limit": 2, "shortlist": 5, "ticket": ticket}
    assert client.post("/api/galleries/rooms/regions", json=request).status_code == 200
    at = client.get(f"/api/progress/{ticket}").json()
    assert at["stage"] and at["done"] == at["total"] > 0
    assert client.get("/api/progress/" + "b" * 16).json() == waiting
    assert client.get("/api/progress/short").status_code == 422
    bad = client.post("/api/galleries/rooms/regions", json=request | {"ticket": "../x"})
    assert bad.status_code == 422
