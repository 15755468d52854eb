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
