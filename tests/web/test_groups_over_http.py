"""Groups over HTTP: exact copies by name and id, without the server's folders."""

import shutil

import pytest
from starlette.testclient import TestClient

from lookalike import scenes
from lookalike.gallery import Gallery
from lookalike.web import create_app


@pytest.fixture(scope="module")
def duplicates(mini, tmp_path_factory):
    folder = tmp_path_factory.mktemp("duplicates")
    for i in range(3):
        scenes.paint(i, 160).save(folder / f"{i}.png")
    shutil.copy(folder / "0.png", folder / "again.png")
    gallery = Gallery.in_memory(mini)
    gallery.add(folder, workers=0)
    with TestClient(create_app({"made": gallery})) as client:
        yield folder, client


def test_copies_are_named_without_the_folders_of_the_server(duplicates):
    folder, client = duplicates
    answer = client.get("/api/galleries/made/groups", params={"kind": "copy"})
    (group,) = answer.json()["groups"]
    assert {file["name"] for file in group["files"]} == {"0.png", "again.png"}
    assert [file["keep"] for file in group["files"]] == [True, False]
    assert str(folder) not in answer.text


def test_pictures_that_differ_are_not_grouped_and_wrong_wishes_are_refused(duplicates):
    _, client = duplicates
    found = client.get("/api/galleries/made/groups", params={"kind": ["copy", "near-duplicate"]}).json()
    assert [group["kind"] for group in found["groups"]] == ["copy"]
    assert client.get("/api/galleries/made/groups", params={"kind": "duplicate"}).status_code == 422
    assert (
        client.get("/api/galleries/made/groups", params={"kind": "same", "precision": 0.9}).status_code == 409
    )
