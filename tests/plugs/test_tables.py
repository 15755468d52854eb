"""Results as Arrow tables, and our embedders in LanceDB's own registry."""

import json

import lancedb
import numpy as np
import pyarrow.parquet as parquet
import pytest
from lancedb.embeddings import get_registry
from lancedb.pydantic import LanceModel, Vector

from lookalike import scenes
from lookalike.evaluation import evaluate
from lookalike.gallery import Gallery
from lookalike.plugs import lancedb_registry  # noqa: F401  registers
from lookalike.plugs.tables import arrow_table, write_table


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("walls")
    for i in range(3):
        scenes.paint(i, 64).save(folder / f"wall{i}.png")
    return sorted(folder.iterdir())


@pytest.fixture(scope="module")
def gallery(files, mini):
    gallery = Gallery.in_memory(mini)
    years = {"wall0.png": {"year": 1990}, "wall1.png": {"year": 1991, "room": "blue"}, "wall2.png": {}}
    gallery.add(files[0].parent, metadata=lambda path: years[path.name])
    return gallery


def test_hits_are_rows_with_metadata_as_columns(gallery, files):
    hits = gallery.search(files[1], k=3)
    table = arrow_table(hits)
    assert table.column("similarity").to_pylist() == [hit.similarity for hit in hits]
    assert table.column("metadata.room").to_pylist()[0] == "blue"
    assert table.column("path").to_pylist()[0] == str(files[1])


def test_a_gallery_has_its_embeddings_as_vectors(gallery, files, mini, tmp_path):
    write_table(gallery, tmp_path / "gallery.parquet")
    table = parquet.read_table(tmp_path / "gallery.parquet")
    assert table.schema.field("embedding").type.list_size == mini.width
    found = np.array(table.column("embedding").to_pylist(), np.float32)
    order = [table.column("path").to_pylist().index(str(file)) for file in files]
    np.testing.assert_allclose(found[order], mini.embed(files), atol=1e-3)


def test_metrics_and_groups_are_rows(gallery, mini):
    evaluation = evaluate((np.eye(4)[[0, 0, 1, 1]], ["a", "a", "b", "b"]), clustering=False)
    table = arrow_table(evaluation)
    assert dict(zip(table["name"].to_pylist(), table["value"].to_pylist(), strict=True))["recall_at_1"] == 1.0
    nested = arrow_table([{"paths": ["a", "b"], "links": [{"kind": "copy"}]}])
    assert nested["paths"].to_pylist() == [["a", "b"]]
    assert json.loads(nested["links"].to_pylist()[0]) == [{"kind": "copy"}]


def test_other_files_and_things_are_refused(gallery, tmp_path):
    with pytest.raises(ValueError, match=r"tables are written to \.parquet"):
        write_table(gallery, tmp_path / "table.xlsx")
    with pytest.raises(ValueError, match="list of results, got int"):
        arrow_table(3)


def test_lancedb_embeds_a_table_and_its_queries(files, mini, tmp_path):
    function = get_registry().get("lookalike").create(model="mini")

    class Picture(LanceModel):
        path: str = function.SourceField()
        vector: Vector(function.ndims()) = function.VectorField()

    table = lancedb.connect(tmp_path).create_table("pictures", schema=Picture)
    table.add([{"path": str(file)} for file in files])
    stored = np.array([row["vector"] for row in table.to_arrow().to_pylist()])
    np.testing.assert_allclose(stored, mini.embed(files), atol=1e-5)
    again = lancedb.connect(tmp_path).open_table("pictures")
    assert again.search(str(files[2])).limit(1).to_list()[0]["path"] == str(files[2])
