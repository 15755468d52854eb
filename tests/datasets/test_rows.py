"""Rows of datasets, pandas, torch and WebDataset, made by these libraries themselves."""

import hashlib
import io
import tarfile

import numpy as np
import pytest
import torch

from lookalike import scenes
from lookalike.datasets import PictureRows
from lookalike.errors import DatasetError
from lookalike.evaluation import evaluate
from lookalike.gallery import Gallery
from lookalike.training.fitting import training_data

pytestmark = pytest.mark.filterwarnings(
    "ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::ResourceWarning"
)
LABELS = ["red", "red", "blue", "blue"]


@pytest.fixture(scope="module")
def walls():
    return [scenes.paint(i, 64).crop((0, 0, 64, 48)) for i in range(4)]


@pytest.fixture(scope="module")
def files(walls, tmp_path_factory):
    folder = tmp_path_factory.mktemp("files")
    for i, wall in enumerate(walls):
        wall.save(folder / f"wall{i}.png")
    return sorted(folder.iterdir())


@pytest.fixture(scope="module")
def shard(files, tmp_path_factory):
    webdataset = pytest.importorskip("webdataset")
    shard = tmp_path_factory.mktemp("shards") / "walls-000.tar"
    with webdataset.TarWriter(str(shard)) as writer:
        for i, file in enumerate(files):
            writer.write({"__key__": f"room/{i:03d}", "png": file.read_bytes(), "cls": LABELS[i]})
    return shard


def hashes(paths):
    return [hashlib.sha256(path.read_bytes()).hexdigest() for path in paths]


def check(rows, files, mini):
    """Every verb on rows that hold the pictures of these files, with their labels."""
    assert hashes(rows) == hashes(files)
    assert torch.equal(mini.embed(rows.pictures()), mini.embed(files))
    gallery = Gallery.in_memory(mini)
    assert gallery.add(rows).added == 4 and gallery.add(rows).added == 0
    hit = gallery.search(files[2], k=1)[0]
    assert hit.metadata["label"] == "blue" and hit.why().similarity == pytest.approx(1, abs=1e-3)
    train, _ = training_data(rows)
    assert train.labels == tuple(LABELS) and train.paths == tuple(rows)
    evaluation = evaluate(rows, mini, clustering=False)
    assert evaluation.metrics == evaluate((mini.embed(files), LABELS), clustering=False).metrics
    return gallery


def test_a_dataset_of_hugging_face_keeps_the_bytes_of_its_files(files, mini, tmp_path):
    datasets = pytest.importorskip("datasets")
    features = datasets.Features(
        {
            "image": datasets.Image(),
            "label": datasets.ClassLabel(names=["blue", "red"]),
            "year": datasets.Value("int32"),
        }
    )
    values = {
        "image": [{"bytes": file.read_bytes(), "path": file.name} for file in files],
        "label": [1, 1, 0, 0],
        "year": [1990, 1991, 1992, 1993],
    }
    data = datasets.Dataset.from_dict(values, features=features)
    gallery = check(PictureRows(data, folder=tmp_path / "kept"), files, mini)
    record = gallery.search(files[1], k=1)[0].record
    assert record.path == str(tmp_path / "kept" / "wall1.png")
    assert record.metadata == {"label": "red", "year": 1991, "source": "wall1.png"}
    with pytest.raises(DatasetError, match="give one, such as data"):
        list(PictureRows(datasets.DatasetDict(train=data), folder=tmp_path))


def test_a_frame_names_files_that_stay_where_they_are(files, mini, tmp_path):
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(
        {"file": [file.name for file in files], "label": LABELS, "width": [1.0, 2.5, np.nan, 4]}
    )
    rows = PictureRows(frame, root=files[0].parent)
    gallery = check(rows, files, mini)
    assert [record.path for record in gallery.records()] == [str(file) for file in files]
    assert [rows.metadata(file).get("width") for file in files] == [1.0, 2.5, None, 4.0]
    with pytest.raises(DatasetError, match="there is no column 'photo'; the columns are file, label, width"):
        list(PictureRows(frame, image="photo"))


def test_shards_are_read_as_tar_and_as_pipeline_under_stable_names(shard, files, mini, tmp_path):
    webdataset = pytest.importorskip("webdataset")
    by_tar = PictureRows(shard, folder=tmp_path / "tar")
    gallery = check(by_tar, files, mini)
    first = next(iter(by_tar))
    assert first.name == "walls-000.tar#room_000.png"
    assert gallery.search(files[0], k=1)[0].metadata["source"] == "walls-000.tar#room/000.png"
    pipeline = PictureRows(
        webdataset.WebDataset(str(shard), shardshuffle=False), folder=tmp_path / "pipeline"
    )
    assert [path.name for path in pipeline] == [path.name for path in by_tar]
    check(pipeline, files, mini)


class Walls(torch.utils.data.Dataset):
    """Pictures in memory with the number of their class."""

    classes = ("blue", "red")

    def __init__(self, walls):
        self.walls = walls

    def __len__(self):
        return len(self.walls)

    def __getitem__(self, i):
        return self.walls[i], int(LABELS[i] == "red")


def test_a_torch_dataset_and_its_loader_are_named_by_content(walls, files, mini, tmp_path):
    loader = torch.utils.data.DataLoader(Walls(walls), batch_size=2, shuffle=True)
    for data in (Walls(walls), loader):
        rows = PictureRows(data, folder=tmp_path)
        assert rows.labeled_images().labels == tuple(LABELS)
        assert torch.equal(mini.embed(rows), mini.embed(files))
    assert len(list(tmp_path.iterdir())) == 4  # the second pass wrote nothing new
    assert [path.stem for path in rows] == [digest[:20] for digest in hashes(rows)]


def test_pictures_in_memory_need_a_folder_to_be_shown_from(walls, mini):
    rows = PictureRows(Walls(walls))
    assert mini.embed(rows.pictures()).shape[0] == 4
    with pytest.raises(DatasetError, match="give PictureRows a folder= to write such pictures to"):
        Gallery.in_memory(mini).add(rows)


def test_normalized_tensors_are_refused_with_the_reason(tmp_path):
    data = [(torch.full((3, 8, 8), 2.5), 0)]
    wrapped = torch.utils.data.Subset(data, [0])
    with pytest.raises(DatasetError, match="without transforms of its colors"):
        list(PictureRows(wrapped, folder=tmp_path))


def test_one_name_for_two_pictures_is_refused(files, tmp_path):
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"image": [file.read_bytes() for file in files[:2]], "id": ["a", "a"]})
    with pytest.raises(DatasetError, match=r"two rows are called 'a\.png'"):
        list(PictureRows(frame, name="id", folder=tmp_path))


def test_hostile_names_stay_in_the_folder(files, tmp_path):
    shard = tmp_path / "evil.tar"
    with tarfile.open(shard, "w") as tar:
        for name in ("../../up.png", "/root.png", "x" * 300 + ".png"):
            data = files[0].read_bytes()
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    for path in PictureRows(shard, folder=tmp_path / "kept"):
        assert path.parent == tmp_path / "kept" and len(path.name) < 200


def test_paths_are_no_rows():
    with pytest.raises(DatasetError, match="rows come from"):
        list(PictureRows(["a.jpg"]))
