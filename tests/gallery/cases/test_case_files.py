"""Cases: what is decided is kept, undone, taken elsewhere and learned from; nothing acknowledged is lost."""

import json
import os
import signal
import sqlite3
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import torch
from torch.testing import assert_close

from lookalike import images
from lookalike.errors import GalleryError, UnknownNameError
from lookalike.gallery import Gallery, read_case
from lookalike.gallery.cases import CaseFile
from lookalike.gallery.cases.exchange import case_values, decided_cosines
from lookalike.gallery.cases.labeled import write_labeled
from lookalike.gallery.cases.pairs import CasePicture, Found
from lookalike.gallery.labels import labeled_pairs
from lookalike.reports.case import case_report

BOX = (20, 15, 120, 100)


@pytest.fixture
def case(tmp_path):
    return CaseFile(tmp_path / "wall.sqlite", model="mini", fingerprint="f" * 64)


def found(n=3, query="a" * 64, box=None, first=0, parameters=None):
    hits = [
        {"sha256": f"{first + i:064x}", "name": f"{i}.jpg", "similarity": 0.9 - 0.1 * i, "rank": i + 1}
        for i in range(n)
    ]
    return Found(
        CasePicture(query, "wall.jpg"), box, None, "shares", "mini", "f" * 64, parameters or {}, hits
    )


@pytest.fixture
def gallery(room_files, mini, tmp_path):
    made = Gallery.create(tmp_path / "rooms.gallery", mini)
    made.add(room_files[0], workers=0)
    return made


def test_hits_of_a_search_are_pairs_to_be_decided(gallery, room_files):
    file = room_files[1][4]
    hits = gallery.search(file, k=4, box=BOX)
    case = gallery.case("wall")
    pairs = case.add(hits, file, parameters={"k": 4})
    assert [pair.hit.id for pair in pairs] == [hit.id for hit in hits]
    assert [pair.similarity for pair in pairs] == [hit.similarity for hit in hits]
    assert all(pair.box == BOX and pair.verdict is None and pair.rank == i for i, pair in enumerate(pairs, 1))
    assert pairs[0].fingerprint == gallery.embedder.fingerprint()
    assert case.picture(pairs[0].query.sha256)[1] == file.read_bytes()
    assert gallery.cases() == ["wall"]
    assert case.decisions("undecided") == pairs


def test_another_region_is_another_pair(gallery, room_files):
    case, file = gallery.case("wall"), room_files[1][4]
    whole, part = (case.add(gallery.search(file, k=1, box=box), file)[0] for box in (None, BOX))
    same = case.add(gallery.search(file, k=1, box=BOX), file)[0]
    assert whole.id != part.id == same.id


def test_a_picture_that_is_not_the_query_is_refused(gallery, room_files):
    hits = gallery.search(room_files[1][4], k=1)
    with pytest.raises(ValueError, match="not the query of these hits"):
        gallery.case("wall").add(hits, room_files[1][5])


def test_a_query_of_the_gallery_needs_no_file(gallery):
    record = gallery.records()[2]
    (pair,) = gallery.case("wall").add(gallery.search(record.id, k=1))
    assert pair.query.sha256 == record.hash and pair.query.path == record.path


def test_what_is_decided_is_there_when_the_case_is_opened_again(case):
    a, b, _ = case.add_found(found())
    case.decide(a, "same", note="the frame has the same crack", tags=["frame", " frame", "sure"], who="anna")
    case.decide(b.id, "different", who="bert", seen="shares")
    again = CaseFile(case.file, model="mini", fingerprint="")
    pairs = {pair.id: pair for pair in again.decisions()}
    assert (pairs[a.id].verdict, pairs[a.id].who, pairs[a.id].tags) == ("same", "anna", ("frame", "sure"))
    assert pairs[a.id].note == "the frame has the same crack" and pairs[a.id].when.endswith("Z")
    assert [pair.id for pair in again.decisions("different", who="bert")] == [b.id]
    assert [pair.id for pair in again.decisions(tag="frame")] == [a.id]
    assert len(again.decisions("undecided")) == 1


def test_a_change_leaves_alone_what_it_does_not_name(case):
    a = case.add_found(found())[0]
    case.decide(a, "same", note="first")
    case.decide(a, note="second")
    assert case.decide(a, tags=["x"]).verdict == "same"
    taken_back = case.decide(a, "undecided")
    assert taken_back.verdict is None and taken_back.note == "second"


def test_undo_goes_back_one_decision_of_its_person_and_both_stay_in_the_history(case):
    a, b, c = case.add_found(found())
    case.decide(a, "same", who="anna")
    case.decide(b, "same", who="bert")
    case.decide(a, "different", who="anna")
    assert case.undo("anna").verdict == "same"
    assert case.undo("anna").verdict is None
    with pytest.raises(GalleryError, match="no decision by anna left to undo"):
        case.undo("anna")
    assert case.undo().id == b.id
    assert [event.kind for event in case.history()] == ["search", *["decide"] * 3, *["undo"] * 3]
    assert {pair.verdict for pair in case.decisions()} == {None}
    assert c.verdict is None


def test_what_was_decided_stays_as_it_was_seen_when_it_is_found_again(case):
    a = case.add_found(found(parameters={"k": 3}))[0]
    case.decide(a, "same")
    again = found(parameters={"k": 9})
    again.hits[0]["similarity"] = 0.5
    a_again, b_again, _ = case.add_found(again)
    assert a_again.similarity == 0.9 and a_again.parameters == {"k": 3}
    assert b_again.parameters == {"k": 9}


def test_wrong_words_and_pairs_are_refused_in_a_sentence(case):
    a = case.add_found(found())[0]
    with pytest.raises(UnknownNameError, match="verdict is one of same, different, unsure, undecided"):
        case.decide(a, "sam")
    with pytest.raises(GalleryError, match="no pair '0000000000000000'"):
        case.decide("0" * 16, "same")
    with pytest.raises(ValueError, match="nothing to decide"):
        case.decide(a)
    with pytest.raises(ValueError, match="up to 4,000 characters"):
        case.decide(a, note="x" * 4001)
    with pytest.raises(ValueError, match="tags are a list"):
        case.decide(a, tags="frame")
    assert len(case.history()) == 1


def test_events_can_be_neither_changed_nor_removed(case):
    case.decide(case.add_found(found())[0], "same")
    with sqlite3.connect(case.file) as connection:
        for statement in ("UPDATE events SET who = 'x'", "DELETE FROM events"):
            with pytest.raises(sqlite3.IntegrityError, match="events are only added"):
                connection.execute(statement)


@pytest.mark.parametrize("name", ["", ".", "../other", "a/b", "x" * 81, "a\n", "a "])
def test_a_name_that_is_none_for_a_file_is_refused(gallery, name):
    with pytest.raises(ValueError, match="a case's name has"):
        gallery.case(name)
    assert gallery.cases() == []


def test_a_file_that_is_no_case_is_an_error_and_stays(gallery):
    file = gallery.case("wall").file
    file.write_bytes(b"something else, longer than a header of SQLite would be, by far" * 40)
    with pytest.raises(GalleryError, match="is not the file of a case, or is damaged"):
        gallery.case("wall")
    assert file.read_bytes().startswith(b"something else")


@pytest.mark.parametrize("is_replaced", [True, False])
def test_nothing_is_written_to_a_file_that_was_removed_or_replaced(case, tmp_path, is_replaced):
    (pair,) = case.add_found(found(1))
    case.file.rename(tmp_path / "moved.sqlite")
    if is_replaced:
        case.file.write_bytes(b"")
    with pytest.raises(GalleryError, match="was removed or replaced while it was in use"):
        case.decide(pair, "same")
    assert case.file.exists() == is_replaced


def test_a_case_that_was_cut_to_nothing_is_not_taken_for_a_new_one(gallery):
    file = gallery.case("wall").file
    file.write_bytes(b"")
    with pytest.raises(GalleryError, match="is empty, and the file of a case never is"):
        gallery.case("wall")
    assert gallery.cases() == ["wall"] and file.stat().st_size == 0


@pytest.mark.parametrize("has_links", [True, False])
def test_a_case_gets_its_name_when_it_is_whole(gallery, monkeypatch, has_links):
    if not has_links:
        monkeypatch.setattr("pathlib.Path.hardlink_to", lambda self, target: os.link("/missing", self))
    first, again = gallery.case("anew"), gallery.case("anew")
    assert first.created == again.created != ""
    names = [file.name for file in first.file.parent.iterdir()]
    assert [name for name in names if name.endswith(".new")] == []


def test_a_gallery_in_memory_keeps_no_cases(mini):
    with pytest.raises(GalleryError, match="beside a gallery in a folder"):
        Gallery.in_memory(mini).case("wall")


def test_an_import_brings_verdicts_with_their_people_and_changes_nothing_twice(case, tmp_path):
    a, b, _ = case.add_found(found())
    case.decide(a, "same", note="crack", tags=["t"], who="anna")
    values = json.loads(json.dumps(case_values(case)))
    other = CaseFile(tmp_path / "other.sqlite", model="mini", fingerprint="")
    other.add_found(found(n=1))
    assert other.import_decisions(read_case(values), who="bert") == 3  # one decided, two new
    copied = {pair.id: pair for pair in other.decisions()}
    assert copied[a.id] == case.decisions()[0]
    assert copied[b.id].verdict is None
    assert other.history()[-1].who == "bert"
    assert other.import_decisions(read_case(values)) == 0
    case.decide(a, "different")
    assert case.import_decisions(read_case(values)) == 1 and case.decisions()[0].verdict == "same"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"format": "x"}, "an exported case is JSON"),
        ({"version": 2}, "has version 2 and this reads 1"),
        ({"pairs": [{}]}, "pair 1 of the case is not as documented: it lacks 'query'"),
    ],
)
def test_another_json_is_refused_by_what_is_wrong(case, change, said):
    with pytest.raises(GalleryError, match=said):
        read_case(case_values(case) | change)


def test_a_pair_with_a_wrong_hash_box_or_verdict_is_refused(case):
    case.add_found(found(box=BOX))
    values = case_values(case)
    for field, value in (("verdict", "maybe"), ("box", [1, 2, 3]), ("similarity", None)):
        pair = values["pairs"][1] | {field: value}
        with pytest.raises(GalleryError, match="pair 2 of the case is not as documented"):
            read_case({**values, "pairs": [values["pairs"][0], pair]})


def test_verdicts_calibrate_by_the_cosines_that_were_seen(gallery, case):
    case.add_found(found(10))
    case.add_found(found(4, query="b" * 64, box=BOX, first=100))
    case.add_found(found(4, query="c" * 64, parameters={"unlike": ["a wall"]}))
    case.add_found(found(4, query="d" * 64, parameters={"examples": {"liked": ["0" * 20]}}))
    for pair in case.decisions():
        case.decide(pair, "same" if pair.similarity > 0.45 else "different")
    same, different = decided_cosines(case, "f" * 64)
    assert_close(same, torch.tensor([0.9, 0.8, 0.7, 0.6, 0.5]))
    assert len(different) == 5  # none of the region, with words or with examples
    assert [len(each) for each in decided_cosines(case, "another")] == [0, 0]
    case._fingerprint = gallery.embedder.fingerprint()
    with pytest.raises(GalleryError, match="calibration needs 5 pairs or more of each kind, got 0"):
        gallery.calibrate(case=case)


def test_a_gallery_is_calibrated_by_a_case(gallery, room_files):
    case = gallery.case("wall")
    for file in room_files[1]:
        for pair in case.add(gallery.search(file, k=3, leave_self_out=True), file):
            case.decide(pair, "same" if pair.similarity > 0.85 else "different")
    curve = gallery.calibrate(case=case)
    assert curve.source == "what was decided in the case 'wall'"
    assert curve.n_positive == len(case.decisions("same")) >= 5
    assert gallery.search(room_files[1][0], k=1)[0].probability > 0.5


def test_decided_pairs_are_written_as_calibrate_and_train_read_them(gallery, room_files, tmp_path):
    case, file = gallery.case("wall"), room_files[1][4]
    a, b, c = case.add(gallery.search(file, k=3, box=BOX), file)
    for pair, verdict in ((a, "same"), (b, "same"), (c, "different")):
        case.decide(pair, verdict)
    made = write_labeled(case, tmp_path / "labeled")
    pairs = labeled_pairs(made.pairs)
    assert [is_match for _, _, is_match in pairs] == [True, True, False]
    assert [str(path) for _, path, _ in pairs] == [pair.hit.path for pair in (a, b, c)]
    assert images.load(pairs[0][0]).image.size == (100, 85)
    rows = made.labels.read_text().splitlines()[1:]
    assert len(rows) == 3 and {row.rsplit(",", 1)[1] for row in rows} == {"thing 1"}


def test_pictures_that_are_the_same_and_different_at_once_get_no_class(gallery, room_files, tmp_path):
    case = gallery.case("wall")
    first = gallery.records()[0]
    others = [hit.id for hit in gallery.search(first.id, k=3)][1:]
    pairs = case.add(gallery.search(first.id, k=3))[1:]
    second = [p for p in case.add(gallery.search(others[0], k=12)) if p.hit.id == others[1]]
    for pair, verdict in zip([*pairs, *second], ("same", "same", "different"), strict=True):
        case.decide(pair, verdict)
    assert write_labeled(case, tmp_path / "labeled").n_labels == 0


def test_decisions_are_examples_for_the_next_search_of_the_same_region(gallery, room_files):
    case, file = gallery.case("wall"), room_files[1][4]
    a, b, c = case.add(gallery.search(file, k=3, box=BOX), file)
    case.decide(a, "same")
    case.decide(b, "different")
    case.decide(c, "unsure")
    examples = case.examples(a.query.sha256, BOX)
    assert examples == {"liked": [a.hit.id], "disliked": [b.hit.id]}
    assert case.examples(a.query.id, BOX) == examples
    assert case.examples(a.query.sha256) == {"liked": [], "disliked": []}


_WRITER = """
import sys
from pathlib import Path
from lookalike.gallery.cases import CaseFile
case = CaseFile(Path(sys.argv[1]), model="mini", fingerprint="f")
pairs = case.decisions()
for i in range(10_000):
    pair = pairs[i % len(pairs)]
    case.decide(pair, note=f"{sys.argv[2]} {i}", who=sys.argv[2])
    print(f"{sys.argv[2]} {i}", flush=True)
    if len(sys.argv) > 3 and i + 1 == int(sys.argv[3]): break
"""


def writer(case, name, *count):
    return subprocess.Popen(
        [sys.executable, "-c", _WRITER, str(case.file), name, *count], stdout=subprocess.PIPE, text=True
    )


def test_a_killed_writer_loses_nothing_that_it_acknowledged(case):
    case.add_found(found())
    process = writer(case, "anna")
    acknowledged = [process.stdout.readline() for _ in range(25)]
    os.kill(process.pid, signal.SIGKILL)
    acknowledged += process.stdout.readlines()
    process.wait()
    process.stdout.close()
    kept = [event.body["set"]["note"] for event in case.history() if event.kind == "decide"]
    said = [line.strip() for line in acknowledged if line.endswith("\n")]
    assert kept[: len(said)] == said and len(said) >= 25
    assert case.decide(case.decisions()[0], "same").verdict == "same"  # and it goes on


def test_two_processes_and_two_threads_write_one_case_without_losing_anything(case):
    case.add_found(found())
    processes = [writer(case, name, "15") for name in ("anna", "bert")]
    pairs = case.decisions()

    def write(name):
        for i in range(15):
            case.decide(pairs[i % 3], note=f"{name} {i}", who=name)

    threads = [threading.Thread(target=write, args=(name,)) for name in ("cleo", "dora")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for process in processes:
        assert len(process.communicate()[0].splitlines()) == 15 and process.returncode == 0
    again = CaseFile(case.file, model="mini", fingerprint="")
    assert again.history() == case.history()
    for name in ("anna", "bert", "cleo", "dora"):
        notes = [e.body["set"]["note"] for e in case.history() if e.who == name]
        assert notes == [f"{name} {i}" for i in range(15)]


@pytest.mark.parametrize(
    "changes, words",
    [
        ({"similarity": float("nan")}, "not JSON compliant"),
        ({"similarity": 10**400}, "from -1 to 1"),
        ({"similarity": True}, "similarity is a number"),
        ({"similarity": "0.5"}, "similarity is a number"),
        ({"probability": 5}, "from 0 to 1"),
        ({"rank": float("inf")}, "not JSON compliant"),
        ({"rank": 0}, "rank is a number from 1"),
        ({"box": [30, 30, 1, 1]}, "left < right"),
        ({"box": [0, 0, 1]}, "four numbers"),
        ({"box": [0, 0, 1e308, 1e308]}, "a box's side"),
        ({"polygon": [[0, 0], [1, 1]]}, "3 to 1,000 corners"),
        ({"polygon": [[i, i * i] for i in range(1001)]}, "3 to 1,000 corners"),
        ({"tags": "abc"}, "tags are a list"),
        ({"tags": ["x" * 61]}, "up to 60 characters"),
        ({"note": "n" * 4001}, "up to 4,000 characters"),
        ({"note": [1]}, "note is a text"),
        ({"note": "\ud800"}, "surrogates"),
        ({"who": "a\0b"}, "who is a text"),
        ({"parameters": {"examples": 5}}, "examples is an object"),
        ({"parameters": {"examples": {"liked": [1]}}}, "lists of ids"),
        ({"metadata": "x"}, "metadata is an object"),
        ({"metadata": {"price": float("inf")}}, "not JSON compliant"),
        ({"query": "x"}, "indices"),
    ],
)
def test_an_exported_pair_of_odd_values_is_refused_whole(case, changes, words):
    case.add_found(found())
    values = case_values(case)
    values["pairs"][2] |= changes
    with pytest.raises(GalleryError, match=f"pair 3 of the case is not as documented.*{words}"):
        read_case(values)


@pytest.mark.parametrize(
    "body",
    ["{}", "[1]", '{"query":' * 3000, '{"pair":"nope","set":{"verdict":"same"}}'],
)
def test_a_damaged_event_is_named(case, body):
    case.add_found(found())
    with sqlite3.connect(case.file) as connection:
        kind = "decide" if "nope" in body else "search"
        connection.execute("INSERT INTO events (time, who, kind, body) VALUES ('', '', ?, ?)", (kind, body))
    for use in (case.decisions, lambda: CaseFile(case.file, model="", fingerprint="").decisions()):
        with pytest.raises(GalleryError, match=r"event 2 of the case is damaged|not the file of a case"):
            use()


def test_other_files_beside_the_cases_are_none(gallery):
    gallery.case("wall")
    folder = gallery.case("wall").file.parent
    (folder / "Copy of wall (1).sqlite").write_bytes(b"")
    (folder / "folder.sqlite").mkdir()
    (folder / "gone.sqlite").symlink_to("/not/there")
    assert gallery.cases() == ["wall"]


def test_half_a_character_and_a_name_too_long_for_a_file_are_refused(gallery, case):
    (pair,) = case.add_found(found(1))
    for changes in ({"note": "\ud800"}, {"tags": ["\udfff"]}, {"note": "", "who": "\ud800"}):
        with pytest.raises(ValueError, match="half a character"):
            case.decide(pair, **changes)
    with pytest.raises(ValueError, match="a case's name"):
        gallery.case("\U00020000" * 70)  # 70 letters, 280 bytes


def test_a_file_that_is_another_one_by_now_is_left_out_of_labeled_pairs_and_of_the_report(
    gallery, room_files, tmp_path
):
    record, other = gallery.records()[:2]
    hits = gallery.search(record.id, k=3)
    case = gallery.case("wall")
    for pair in case.add(hits):
        case.decide(pair, "same")
    case.decide(case.add_found(found(1, query=record.hash, box=(900, 900, 950, 950)))[0], "same")
    changed = Path(record.path)
    kept = changed.read_bytes()
    try:
        changed.write_bytes(Path(other.path).read_bytes())
        made = write_labeled(case, tmp_path / "labeled")
        assert len(made.unreadable) == 4 and made.n_pairs == 0
        assert "is another file by now" in made.unreadable[0]
        page = case_report(case, gallery)
        assert "is another file by now" in page
    finally:
        changed.write_bytes(kept)


def test_a_region_outside_of_its_picture_harms_no_other_pair(gallery, room_files, tmp_path):
    record = gallery.records()[0]
    case = gallery.case("wall")
    outside = Found(
        CasePicture(record.hash, "a.png", record.path), (9000, 9000, 9100, 9100), None, "shares", "mini",
        "f" * 64, {}, [{"sha256": record.hash, "name": "b.png", "path": record.path, "similarity": 0.5}],
    )  # fmt: skip
    for pair in (*case.add(gallery.search(record.id, k=1)), *case.add_found(outside)):
        case.decide(pair, "same")
    made = write_labeled(case, tmp_path / "labeled")
    assert made.n_pairs == 1 and "lies outside of a.png" in made.unreadable[0]
    assert "inside the" in case_report(case, gallery)


def test_a_case_on_a_read_only_disk_can_be_read_and_says_that_it_can_not_be_written(case, monkeypatch):
    pairs = case.add_found(found())
    with sqlite3.connect(case.file) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()
    case.__dict__["_log"]._open[1].close()
    for name in ("-wal", "-shm"):
        case.file.with_name(case.file.name + name).unlink(missing_ok=True)
    monkeypatch.setattr(os, "access", lambda *_: False)
    seen = CaseFile(case.file, model="mini", fingerprint="f" * 64)
    assert [pair.id for pair in seen.decisions()] == [pair.id for pair in pairs]
    with pytest.raises(GalleryError, match=r"can't be used: attempt to write a readonly database"):
        seen.decide(pairs[0], "same")
