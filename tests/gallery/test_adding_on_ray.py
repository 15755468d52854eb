"""Adding through shards: the same gallery as one process makes, whatever was killed on the way.

The first tests do a cluster's work in this process; the last ones need Ray and are slow.
"""

import io
import os
import shutil
import signal
import subprocess
import sys
import tarfile
import time

import numpy as np
import pytest
from PIL import Image
from pyarrow.fs import S3FileSystem

from lookalike import Gallery
from lookalike.datasets import LabeledImages
from lookalike.distributed.cluster import RayCluster
from lookalike.errors import GalleryError, UnreadableImageError
from lookalike.evaluation import embed_images, embedding_parts
from lookalike.evaluation.embedding_parts import RayEngine
from lookalike.evaluation.revisited_images import describe_gallery
from lookalike.gallery import adding_on_ray
from lookalike.gallery.embedding import EmbeddedFile, NotEmbedded
from lookalike.gallery.shard_rows import UnreadableFile, path_in_list, results_to_rows, rows_to_results
from lookalike.images import DecodedFile
from made_object_store import object_store

KILLED = 3  # shards after which the driver of a test dies


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """Forty pictures, a copy, and two files that can't be read."""
    folder = tmp_path_factory.mktemp("photos")
    rng = np.random.default_rng(0)
    for number in range(40):
        small = Image.fromarray(rng.integers(0, 256, (4, 7, 3), dtype=np.uint8))
        small.resize((70, 40)).save(folder / f"{number:02}.png")
    shutil.copy(folder / "05.png", folder / "33b.png")
    (folder / "07b.png").write_bytes(b"no picture")
    (folder / "09b.png").write_bytes((folder / "09.png").read_bytes()[:300])
    return folder


@pytest.fixture(scope="module")
def bucket(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch, object_store(patch) as (_, uri):
        patch.setenv("LOOKALIKE_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield uri


@pytest.fixture
def expected(photos, mini, tmp_path):
    """The gallery that one process makes."""
    gallery = Gallery.create(tmp_path / "expected", mini)
    return gallery, gallery.add(photos, workers=0)


class FakeCluster:
    def __init__(self, address, workers):
        pass

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass


class DriverKilledError(Exception):
    pass


@pytest.fixture
def in_process(monkeypatch):
    """Shards of six files, worked on in this process; returns the names of those that were embedded."""
    embedded = []

    def one_by_one(_cluster, shards, make_work, folder):
        work = make_work()
        for shard in shards:
            if not shard.is_done:
                folder.write(shard.name, work(shard.items, False))
                embedded.extend(shard.items)
            yield shard

    monkeypatch.setattr(adding_on_ray, "RayCluster", FakeCluster)
    monkeypatch.setattr(adding_on_ray, "sharded_map", one_by_one)
    monkeypatch.setattr(adding_on_ray, "_FILES", 6)
    return embedded


def far_source(kind, photos, bucket, folder):
    """The photos below a prefix, in two tars at s3://, or in a table of objects; all with a field ``n``."""
    store = S3FileSystem(endpoint_override=os.environ["AWS_ENDPOINT_URL"])
    top = f"{bucket}/{folder.name}"
    files = sorted(photos.iterdir())
    if kind == "tar":
        for number, part in enumerate((files[:20], files[20:])):
            data = io.BytesIO()
            with tarfile.open(fileobj=data, mode="w") as tar:
                for path in part:
                    tar.add(path, path.name)
            with store.open_output_stream(f"{top[5:]}/{number}.tar") as file:
                file.write(data.getvalue())
        return f"{top}/{{0..1}}.tar"
    for path in files:
        with store.open_output_stream(f"{top[5:]}/{path.name}") as file:
            file.write(path.read_bytes())
    if kind == "prefix":
        return top
    table = folder / "table.csv"
    table.write_text("path,n\n" + "".join(f"{top}/{path.name},{n}\n" for n, path in enumerate(files)))
    return table


def assert_same(gallery, expected, *, in_order=True):
    """The same files with the same embeddings, in the same order unless a copy came in a later commit."""
    sides = []
    for snapshot in (gallery._store.snapshot(), expected._store.snapshot()):
        rows = [(r.files, e) for r, e in zip(snapshot.records, snapshot.embeddings, strict=True)]
        sides.append(rows if in_order else sorted(rows, key=lambda row: row[0][0].path))
    one, other = sides
    assert [files for files, _ in one] == [files for files, _ in other]
    np.testing.assert_allclose([e for _, e in one], [e for _, e in other], atol=1e-6)


def test_shards_make_the_gallery_that_one_process_makes(photos, mini, tmp_path, expected, in_process):
    gallery = Gallery.create(tmp_path / "g", mini)
    report = gallery.add(photos, engine="ray")
    assert_same(gallery, expected[0])
    assert report == expected[1]
    assert not (tmp_path / "g" / "shards").exists()


def test_a_killed_driver_loses_and_doubles_nothing(photos, mini, tmp_path, expected, in_process, monkeypatch):
    gallery = Gallery.create(tmp_path / "g", mini)
    whole = adding_on_ray._import
    imported = []

    def killed(shard, *rest):
        imported.append(shard)
        if len(imported) == KILLED:
            raise DriverKilledError
        whole(shard, *rest)

    monkeypatch.setattr(adding_on_ray, "_import", killed)
    with pytest.raises(DriverKilledError):
        gallery.add(photos, engine="ray")
    monkeypatch.setattr(adding_on_ray, "_import", whole)
    once = list(in_process)
    report = gallery.add(photos, engine="ray")
    assert_same(gallery, expected[0])
    assert report.unreadable == expected[1].unreadable
    unreadable = [path for path, _ in report.unreadable]
    twice = set(once) & set(in_process[len(once) :])
    assert twice <= {*unreadable}  # what was embedded is not embedded again
    assert not (tmp_path / "g" / "shards").exists()


def test_a_file_that_changed_since_its_shard_is_read_again(photos, mini, tmp_path, in_process, monkeypatch):
    folder = shutil.copytree(photos, tmp_path / "photos")
    gallery = Gallery.create(tmp_path / "g", mini)
    with monkeypatch.context() as patched, pytest.raises(DriverKilledError):
        patched.setattr(adding_on_ray, "_import", lambda *_: (_ for _ in ()).throw(DriverKilledError))
        gallery.add(folder, engine="ray")
    Image.new("RGB", (31, 17), "orange").save(folder / "02.png")
    gallery.add(folder, engine="ray")
    plain = Gallery.create(tmp_path / "plain", mini)
    plain.add(folder, workers=0)
    assert_same(gallery, plain)


@pytest.mark.parametrize("kind", ["tar", "table"])
def test_objects_members_and_rows_are_read_once_also_after_a_kill(
    photos, bucket, mini, tmp_path, expected, in_process, monkeypatch, kind
):
    source = far_source(kind, photos, bucket, tmp_path)
    gallery = Gallery.create(tmp_path / "g", mini)
    whole, imported = adding_on_ray._import, []

    def killed(shard, *rest):
        imported.append(shard)
        if len(imported) == KILLED:
            raise DriverKilledError
        whole(shard, *rest)

    with monkeypatch.context() as patched, pytest.raises(DriverKilledError):
        patched.setattr(adding_on_ray, "_import", killed)
        gallery.add(source, engine="ray")
    once = [path_in_list(item) for item in in_process]
    report = gallery.add(source, engine="ray")
    plain = Gallery.create(tmp_path / "plain", mini)
    plain_report = plain.add(source, workers=0)
    assert_same(gallery, plain, in_order=False)
    assert report.unreadable == plain_report.unreadable and len(report.unreadable) == 2
    twice = set(once) & {path_in_list(item) for item in in_process[len(once) :]}
    assert twice <= {path for path, _ in report.unreadable}
    assert {r.hash for r in gallery.records()} == {r.hash for r in expected[0].records()}


def test_what_is_known_is_hashed_and_not_embedded(photos, mini, tmp_path, expected, in_process):
    gallery, _ = expected
    moved = shutil.copytree(photos, tmp_path / "again")
    report = gallery.add(moved, engine="ray")
    assert report.added == 0 and report.known == 41
    assert len(gallery) == 40 and len(gallery.records()[5].files) == 4


def test_shards_of_another_model_are_dropped(photos, mini, tmp_path, expected, in_process, monkeypatch):
    gallery = Gallery.create(tmp_path / "g", mini)
    with monkeypatch.context() as patched, pytest.raises(DriverKilledError):
        patched.setattr(adding_on_ray, "_import", lambda *_: (_ for _ in ()).throw(DriverKilledError))
        gallery.add(photos, engine="ray")
    manifest = tmp_path / "g" / "shards" / "manifest.json"
    manifest.write_text(manifest.read_text().replace(mini.fingerprint(), "0" * 64))
    once = len(in_process)
    gallery.add(photos, engine="ray")
    assert len(in_process) == once + 43
    assert_same(gallery, expected[0])


def test_rows_of_a_shard_hold_every_kind_of_result():
    file = DecodedFile("/ä.jpg", "ab" * 32, 5, 6, None, None)
    unit = np.array([0.6, 0.8], np.float32)
    results = [
        EmbeddedFile(file, unit, b"shares"),
        NotEmbedded(file, "not finite"),
        UnreadableFile("/b.jpg", "cut"),
        file,
    ]
    first, *others = rows_to_results(results_to_rows(results))
    assert others == results[1:]
    assert (first.file, first.shares) == (file, b"shares")
    np.testing.assert_array_equal(first.embedding, unit)


def test_a_gallery_in_memory_is_refused(mini, photos):
    with pytest.raises(GalleryError, match="on disk or at s3://"):
        Gallery.in_memory(mini).add(photos, engine="ray")


# --- on a real cluster ----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def cluster(bucket):
    """Two nodes with one core each, in processes of this machine."""
    pytest.importorskip("ray")
    from ray.cluster_utils import Cluster

    small = {"num_cpus": 1, "include_dashboard": False, "object_store_memory": 80 * 2**20}
    made = Cluster(initialize_head=True, head_node_args=small)
    made.second = made.add_node(num_cpus=1, object_store_memory=80 * 2**20)
    yield made
    made.shutdown()


DRIVER = """
import sys
from lookalike import Gallery
from lookalike.distributed.cluster import RayCluster
from lookalike.gallery import adding_on_ray
adding_on_ray._FILES = 2
gallery = Gallery.create(sys.argv[1], "mini")
gallery.add(sys.argv[2], engine="ray", address=sys.argv[3], progress=lambda p: print(p.done, flush=True))
"""


@pytest.mark.long
@pytest.mark.filterwarnings("ignore")  # Ray's own: sockets and processes that it leaves to its shutdown
@pytest.mark.parametrize("kind", ["prefix", "tar"])
def test_workers_read_from_a_store_themselves(photos, bucket, tmp_path, mini, cluster, monkeypatch, kind):
    monkeypatch.setattr(adding_on_ray, "_FILES", 6)
    source = far_source(kind, photos, bucket, tmp_path)
    gallery, plain = (Gallery.create(tmp_path / name, mini) for name in ("g", "plain"))
    report = gallery.add(source, engine="ray", address=cluster.address)
    assert report == plain.add(source, workers=0) and report.added == 40
    assert_same(gallery, plain, in_order=False)


@pytest.mark.long
@pytest.mark.filterwarnings("ignore")  # Ray's own: sockets and processes that it leaves to its shutdown
def test_workers_embed_for_an_evaluation(photos, mini, cluster, monkeypatch):
    monkeypatch.setattr(embedding_parts, "_PART", 6)
    paths = tuple(sorted(photos.iterdir()))
    images = LabeledImages(paths, tuple(str(n % 5) for n in range(len(paths))))
    found = embed_images(mini, images, source="photos", ray=RayEngine(cluster.address))
    expected = embed_images(mini, images, source="photos")
    assert (found.paths, found.labels, found.left_out) == (expected.paths, expected.labels, expected.left_out)
    np.testing.assert_allclose(found.values, expected.values, atol=1e-6)
    truth = type("Truth", (), {"images": ("01", "07b"), "name": "tiny"})
    with pytest.raises(UnreadableImageError, match=r"07b.png: not an image") as failed:
        describe_gallery(truth, photos, mini, ray=RayEngine(cluster.address))
    assert "\n" not in str(failed.value)


@pytest.mark.long
@pytest.mark.filterwarnings("ignore")  # Ray's own: sockets and processes that it leaves to its shutdown
def test_a_killed_driver_and_a_lost_node_leave_the_gallery_whole(
    photos, tmp_path, expected, cluster, monkeypatch
):
    uri = str(tmp_path / "g")
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    command = [sys.executable, "-c", DRIVER, uri, str(photos), cluster.address]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment) as driver:
        for line in driver.stdout:
            if int(line) >= 5:
                driver.send_signal(signal.SIGKILL)
                break
    gallery = Gallery.open(uri)
    monkeypatch.setattr(adding_on_ray, "_FILES", 2)
    lost = []

    def lose_a_node(progress):
        if progress.done > 20 and not lost:
            lost.append(time.monotonic())
            cluster.remove_node(cluster.second, allow_graceful=False)

    report = gallery.add(photos, engine="ray", address=cluster.address, progress=lose_a_node)
    assert lost and len(report.unreadable) == 2
    assert_same(gallery, expected[0])


def test_without_an_address_a_cluster_that_runs_already_is_left_alone(monkeypatch):
    pytest.importorskip("ray")
    asked = []

    def init(address, **options):
        asked.append((address, options["num_cpus"]))
        raise ValueError("no room for it\nmore")

    monkeypatch.setattr("ray.init", init)
    with pytest.raises(GalleryError, match="did not start on this machine: no room for it; leave the engine"):
        RayCluster(None, 3).__enter__()
    assert [address for address, _ in asked] == ["local"] and asked[0][1] >= 3
