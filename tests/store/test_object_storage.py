"""Galleries at s3://, on a real server; test_stores.py runs the contract of stores there, too."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from lookalike import Gallery
from lookalike.errors import GalleryError
from lookalike.store import Entry, LanceStore, Record, record_id
from made_object_store import object_store

D = 8


def entries(first, n):
    vectors = np.random.default_rng(first).standard_normal((n, D)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    hashes = [f"{first + number:064x}"[::-1] for number in range(n)]
    records = [Record(record_id(hash), f"/{hash}.jpg", hash, 1, 2) for hash in hashes]
    return [Entry(*each) for each in zip(records, vectors, strict=True)]


def test_a_gallery_at_s3_is_filled_searched_explained_and_emptied(bucket, mini, pictures, tmp_path):
    for number, picture in enumerate(pictures):
        picture.save(tmp_path / f"{number}.png")
    gallery = Gallery.create(f"{bucket}/pictures", mini)
    assert gallery.add(tmp_path, workers=0).added == 4
    opened = Gallery.open(f"{bucket}/pictures")
    first = opened.search(tmp_path / "1.png", k=3)[0]
    assert first.path == tmp_path / "1.png" and first.why().similarity == pytest.approx(1, abs=1e-5)
    assert opened.add(tmp_path).known == 4
    assert opened.remove(tmp_path / "2.png") == 1 and len(gallery) == 3
    opened.restore()
    assert len(gallery) == 4 and gallery.check().is_sound


def test_shards_are_kept_at_s3_and_go_with_the_run(bucket):
    from lookalike.distributed import ShardFolder, ShardManifest
    from lookalike.gallery.shard_rows import UnreadableFile, results_to_rows, rows_to_results

    folder = ShardFolder(f"{bucket}/shards")
    folder.prepare(ShardManifest("f", D, False))
    folder.write("b", results_to_rows([UnreadableFile("/b.jpg", "cut")]))
    folder.write("a", results_to_rows([]))
    folder.prepare(ShardManifest("f", D, False))
    assert folder.names() == ["a", "b"]
    assert list(rows_to_results(folder.read("b"))) == [UnreadableFile("/b.jpg", "cut")]
    folder.drop(["a", "missing"])
    assert folder.names() == ["b"]
    folder.prepare(ShardManifest("another", D, False))
    assert folder.names() == []


def test_two_writers_at_once_lose_nothing(bucket):
    uri = f"{bucket}/writers"
    LanceStore(uri, D)

    def write(first):
        store = LanceStore(uri, D)
        return sum(store.add(entries(first + step, 5)) for step in range(0, 20, 5))

    with ThreadPoolExecutor(2) as writers:
        assert list(writers.map(write, (100, 200))) == [20, 20]
    records = LanceStore(uri, D).records()
    assert len({record.id for record in records}) == len(records) == 40


@pytest.mark.slow  # LanceDB tries for five seconds
def test_a_cut_connection_is_a_sentence_without_keys(monkeypatch):
    with object_store(monkeypatch) as (server, uri):
        store = LanceStore(f"{uri}/cut", D)
        store.add(entries(1, 3))
        server.stop()
        with pytest.raises(GalleryError, match="cut can't be reached") as failed:
            store.add(entries(10, 3))
        server.start()
    assert "a-secret" not in str(failed.value) and "an-id" not in str(failed.value)
