"""Cases over HTTP: decisions about hits, by whom, undone, exported, imported; on the disk when it answers."""

import http.client
import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from lookalike.gallery import Gallery
from lookalike.web import create_app


@pytest.fixture
def own_gallery(room_folder, mini, tmp_path):
    made = Gallery.create(tmp_path / "rooms.gallery", mini)
    made.add(room_folder, workers=0)
    return made


@pytest.fixture
def visitor(own_gallery):
    with TestClient(create_app(own_gallery)) as client:
        yield client


ROOT = "/api/galleries/rooms/cases"


def begin(client, name="wall"):
    answer = client.post(ROOT, json={"name": name})
    assert answer.status_code == 201
    return f"{ROOT}/{name}"


def search(client, room_bytes, **settings):
    id = client.post("/api/queries", files={"file": ("wall.png", room_bytes)}).json()["id"]
    request = {"query": id, "k": 5, **settings}
    return request, client.post("/api/galleries/rooms/search", json=request).json()["hits"]


def test_a_hit_is_decided_and_its_search_is_in_the_case(visitor, room_bytes):
    case = begin(visitor)
    request, hits = search(visitor, room_bytes, box=[10, 10, 90, 80])
    decision = {"search": request, "hit": hits[1]["id"], "verdict": "same", "who": "anna", "seen": "shares"}
    pair = visitor.post(f"{case}/decisions", json=decision).json()
    assert (pair["verdict"], pair["who"], pair["rank"]) == ("same", "anna", 2)
    assert pair["similarity"] == hits[1]["similarity"] and pair["box"] == [10, 10, 90, 80]
    assert pair["query"]["name"] == "wall.png" and pair["parameters"] == {"k": 5}
    whole = visitor.get(case).json()
    assert [each["hit"]["id"] for each in whole["pairs"]] == [hit["id"] for hit in hits]
    assert (whole["n_pairs"], whole["n_undecided"]) == (5, 4)
    undecided = visitor.get(case, params={"verdict": "undecided"}).json()["pairs"]
    assert len(undecided) == 4
    again = visitor.post(f"{case}/decisions", json=decision | {"hit": hits[0]["id"]}).json()
    assert again["verdict"] == "same" and len(visitor.get(case).json()["pairs"]) == 5
    assert visitor.get(ROOT).json()[0]["n_undecided"] == 3


def test_a_kept_query_is_shown_and_searched_after_the_server_started_again(own_gallery, room_bytes):
    with TestClient(create_app(own_gallery)) as client:
        case = begin(client)
        request, hits = search(client, room_bytes)
        pair = client.post(
            f"{case}/decisions", json={"search": request, "hit": hits[0]["id"], "verdict": "unsure"}
        ).json()
    with TestClient(create_app(own_gallery)) as client:
        id = pair["query"]["id"]
        assert client.get(f"/api/galleries/rooms/pictures/{id}").headers["content-type"] == "image/jpeg"
        found = client.post("/api/galleries/rooms/search", json={"query": id, "k": 5}).json()
        assert [hit["id"] for hit in found["hits"]] == [hit["id"] for hit in hits]
        assert found["query"]["name"] == "wall.png"
        assert client.get("/api/galleries/rooms/pictures/" + "0" * 32).status_code == 404


def test_a_picture_of_the_gallery_is_found_by_its_hash_too(visitor, own_gallery):
    record = own_gallery.records()[3]
    found = visitor.post("/api/galleries/rooms/search", json={"query": record.hash[:32], "k": 1}).json()
    assert found["hits"][0]["id"] == record.id


def test_undo_takes_back_the_last_decision(visitor, room_bytes):
    case = begin(visitor)
    request, hits = search(visitor, room_bytes)
    for who, hit in (("anna", hits[0]), ("bert", hits[1])):
        decision = {"search": request, "hit": hit["id"], "verdict": "same", "who": who}
        assert visitor.post(f"{case}/decisions", json=decision).status_code == 200
    undone = visitor.post(f"{case}/undo", json={"who": "anna"}).json()
    assert undone["hit"]["id"] == hits[0]["id"] and undone["verdict"] is None
    assert visitor.post(f"{case}/undo", json={"who": "anna"}).status_code == 409
    assert visitor.post(f"{case}/undo", json={}).json()["hit"]["id"] == hits[1]["id"]


def test_notes_and_tags_are_changed_by_the_pairs_id(visitor, room_bytes):
    case = begin(visitor)
    request, hits = search(visitor, room_bytes)
    pair = visitor.post(
        f"{case}/decisions", json={"search": request, "hit": hits[0]["id"], "verdict": "same"}
    ).json()
    changed = visitor.post(
        f"{case}/decisions", json={"pair": pair["id"], "note": "a crack", "tags": ["frame"]}
    ).json()
    assert (changed["verdict"], changed["note"], changed["tags"]) == ("same", "a crack", ["frame"])


def test_the_name_of_the_token_says_who_decided(own_gallery, room_bytes):
    with TestClient(create_app(own_gallery, token=["anna:s3cret", "bert:other"])) as client:
        assert client.get(ROOT).status_code == 401
        assert client.get(ROOT, headers={"authorization": "Bearer s3cret"}).status_code == 401
        client.headers["authorization"] = "Bearer bert:other"
        case = begin(client)
        request, hits = search(client, room_bytes)
        decision = {"search": request, "hit": hits[0]["id"], "verdict": "same", "who": "anna"}
        assert client.post(f"{case}/decisions", json=decision).json()["who"] == "bert"
        client.headers["authorization"] = "Bearer anna:s3cret"
        assert (
            client.post(f"{case}/undo", json={"who": "bert"}).status_code == 409
        )  # anna has decided nothing
        assert client.get("/api/health").json()["person"] == "anna"


@pytest.mark.parametrize("token", ["", " ", "anna:", ["anna:x", ""]])
def test_a_token_without_a_secret_is_refused(own_gallery, token):
    with pytest.raises(ValueError, match="the token is empty"):
        create_app(own_gallery, token=token)


def test_an_export_is_imported_and_shows_no_folder(visitor, own_gallery, room_bytes):
    case = begin(visitor)
    request, hits = search(visitor, room_bytes)
    visitor.post(f"{case}/decisions", json={"search": request, "hit": hits[0]["id"], "verdict": "different"})
    exported = visitor.get(f"{case}/export")
    assert str(own_gallery.uri) not in exported.text and "rooms0" not in exported.text
    other = begin(visitor, "copy")
    assert visitor.post(f"{other}/import", json=exported.json()).json() == {"n_pairs": 5, "n_changed": 5}
    assert visitor.post(f"{other}/import", json=exported.json()).json()["n_changed"] == 0
    verdicts = [[pair["verdict"] for pair in visitor.get(c).json()["pairs"]] for c in (case, other)]
    assert verdicts[0] == verdicts[1] == ["different", None, None, None, None]
    report = visitor.get(f"{case}/report")
    assert "attachment" in report.headers["content-disposition"]
    assert hits[0]["sha256"] in report.text and str(own_gallery.uri) not in report.text


def test_what_does_not_fit_is_refused_in_a_sentence(visitor, room_bytes):
    case = begin(visitor)
    request, hits = search(visitor, room_bytes)
    hit = hits[0]["id"]
    for body, status, said in (
        ({"verdict": "same"}, 422, "give the pair, or the search and the hit"),
        ({"search": request, "hit": "0" * 20, "verdict": "same"}, 422, "no hit of this search"),
        ({"search": request, "hit": hit, "verdict": "sam"}, 422, "verdict"),
        ({"search": request, "hit": hit}, 422, "nothing to decide"),
        ({"pair": "0" * 16, "verdict": "same"}, 409, "has no pair"),
        ({"search": request, "hit": hit, "tags": ["x" * 61]}, 422, "tags are a list"),
        ({"search": request, "hit": hit, "verdict": "same", "other": 1}, 422, "no such setting"),
    ):
        answer = visitor.post(f"{case}/decisions", json=body)
        assert answer.status_code == status and said in answer.json()["detail"], body
    assert visitor.get(f"{ROOT}/nothing").status_code == 404
    assert "did you mean 'wall'" in visitor.get(f"{ROOT}/wal").json()["detail"]
    for name in ("../x", "", "a/b", "x" * 81):
        assert visitor.post(ROOT, json={"name": name}).status_code == 422
    assert [each["name"] for each in visitor.get(ROOT).json()] == ["wall"]
    foreign = {"sec-fetch-site": "cross-site"}
    assert visitor.post(ROOT, json={"name": "theirs"}, headers=foreign).status_code == 403


def test_a_search_with_examples_says_so_and_its_map_sums_to_it(visitor, room_bytes):
    request, hits = search(visitor, room_bytes)
    liked, disliked = [hits[1]["id"]], [hits[4]["id"]]
    moved = visitor.post(
        "/api/galleries/rooms/search", json=request | {"liked": liked, "disliked": disliked}
    ).json()["hits"]
    assert moved[0]["similarity"] != hits[0]["similarity"]
    parameters = {
        "query": request["query"],
        "match": moved[0]["id"],
        "liked": liked,
        "disliked": disliked,
    }
    why = visitor.get("/api/galleries/rooms/explanation", params=parameters).json()
    assert why["similarity"] == pytest.approx(moved[0]["similarity"], abs=1e-5)
    total = sum(map(sum, why["query_map"])) + sum(why["residual_parts"].values())
    assert total == pytest.approx(why["similarity"], abs=1e-4)
    assert set(why["residual_parts"]) == {"1 liked", "1 disliked"}


def test_a_polygon_is_explained_as_it_was_searched(visitor, room_bytes):
    polygon = [[10, 10], [120, 20], [60, 110]]
    request, hits = search(visitor, room_bytes, polygon=polygon)
    text = ",".join(str(value) for corner in polygon for value in corner)
    parameters = {"query": request["query"], "match": hits[0]["id"], "polygon": text}
    why = visitor.get("/api/galleries/rooms/explanation", params=parameters).json()
    assert why["similarity"] == pytest.approx(hits[0]["similarity"], abs=1e-5)
    odd = visitor.get("/api/galleries/rooms/explanation", params=parameters | {"polygon": text + ",1"})
    assert odd.status_code == 422 and "got 7 numbers" in odd.json()["detail"]


def test_a_killed_server_loses_no_decision_that_it_acknowledged(own_gallery, tmp_path):
    case = own_gallery.case("wall")
    record = own_gallery.records()[0]
    pairs = [pair.id for pair in case.add(own_gallery.search(record.id, k=9))]
    command = [sys.executable, "-m", "lookalike", "serve", "-g", str(own_gallery.uri), "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        port = int(re.search(r":(\d+)/", server.stdout.readline())[1])
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
        acknowledged = []
        for i in range(30):
            body = json.dumps({"pair": pairs[i % 9], "note": f"note {i}"})
            headers = {"content-type": "application/json"}
            connection.request("POST", f"{ROOT}/wall/decisions", body, headers)
            if i == 20:  # nobody waits for this answer
                os.kill(server.pid, signal.SIGKILL)
                break
            answer = connection.getresponse()
            assert answer.status == 200
            acknowledged.append(json.loads(answer.read())["note"])
        connection.close()
    kept = [event.body["set"]["note"] for event in case.history() if event.kind == "decide"]
    assert len(acknowledged) == 20 and kept[:20] == acknowledged
    assert case.undo().note == kept[-1 - 9]


def decided_case(visitor, own_gallery):
    case = own_gallery.case("wall")
    for pair in case.add(own_gallery.search(own_gallery.records()[0].id, k=2)):
        case.decide(pair, "same")
    return visitor.get(f"{ROOT}/wall/export").json()


def test_an_imported_path_is_not_read(visitor, own_gallery, room_bytes, tmp_path):
    values = decided_case(visitor, own_gallery)
    secret = tmp_path / "secret.png"
    secret.write_bytes(room_bytes)
    for pair in values["pairs"]:
        pair["query"] = {"sha256": "a" * 64, "name": "secret.png", "path": str(secret)}
    case = begin(visitor, "theirs")
    assert visitor.post(f"{case}/import", json=values).json()["n_changed"] == 2
    assert {pair.query.path for pair in own_gallery.case("theirs").decisions()} == {None}
    page = visitor.get(f"{case}/report").text
    assert "is not kept in the case" in page and "data:image" not in page


def test_odd_numbers_of_an_import_are_refused(visitor, own_gallery):
    values = decided_case(visitor, own_gallery)
    case = begin(visitor, "theirs")
    for odd in ("NaN", "1e999", "9" * 400, '"0.5"'):
        values["pairs"][0]["similarity"] = "HERE"
        text = json.dumps(values).replace('"HERE"', odd)
        answer = visitor.post(f"{case}/import", content=text, headers={"content-type": "application/json"})
        assert answer.status_code == 409 and "pair 1 of the case" in answer.json()["detail"]
    assert visitor.get(case).json()["pairs"] == []


def test_the_report_of_a_case_names_changed_files_without_folders(visitor, own_gallery, room_folder):
    decided_case(visitor, own_gallery)
    path = Path(own_gallery.records()[0].path)
    kept = path.read_bytes()
    try:
        path.write_bytes(kept + b"more")
        page = visitor.get(f"{ROOT}/wall/report").text
    finally:
        path.write_bytes(kept)
    assert "has changed since it was indexed" in page or "is another file by now" in page
    assert str(room_folder) not in page


def test_a_damaged_case_is_listed_with_the_reason_and_harms_no_other(visitor, own_gallery):
    decided_case(visitor, own_gallery)
    (own_gallery.case("wall").file.parent / "bad.sqlite").write_bytes(b"no database" * 500)
    listed = {each["name"]: each for each in visitor.get(ROOT).json()}
    assert listed["wall"]["n_pairs"] == 2 and not listed["wall"]["damage"]
    assert "is not the file of a case" in listed["bad"]["damage"]
    assert str(own_gallery.uri) not in listed["bad"]["damage"]
    assert visitor.get(f"{ROOT}/bad").status_code == 409
    kept = visitor.get(f"{ROOT}/wall").json()["pairs"][0]["query"]["id"]
    assert visitor.get(f"/api/galleries/rooms/pictures/{kept}").status_code == 200


def test_examples_of_an_explanation_are_bounded(visitor, own_gallery):
    id = own_gallery.records()[0].id
    asked = {"query": id, "match": id, "liked": [id] * 201}
    answer = visitor.get("/api/galleries/rooms/explanation", params=asked)
    assert answer.status_code == 422 and "at most 200" in answer.json()["detail"]
