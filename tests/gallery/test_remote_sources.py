"""Pictures at s3://, in tables of paths and in tars: the same gallery as from local copies of the files."""

import io
import json
import os
import shutil
import tarfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image
from pyarrow import fs, parquet
from typer.testing import CliRunner

import lookalike
from lookalike import Gallery
from lookalike.cli import app
from lookalike.errors import GalleryError, StoreUnreachableError, UnreadableImageError
from lookalike.gallery import folder_labels
from lookalike.images import object_store
from lookalike.reports.search import search_report
from made_object_store import object_store as served_store

N = 6


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """Six pictures in two folders, a copy of one, and one that can't be read."""
    folder = tmp_path_factory.mktemp("photos")
    rng = np.random.default_rng(0)
    for number in range(N):
        path = folder / "ab"[number % 2] / f"{number} ü#%20.png"
        path.parent.mkdir(exist_ok=True)
        small = Image.fromarray(rng.integers(0, 256, (4, 7, 3), dtype=np.uint8))
        small.resize((70, 40)).save(path)
    shutil.copy(folder / "a" / "0 ü#%20.png", folder / "b" / "copy.png")
    (folder / "b" / "cut.png").write_bytes((folder / "a" / "2 ü#%20.png").read_bytes()[:300])
    return folder


@pytest.fixture(scope="module")
def plain(photos, tmp_path_factory, mini):
    """The gallery of the local files, and its report; read-only."""
    gallery = Gallery.create(tmp_path_factory.mktemp("galleries") / "plain", mini)
    return gallery, gallery.add(photos, workers=0)


@pytest.fixture(scope="module")
def bucket():
    with pytest.MonkeyPatch.context() as patch, served_store(patch) as (_, uri):
        patch.setenv("AWS_ENDPOINT_URL_OF_TESTS", os.environ["AWS_ENDPOINT_URL"])
        yield uri


@pytest.fixture(autouse=True)
def own_cache(monkeypatch, tmp_path):
    monkeypatch.setenv("LOOKALIKE_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def gallery(mini, tmp_path):
    return Gallery.create(tmp_path / "g", mini)


def put(uri, data):
    store = fs.S3FileSystem(region="us-east-1", endpoint_override=os.environ["AWS_ENDPOINT_URL"])
    with store.open_output_stream(uri.removeprefix("s3://")) as file:
        file.write(data)


def put_folder(folder, prefix):
    for path in folder.rglob("*.*"):
        put(f"{prefix}/{path.relative_to(folder)}", path.read_bytes())
    return prefix


@pytest.fixture(scope="module")
def at_s3(photos, bucket):
    """The pictures below a prefix, beside what is none."""
    put(f"{bucket}/photos/notes.txt", b"no picture")
    put(f"{bucket}/photos/.hidden/x.png", b"no picture")
    put(f"{bucket}/photos2/x.png", b"below a prefix that only begins so")
    return put_folder(photos, f"{bucket}/photos")


def below(gallery, top):
    """Hash, size and metadata, and the embedding, of all files by their paths below the source."""
    snapshot = gallery._store.snapshot()
    return {
        file.path.removeprefix(f"{top}/"): ((record.hash, record.size, dict(file.metadata)), vector)
        for record, vector in zip(snapshot.records, snapshot.embeddings, strict=True)
        for file in record.files
    }


def assert_same(found, expected):
    assert {path: facts for path, (facts, _) in found.items()} == {
        path: facts for path, (facts, _) in expected.items()
    }
    for path, (_, vector) in found.items():
        np.testing.assert_allclose(vector, expected[path][1], atol=1e-6)


def reasons(report, top):
    return {path.removeprefix(f"{top}/"): reason for path, reason in report.unreadable}


# --- prefixes -------------------------------------------------------------------------------------


def test_a_prefix_makes_the_gallery_of_the_local_files(at_s3, photos, plain, gallery):
    expected, expected_report = plain
    report = gallery.add(f"{at_s3}/", workers=0)
    assert_same(below(gallery, at_s3), below(expected, photos))
    assert (
        reasons(report, at_s3)
        == reasons(expected_report, photos)
        == {"b/cut.png": reasons(report, at_s3)["b/cut.png"]}
    )
    assert report.added == N and len(report.copies) == 1
    again = gallery.add(at_s3, workers=0)
    assert (again.added, again.known) == (0, N + 1)


def test_folders_are_labels_and_patterns_leave_out_as_on_disk(at_s3, gallery):
    gallery.add(at_s3, workers=0, ignore=["b"], metadata=folder_labels(at_s3))
    assert {record.metadata["label"] for record in gallery.records()} == {"a"} and len(gallery) == N // 2


def test_a_changed_a_moved_and_a_deleted_object_are_followed(photos, bucket, gallery):
    top = put_folder(photos / "a", f"{bucket}/changing")
    gallery.add(top, workers=0, metadata={"room": "x"})
    first, second, third = sorted(record.path for record in gallery.records())
    store = fs.S3FileSystem(region="us-east-1", endpoint_override=os.environ["AWS_ENDPOINT_URL"])
    store.move(first[5:], f"{top[5:]}/moved/{first.rpartition('/')[2]}")
    store.delete_file(second[5:])
    put(third, (photos / "b" / "1 ü#%20.png").read_bytes())
    report = gallery.add(top, workers=0)
    assert report.moved == ((first, f"{top}/moved/{first.rpartition('/')[2]}"),)
    assert (report.added, set(report.vanished)) == (1, {first, second})
    pruned = gallery.add(top, workers=0, prune=True)
    assert pruned.forgotten == (second,) and len(gallery) == 2
    assert all(record.metadata == {"room": "x"} for record in gallery.records())
    kept = gallery.add(top, workers=0, prune=True, ignore=["moved"])
    assert kept.forgotten == () and len(gallery) == 2


def test_nothing_of_a_store_is_forgotten_that_was_not_looked_at(at_s3, photos, gallery):
    gallery.add(at_s3, workers=0)
    gallery.add(photos / "a", prune=True, workers=0)
    assert gallery.vanished() == [] and gallery.prune() == 0 and len(gallery) == N
    assert "s3://" in next(iter(gallery.absent().unseen))
    assert gallery.remove(f"{at_s3}/b") == 3


def test_a_picture_of_a_store_is_searched_explained_and_reported(at_s3, photos, gallery, tmp_path):
    gallery.add(f"{at_s3}/a", workers=0)
    query = f"{at_s3}/b/copy.png"
    hit = gallery.search(query, k=1)[0]
    assert hit.record.path == f"{at_s3}/a/0 ü#%20.png" and hit.path.name == "0 ü#%20.png"
    assert hit.similarity == pytest.approx(1, abs=1e-5)
    why, local = hit.why(), lookalike.explain(photos / "b" / "copy.png", photos / "a" / "0 ü#%20.png")
    np.testing.assert_allclose(why.query_map, local.query_map, atol=1e-5)
    np.testing.assert_allclose(lookalike.explain(query, hit.path).query_map, local.query_map, atol=1e-5)
    assert "<img" in hit._repr_html_() and gallery.check(contents=True).is_sound
    assert "data:image" in search_report(gallery.search(query, k=2), gallery, parameters={})


def test_an_original_is_read_once_until_it_changes(photos, bucket, monkeypatch):
    uri = f"{bucket}/once.png"
    first, second = ((photos / "a" / f"{n} ü#%20.png").read_bytes() for n in (0, 2))
    put(uri, first)
    read = []
    monkeypatch.setattr("lookalike.images.originals.whole", lambda data, *_: read.append(1) or data)
    assert lookalike.images.file_bytes(uri) == lookalike.images.file_bytes(Path(uri)) == first
    assert len(read) == 1
    put(uri, second)
    assert lookalike.images.file_bytes(uri) == second and len(read) == 2


def test_the_cache_stays_small_and_a_damaged_file_in_it_is_not_believed(monkeypatch, tmp_path):
    from lookalike.images.originals import kept

    monkeypatch.setenv("LOOKALIKE_CACHE_BYTES", "8000")
    for number in range(40):
        assert kept(f"name {number}", lambda number=number: bytes([number]) * 900) == bytes([number]) * 900
    files = list((tmp_path / "cache" / "originals").iterdir())
    assert sum(file.stat().st_size for file in files) <= 8000 + 8 * 1000
    for file in files:
        file.write_bytes(file.read_bytes()[:-1] + b"?")
    assert kept("name 39", lambda: b"again") == b"again"
    assert kept("large", lambda: b"x" * 2000) == b"x" * 2000 and kept("large", lambda: b"y") == b"y"


# --- what is wrong --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("s3://bucket/nothing", "s3://bucket/nothing: nothing lies there"),
        ("s3://nobucket/photos", "there is no bucket 'nobucket'"),
        ("s3://", "names no bucket"),
        ("s3://an-id:a-secret@bucket/photos", "a URI holds no keys"),
        ("gs://bucket/photos", "from s3://, not from there"),
    ],
)
def test_a_wrong_uri_is_a_sentence(bucket, gallery, source, words):
    with pytest.raises(UnreadableImageError, match=words) as failed:
        gallery.add(source)
    assert "a-secret" not in str(failed.value) and "\n" not in str(failed.value)


@pytest.fixture
def refusing(monkeypatch):
    """A store that answers everything with a status; returns a function that sets it."""
    import threading
    from http.server import BaseHTTPRequestHandler, HTTPServer

    class Handler(BaseHTTPRequestHandler):
        status = 403

        def do_GET(self):
            self.send_response(self.status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        do_HEAD = do_GET

        def log_message(self, *_):
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{server.server_port}")
    yield Handler
    server.shutdown()
    server.server_close()


def test_a_store_that_refuses_access_is_a_sentence(bucket, refusing, gallery):
    with pytest.raises(UnreadableImageError, match="refuses access; check AWS_ACCESS_KEY_ID") as failed:
        gallery.add("s3://bucket/photos")
    assert "a-secret" not in str(failed.value) and not isinstance(failed.value, StoreUnreachableError)


def test_a_store_that_is_cut_off_stops_the_run_and_keeps_what_was_read(
    at_s3, photos, plain, gallery, monkeypatch
):
    whole = object_store._location
    asked = []

    def cut(uri):
        asked.append(uri)
        if len(asked) > 5:
            raise OSError("AWS Error NETWORK_CONNECTION during HeadObject operation: curlCode: 7")
        return whole(uri)

    with monkeypatch.context() as patched:
        patched.setattr(object_store, "_location", cut)
        with pytest.raises(StoreUnreachableError, match="can't be reached"):
            gallery.add(f"{at_s3}/", workers=0)
    assert 0 < len(gallery) < N
    gallery.add(at_s3, workers=0)
    assert_same(below(gallery, at_s3), below(plain[0], photos))


def test_a_repair_removes_nothing_that_a_store_only_refuses(photos, bucket, gallery, monkeypatch, refusing):
    with monkeypatch.context() as patched:
        patched.setenv("AWS_ENDPOINT_URL", os.environ["AWS_ENDPOINT_URL_OF_TESTS"])
        gallery.add(put_folder(photos / "a", f"{bucket}/damaged"), workers=0)
    record = gallery.records()[0]
    gallery._store.set_embeddings([record.id], np.zeros((1, gallery._store.width), np.float32))
    assert not gallery.check(repair=True).is_sound and len(gallery) == 3
    refusing.status = 503
    with pytest.raises(StoreUnreachableError, match="can't be reached"):
        gallery.check(repair=True)
    assert len(gallery) == 3
    monkeypatch.setenv("AWS_ENDPOINT_URL", os.environ["AWS_ENDPOINT_URL_OF_TESTS"])
    gallery.check(repair=True)
    assert len(gallery) == 3 and gallery.check().is_sound


def test_keys_that_are_no_paths_are_named(bucket, photos, gallery):
    picture = (photos / "a" / "0 ü#%20.png").read_bytes()
    put(f"{bucket}/odd/x.tar/1.png", picture)
    put(f"{bucket}/odd/1.png", picture)
    report = gallery.add(f"{bucket}/odd", workers=0)
    assert report.added == 1 and report.unreadable[0][0] == "s3://bucket/odd/x.tar/1.png"


# --- tables ---------------------------------------------------------------------------------------


def test_a_table_of_paths_brings_its_columns(at_s3, photos, plain, gallery, tmp_path):
    rows = [str(path) for path in sorted(photos.glob("a/*"))] + [
        f"{at_s3}/b/{n} ü#%20.png" for n in (1, 3, 5)
    ]
    table = pa.table({"path": [*rows, f"{at_s3}/b/none.png", "none.png"], "room": list(range(N + 2))})
    parquet.write_table(table, tmp_path / "t.parquet")
    report = gallery.add(tmp_path / "t.parquet", workers=0)
    assert [record.path for record in gallery.records()] == rows
    assert [record.metadata["room"] for record in gallery.records()] == list(range(N))
    assert [path for path, _ in report.unreadable] == [f"{at_s3}/b/none.png", str(tmp_path / "none.png")]
    expected = {record.hash for record in plain[0].records()}
    assert {record.hash for record in gallery.records()} == expected
    again = gallery.add(tmp_path / "t.parquet", workers=0, metadata={"room": 7})
    assert again.known == N and {record.metadata["room"] for record in gallery.records()} == {7}


def test_a_table_at_s3_lies_where_its_relative_paths_begin(at_s3, bucket, gallery):
    put(f"{bucket}/photos/list.csv", "path,room\na/0 ü#%20.png,1\n../photos/a/2 ü#%20.png,2\n".encode())
    report = gallery.add(f"{bucket}/photos/list.csv", workers=1, prune=True)
    assert report.remarks == (
        "nothing is forgotten for a list of files: prune by their folder, prefix or tar",
    )
    assert {r.path.removeprefix(at_s3): r.metadata["room"] for r in gallery.records()} == {
        "/a/0 ü#%20.png": 1,
        "/a/2 ü#%20.png": 2,
    }


def test_a_table_without_paths_is_a_sentence(bucket, gallery, tmp_path):
    for place in (str(tmp_path / "t.csv"), f"{bucket}/t.csv"):
        if place.startswith("s3"):
            put(place, b"file,room\na.png,1\n")
        else:
            Path(place).write_text("file,room\na.png,1\n")
        with pytest.raises(GalleryError, match=f"{place} has no column 'path'"):
            gallery.add(place)


# --- tars -----------------------------------------------------------------------------------------


def packed(members, path=None, **options):
    """A tar of names and contents; at ``path`` if that is given."""
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w", **options) as tar:
        for name, content in members:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    if path is not None:
        path.write_bytes(data.getvalue())
    return data.getvalue()


@pytest.fixture
def samples(photos):
    """Members of a tar with all pictures, each as a sample, in folders."""
    members = []
    for path in sorted(photos.rglob("*.png")):
        key = str(path.relative_to(photos)).removesuffix(".png")
        members += [
            (f"{key}.png", path.read_bytes()),
            (f"{key}.cls", b"7"),
            (f"{key}.json", json.dumps({"size": [1, 2], "text": "other"}).encode()),
            (f"{key}.txt", f"words of {key}".encode()),
        ]
    return members


def as_sample(path):
    return {"label": "7", "size": [1, 2], "text": f"words of {path.removesuffix('.png')}"}


@pytest.mark.parametrize("where", ["disk", "s3"])
def test_tars_make_the_gallery_of_the_local_files(samples, photos, plain, gallery, where, bucket, tmp_path):
    half = 4 * (len(samples) // 8)
    top = tmp_path / "shards" if where == "disk" else f"{bucket}/shards"
    Path(tmp_path / "shards").mkdir()
    for number, part in enumerate((samples[:half], samples[half:])):
        data = packed(part, tmp_path / "shards" / f"0{number}.tar")
        if where == "s3":
            put(f"{top}/0{number}.tar", data)
    report = gallery.add(f"{top}/{{00..01}}.tar", workers=0)
    found = {path[len("00.tar/") :]: each for path, each in below(gallery, top).items()}
    expected = below(plain[0], photos)
    assert_same(
        found,
        {path: ((hash, size, as_sample(path)), v) for path, ((hash, size, _), v) in expected.items()},
    )
    assert [path.rpartition("/")[2] for path, _ in report.unreadable] == ["cut.png"]
    again = gallery.add(top, workers=0)
    assert (again.added, again.known, again.vanished) == (0, N + 1, ())
    assert gallery.vanished() == [] and gallery.check(contents=True).is_sound
    hit = gallery.search(photos / "b" / "1 ü#%20.png", k=1)[0]
    assert hit.similarity == pytest.approx(1, abs=1e-5) and hit.why().similarity == pytest.approx(1, abs=1e-5)
    assert "<img" in hit._repr_html_()


def test_members_that_left_a_tar_are_forgotten_and_others_found_at_their_new_place(
    samples, gallery, tmp_path
):
    path = tmp_path / "x.tar"
    packed(samples, path)
    gallery.add(path, workers=0, metadata={"room": "x"})
    packed(samples[8:], path)
    stale = gallery.records()[3]
    report = gallery.add(path, prune=True, workers=0)
    assert (report.added, len(report.forgotten)) == (0, 2) and len(gallery) == N - 1
    assert lookalike.images.file_bytes(stale.path) == dict(samples)[stale.path.removeprefix(f"{path}/")]
    assert {record.metadata["room"] for record in gallery.records()} == {"x"}


def test_a_tar_that_changes_between_list_and_reading_gives_no_other_picture(samples, tmp_path):
    from lookalike.images.tars import member_bytes, members_of

    packed(samples, tmp_path / "x.tar")
    found = members_of(str(tmp_path / "x.tar"))
    packed(samples[::-1], tmp_path / "x.tar")
    for member in found:
        try:
            assert member_bytes(member) == dict(samples)[member.path.removeprefix(f"{tmp_path}/x.tar/")]
        except UnreadableImageError as error:
            assert "has changed meanwhile" in str(error)


def test_names_of_all_forms_are_found_again(photos, gallery, tmp_path):
    picture = (photos / "a" / "0 ü#%20.png").read_bytes()
    names = ["./a.png", "x/" * 60 + "long.png", "ü" * 80 + ".png", "b.PNG"]
    for form in (tarfile.GNU_FORMAT, tarfile.PAX_FORMAT):
        path = tmp_path / f"{form}.tar"
        packed(
            [(name, picture) for name in [*names, "._a.png", "__MACOSX/a.png", "../up.png"]],
            path,
            format=form,
        )
        report = gallery.add(path, workers=0)
        assert [name for name, _ in report.unreadable] == [f"{path}/../up.png"]
        for name in names:
            assert lookalike.images.file_bytes(path / name) == picture


@pytest.mark.parametrize("keep", [0.5, 0.97])
def test_a_cut_tar_says_what_is_missing(samples, gallery, tmp_path, keep):
    pictures = [each for each in samples if each[0].endswith("ü#%20.png")]
    data = packed(pictures)
    end = data.rindex(b"IEND") + 8
    (tmp_path / "x.tar").write_bytes(data[: int(keep * end)])
    report = gallery.add(tmp_path / "x.tar", workers=0)
    said = dict(report.unreadable)
    assert said[str(tmp_path / "x.tar")].startswith("it ends in the middle")
    assert 0 < len(gallery) < N and any("before the picture is complete" in why for why in said.values())


def test_what_is_no_tar_is_a_sentence_and_one_of_several_is_named(samples, gallery, tmp_path):
    packed(samples, tmp_path / "good.tar")
    with tarfile.open(tmp_path / "zipped.tar", "w:gz") as tar:
        tar.add(tmp_path / "good.tar", "good.tar")
    (tmp_path / "empty.tar").write_bytes(b"")
    with pytest.raises(
        UnreadableImageError, match=r"zipped.tar: it can't be read as a tar without compression"
    ):
        gallery.add(tmp_path / "zipped.tar")
    report = gallery.add([tmp_path / "zipped.tar", tmp_path / "good.tar", tmp_path / "none.tar"], workers=0)
    names = [Path(path).name for path, _ in report.unreadable]
    assert (report.added, names) == (N, ["zipped.tar", "none.tar", "cut.png"])
    with pytest.raises(UnreadableImageError, match=r"more than 100,000 tars"):
        gallery.add(str(tmp_path / "{0..99999999999}.tar"))


def test_a_sample_whose_json_is_none_is_named_and_its_picture_kept(samples, gallery, tmp_path):
    picture = dict(samples)["b/copy.png"]
    packed(
        [("1.png", picture), ("1.json", b'{"a": NaN}'), ("2.json", b"[1]"), ("2.png", picture)],
        tmp_path / "x.tar",
    )
    report = gallery.add(tmp_path / "x.tar", workers=0)
    assert [Path(path).name for path, _ in report.unreadable] == ["1.json"]
    assert [dict(file.metadata) for file in gallery.records()[0].files] == [{}, {"json": [1]}]


def test_tars_beside_pictures_stay_closed_and_that_is_said(samples, photos, gallery, tmp_path):
    shutil.copy(photos / "a" / "0 ü#%20.png", tmp_path)
    packed(samples, tmp_path / "x.tar")
    report = gallery.add(tmp_path, workers=0, ignore=["g", "cache"])
    assert report.added == 1 and "a .tar file lies beside" in report.remarks[0]
    (tmp_path / "y.tar").mkdir()
    shutil.copy(photos / "a" / "2 ü#%20.png", tmp_path / "y.tar")
    assert gallery.add(tmp_path / "y.tar", workers=0).added == 1  # a folder of that name
    assert gallery.add(tmp_path / "y.tar", workers=0).known == 1 and gallery.vanished() == []


def test_the_command_takes_several_tars_and_shows_paths_as_they_are_given(samples, bucket, tmp_path):
    pictures = [each for each in samples if each[0].startswith("a/")]
    put(f"{bucket}/cli/0.tar", packed(pictures[:4]))
    put(f"{bucket}/cli/1.tar", packed(pictures[4:]))
    uri = str(tmp_path / "cli")
    command = CliRunner().invoke(app, ["index", f"{bucket}/cli/0.tar", f"{bucket}/cli/1.tar", "-g", uri])
    assert command.exit_code == 0 and "added 3" in command.output
    query = f"{bucket}/cli/0.tar/{pictures[0][0]}"
    found = CliRunner().invoke(app, ["search", query, "-g", uri, "-k", "1", "--where", "label == '7'"])
    assert found.exit_code == 0 and query in found.output.replace("\n", "")
    refused = CliRunner().invoke(app, ["index", str(tmp_path), f"{bucket}/cli/0.tar", "-g", uri])
    assert refused.exit_code == 2 and "one folder after the other" in refused.output
