"""The map over HTTP: points as they were laid out, columns, tables without folders, tags that stay."""

import csv
import io
import shutil

import numpy as np
import pytest
from starlette.testclient import TestClient

from lookalike.gallery import Gallery
from lookalike.web import WebLimits, create_app

BASE = "/api/galleries/rooms"


@pytest.fixture
def rooms(gallery, mini, tmp_path):
    """A copy that may be changed."""
    shutil.copytree(gallery.uri, tmp_path / "rooms.gallery")
    made = Gallery.open(tmp_path / "rooms.gallery", mini)
    made.map("pca", clusters=3)
    return made


@pytest.fixture
def client(rooms):
    with TestClient(create_app(rooms, limits=WebLimits(waiting_seconds=0.1))) as client:
        yield client


def get_points(client):
    about = client.get(f"{BASE}/map").json()
    asked = {"key": about["key"], "layout": about["layout"]}
    return about, client.get(f"{BASE}/map/points", params=asked).content


def test_points_clusters_and_ids_are_those_of_the_gallerys_map(client, rooms):
    found = rooms.map("pca")
    about, data = get_points(client)
    n = about["n_pictures"]
    assert n == len(found) and about["layout"] == "pca" and len(data) == 22 * n
    np.testing.assert_array_equal(np.frombuffer(data, "<f4", 2 * n).reshape(n, 2), found.points)
    np.testing.assert_array_equal(np.frombuffer(data, "<i4", n, 8 * n), found.clusters)
    ids = [data[12 * n + 10 * i :][:10].hex() for i in range(n)]
    assert ids == [record.id for record in found.records]
    assert [[ids[row] for row in c["typical"]] for c in about["clusters"]] == [
        list(group.typical) for group in found.groups
    ]
    named = client.get(f"{BASE}/map/pictures", params={"id": [ids[3], "0" * 20, ids[1]]}).json()
    assert [each["id"] for each in named] == [ids[3], ids[1]] and "/" not in named[0]["name"]


def test_a_column_has_a_code_for_each_row(client, rooms):
    about, _ = get_points(client)
    assert about["fields"] == ["label"]
    asked = {"key": about["key"], "layout": "pca", "field": "label"}
    column = client.get(f"{BASE}/map/column", params=asked).json()
    labels = [record.metadata["label"] for record in rooms.map("pca").records]
    assert [column["values"][code] for code in column["codes"]] == labels
    assert client.get(f"{BASE}/map/column", params={**asked, "field": "nothing"}).status_code == 404


def test_a_filter_gives_a_bit_for_each_row_as_a_search_counts_it(client, rooms):
    about, _ = get_points(client)
    label = rooms.map("pca").records[3].metadata["label"]
    asked = {"key": about["key"], "layout": "pca", "where": f'label == "{label}"'}
    bits = np.frombuffer(client.get(f"{BASE}/map/passing", params=asked).content, np.uint8)
    shown = np.unpackbits(bits, bitorder="little")[: about["n_pictures"]]
    labels = [record.metadata["label"] for record in rooms.map("pca").records]
    assert shown.tolist() == [each == label for each in labels] and 0 < shown.sum() < len(shown)
    refused = client.get(f"{BASE}/map/passing", params=asked | {"where": "nothing == 1"})
    assert refused.status_code == 422 and "no image has the metadata field" in refused.json()["detail"]


def test_a_filter_takes_every_file_of_a_picture_in_the_gallery_and_on_the_map(mini, room_folder, tmp_path):
    folder = tmp_path / "twice"
    folder.mkdir()
    for name, number in (("a.png", 0), ("copy of a.png", 0), ("b.png", 1)):
        shutil.copy(sorted(room_folder.rglob("*.png"))[number], folder / name)
    made = Gallery.create(tmp_path / "rooms.gallery", mini)
    made.add(folder, metadata=lambda path: {"name": path.stem}, workers=0)
    asked = {"where": "name == 'copy of a'"}
    with TestClient(create_app(made)) as client:
        found = client.get(f"{BASE}/pictures", params=asked).json()
        about = client.get(f"{BASE}/map", params={"layout": "pca"}).json()
        asked |= {"key": about["key"], "layout": "pca"}
        (bits,) = client.get(f"{BASE}/map/passing", params=asked).content
    assert found["total"] == 1 and bits.bit_count() == 1
    ids = [record.id for record in made.map("pca").records]
    assert found["pictures"][0]["id"] == ids[bits.bit_length() - 1]


def test_a_map_that_has_changed_is_not_mixed_with_the_one_that_is_shown(client, rooms):
    about, _ = get_points(client)
    rooms.remove(rooms.records()[0].id)
    for path, more in (("points", {}), ("column", {"field": "label"})):
        answer = client.get(f"{BASE}/map/{path}", params={"key": about["key"], **more})
        assert answer.status_code == 409 and "load it again" in answer.json()["detail"]
    assert get_points(client)[0]["n_pictures"] == about["n_pictures"] - 1


def test_a_table_has_the_pictures_asked_for_and_no_folders(client, rooms, room_folder):
    records = rooms.map("pca").records
    answer = client.post(f"{BASE}/map/csv", json={"ids": [records[4].id, records[2].id]})
    rows = list(csv.DictReader(io.StringIO(answer.text)))
    assert [row["id"] for row in rows] == [records[4].id, records[2].id]
    assert rows[0]["label"] == records[4].metadata["label"] and str(room_folder) not in answer.text
    assert client.post(f"{BASE}/map/csv", json={"ids": ["f" * 20]}).status_code == 404


def test_tags_are_in_the_gallery_when_the_answer_comes_and_color_the_map(client, rooms, mini):
    before, _ = get_points(client)
    ids = [record.id for record in rooms.records()][:3]
    answer = client.post(f"{BASE}/tags", json={"ids": ids, "add": ["red"]})
    assert answer.json() == {"n_changed": 3}
    stored = Gallery.open(rooms.uri, mini).records(ids)  # as another program reads it
    assert [record.metadata["tags"] for record in stored] == [["red"]] * 3
    after, _ = get_points(client)
    assert after["key"] == before["key"] and after["fields"] == ["label", "tags"]
    column = client.get(f"{BASE}/map/column", params={"key": after["key"], "field": "tags"}).json()
    assert column["counts"] == [3] and column["codes"].count(0) == 3
    client.post(f"{BASE}/tags", json={"ids": ids[:1], "remove": ["red"]})
    assert get_points(client)[0]["fields"] == ["label", "tags"]


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("tags", {"ids": ["f" * 20]}),
        ("tags", {"ids": [], "add": ["a"]}),
        ("tags", {"ids": ["../x"], "add": ["a"]}),
        ("tags", {"ids": ["f" * 20], "add": ["a" * 61]}),
        ("tags", {"ids": ["f" * 20], "add": ["a\u0000"]}),
        ("tags", {"ids": ["f" * 20] * 20_001, "add": ["a"]}),
        ("map/csv", {"ids": []}),
        ("map/csv", {"ids": ["f" * 20], "layout": "tsne"}),
    ],
)
def test_what_does_not_fit_is_refused(client, path, body):
    assert client.post(f"{BASE}/{path}", json=body).status_code == 422


def test_pages_of_other_sites_can_not_tag(client, rooms):
    body = {"ids": [rooms.records()[0].id], "add": ["a"]}
    for headers in ({"sec-fetch-site": "cross-site"}, {"origin": "https://elsewhere.example"}):
        assert client.post(f"{BASE}/tags", json=body, headers=headers).status_code == 403
    assert client.get(f"{BASE}/map/pictures", params={"id": ["f" * 20] * 121}).status_code == 422
    assert not any("tags" in record.metadata for record in rooms.records())


def test_an_empty_gallery_has_no_map(mini):
    with TestClient(create_app({"rooms": Gallery.in_memory(mini)})) as client:
        answer = client.get(f"{BASE}/map")
        assert answer.status_code == 409 and "add images first" in answer.json()["detail"]


def test_a_second_map_waits_for_the_first_only_so_long(client, rooms, monkeypatch):
    answers = []

    def slow(layout):
        monkeypatch.undo()
        answers.append(client.get(f"{BASE}/map").status_code)
        return rooms.map(layout)

    monkeypatch.setattr(rooms, "map", slow)
    assert client.get(f"{BASE}/map").status_code == 200 and answers == [503]
