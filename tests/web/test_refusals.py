"""Requests that the API rejects: the status, one sentence, and nothing written to disk."""

import http.client
import re
import struct
import tempfile
import zlib
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from lookalike.web import create_app

RECORD = "0" * 20
SEARCH = "/api/galleries/rooms/search"


def refused(response, status):
    assert response.status_code == status, response.text
    (detail,) = response.json().values()
    assert isinstance(detail, str) and "Traceback" not in detail and "\n" not in detail
    return detail


def upload(client, data, name="a.png", path="/api/queries"):
    return client.post(path, files={"file": (name, data)})


@pytest.fixture
def nothing_written(tmp_path, monkeypatch, gallery):
    """Fails if a temporary file is made or the gallery's folder changes."""

    def refuse(*_, **__):
        raise AssertionError("a temporary file was made")

    monkeypatch.setattr(tempfile, "mkstemp", refuse)
    monkeypatch.setattr(tempfile.SpooledTemporaryFile, "rollover", refuse)
    before = {path: path.stat().st_mtime_ns for path in Path(gallery.uri).rglob("*")}
    yield
    assert before == {path: path.stat().st_mtime_ns for path in Path(gallery.uri).rglob("*")}


@pytest.mark.usefixtures("nothing_written")
class TestUploads:
    def test_a_file_that_is_not_an_image_is_refused(self, client):
        assert "not an image" in refused(upload(client, b"<svg onload='alert(1)'/>" * 9), 422)

    def test_an_empty_file_is_refused(self, client):
        refused(upload(client, b""), 422)

    def test_a_truncated_picture_is_refused(self, client, room_bytes):
        refused(upload(client, room_bytes[: len(room_bytes) // 2]), 422)

    def test_a_body_that_is_not_a_form_is_refused(self, client, room_bytes):
        refused(client.post("/api/queries", content=room_bytes), 415)
        refused(client.post("/api/queries", data={"file": "a text"}, files={"other": b"x"}), 422)
        broken = {"content-type": "multipart/form-data; boundary=x"}
        refused(client.post("/api/queries", content=b"--y\r\n\r\n", headers=broken), 422)

    def test_a_large_upload_within_the_limit_stays_in_memory(self, client, png):
        assert upload(client, png((64, 64)) + b"\0" * (2**20 - 5000)).status_code == 201

    def test_an_upload_beyond_the_limit_is_413(self, client):
        assert "1 MiB" in refused(upload(client, b"x" * (2**20 + 100)), 413)

    def test_an_upload_without_content_length_is_cut_off_at_the_limit(self, client):
        sent = 0

        def pieces():
            nonlocal sent
            yield b'--b\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n'
            for _ in range(400):
                sent += 1
                yield b"x" * 2**16

        headers = {"content-type": "multipart/form-data; boundary=b"}
        refused(client.post("/api/queries", content=pieces(), headers=headers), 413)

    def test_two_hundred_megabytes_are_refused_before_they_are_sent(self, address):
        connection = http.client.HTTPConnection(address.removeprefix("http://"), timeout=10)
        connection.putrequest("POST", "/api/queries")
        connection.putheader("content-type", "multipart/form-data; boundary=b")
        connection.putheader("content-length", str(200 * 2**20))
        connection.endheaders()
        assert connection.getresponse().status == 413
        connection.close()

    def test_a_pixel_bomb_is_refused_before_it_is_decoded(self, client):
        assert "pixels" in refused(upload(client, _bomb(60_000, 50_000)), 422)
        assert "pixels" in refused(upload(client, _bomb(2000, 1001)), 422)

    def test_file_names_are_stripped_of_folders_and_unprintable_characters(self, client, png):
        for name in ("../../etc/passwd", "..\\..\\x\\passwd", "pass\x00wd\u202e"):
            assert upload(client, png((40, 30)), name).json()["name"].replace("%00", "") == "passwd"


@pytest.mark.parametrize(
    "id",
    [
        "../../../etc/passwd", "..%2f..%2fetc%2fpasswd", "%2e%2e/%2e%2e/x", "a' OR '1'='1", "A" * 20,
        "0" * 21, "0" * 20 + "%00", "0" * 20 + "%0a",
    ],
)  # fmt: skip
def test_malformed_ids_of_pictures_are_refused(client, id):
    response = client.get(f"/api/galleries/rooms/pictures/{id}")
    assert response.status_code in (404, 422) and "root:" not in response.text


@pytest.mark.parametrize(
    "id", ["../../etc/passwd", "a' OR '1'='1", "A" * 20, "0" * 21, "0" * 20 + "\n", "é" * 20, ""]
)
def test_malformed_ids_are_refused_by_every_route(client, records, id):
    for name in ("explanation", "explanation/query.png", "explanation/match.png"):
        for asked in ({"query": id, "match": records[0].id}, {"query": records[0].id, "match": id}):
            refused(client.get(f"/api/galleries/rooms/{name}", params=asked), 422)
    for asked in ({"first": id, "second": records[0].id}, {"first": records[0].id, "second": id}):
        refused(client.get("/api/galleries/rooms/cells", params={**asked, "x": 5, "y": 5}), 422)
    refused(client.post(SEARCH, json={"query": id}), 422)
    refused(client.post("/api/galleries/rooms/report", json={"query": id}), 422)


@pytest.mark.parametrize("name", ["..", "%2e%2e", "..%2frooms", "rooms%00", "/etc/passwd", "%2fetc%2fpasswd"])
def test_malformed_gallery_names_are_refused(client, name):
    for path in ("", "/pictures", f"/pictures/{RECORD}"):
        response = client.get(f"/api/galleries/{name}{path}")
        assert response.status_code == 404 and "root:" not in response.text


@pytest.mark.usefixtures("nothing_written")
@pytest.mark.parametrize(
    "data",
    [
        b"%PDF-1.7\n",
        b"PK\3\4",
        b"\x7fELF",
        b"%!PS-Adobe-3.0 EPSF-3.0\n",
        b"<?php ?>",
        b"GIF89a",
        b"\0" * 4096,
    ],
    ids=["pdf", "zip", "elf", "eps", "php", "gif head", "zeros"],
)
def test_other_kinds_of_files_are_refused(client, data):
    for path in ("/api/queries", "/api/galleries/rooms/search/upload"):
        refused(upload(client, data, "photo.jpg", path), 422)


@pytest.mark.parametrize("path", ["/static/../app.py", "/static/%2e%2e/app.py", "/static/..%2fschemas.py"])
def test_static_files_end_at_their_folder(client, path):
    assert client.get(path).status_code == 404


def test_unknown_ids_are_404(client, records, uploaded):
    for id in (RECORD, "0" * 32):
        refused(client.get(f"/api/galleries/rooms/pictures/{id}"), 404)
        refused(client.post(SEARCH, json={"query": id}), 404)
        pair = {"query": uploaded, "match": id}
        refused(client.get("/api/galleries/rooms/explanation", params=pair), 404)
    assert "gallery is one of rooms" in refused(client.get("/api/galleries/cellar"), 404)
    refused(client.get("/api/jobs/none"), 404)


def test_the_oldest_uploads_are_forgotten(client, png):
    ids = [upload(client, png((40, 30 + i))).json()["id"] for i in range(5)]
    assert "again" in refused(client.post(SEARCH, json={"query": ids[0]}), 404)
    assert client.post(SEARCH, json={"query": ids[4]}).status_code == 200


@pytest.mark.parametrize(
    "settings",
    [
        {"k": 0}, {"k": 10**6}, {"k": "many"}, {"box": [1, 2, 3]}, {"box": [500, 500, 600, 600]},
        {"box": [50, 50, 10, 10]}, {"polygon": [[0, 0], [1, 1]]}, {"rerank": "magic"},
        {"rerank": "shares+magic"}, {"where": "lable == 'x'"},
        {"where": {"lable": 1}}, {"where": "__import__('os')"}, {"where": "label =="},
        {"min_similarity": 3}, {"min_probability": 0.5}, {"folder": "/"},
    ],
    ids=str,
)  # fmt: skip
def test_settings_that_do_not_fit_are_refused_with_a_reason(client, uploaded, settings):
    needs_calibration = "min_probability" in settings  # of the gallery, so the request itself is right
    refused(client.post(SEARCH, json={"query": uploaded, **settings}), 409 if needs_calibration else 422)


@pytest.mark.parametrize("polygon", ["1,2", "1,2,3,4", "1,2,3,4,5", ",".join(["1,2"] * 1001)])
@pytest.mark.parametrize("route", ["explanation", "explanation/words", "explanation/query.png", "cells"])
def test_a_polygon_without_three_to_a_thousand_corners_is_refused(client, records, route, polygon):
    first, second = records[0].id, records[1].id
    asked = {"query": first, "match": second, "first": first, "second": second, "x": 1, "y": 1}
    answer = client.get(f"/api/galleries/rooms/{route}", params={**asked, "polygon": polygon, "text": "a"})
    assert "3 to 1,000 corners" in refused(answer, 422)


def test_a_method_that_no_route_takes_is_told_which_do(client):
    answer = client.put("/api/galleries/rooms/cases")
    assert answer.status_code == 405 and answer.headers["allow"] == "GET, POST"
    assert client.post("/api/galleries/rooms/explanation/query.png").headers["allow"] == "GET"


@pytest.mark.parametrize("box", ["1,2,3", "1,2,3,4,5", "1,2,3,.4.5", "1,2,3,", "a,b,c,d", "1e9,0,0,0"])
def test_a_box_that_is_not_four_numbers_is_refused(client, records, box):
    asked = {"query": records[0].id, "match": records[1].id, "box": box}
    refused(client.get("/api/galleries/rooms/explanation", params=asked), 422)


def test_malformed_json_is_refused(client):
    headers = {"content-type": "application/json"}
    for body in (b"%\xff\x1as", b"\xff\xfe{}", b"{", b"[1,"):
        words = refused(client.post(SEARCH, content=body, headers=headers), 422)
        assert words.startswith("the body can't be read as JSON")
    refused(client.post(SEARCH, content=b'{"query": NaN}', headers=headers), 422)


def test_a_cell_outside_the_picture_is_refused(client, uploaded, records):
    asked = {"first": uploaded, "second": records[0].id, "x": 9999, "y": 5}
    refused(client.get("/api/galleries/rooms/cells", params=asked), 422)
    for x in ("inf", "nan"):
        assert client.get("/api/galleries/rooms/cells", params={**asked, "x": x}).status_code == 422


def test_a_report_without_hits_is_refused(client, uploaded):
    request = {"query": uploaded, "where": "label == 'nowhere'"}
    refused(client.post("/api/galleries/rooms/report", json=request), 422)


def test_every_route_except_the_page_requires_the_token(gallery):
    app = create_app(gallery, token="secret")
    with TestClient(app) as client:
        assert client.get("/").status_code == 200 and client.get("/static/app.js").status_code == 200
        for path, methods in (
            client.get("/api/openapi.json", headers=_bearer("secret")).json()["paths"].items()
        ):
            for method in methods:
                for headers in ({}, _bearer("wrong"), _bearer(""), {"authorization": "Basic secret"}):
                    answer = client.request(method, re.sub(r"{\w+}", "x", path), headers=headers)
                    assert "token" in refused(answer, 401)
        for path in ("/api/openapi.json", "/docs", "/api/nothing", "/static"):
            refused(client.get(path), 401)
        assert client.get("/api/health", headers=_bearer("secret")).status_code == 200


def test_pages_under_another_host_name_are_refused(gallery):
    with TestClient(create_app(gallery, allowed_hosts=["localhost"])) as client:
        assert client.get("/api/health").status_code == 400
        assert client.get("/api/health", headers={"host": "localhost:8000"}).status_code == 200


def test_internal_errors_reveal_no_details(gallery, monkeypatch):
    app = create_app(gallery)
    monkeypatch.setattr(type(gallery), "describe", lambda _: 1 / 0)
    with TestClient(app, raise_server_exceptions=False) as client:
        assert "division" not in refused(client.get("/api/galleries"), 500)


def test_gallery_names_that_do_not_fit_a_url_are_refused(gallery):
    for names in ({"a/b": gallery}, {"": gallery}, {"..": gallery}, {}):
        with pytest.raises(ValueError, match="name"):
            create_app(names)


def _bearer(token):
    return {"authorization": f"Bearer {token}"}


def _bomb(width, height):
    """A PNG of a few bytes whose header claims width x height pixels."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    body = zlib.compress(b"\0" * 10_000)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", body) + chunk(b"IEND", b"")
