"""Adding in the background: only with permission, only from one folder, with progress."""

import time

import pytest
from starlette.testclient import TestClient

from lookalike.gallery import Gallery
from lookalike.web import create_app


@pytest.fixture
def writable(tmp_path, mini, png):
    """A folder with pictures, and an empty gallery."""
    (tmp_path / "photos" / "new").mkdir(parents=True)
    for i in range(3):
        (tmp_path / "photos" / "new" / f"{i}.png").write_bytes(png((40 + i, 30), (80 * i, 90, 40)))
    (tmp_path / "photos" / "new" / "bad.jpg").write_bytes(b"no picture")
    return tmp_path, Gallery.create(tmp_path / "g.gallery", mini)


def finished(client, response):
    assert response.status_code == 202, response.text
    deadline = time.monotonic() + 30
    while (job := client.get(f"/api/jobs/{response.json()['id']}").json())["state"] in ("waiting", "running"):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return job


def test_a_folder_is_added_and_unreadable_files_are_listed(writable):
    top, gallery = writable
    with TestClient(create_app(gallery, add_from=top / "photos")) as client:
        job = finished(client, client.post("/api/galleries/g/jobs", json={"folder": "new"}))
        assert (job["state"], job["added"], job["done"], job["total"]) == ("done", 3, 4, 4)
        assert [bad["name"] for bad in job["unreadable"]] == ["bad.jpg"]
        assert client.get("/api/galleries/g").json()["n_images"] == 3


def test_copies_with_other_metadata_are_named_without_the_folders_of_the_server(writable):
    top, gallery = writable
    (top / "else").mkdir()
    (top / "else" / "copy.png").write_bytes((top / "photos" / "new" / "0.png").read_bytes())
    gallery.add(top / "else", metadata={"label": "hall"})
    gallery.add(top / "photos" / "new" / "0.png", metadata={"label": "attic"})
    with TestClient(create_app(gallery, add_from=top / "photos")) as client:
        job = finished(client, client.post("/api/galleries/g/jobs", json={"folder": "new"}))
    assert job["conflicts"] == ["label: copy.png has 'hall', new/0.png has 'attic'"]


def test_an_uploaded_picture_is_stored_by_its_hash_and_added(writable, png):
    top, gallery = writable
    with TestClient(create_app(gallery, add_from=top / "photos")) as client:
        file = {"file": ("../../evil.sh", png((50, 44)))}
        assert finished(client, client.post("/api/galleries/g/jobs/upload", files=file))["added"] == 1
        (stored,) = (top / "photos" / "uploads").iterdir()
        assert stored.suffix == ".png" and gallery.records()[0].hash == stored.stem
        assert client.post("/api/galleries/g/jobs/upload", files={"file": b"no"}).status_code == 422


@pytest.mark.parametrize("folder", ["..", "../photos2", "/etc", "new/../../", "missing", "a\0b"])
def test_folders_outside_the_permitted_one_are_refused(writable, folder):
    top, gallery = writable
    (top / "photos2").mkdir()
    with TestClient(create_app(gallery, add_from=top / "photos")) as client:
        assert client.post("/api/galleries/g/jobs", json={"folder": folder}).status_code in (403, 404, 422)
    assert len(gallery) == 0


def test_without_permission_nothing_is_added(writable, png):
    top, gallery = writable
    before = sorted(top.rglob("*"))
    with TestClient(create_app(gallery)) as client:
        assert client.post("/api/galleries/g/jobs", json={"folder": "."}).status_code == 403
        file = {"file": ("a.png", png((50, 44)))}
        assert client.post("/api/galleries/g/jobs/upload", files=file).status_code == 403
    assert sorted(top.rglob("*")) == before and len(gallery) == 0


def test_shutting_down_the_server_stops_a_job(writable, monkeypatch):
    top, gallery = writable
    app = create_app(gallery, add_from=top / "photos")
    with TestClient(app) as client:
        app.state.lookalike.jobs._is_stopping.set()
        assert finished(client, client.post("/api/galleries/g/jobs", json={}))["state"] == "stopped"
