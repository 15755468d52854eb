"""Filling a gallery: once for each content, nothing fatal, nothing lost."""

import os
import random
import shutil
import signal
import subprocess
import sys
import time

import pytest
import torch

from lookalike.errors import GalleryError, ModelMismatchError, ModelOutputError, UnreadableImageError
from lookalike.gallery import Gallery, folder_labels, merged_metadata, table_metadata
from lookalike.models import loading
from lookalike.models.backbones import create_backbone
from lookalike.models.embedder import Embedder


@pytest.fixture
def gallery(mini):
    return Gallery.in_memory(mini)


def names(gallery):
    return sorted(record.path.rsplit("/", 1)[1] for record in gallery.records())


def test_a_folder_is_added_to_the_bottom(gallery, photos):
    report = gallery.add(photos)
    assert (report.added, report.known, report.unreadable, report.vanished) == (5, 0, (), ())
    assert names(gallery) == ["five.bmp", "four.webp", "one.png", "three.png", "two.jpg"]


def test_files_and_iterables_are_added_too(gallery, photos):
    assert gallery.add(photos / "one.png").added == 1
    assert gallery.add(str(path) for path in sorted(photos.glob("b/*"))).added == 2


def test_ignored_patterns_are_left_out(gallery, photos):
    assert gallery.add(photos, ignore=["b", "*.jpg"]).added == 2


def test_adding_again_reads_nothing(gallery, photos, monkeypatch):
    time.sleep(0.05)  # a change within a tick of the clock counts as one that came later
    gallery.add(photos)
    version = gallery.describe().table_version
    monkeypatch.setattr("lookalike.images.decoding.file_bytes", lambda _path: pytest.fail("a file was read"))
    report = gallery.add(photos)
    assert (report.added, report.known) == (0, 5) and gallery.describe().table_version == version


@pytest.mark.parametrize("place", ["memory", "disk"])
def test_a_change_that_keeps_size_and_time_is_noticed(mini, photos, tmp_path, place):
    changed, status = photos / "b" / "five.bmp", (photos / "b" / "five.bmp").stat()
    gallery = Gallery.in_memory(mini) if place == "memory" else Gallery.create(tmp_path / "g.gallery", mini)
    assert gallery.add(photos).added == 5
    data = bytearray(changed.read_bytes())
    data[-3000:] = bytes(3000)
    time.sleep(0.05)
    changed.write_bytes(data)
    os.utime(changed, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert changed.stat().st_size == status.st_size
    if place == "disk":
        gallery = Gallery.open(tmp_path / "g.gallery", mini)
    gallery.add(photos, ignore=["b"])  # no look at the file
    gallery.add(photos / "a")
    assert gallery.add(photos).added == 1
    time.sleep(0.05)
    assert (gallery.add(photos).added, len(gallery)) == (0, 5)


def test_a_change_is_noticed_after_the_clock_was_set_back(mini, photos, tmp_path, monkeypatch):
    gallery = Gallery.create(tmp_path / "g.gallery", mini)
    real = time.time_ns
    with monkeypatch.context() as ahead:
        ahead.setattr(time, "time_ns", lambda: real() + 3600 * 10**9)
        gallery.add(photos)
    changed, status = photos / "b" / "five.bmp", (photos / "b" / "five.bmp").stat()
    data = bytearray(changed.read_bytes())
    data[-3000:] = bytes(3000)
    changed.write_bytes(data)
    os.utime(changed, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert gallery.add(photos).added == 1
    time.sleep(0.05)
    assert gallery.add(photos).added == 0


def test_touched_files_are_hashed_but_not_decoded(gallery, photos, monkeypatch):
    gallery.add(photos)
    os.utime(photos / "one.png", (1, 1))
    monkeypatch.setattr("lookalike.images.decoding.read", lambda *_, **__: pytest.fail("a file was decoded"))
    assert gallery.add(photos).known == 5
    assert gallery.records()[names_of(gallery).index("one.png")].mtime_ns == 10**9


def names_of(gallery):
    return [record.path.rsplit("/", 1)[1] for record in gallery.records()]


def test_one_content_in_several_files_is_one_record(gallery, photos):
    for copy in ("a/copy.png", "copy 2.png"):
        shutil.copy(photos / "one.png", photos / copy)
    report = gallery.add(photos)
    assert (report.added, report.known, len(gallery)) == (5, 2, 5)
    (record,) = (r for r in gallery.records() if r.copies)
    assert {file.path for file in record.files} == {
        str(photos / n) for n in ("one.png", "a/copy.png", "copy 2.png")
    }
    assert gallery.add(photos).known == 7 and gallery.describe().n_files == 7


def test_a_file_written_anew_counts_with_its_new_content(gallery, photos):
    gallery.add(photos)
    shutil.copy(photos / "b" / "five.bmp", photos / "one.png")
    report = gallery.add(photos)
    assert (report.added, report.known, len(gallery)) == (0, 5, 4)
    assert str(photos / "one.png") in {copy.path for record in gallery.records() for copy in record.copies}


def test_vanished_files_are_reported_and_pruned_on_request(gallery, photos):
    shutil.copy(photos / "one.png", photos / "copy.png")
    gallery.add(photos)
    (photos / "copy.png").unlink()  # one of two files with this content
    (photos / "a" / "two.jpg").unlink()
    gone = {str(photos / "copy.png"), str(photos / "a" / "two.jpg")}
    assert set(gallery.add(photos).vanished) == gone and len(gallery) == 5
    report = gallery.update(photos)
    assert (set(report.vanished), report.pruned, len(gallery)) == (gone, 1, 4)
    assert gallery.vanished() == [] and str(photos / "one.png") in {r.path for r in gallery.records()}


def test_a_moved_file_keeps_its_record(gallery, photos):
    gallery.add(photos, metadata={"seen": 1})
    (photos / "one.png").rename(photos / "b" / "renamed.png")
    assert gallery.update(photos).added == 0 and len(gallery) == 5
    (record,) = (r for r in gallery.records() if r.path.endswith("renamed.png"))
    assert record.metadata == {"seen": 1} and record.copies == ()


def test_removing_by_id_file_and_folder(gallery, photos):
    gallery.add(photos)
    assert gallery.remove(gallery.records()[0].id) == 1
    assert gallery.remove(photos / "b") == 2
    assert gallery.remove([photos / "nothing.png", "no id"]) == 0
    assert len(gallery) == 2
    id, path = gallery.records()[0].id, gallery.records()[1].path
    assert gallery.remove([id, path]) == 2 and len(gallery) == 0


def test_removing_a_folder_leaves_those_whose_names_begin_alike(mini, photos):
    (photos / "b 2").mkdir()
    shutil.copy(photos / "one.png", photos / "b.png")
    (photos / "b 2" / "six.png").write_bytes((photos / "one.png").read_bytes() + b"\0")
    gallery = Gallery.in_memory(mini)
    gallery.add(photos)
    left = {file.path for record in gallery.records() for file in record.files if "/b/" not in file.path}
    assert gallery.remove(f"{photos}/b/") == 2
    assert {file.path for record in gallery.records() for file in record.files} == left
    assert gallery.remove(photos / "b.png") == 0 and len(gallery) == len(left) - 1  # of two files one is left
    assert gallery.remove("/") == len(left) - 1


def test_unreadable_files_are_named_and_the_rest_is_added(gallery, photos):
    rng = random.Random(0)
    bad = {photos / "empty.png": b"", photos / "text.jpg": b"hello", photos / "b" / "half.png": None}
    bad[photos / "b" / "half.png"] = (photos / "one.png").read_bytes()[:300]
    for n in range(10):
        data = bytearray((photos / "one.png").read_bytes())
        for _ in range(40):
            data[rng.randrange(8, len(data))] ^= 1 << rng.randrange(8)
        bad[photos / f"mutated {n}.png"] = bytes(data)
    for path, data in bad.items():
        path.write_bytes(data)
    report = gallery.add([*sorted(photos.rglob("*.*")), photos / "missing.png"])
    reported = {path for path, _ in report.unreadable}
    assert str(photos / "missing.png") in reported
    assert {str(path) for path in (photos / "empty.png", photos / "text.jpg")} <= reported
    assert report.added + len(report.unreadable) == 5 + len(bad) + 1 and report.added >= 5
    assert all(
        reason and "\n" not in reason and not reason.startswith("/") for _, reason in report.unreadable
    )


def test_names_that_are_not_utf8_are_reported(gallery, photos):
    odd = os.fsencode(photos) + b"/odd \xff.png"
    shutil.copy(os.fsencode(photos / "one.png"), odd)
    report = gallery.add(photos)
    assert report.added == 5 and "UTF-8" in report.unreadable[0][1]


def test_a_folder_that_is_missing_is_an_error_of_its_own(gallery, tmp_path):
    with pytest.raises(UnreadableImageError, match="no such file or folder"):
        gallery.add(tmp_path / "missing")
    (tmp_path / "empty").mkdir()
    assert gallery.add(tmp_path / "empty").added == 0


def test_progress_reaches_the_total(gallery, photos):
    seen = []
    gallery.add(photos, progress=seen.append)
    assert [s.done for s in seen] == list(range(6)) and {s.total for s in seen} == {5}
    assert seen[-1].remaining == 0 and seen[0].remaining is None


def test_workers_give_what_decoding_here_gives(mini, photos):
    here, there = Gallery.in_memory(mini), Gallery.in_memory(mini)
    here.add(photos, workers=0)
    there.add(photos, workers=2)
    assert list(here.records()) == list(there.records())
    vector = here.search(str(photos / "one.png"))
    assert [h.similarity for h in vector] == pytest.approx(
        [h.similarity for h in there.search(photos / "one.png")]
    )


# --- metadata -----------------------------------------------------------------------------------


def test_labels_come_from_folders(gallery, photos):
    gallery.add(photos, metadata=folder_labels(photos))
    labels = {r.path.rsplit("/", 1)[1]: r.metadata.get("label") for r in gallery.records()}
    assert labels == {"one.png": None, "two.jpg": "a", "three.png": "deep", "four.webp": "b", "five.bmp": "b"}


@pytest.mark.parametrize("kind", ["csv", "tsv", "parquet"])
def test_metadata_comes_from_a_table(gallery, photos, kind):
    file = photos / f"table.{kind}"
    text = "path,year,city\none.png,2019,Rome\nb/four.webp,2020,\nnot there.png,1,x\n"
    file.write_text(text.replace(",", "\t") if kind == "tsv" else text)
    if kind == "parquet":
        from pyarrow import csv, parquet

        parquet.write_table(csv.read_csv(_written(photos / "t.csv", text)), file)
    gallery.add(photos, metadata=table_metadata(file))
    metadata = {r.path.rsplit("/", 1)[1]: dict(r.metadata) for r in gallery.records()}
    assert metadata["one.png"] == {"year": 2019, "city": "Rome"} and metadata["two.jpg"] == {}
    assert metadata["four.webp"]["year"] == 2020


def _written(path, text):
    path.write_text(text)
    return path


def test_metadata_of_what_is_known_is_brought_up_to_date(gallery, photos):
    gallery.add(photos, metadata={"label": "old", "kept": True})
    merged = merged_metadata(folder_labels(photos), lambda _path: {"more": 1})
    assert gallery.add(photos, metadata=merged).known == 5
    (record,) = (r for r in gallery.records() if r.path.endswith("two.jpg"))
    assert record.metadata == {"label": "a", "kept": True, "more": 1}


def test_a_table_without_paths_is_one_sentence(tmp_path):
    with pytest.raises(GalleryError, match="no column 'path'"):
        table_metadata(_written(tmp_path / "t.csv", "file,year\na,1\n"))
    with pytest.raises(GalleryError, match="can't be read"):
        table_metadata(tmp_path / "missing.csv")


# --- on disk --------------------------------------------------------------------------------------


def test_a_gallery_is_found_again_as_it_was_left(mini, photos, tmp_path):
    uri = tmp_path / "g.gallery"
    Gallery.create(uri, mini, keep_shares=True).add(photos, metadata=folder_labels(photos))
    again = Gallery.open(uri)
    assert len(again) == 5 and again.add(photos).added == 0
    description = again.describe()
    assert (description.model, description.n_files, description.keep_shares) == ("mini", 5, True)
    assert description.metadata_fields == {"label": 4} and description.precision == "fp32"
    with pytest.raises(GalleryError, match="already"):
        Gallery.create(uri, mini)


def test_another_model_is_an_error_that_names_both(mini, other_model, tmp_path):
    Gallery.create(tmp_path / "g", mini)
    with pytest.raises(ModelMismatchError, match=r"'mini'.*'vit_tiny_patch16_224'"):
        Gallery.open(tmp_path / "g", other_model)


def test_a_gallery_of_dinov3_by_mean_stays_by_mean(photos, tmp_path, monkeypatch):
    """timm averages DINOv3 and we once did; what was indexed so is searched so."""
    name, size = "vit_small_patch16_dinov3", (48, 80)

    def tiny(architecture, **_):
        torch.manual_seed(0)
        backbone = create_backbone(architecture, embed_dim=96, depth=1)
        backbone.model.pretrained_cfg["input_size"] = (3, *size)
        return backbone

    monkeypatch.setattr(loading, "create_backbone", tiny)
    averaged, by_cls = Embedder.load(name, pooling="own"), Embedder.load(name)
    Gallery.create(tmp_path / "old", averaged).add(photos)
    Gallery.create(tmp_path / "new", name).add(photos)
    for given in (None, name):
        assert Gallery.open(tmp_path / "old", given).embedder.fingerprint() == averaged.fingerprint()
        assert Gallery.open(tmp_path / "new", given).embedder.fingerprint() == by_cls.fingerprint()
    assert averaged.fingerprint() != by_cls.fingerprint()
    with pytest.raises(ModelMismatchError, match="not comparable"):
        Gallery.open(tmp_path / "old", by_cls)


def test_what_is_no_gallery_is_a_clear_error(tmp_path):
    with pytest.raises(GalleryError, match="no gallery"):
        Gallery.open(tmp_path)


def test_a_model_that_cannot_be_found_again_is_a_clear_error(other_model, tmp_path):
    other_model.save(tmp_path / "model")
    Gallery.create(tmp_path / "g", tmp_path / "model")
    shutil.move(tmp_path / "model", tmp_path / "moved")
    with pytest.raises(GalleryError, match="can't be loaded"):
        Gallery.open(tmp_path / "g")
    assert len(Gallery.open(tmp_path / "g", tmp_path / "moved")) == 0


def test_a_script_without_a_main_guard_can_index(photos, tmp_path):
    script = tmp_path / "script.py"
    script.write_text(
        "from lookalike.gallery import Gallery\n"
        f"gallery = Gallery.create({str(tmp_path / 'g')!r})\n"
        f"print(gallery.add({str(photos)!r}, workers=2).added)\n"
    )
    answer = subprocess.run([sys.executable, script], capture_output=True, text=True, check=True)
    assert answer.stdout == "5\n" and answer.stderr == ""


INDEX = """
import sys, torch
torch.set_num_threads(1)
from lookalike.gallery import Gallery, add_run
add_run.BATCH = add_run._COMMIT_ROWS = 2
uri, photos = sys.argv[1:]
print("go", flush=True)
gallery = Gallery.create(uri, "mini")
gallery.add(photos, workers=1, progress=lambda progress: print(progress.done, flush=True))
"""


@pytest.mark.parametrize("lines", [1, 5, 10])  # the first comes before the gallery is made
def test_a_killed_run_leaves_a_gallery_that_opens_and_finishes(mini, room_files, tmp_path, lines):
    uri = tmp_path / "g"
    run = subprocess.Popen([sys.executable, "-c", INDEX, uri, room_files[0]], stdout=subprocess.PIPE)
    for _ in range(lines):
        assert run.stdout.readline()
    time.sleep(random.Random(lines).uniform(0, 0.1))
    run.send_signal(signal.SIGKILL)
    run.wait()
    run.stdout.close()
    try:
        gallery = Gallery.open(uri, mini)
    except GalleryError:  # killed before there was one
        assert not (uri / "gallery.json").exists()
        gallery = Gallery.create(uri, mini)
    there = len(gallery)
    report = gallery.add(room_files[0])
    assert report.added == 12 - there and report.known == there
    undisturbed = Gallery.in_memory(mini)
    undisturbed.add(room_files[0])
    assert {r.id: r for r in gallery.records()} == {r.id: r for r in undisturbed.records()}


def test_unreadable_folders_are_an_error(gallery, photos):
    if os.geteuid() == 0:
        pytest.skip("root reads everything")
    photos.chmod(0)
    with pytest.raises(UnreadableImageError):
        gallery.add(photos)


def test_exact_copies_are_named_with_what_they_are_copies_of_and_moved_files_are_none(mini, photos):
    gallery = Gallery.in_memory(mini)
    first, copy = photos / "one.png", photos / "b" / "copy.png"
    shutil.copy(first, copy)
    report = gallery.add(photos)
    assert sorted(report.copies[0]) == sorted(map(str, (first, copy))) and len(report.copies) == 1
    (photos / "a" / "two.jpg").rename(photos / "a" / "renamed.jpg")
    later = gallery.add(photos)
    assert later.copies == () and len(later.moved) == 1


def test_a_picture_for_which_the_model_gives_nan_keeps_no_other_out(mini, photos, monkeypatch):
    given = Embedder.embed_pixels

    def embed(self, pixels, *, names=None):
        if any(name.endswith("two.jpg") for name in names):
            raise ModelOutputError(f"the model mini gives NaN for {photos}/a/two.jpg; repair the weights")
        return given(self, pixels, names=names)

    monkeypatch.setattr(Embedder, "embed_pixels", embed)
    report = Gallery.in_memory(mini).add(photos, workers=0)
    assert report.added == 4
    ((path, reason),) = report.unreadable
    assert (path, reason) == (str(photos / "a/two.jpg"), "the model mini gives NaN for this picture")
    with pytest.raises(ModelOutputError, match=r"gives NaN for .*two"):
        Gallery.in_memory(mini).add(photos / "a/two.jpg", workers=0)


@pytest.mark.parametrize("value", [float("nan"), float("-inf"), [1.0, float("nan")], {1, 2}, object()])
def test_metadata_that_json_lacks_is_refused_by_name_before_it_is_stored(mini, photos, value):
    gallery = Gallery.in_memory(mini)
    with pytest.raises(ValueError, match=r"got bad=.* for .*one\.png; convert it"):
        gallery.add(photos / "one.png", metadata={"good": 1, "bad": value})
    assert len(gallery) == 0
