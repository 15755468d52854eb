"""Responses of the API: searches, explanations, cells, pictures, reports."""

import io

import numpy as np
import pytest
from PIL import Image
from starlette.testclient import TestClient

from lookalike.gallery import Gallery
from lookalike.web import create_app


def search(client, **request):
    response = client.post("/api/galleries/rooms/search", json=request)
    assert response.status_code == 200, response.text
    return response.json()


def test_health_lists_galleries_and_rerankers(client):
    health = client.get("/api/health").json()
    assert health["status"] == "ok" and health["galleries"] == ["rooms"] and not health["may_add"]
    assert "k-reciprocal" in health["rerankers"]


def test_galleries_are_described(client):
    (listed,) = client.get("/api/galleries").json()
    assert listed == client.get("/api/galleries/rooms").json()
    assert listed["n_images"] == 10 and listed["metadata_fields"] == {"label": 10}


def test_pictures_are_listed_in_pages_without_the_servers_folders(client, records, room_folder):
    page = client.get("/api/galleries/rooms/pictures", params={"offset": 8, "limit": 5})
    assert page.json()["total"] == 10
    assert [picture["id"] for picture in page.json()["pictures"]] == [r.id for r in records[8:]]
    assert str(room_folder) not in page.text


def test_an_uploaded_picture_finds_itself_first(client, uploaded, gallery, room_bytes):
    found = search(client, query=uploaded, k=3)
    expected = gallery.search(room_bytes, k=3)
    assert [hit["id"] for hit in found["hits"]] == [hit.id for hit in expected]
    assert found["hits"][0]["similarity"] == pytest.approx(1, abs=1e-5)
    assert found["query"] == {
        "id": uploaded,
        "name": "a room.png",
        "metadata": {},
        "height": 150,
        "width": 200,
    }


def test_each_hits_query_map_sums_to_its_similarity(client, uploaded):
    for hit in search(client, query=uploaded, k=5)["hits"]:
        assert np.sum(hit["query_map"]) == pytest.approx(hit["similarity"], abs=1e-4)


def test_one_request_can_hold_the_picture_and_the_settings(client, room_bytes, gallery):
    answer = client.post(
        "/api/galleries/rooms/search/upload",
        files={"file": ("q.png", room_bytes)},
        data={"settings": '{"k": 2, "leave_self_out": true}'},
    )
    assert [hit["id"] for hit in answer.json()["hits"]] == [
        hit.id for hit in gallery.search(room_bytes, k=2, leave_self_out=True)
    ]


def test_a_record_is_a_query_too(client, records, gallery):
    id = records[2].id
    found = search(client, query=id, leave_self_out=True, k=50)
    assert len(found["hits"]) == 9 and id not in {hit["id"] for hit in found["hits"]}


def test_a_box_and_a_polygon_of_the_same_corners_find_the_same(client, uploaded, gallery, room_bytes):
    left, top, right, bottom = box = (20, 10, 110, 90)
    corners = [(left, top), (right - 1, top), (right - 1, bottom - 1), (left, bottom - 1)]
    by_box = search(client, query=uploaded, box=box)["hits"]
    by_polygon = search(client, query=uploaded, polygon=corners)["hits"]
    assert [hit["id"] for hit in by_box] == [hit.id for hit in gallery.search(room_bytes, box=box, k=20)]
    assert [h["similarity"] for h in by_polygon] == pytest.approx([h["similarity"] for h in by_box], abs=0.02)


def test_reranking_reports_the_ranks_before(client, uploaded):
    hits = search(client, query=uploaded, rerank="k-reciprocal", k=10)["hits"]
    assert sorted(hit["rank_before"] for hit in hits) == list(range(1, 11))


def test_filters_and_the_minimum_similarity_leave_out_hits(client, uploaded, records):
    label = records[0].metadata["label"]
    filtered = search(client, query=uploaded, where={"label": label})["hits"]
    assert {hit["metadata"]["label"] for hit in filtered} == {label}
    similar = search(client, query=uploaded, min_similarity=0.999)["hits"]
    assert len(similar) == 1


def test_explanations_are_those_of_the_gallery(client, uploaded, gallery, room_bytes):
    hit = gallery.search(room_bytes, k=2)[1]
    why = hit.why()
    got = client.get("/api/galleries/rooms/explanation", params={"query": uploaded, "match": hit.id}).json()
    assert got["similarity"] == pytest.approx(why.similarity, abs=1e-5)
    np.testing.assert_allclose(got["match_map"], why.match_map, atol=1e-6)
    np.testing.assert_allclose(got["query_map"], why.query_map, atol=1e-6)
    assert got["form"] == why.form and "and the last layer" in why.form
    assert got["match_geometry"]["original_size"] == [150, 200]


@pytest.mark.parametrize("box", [None, (10, 20, 110, 120)])
def test_a_contrast_over_http_is_that_of_the_gallery(client, uploaded, gallery, room_bytes, box):
    hit = gallery.search(room_bytes, k=2, box=box)[1]
    why = hit.why(contrast="gallery")
    asked = {"query": uploaded, "match": hit.id, "contrast": True}
    asked |= {"box": ",".join(map(str, box))} if box else {}
    got = client.get("/api/galleries/rooms/explanation", params=asked).json()
    np.testing.assert_allclose(got["query_map"], why.query_map, atol=1e-6)
    assert got["residual_parts"]["shared with all"] == pytest.approx(
        dict(why.query.residual_parts)["shared with all"], abs=1e-6
    )
    pictures = [
        client.get("/api/galleries/rooms/explanation/match.png", params={**asked, "contrast": on}).content
        for on in (True, False)
    ]
    assert pictures[0] != pictures[1]


def test_a_gallery_that_keeps_shares_explains_by_them_over_http(mini, room_folder, room_bytes, tmp_path):
    kept = Gallery.create(tmp_path / "kept.gallery", mini, keep_shares=True)
    kept.add(room_folder)
    hit = kept.search(room_bytes, k=2)[1]
    with TestClient(create_app(kept)) as client:
        id = client.post("/api/queries", files={"file": ("a.png", room_bytes)}).json()["id"]
        asked = {"query": id, "match": hit.id}
        got = client.get("/api/galleries/kept/explanation", params=asked).json()
    assert got["form"] == hit.why().form == "the last layer"
    np.testing.assert_allclose(got["match_map"], hit.why().match_map, atol=1e-3)


@pytest.mark.parametrize("options", [{}, {"box": [10, 20, 130, 150]}])
def test_votes_explain_the_score_of_their_reranker(client, uploaded, options):
    hits = search(client, query=uploaded, rerank="transport", k=4, **options)["hits"]
    box = {"box": ",".join(map(str, options["box"]))} if options else {}
    for hit in hits:
        asked = {"query": uploaded, "match": hit["id"], "method": "transport", **box}
        why = client.get("/api/galleries/rooms/explanation", params=asked).json()
        assert why["similarity"] == pytest.approx(hit["score"], abs=1e-5)
        assert np.sum(why["match_map"]) + why["match_residual"] == pytest.approx(hit["score"], abs=1e-5)
        assert abs(why["match_residual"]) < 1e-3


def test_an_explanation_of_a_box_stays_inside_it(client, uploaded, records):
    asked = {"query": uploaded, "match": records[0].id, "box": "0,0,100,150"}
    why = client.get("/api/galleries/rooms/explanation", params=asked).json()
    values = np.array(why["query_map"])
    _, left, _, width = why["query_geometry"]["crop"]
    centers = left + (np.arange(values.shape[1]) + 0.5) * width / values.shape[1]
    assert np.abs(values[:, centers < 100]).sum() > 0 and np.abs(values[:, centers > 100]).sum() == 0


def test_maps_of_a_box_lie_where_its_explanation_lies(client, uploaded, records):
    found = search(client, query=uploaded, box=[10, 20, 110, 120])
    asked = {"query": uploaded, "match": found["hits"][0]["id"], "box": "10,20,110,120"}
    why = client.get("/api/galleries/rooms/explanation", params=asked).json()
    assert found["query_geometry"] == why["query_geometry"]
    np.testing.assert_allclose(found["hits"][0]["query_map"], why["query_map"], atol=1e-5)


@pytest.mark.parametrize("side", ["query", "match"])
def test_overlays_are_pngs_in_the_pictures_proportions(client, uploaded, records, side):
    asked = {"query": uploaded, "match": records[0].id, "side": 100}
    answer = client.get(f"/api/galleries/rooms/explanation/{side}.png", params=asked)
    with Image.open(io.BytesIO(answer.content)) as image:
        assert image.format == "PNG" and image.size == (100, 75)


def test_cells_add_up_to_the_map_of_the_last_layer(client, uploaded, records, gallery, room_bytes):
    hit = next(hit for hit in gallery.search(room_bytes) if hit.id == records[0].id)
    why = hit.why(layer="last")
    rows, columns = why.query_map.shape
    x, y = 200 * 2.5 / columns, 150 * 1.5 / rows
    asked = {"first": uploaded, "second": records[0].id, "x": x, "y": y}
    cells = client.get("/api/galleries/rooms/cells", params=asked).json()
    assert cells["cell"] == [1, 2]
    assert cells["contribution"] == pytest.approx(why.query_map[1, 2], abs=1e-5)
    cosines = np.array(cells["cosines"])
    assert cosines.shape == why.match_map.shape and cosines.max() <= 1 + 1e-5
    assert tuple(cells["best_cell"]) == np.unravel_index(cosines.argmax(), cosines.shape)


def test_a_cell_finds_itself_in_its_own_picture(client, uploaded, records):
    own = next(hit["id"] for hit in search(client, query=uploaded, k=1)["hits"])
    asked = {"first": uploaded, "second": own, "x": 130, "y": 60}
    cells = client.get("/api/galleries/rooms/cells", params=asked).json()
    assert cells["best_cell"] == cells["cell"]


def test_pictures_and_thumbnails_come_by_id(client, uploaded, records):
    for id, side, size in ((records[0].id, 64, (64, 48)), (uploaded, 2048, (200, 150))):
        answer = client.get(f"/api/galleries/rooms/pictures/{id}", params={"side": side})
        with Image.open(io.BytesIO(answer.content)) as image:
            assert image.format == "JPEG" and image.size == size
        assert "immutable" in answer.headers["cache-control"]


def test_the_report_is_one_file_with_hashes_and_settings(client, uploaded, gallery, room_bytes):
    request = {"query": uploaded, "k": 2, "rerank": "aqe", "box": [0, 0, 150, 100]}
    answer = client.post("/api/galleries/rooms/report", json=request)
    assert answer.headers["content-type"].startswith("text/html")
    assert "attachment" in answer.headers["content-disposition"]
    assert gallery.search(room_bytes, k=1)[0].record.hash in answer.text
    assert "rerank aqe" in answer.text and "http://" not in answer.text.replace("http://www.w3.org", "")


def test_the_page_and_its_files_name_no_other_host(client):
    page = client.get("/")
    assert page.status_code == 200 and "default-src 'self'" in page.headers["content-security-policy"]
    for name in ("app.js", "api.js", "heat.js", "query.js", "results.js", "compare.js", "style.css"):
        file = client.get(f"/static/{name}")
        assert file.status_code == 200 and "http://" not in file.text and "https://" not in file.text


def test_openapi_has_examples_and_every_route(client):
    document = client.get("/api/openapi.json").json()
    assert "examples" in document["components"]["schemas"]["SearchRequest"]
    assert {"/api/queries", "/api/galleries/{gallery}/search", "/api/jobs/{id}"} <= set(document["paths"])


def test_a_first_search_by_a_box_runs_the_network_once_for_picture_and_crop(gallery, room_bytes, counts):
    with TestClient(create_app(gallery)) as client:
        id = client.post("/api/queries", files={"file": ("a.png", room_bytes)}).json()["id"]
        counts.take()
        box = [20, 10, 120, 90]
        found = search(client, query=id, k=3, box=box)
        assert counts.take() == (1, 1)
        asked = {"query": id, "match": found["hits"][1]["id"], "box": ",".join(map(str, box))}
        why = client.get("/api/galleries/rooms/explanation", params=asked).json()
        assert counts.take() == (1, 1)
        assert why["similarity"] == pytest.approx(found["hits"][1]["similarity"], abs=1e-5)
        client.get("/api/galleries/rooms/explanation/match.png", params=asked)
        assert counts.take() == (0, 0)


def test_the_pass_of_a_query_is_kept_for_the_next_hit(gallery, room_bytes, counts):
    with TestClient(create_app(gallery)) as client:
        id = client.post("/api/queries", files={"file": ("a.png", room_bytes)}).json()["id"]
        hits = search(client, query=id, k=3)["hits"]
        pair = {"query": hits[0]["id"], "match": hits[0]["id"]}
        client.get("/api/galleries/rooms/explanation", params=pair)  # the first one also checks the model
        taken = []
        for hit in (hits[1], hits[2]):
            counts.take()
            client.get("/api/galleries/rooms/explanation", params={"query": id, "match": hit["id"]})
            taken.append(counts.take())
        assert taken[0][0] == taken[1][0] == 1  # the match is decoded
        assert taken[0][1] == 2 * taken[1][1] > 0
