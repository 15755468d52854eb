"""Maps: positions that stay, clusters that were planted, tables that others read."""

import csv
import io

import numpy as np
import pyarrow.parquet as pq
import pytest

from lookalike.errors import GalleryError, UnknownNameError
from lookalike.gallery import Gallery
from lookalike.gallery.mapping import mapper
from lookalike.gallery.mapping.layouts import load_layout, principal
from lookalike.store import Entry, Record


def planted(gallery, rng, centers, n, start=0):
    """Add n pictures around each center (D,); the metadata has the number of the center."""
    entries = []
    for number, center in enumerate(centers):
        for i in range(n):
            vector = center + rng.normal(scale=0.02, size=len(center))
            hash = f"{number:02x}{start + i:018x}{'0' * 44}"
            record = Record(
                hash[:20], f"/p/{number}-{start + i}.png", hash, 1, 1, {"kind": f"k{number}", "all": "same"}
            )
            entries.append(Entry(record, (vector / np.linalg.norm(vector)).astype(np.float32)))
    gallery._store.add(entries)


@pytest.fixture
def rng():
    return np.random.default_rng(3)


@pytest.fixture
def centers(mini, rng):
    made = rng.normal(size=(4, mini.width))
    return made / np.linalg.norm(made, axis=1, keepdims=True)


@pytest.fixture
def gallery(mini, rng, centers, tmp_path):
    made = Gallery.create(tmp_path / "g.gallery", mini)
    planted(made, rng, centers, 30, start=2**32)
    return made


def test_principal_axes_are_those_of_numpy_and_give_the_variances(rng):
    vectors = (rng.normal(size=(50, 5)) * [5, 1, 3, 0.1, 0.2]).astype(np.float32)
    mean, axes = principal(vectors, 2)
    _, _, right = np.linalg.svd(vectors - vectors.mean(0))
    np.testing.assert_allclose(np.abs((axes * right[:2]).sum(1)), 1, atol=1e-4)
    np.testing.assert_allclose(mean, vectors.mean(0), atol=1e-5)
    assert (axes[np.arange(2), np.abs(axes).argmax(1)] > 0).all()


@pytest.mark.parametrize("layout", ["pca", pytest.param("umap", marks=pytest.mark.slow)])
def test_planted_clusters_are_found_and_named_and_a_second_time_is_the_same(gallery, layout):
    found = gallery.map(layout)
    assert [each.size for each in found.groups] == [30] * 4 and {each.title for each in found.groups} == {
        f"kind: k{i}" for i in range(4)
    }
    for each in found.groups:  # the medoid is the picture of the largest mean cosine with its cluster
        members = found.vectors[found.clusters == each.number]
        best = found.records[
            np.flatnonzero(found.clusters == each.number)[(members @ members.T).mean(1).argmax()]
        ]
        assert each.typical[0] == best.id
    again = gallery.map(layout, again=True)
    np.testing.assert_array_equal(found.points, again.points)
    np.testing.assert_array_equal(found.clusters, again.clusters)


@pytest.mark.parametrize("layout", ["pca", pytest.param("umap", marks=pytest.mark.slow)])
def test_later_pictures_are_placed_into_their_cluster_and_nothing_moves(gallery, rng, centers, layout):
    before = gallery.map(layout)
    at = dict(zip([r.id for r in before.records], before.points.tolist(), strict=True))
    planted(gallery, rng, centers, 3)  # their ids come first in the order
    gallery.remove([before.records[5].id])
    opened = Gallery.open(gallery.uri)
    found = opened.map(layout)
    assert len(found) == 120 + 12 - 1 and found.n_later == 12 and found.key != before.key
    for row, record in enumerate(found.records):
        if record.id in at:
            assert found.points[row].tolist() == at[record.id]
    for number in range(4):
        mine = np.array([record.metadata["kind"] == f"k{number}" for record in found.records])
        late = np.array([record.id not in at for record in found.records])
        old = found.points[mine & ~late]
        assert len(set(found.clusters[mine].tolist())) == 1
        assert np.linalg.norm(found.points[mine & late] - old.mean(0), axis=1).max() <= (
            2 * np.linalg.norm(old - old.mean(0), axis=1).max()
        )


def test_pca_places_a_later_picture_where_its_projection_is(gallery, rng, centers):
    before = gallery.map("pca")
    stored = load_layout(gallery._folder / "map-pca.npz")
    planted(gallery, rng, centers[:1], 1)
    found = gallery.map("pca")
    ids = {record.id for record in before.records}
    (row,) = [row for row, record in enumerate(found.records) if record.id not in ids]
    np.testing.assert_allclose(
        found.points[row], (found.vectors[row] - stored.mean) @ stored.axes.T, atol=1e-6
    )


def test_a_damaged_layout_and_one_of_another_model_are_made_again(gallery, monkeypatch):
    expected = gallery.map("pca").points
    file = gallery._folder / "map-pca.npz"
    file.write_bytes(file.read_bytes()[:300])
    np.testing.assert_array_equal(Gallery.open(gallery.uri).map("pca").points, expected)
    assert load_layout(file) is not None
    made = []
    monkeypatch.setattr(mapper, "plane_of", lambda *args: made.append(args) or pytest.fail("made again"))
    Gallery.open(gallery.uri).map("pca")  # kept
    assert not made


def test_a_wish_that_differs_makes_the_layout_anew(gallery):
    assert len(gallery.map("pca", clusters=2).groups) == 2
    assert len(gallery.map("pca").groups) == 2  # kept
    assert len(gallery.map("pca", clusters=0).groups) == 0


def test_parquet_reads_back_with_neighbors_as_embedding_atlas_wants_them(gallery, tmp_path):
    found = gallery.map("pca")
    found.write_parquet(tmp_path / "map.parquet", neighbors=3)
    table = pq.read_table(tmp_path / "map.parquet")
    assert table.column_names == ["id", "path", "x", "y", "cluster", "all", "kind", "neighbors"]
    rows = table.to_pylist()
    cosines = found.vectors.astype(np.float64) @ found.vectors.T
    np.fill_diagonal(cosines, -np.inf)
    for row in (0, 57, 119):
        near = rows[row]["neighbors"]
        assert set(near) == {"ids", "distances"} and near["ids"] == np.argsort(-cosines[row])[:3].tolist()
        np.testing.assert_allclose(near["distances"], 1 - np.sort(cosines[row])[:-4:-1], atol=1e-5)
        assert (rows[row]["x"], rows[row]["y"]) == tuple(found.points[row].tolist())
        assert rows[row]["kind"] == found.records[row].metadata["kind"]


def test_csv_has_the_columns_and_no_text_that_a_spreadsheet_computes(gallery):
    record = gallery.records()[0]
    from dataclasses import replace

    gallery._store.update([replace(record, metadata={"kind": "=1+1", "x": 3})])
    found = gallery.map("pca")
    table = list(csv.DictReader(io.StringIO(found.to_csv())))
    (row,) = [row for row in table if row["id"] == record.id]
    assert row["kind"] == "'=1+1" and row["metadata_x"] == "3" and float(row["x"]) < 10 and len(table) == 120


def test_what_can_not_be_mapped_is_said(mini):
    empty = Gallery.in_memory(mini)
    with pytest.raises(GalleryError, match="an empty gallery has no map"):
        empty.map("pca")
    with pytest.raises(UnknownNameError, match=r"layout is one of pca, umap; got 'tsne'"):
        empty.map("tsne")
    with pytest.raises(ValueError, match="clusters must be a whole number"):
        empty.map("pca", clusters=-1)
