"""Who may ask, how much, how long and how many at once: each request beyond it gets one sentence."""

import hmac
import http.client
import re
import socket
import threading
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from starlette.testclient import TestClient

from lookalike.errors import UnreadableImageError
from lookalike.gallery import Gallery
from lookalike.images import Limits
from lookalike.images.guarded import GuardedDecoder
from lookalike.web import WebLimits, create_app, patience
from lookalike.web.security import escaped_token
from made_server import serving

LIMITS = WebLimits(max_upload_bytes=2**20, max_pixels=2_000_000)
SEARCH = "/api/galleries/rooms/search"


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"sec-fetch-site": "same-origin"}, 200),
        ({"sec-fetch-site": "none"}, 200),
        ({"sec-fetch-site": "same-site"}, 403),
        ({"sec-fetch-site": "cross-site", "sec-fetch-mode": "no-cors"}, 403),
        ({"origin": "http://testserver"}, 200),
        ({"origin": "https://elsewhere.example"}, 403),
        ({"origin": "null"}, 403),
    ],
)
def test_pages_of_other_sites_can_neither_upload_nor_look(client, png, headers, status):
    file = {"file": ("a.png", png((40, 30)))}
    assert client.post("/api/queries", files=file, headers=headers).status_code == (
        status if status > 200 else 201
    )
    assert client.get("/api/galleries", headers=headers).status_code == status


def test_a_link_from_another_site_opens_the_page_and_pictures_only(client, records):
    link = {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate"}
    for path in ("/", f"/api/galleries/rooms/pictures/{records[0].id}"):
        assert client.get(path, headers=link).status_code == 200
    for path in ("/api/galleries/rooms/map", "/api/galleries/rooms/groups"):  # they cost minutes
        assert client.get(path, headers=link).status_code == 403
    assert client.post("/api/galleries/rooms/jobs", json={}, headers=link).status_code == 403


def test_answers_say_that_other_sites_may_not_embed_them(client):
    headers = client.get("/api/health").headers
    assert headers["cross-origin-resource-policy"] == "same-origin"
    assert "frame-ancestors 'none'" in headers["content-security-policy"]


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("[::1]:8000", 200),
        ("[::1]", 200),
        ("127.0.0.2:9", 200),
        ("LOCALHOST", 200),
        ("localhost.", 200),
        ("192.168.7.7", 200),  # an address can't be made to lead elsewhere
        ("rebound.example", 400),
        ("localhost.rebound.example:80", 400),
        ("[::1", 400),
        ("", 400),
    ],
)
def test_only_the_names_of_this_server_are_answered(gallery, host, status):
    app = create_app(gallery, allowed_hosts=["::1", "127.0.0.2", "localhost"])
    assert TestClient(app).get("/api/health", headers={"host": host}).status_code == status


def test_an_empty_token_is_refused(gallery):
    for token in ("", "  "):
        with pytest.raises(ValueError, match="the token is empty"):
            create_app(gallery, token=token)


@pytest.mark.parametrize("token", ["Jürgen:geheim", "王:秘密 1", " pad ", "50%+1/2&x=#"])
def test_a_token_of_any_characters_is_taken_as_clients_can_send_it(gallery, token):
    sent = [token.strip().encode(), escaped_token(token.strip()).encode()]
    with TestClient(create_app(gallery, token=token)) as client:
        for form in (*sent, sent[0] + b" "):
            headers = {"authorization": b"bearer  " + form}
            assert client.get("/api/health", headers=headers).status_code == 200
        for wrong in (b"", b"1", sent[0][:-1], sent[0] + b"x"):
            headers = {"authorization": b"Bearer " + wrong}
            assert client.get("/api/health", headers=headers).status_code == 401


def test_a_large_body_is_refused_also_when_it_does_not_say_its_length(client, records):
    limit = 2**20
    assert client.post(SEARCH, content=b" " * (limit + 1)).status_code == 413

    def pieces():
        for _ in range(limit // 2**16 + 1):
            yield b" " * 2**16

    answer = client.post(SEARCH, content=pieces(), headers={"content-type": "application/json"})
    assert answer.status_code == 413 and "at most 1 MiB" in answer.json()["detail"]
    assert client.post(SEARCH, json={"query": records[0].id, "k": 1}).status_code == 200


def test_a_body_that_does_not_arrive_in_time_is_408(gallery):
    app = create_app(gallery, limits=replace(LIMITS, body_seconds=0.3))
    with serving(app) as port:
        asking = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        asking.putrequest("POST", SEARCH)
        asking.putheader("content-type", "application/json")
        asking.putheader("content-length", "30")
        asking.endheaders(b'{"query": ')
        answer = asking.getresponse()
        assert answer.status == 408 and b"within 0.3 seconds" in answer.read()
        asking.close()


@pytest.mark.parametrize("sent", [b"", b"GET /api/hea", b"GET /api/health HTTP/1.1\r\nhost: x\r\n\r\nGET /"])
def test_a_head_that_does_not_arrive_in_time_ends_the_connection(gallery, monkeypatch, sent):
    monkeypatch.setattr(patience, "_HEAD_SECONDS", 0.3)
    with (
        serving(create_app(gallery)) as port,
        socket.create_connection(("127.0.0.1", port), timeout=4) as asking,
    ):
        asking.sendall(sent)
        received = b""
        while part := asking.recv(4096):  # ends before uvicorn's own 5 seconds
            received += part
        assert received.count(b"200 OK") == sent.count(b"\r\n\r\n")


def test_too_many_requests_are_told_to_come_again_and_health_still_answers(gallery, monkeypatch):
    app = create_app(gallery, limits=replace(LIMITS, max_requests=1))
    started, go_on = threading.Event(), threading.Event()
    description = gallery.describe()

    def slow(_):
        started.set()
        assert go_on.wait(10)
        return description

    monkeypatch.setattr(type(gallery), "describe", slow)
    with serving(app) as port:

        def ask(path):
            asking = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
            asking.request("GET", path)
            answer = asking.getresponse()
            answer.read()
            asking.close()
            return answer

        first = threading.Thread(target=ask, args=["/api/galleries"])
        first.start()
        assert started.wait(10)
        refused = ask("/api/galleries")
        assert refused.status == 503 and int(refused.headers["retry-after"]) > 0
        assert ask("/api/health").status == 200
        go_on.set()
        first.join(10)
        assert ask("/api/galleries").status == 200


def test_uploads_take_turns_and_give_up_waiting(gallery):
    app = create_app(gallery, limits=replace(LIMITS, max_uploads=1, waiting_seconds=0.2, body_seconds=2))
    form = {"content-type": "multipart/form-data; boundary=b", "content-length": "1000"}
    with serving(app) as port:
        slow, second = (http.client.HTTPConnection("127.0.0.1", port, timeout=10) for _ in range(2))
        slow.putrequest("POST", "/api/queries")
        for header in form.items():
            slow.putheader(*header)
        slow.endheaders(b"--b\r\n")
        time.sleep(0.2)
        second.request("POST", "/api/queries", body=b"-" * 1000, headers=form)
        assert second.getresponse().status == 503
        assert slow.getresponse().status == 408
        for asking in (slow, second):
            asking.close()


def test_searches_take_turns_and_pictures_do_not_wait_for_them(gallery, records, monkeypatch):
    app = create_app(gallery, limits=replace(LIMITS, max_searches=1, waiting_seconds=0.2))
    started, go_on = threading.Event(), threading.Event()
    search = Gallery.search

    def slow(*arguments, **options):
        started.set()
        assert go_on.wait(20)
        return search(*arguments, **options)

    monkeypatch.setattr(Gallery, "search", slow)
    pair = f"query={records[0].id}&match={records[1].id}"
    with serving(app) as port:

        def ask(method, path, body=None):
            asking = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
            asking.request(method, path, body, {"content-type": "application/json"})
            answer = asking.getresponse()
            answer.read()
            asking.close()
            return answer

        wanted = f'{{"query": "{records[0].id}", "k": 1}}'
        first = threading.Thread(target=ask, args=["POST", SEARCH, wanted])
        first.start()
        assert started.wait(10)
        for method, path in (("POST", SEARCH), ("GET", f"/api/galleries/rooms/explanation?{pair}")):
            refused = ask(method, path, wanted if method == "POST" else None)
            assert refused.status == 503 and int(refused.headers["retry-after"]) > 0
        assert ask("GET", f"/api/galleries/rooms/pictures/{records[0].id}?side=100").status == 200
        go_on.set()
        first.join(20)
        assert ask("POST", SEARCH, wanted).status == 200


def test_the_token_is_compared_in_constant_time(gallery, monkeypatch):
    compared = []

    def compare(first, second):
        compared.append((first, second))
        return hmac.compare_digest(first, second)

    monkeypatch.setattr("lookalike.web.security.secrets.compare_digest", compare)
    with TestClient(create_app(gallery, token="a secret")) as client:
        for sent, status in (
            ("Bearer a secret", 200),
            ("Bearer a secreT", 401),
            ("Bearer é", 401),
            ("", 401),
        ):
            headers = {"authorization": sent.encode()}
            assert client.get("/api/health", headers=headers).status_code == status
    assert sorted(second for _, second in compared) == [b"a secret"] * 4 + [b"a%20secret"] * 4


def test_the_bounds_of_every_route_are_in_the_documentation(client):
    text = (Path(__file__).parents[2] / "docs" / "security.md").read_text()
    described = set(re.findall(r"^\| `(GET|POST) (/\S+)`", text, flags=re.MULTILINE))
    paths = client.get("/api/openapi.json").json()["paths"]
    assert described == {(method.upper(), path) for path, methods in paths.items() for method in methods}


def test_uploads_fill_no_more_disk_than_they_may(tmp_path, mini, png):
    (tmp_path / "photos").mkdir()
    gallery = Gallery.create(tmp_path / "g.gallery", mini)
    picture = png((40, 30))
    limits = replace(LIMITS, max_stored_bytes=len(picture))
    with TestClient(create_app(gallery, limits=limits, add_from=tmp_path / "photos")) as client:
        for _ in range(2):  # the same picture needs no further place
            assert client.post("/api/galleries/g/jobs/upload", files={"file": picture}).status_code == 202
        answer = client.post("/api/galleries/g/jobs/upload", files={"file": png((41, 30))})
        assert answer.status_code == 507 and "\n" not in answer.json()["detail"]
    assert len(list((tmp_path / "photos" / "uploads").iterdir())) == 1


def test_an_elongated_upload_is_refused(gallery, png):
    with TestClient(create_app(gallery, limits=replace(LIMITS, max_side=1000))) as client:
        assert client.post("/api/queries", files={"file": png((1000, 1))}).status_code == 201
        answer = client.post("/api/queries", files={"file": png((1, 1001))})
        assert answer.status_code == 422 and "1,001 x 1 pixels" in answer.json()["detail"]


def test_a_folder_name_that_is_too_long_is_refused(tmp_path, mini):
    gallery = Gallery.create(tmp_path / "g.gallery", mini)
    with TestClient(create_app(gallery, add_from=tmp_path)) as client:
        assert client.post("/api/galleries/g/jobs", json={"folder": "x" * 400}).status_code == 422


def test_messages_name_files_without_the_folders_of_the_server(tmp_path, mini, png):
    folder = tmp_path / "secret place"
    folder.mkdir()
    (folder / "a.png").write_bytes(png((40, 30)))
    (folder / "b.png").write_bytes(png((40, 31)))
    gallery = Gallery.create(tmp_path / "g.gallery", mini)
    gallery.add(folder)
    (folder / "a.png").write_bytes(b"no picture")
    a, b = sorted(gallery.records(), key=lambda record: record.path)
    with TestClient(create_app(gallery)) as client:
        pair = {"query": b.id, "match": a.id}
        answer = client.get("/api/galleries/g/explanation", params=pair)
    detail = answer.json()["detail"]
    assert answer.status_code == 422 and "a.png" in detail
    assert "secret" not in detail and str(tmp_path) not in detail


def test_a_file_that_takes_too_long_ends_its_decoder_and_the_next_file_gets_another(tmp_path, png):
    noise = np.random.default_rng(0).integers(0, 256, (4000, 5000, 3), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / "slow.png", compress_level=0)
    decoder = GuardedDecoder(seconds=0.02)
    try:
        with pytest.raises(UnreadableImageError, match=r"slow.png: it can't be decoded within 0.02 seconds"):
            decoder.size_of((tmp_path / "slow.png").read_bytes(), Limits(), "slow.png")
        assert decoder.size_of(png((40, 30)), Limits(), "small.png") == (30, 40)
        with pytest.raises(UnreadableImageError, match=r"text\.png: not an image"):
            decoder.size_of(b"no picture", Limits(), "text.png")
    finally:
        decoder.close()
