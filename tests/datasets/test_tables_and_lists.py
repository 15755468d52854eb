import pyarrow as pa
import pytest
from PIL import Image
from pyarrow import parquet

from lookalike.datasets import read_dataset, splits_of
from lookalike.errors import DatasetError


@pytest.fixture
def photos(tmp_path):
    for name in ("a", "b c", "d"):
        Image.new("RGB", (7, 5)).save(tmp_path / f"{name}.png")
    return tmp_path


def test_a_table_gives_paths_beside_it_and_labels_as_they_are_written(photos):
    (photos / "photos.csv").write_text("label,path,year\n007,a.png,1999\n7,b c.png,2001\n")
    data = read_dataset(photos / "photos.csv")
    assert data.paths == (photos / "a.png", photos / "b c.png")
    assert data.labels == ("007", "7")  # not numbers, which would be one class
    assert splits_of(photos / "photos.csv") == ()


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".parquet"])
def test_a_column_split_parts_a_table(photos, suffix):
    columns = {"path": ["a.png", "b c.png", "d.png"], "label": ["1", "1", "2"],
               "split": ["query", "gallery", "gallery"]}  # fmt: skip
    file = photos / f"photos{suffix}"
    if suffix == ".parquet":
        parquet.write_table(pa.table(columns), file)
    else:
        rows = [list(columns), *zip(*columns.values(), strict=True)]
        file.write_text("\n".join(("\t" if suffix == ".tsv" else ",").join(row) for row in rows) + "\n")
    assert splits_of(file) == ("gallery", "query")
    assert read_dataset(file, "query").paths == (photos / "a.png",)
    assert read_dataset(file, "gallery").labels == ("1", "2")


def test_query_and_gallery_lists_are_splits(photos):
    (photos / "query.txt").write_text("a.png robin\n\n")
    (photos / "gallery.csv").write_text("path,label\nb c.png,robin\nd.png,wren\n")
    assert splits_of(photos) == ("gallery", "query")
    assert read_dataset(photos, "query").labels == ("robin",)
    assert read_dataset(photos, "gallery").paths == (photos / "b c.png", photos / "d.png")


@pytest.mark.parametrize(
    ("name", "content"),
    [("test.txt", "a.png robin\nd.png wren\n"), ("test.csv", "path,label\na.png,robin\nd.png,wren\n")],
)
def test_a_byte_order_mark_is_no_part_of_a_path(photos, name, content):
    (photos / name).write_text(content, encoding="utf-8-sig")
    data = read_dataset(photos, "test")
    assert data.paths == (photos / "a.png", photos / "d.png")
    assert data.labels == ("robin", "wren")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("path,year\na.png,1\n", "no column label"),
        ("file,year\na.png,1\n", "no column path and no label"),
        ("path,label\na.png,\n", "1 of 1 rows .* the first is row 1"),
        ("path,label\n", "lists no images"),
        ("path,label\nnone.png,x\n", "1 of 1 images .* missing"),
        ("path,label,split\na.png,x,train\nd.png,y,\n", "1 rows .* have no split while others have"),
        ("path,label\na.png\n", "can't be read as a table"),
    ],
)
def test_what_is_wrong_with_a_table_is_said(photos, content, message):
    (photos / "photos.csv").write_text(content)
    with pytest.raises(DatasetError, match=message):
        read_dataset(photos / "photos.csv")


def test_a_layout_that_is_asked_for_must_be_there(photos):
    with pytest.raises(DatasetError, match="no list such as"):
        read_dataset(photos, layout="lists")
    with pytest.raises(ValueError, match="layout is auto, folders"):
        read_dataset(photos, layout="flat")


def test_an_image_that_is_listed_twice_is_taken_once(photos, caplog):
    table = photos / "twice.csv"
    table.write_text("path,label\na.png,a\n./a.png,a\nd.png,b\n")
    assert read_dataset(table).counts == {"a": 1, "b": 1}
    assert "1 images more than once" in caplog.text


def test_an_image_with_two_labels_is_refused(photos):
    table = photos / "twice.csv"
    table.write_text("path,label\na.png,a\na.png,b\n")
    with pytest.raises(DatasetError, match="twice, as 'a' and as 'b'"):
        read_dataset(table)
