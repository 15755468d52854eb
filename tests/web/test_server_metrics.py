"""What the server tells Prometheus, and the app that workers make from their environment."""

import re

import pytest
from starlette.testclient import TestClient

from lookalike.errors import LookalikeError
from lookalike.web import create_app
from lookalike.web.factory import app_from_environment


def measured(client, sample, **headers):
    """The value of a sample, 0 where it is not there yet."""
    text = client.get("/api/metrics", headers=headers).text
    found = re.search(rf"^{re.escape(sample)} (\S+)$", text, flags=re.MULTILINE)
    return 0.0 if found is None else float(found[1])


@pytest.fixture
def fresh(gallery):
    with TestClient(create_app(gallery, token="secret")) as client:
        yield client


AUTHORIZED = {"authorization": "Bearer secret"}


def test_requests_are_counted_by_route_and_status_not_by_address(fresh, records):
    route = (
        'lookalike_requests_total{method="GET",route="/api/galleries/{gallery}/pictures/{id}",status="%s"}'
    )
    for id in (records[0].id, records[1].id, "0" * 20):
        fresh.get(f"/api/galleries/rooms/pictures/{id}?side=32", headers=AUTHORIZED)
    assert measured(fresh, route % 200, **AUTHORIZED) == 2
    assert measured(fresh, route % 404, **AUTHORIZED) == 1
    assert records[0].id not in fresh.get("/api/metrics", headers=AUTHORIZED).text


def test_refused_requests_are_counted_and_their_words_are_not_kept(fresh):
    fresh.request("BREW", "/api/secret-path")
    fresh.get("/api/metrics")
    text = fresh.get("/api/metrics", headers=AUTHORIZED).text
    assert 'lookalike_requests_total{method="other",route="other",status="401"} 1.0' in text
    assert 'lookalike_requests_total{method="GET",route="other",status="401"} 1.0' in text
    assert "BREW" not in text and "secret" not in text


def test_sizes_memory_and_seconds_are_there(fresh, gallery):
    assert measured(fresh, 'lookalike_gallery_images{gallery="rooms"}', **AUTHORIZED) == len(gallery)
    assert measured(fresh, "process_resident_memory_bytes", **AUTHORIZED) > 2**20
    assert measured(fresh, "lookalike_requests_active", **AUTHORIZED) == 1  # this one
    seconds = 'lookalike_request_seconds_count{route="/api/metrics"}'
    assert measured(fresh, seconds, **AUTHORIZED) == 3


def test_workers_make_the_app_from_their_environment(gallery, monkeypatch):
    monkeypatch.setenv("LOOKALIKE_GALLERIES", str(gallery.uri))
    monkeypatch.setenv("LOOKALIKE_TOKEN", "anna:one bert:two")
    with TestClient(app_from_environment()) as client:
        assert client.get("/api/health").status_code == 401
        health = client.get("/api/health", headers={"authorization": "Bearer bert:two"}).json()
    assert health["galleries"] == ["rooms"] and health["person"] == "bert" and not health["may_add"]


def test_workers_without_a_token_answer_to_the_loopback_only(gallery, monkeypatch):
    monkeypatch.setenv("LOOKALIKE_GALLERIES", str(gallery.uri))
    monkeypatch.delenv("LOOKALIKE_TOKEN", raising=False)
    statuses = {}
    for hosts in ("", "photos.example"):
        monkeypatch.setenv("LOOKALIKE_HOSTS", hosts)
        with TestClient(app_from_environment()) as client:
            for name in ("localhost:8000", "photos.example"):
                statuses[hosts, name] = client.get("/api/health", headers={"host": name}).status_code
    assert statuses == {
        ("", "localhost:8000"): 200, ("", "photos.example"): 400,
        ("photos.example", "localhost:8000"): 400, ("photos.example", "photos.example"): 200,
    }  # fmt: skip


@pytest.mark.parametrize(("named", "reason"), [("", "names no gallery"), ("{0} {0}", "the same name")])
def test_an_environment_that_names_no_galleries_or_one_twice_is_refused(gallery, monkeypatch, named, reason):
    monkeypatch.setenv("LOOKALIKE_GALLERIES", named.format(gallery.uri))
    with pytest.raises(LookalikeError, match=reason):
        app_from_environment()
