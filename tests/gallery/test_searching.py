"""Searching: who is found, by what kind of query, and that each hit says why."""

import dataclasses
import json

import numpy as np
import pytest
import torch
from PIL import Image

from lookalike import scenes
from lookalike.errors import (
    FilterError,
    GalleryError,
    UnknownNameError,
    UnreadableImageError,
    UnsupportedMethodError,
)
from lookalike.gallery import Gallery
from lookalike.gallery.nearest import Searcher
from lookalike.gallery.packing import pack_shares, unpack_shares
from lookalike.gallery.query import image_query, vector_query
from lookalike.gallery.regions import Region
from lookalike.models.embedder import Embedder
from lookalike.rerankers.transport import MIX


def paths(hits):
    return [hit.path for hit in hits]


def test_a_picture_finds_itself_first(indexed, room_files):
    hits = indexed.search(room_files[1][4], k=3)
    assert hits[0].path == room_files[1][4] and hits[0].similarity == pytest.approx(1, abs=1e-5)
    assert [hit.rank for hit in hits] == [1, 2, 3] == [hit.rank_before for hit in hits]
    assert hits[1].similarity >= hits[2].similarity


def test_similarities_are_the_cosines_of_the_embeddings(indexed, room_files, mini):
    everyone = mini.embed(room_files[1])
    expected = {p: float(c) for p, c in zip(room_files[1], everyone @ everyone[2], strict=True)}
    hits = indexed.search(room_files[1][2], k=50)
    assert len(hits) == 12
    assert {hit.path: hit.similarity for hit in hits} == pytest.approx(expected, abs=1e-5)
    assert hits == sorted(hits, key=lambda hit: -hit.similarity)


def test_every_kind_of_query_finds_the_same(indexed, room_files, mini):
    file = room_files[1][5]
    with Image.open(file) as image:
        image.load()
    vector = mini.embed([file])[0]
    id = indexed.search(file, k=1)[0].id
    expected = paths(indexed.search(file))
    for query in (str(file), file.read_bytes(), image, id, vector, vector.numpy() * 3, [file], [file, file]):
        assert paths(indexed.search(query)) == expected


def test_several_images_are_asked_for_together(indexed, room_files, mini):
    two = room_files[1][:2]
    unit = torch.nn.functional.normalize(mini.embed(two).mean(0), dim=0)
    hits = indexed.search(two, k=3)
    by_vector = indexed.search(unit, k=3)
    assert set(paths(hits)[:2]) == set(paths(by_vector)[:2]) == set(two)  # equally near: in either order
    assert paths(hits)[2] == paths(by_vector)[2]


def test_a_unit_vector_is_the_query_bit_by_bit(mini, pictures):
    for unit in mini.embed(pictures):
        assert torch.equal(vector_query(unit, mini.width).unit, unit)
        torch.testing.assert_close(vector_query(3 * unit, mini.width).unit, unit)


def test_the_query_itself_can_be_left_out(indexed, room_files):
    file = room_files[1][5]
    id = indexed.search(file, k=1)[0].id
    for query in (file, file.read_bytes(), id):
        hits = indexed.search(query, k=12, leave_self_out=True)
        assert len(hits) == 11 and file not in paths(hits)
    with pytest.raises(ValueError, match="leave_self_out"):
        indexed.search(np.ones(256), leave_self_out=True)


def test_filters_and_the_least_similarity_narrow_the_hits(indexed, room_files, rooms):
    label = f"painting {rooms.labels[3]}"
    wanted = {file for file in room_files[1] if file.parent.name == label}
    assert set(paths(indexed.search(room_files[1][0], where={"label": label}))) == wanted
    others = indexed.search(room_files[1][0], where=f"not label == '{label}'", k=50)
    assert set(paths(others)) == set(room_files[1]) - wanted
    assert indexed.search(room_files[1][0], where="label == 'none'") == []
    assert len(indexed.search(room_files[1][0], min_similarity=0.9999)) == 1
    with pytest.raises(FilterError):
        indexed.search(room_files[1][0], where="label ==")


def test_an_empty_gallery_has_no_hits(mini, room_files):
    assert Gallery.in_memory(mini).search(room_files[1][0], explain=True) == []


def test_a_change_by_somebody_else_is_seen(indexed, mini, room_files, tmp_path):
    one, other = Gallery.create(tmp_path / "g", mini), Gallery.open(tmp_path / "g", mini)
    assert one.search(room_files[1][0]) == []
    other.add(room_files[1][:3])
    assert len(one.search(room_files[1][0])) == 3
    other.remove(room_files[1][0])
    assert len(one.search(room_files[1][0])) == 2


@pytest.mark.parametrize(
    "bad", [{"k": 0}, {"shortlist": 0}, {"box": (5, 5, 5, 9)}, {"box": (900, 0, 990, 50)}]
)
def test_wrong_arguments_are_refused(indexed, room_files, bad):
    with pytest.raises(ValueError, match=r"1 or more|a box is"):
        indexed.search(room_files[1][0], **bad)


def test_queries_that_make_no_sense_are_refused(indexed, room_files):
    for query in (np.ones(3), np.zeros(256), np.full(256, np.nan)):
        with pytest.raises(ValueError, match="query vector"):
            indexed.search(query)
    with pytest.raises(UnreadableImageError):
        indexed.search("neither a file nor an id")
    for query in (np.ones(256), room_files[1][:2]):
        with pytest.raises(ValueError, match="one image"):
            indexed.search(query, box=(0, 0, 9, 9))
        with pytest.raises(ValueError, match="one image"):
            indexed.search(query, explain=True)
        with pytest.raises(ValueError, match="one image"):
            indexed.search(query)[0].why()


# --- a part of the query --------------------------------------------------------------------------


def test_the_box_of_the_painting_finds_its_room_better_than_the_whole():
    """By a model that was not taught to look at paintings, as mini was."""
    model, whole, boxed = Embedder.load("mini-vit", precision="fp32", device="cpu"), [], []
    rooms = scenes.gallery_of_rooms(5, n_paintings=10, rooms_per_painting=2, size=(180, 240))
    units = model.embed([room.image for room in rooms.rooms])
    for i, room in enumerate(rooms.rooms):
        y, x = np.nonzero(room.masks[rooms.labels[i]])
        box = (x.min(), y.min(), x.max() + 1, y.max() + 1)
        (right,) = rooms.matches(i)
        for ranks, query in (
            (whole, units[i]),
            (boxed, image_query(room.image, model, Region.of(box, None)).unit),
        ):
            cosines = units @ query
            cosines[i] = -2
            ranks.append(int((cosines > cosines[right]).sum()) + 1)
    assert np.mean(1 / np.array(boxed)) > np.mean(1 / np.array(whole))


def test_a_box_over_everything_is_the_whole_picture(indexed, room_files):
    whole = indexed.search(room_files[1][3], k=12)
    boxed = indexed.search(room_files[1][3], k=12, box=(0, 0, 200, 150))
    assert paths(whole) == paths(boxed)
    assert [h.similarity for h in boxed] == pytest.approx([h.similarity for h in whole], abs=0.02)


def test_a_rectangular_polygon_is_a_box(indexed, room_files):
    corners = [(40, 30), (120, 30), (120, 90), (40, 90)]
    polygon = indexed.search(room_files[1][3], k=12, polygon=corners)
    box = indexed.search(room_files[1][3], k=12, box=(40, 30, 120, 90))
    assert [h.similarity for h in polygon] == pytest.approx([h.similarity for h in box], abs=1e-5)
    for bad, words in ((corners[:2], "three corners"), ([(900, 900), (950, 900), (950, 950)], "none of the")):
        with pytest.raises(ValueError, match=words):
            indexed.search(room_files[1][3], polygon=bad)


def test_a_polygon_asks_about_its_inside_only(indexed, room_files):
    hit = indexed.search(room_files[1][3], k=1, polygon=[(0, 0), (150, 0), (0, 150)], explain=True)[0]
    assert np.abs(hit.query_map[-2:, -2:]).max() == 0 and np.abs(hit.query_map[:2, :2]).max() > 0
    assert hit.query_map.sum() == pytest.approx(hit.similarity, abs=1e-4)


def test_the_map_of_a_part_lies_on_that_part_and_sums_to_the_similarity(indexed, room_files):
    hit = indexed.search(room_files[1][3], k=1, box=(100, 20, 200, 150), explain=True)[0]
    assert hit.query_map.sum() == pytest.approx(hit.similarity, abs=1e-4)
    why = hit.why()
    np.testing.assert_allclose(why.query_map, hit.query_map, atol=1e-5)
    assert why.similarity == pytest.approx(hit.similarity, abs=1e-4)
    assert why.query_geometry.crop == pytest.approx((20, 100, 130, 100))
    assert why.query_geometry.original_size == (150, 200) == why.query.picture.original_size
    with pytest.raises(UnsupportedMethodError, match="whole images"):
        hit.why("gradcam")


# --- why ------------------------------------------------------------------------------------------


def test_maps_of_all_hits_are_those_of_the_last_layer(indexed, room_files):
    hits = indexed.search(room_files[1][3], k=5, explain=True, leave_self_out=True)
    for hit in hits:
        why = hit.why(layer="last")
        assert hit.query_map.sum() == pytest.approx(hit.similarity, abs=1e-4)
        assert why.similarity == pytest.approx(hit.similarity, abs=1e-5)
        np.testing.assert_allclose(hit.query_map, why.query_map, atol=1e-5)
        assert why.match.name == hit.path.name and why.query.name == room_files[1][3].name


def test_explaining_touches_no_file_of_the_gallery(mini, photos):
    gallery = Gallery.in_memory(mini)
    gallery.add(photos)
    query = (photos / "one.png").read_bytes()
    for file in photos.rglob("*.*"):
        file.unlink()
    assert all(hit.query_map is not None for hit in gallery.search(query, explain=True))
    with pytest.raises(UnreadableImageError):
        gallery.search(query)[0].why()


def test_maps_are_absent_unless_asked_for(indexed, room_files):
    assert indexed.search(room_files[1][0], k=1)[0].query_map is None


def test_other_methods_explain_too(indexed, room_files):
    why = indexed.search(room_files[1][3], k=2)[1].why("occlusion")
    assert why.method == "occlusion" and not why.additive


def test_a_contrast_leaves_out_what_all_images_of_the_gallery_share(indexed, room_files):
    hit = indexed.search(room_files[1][3], k=2)[1]
    whole, beyond = hit.why(), hit.why(contrast="gallery")
    mean = indexed.mean_unit()
    shared = np.mean([other.similarity for other in indexed.search(room_files[1][3], k=50)])
    parts = dict(beyond.query.residual_parts)
    assert parts["shared with all"] == pytest.approx(shared, abs=1e-5)
    assert beyond.similarity == whole.similarity and beyond.form == whole.form
    assert beyond.query.total == pytest.approx(whole.similarity - shared, abs=1e-4)
    np.testing.assert_allclose(hit.why(contrast=mean).match_map, beyond.match_map, atol=1e-6)
    np.testing.assert_allclose(hit.why(contrast=0 * mean).match_map, whole.match_map, atol=1e-6)


def test_a_contrast_of_a_region_lies_on_that_region(indexed, room_files):
    hit = indexed.search(room_files[1][3], k=1, box=(100, 20, 200, 150))[0]
    beyond = hit.why(contrast="gallery")
    shared = dict(beyond.query.residual_parts)["shared with all"]
    assert beyond.query.total == pytest.approx(hit.similarity - shared, abs=1e-4)
    assert beyond.query_geometry.crop == pytest.approx((20, 100, 130, 100))


def test_contrasts_that_make_no_sense_are_refused(indexed, room_files):
    hit = indexed.search(room_files[1][3], k=1)[0]
    with pytest.raises(UnknownNameError, match=r"'gallery', or a vector of \d+ numbers; got 'galery'"):
        hit.why(contrast="galery")
    with pytest.raises(UnsupportedMethodError, match="no option contrast"):
        hit.why("occlusion", contrast="gallery")


def test_the_mean_follows_the_gallery(mini, room_files):
    gallery = Gallery.in_memory(mini)
    with pytest.raises(GalleryError, match="empty"):
        gallery.mean_unit()
    units = mini.embed(room_files[1][:3])
    gallery.add(room_files[1][:2])
    np.testing.assert_allclose(gallery.mean_unit(), units[:2].mean(0), atol=1e-5)
    gallery.add(room_files[1][2])
    np.testing.assert_allclose(gallery.mean_unit(), units.mean(0), atol=1e-5)


def test_kept_shares_explain_without_the_model(mini, photos, monkeypatch, tmp_path):
    kept, plain = Gallery.create(tmp_path / "g", mini, keep_shares=True), Gallery.in_memory(mini)
    kept.add(photos)
    plain.add(photos)
    query = photos / "b" / "five.bmp"
    hit, expected = kept.search(query, explain=True)[1], plain.search(query)[1].why(layer="last")
    monkeypatch.setattr(type(mini), "pixel_shares", lambda *_: pytest.fail("the model was asked"))
    why = hit.why()
    assert why.similarity == pytest.approx(expected.similarity, abs=1e-3)
    np.testing.assert_allclose(why.match_map, expected.match_map, atol=1e-3)
    beyond = hit.why(contrast="gallery")
    assert beyond.form == why.form == "the last layer"
    shared = dict(beyond.match.residual_parts)["shared with all"]
    assert beyond.match.total == pytest.approx(why.similarity - shared, abs=1e-3)


def test_packed_shares_come_back_to_half_precision(mini, pictures):
    shares = mini.shares(pictures[1])
    again = unpack_shares(pack_shares(shares))
    assert (again.grid, again.geometry) == (shares.grid, shares.geometry)
    torch.testing.assert_close(
        again.values, shares.values, rtol=1e-3, atol=1e-3 * float(shares.values.abs().max())
    )
    torch.testing.assert_close(again.residual, shares.residual)


def test_a_hit_is_json(indexed, room_files):
    hit = indexed.search(room_files[1][3], k=1, explain=True)[0]
    numbers = json.loads(json.dumps(hit.to_dict()))
    assert numbers["path"] == str(room_files[1][3]) and len(numbers["sha256"]) == 64
    assert numbers["metadata"] == dict(hit.metadata) and len(numbers["query_map"]) == len(hit.query_map)


# --- re-ranking -----------------------------------------------------------------------------------


def upside_down(ranking):
    return dataclasses.replace(
        ranking,
        indices=ranking.indices.flip(1),
        scores=torch.arange(ranking.scores.shape[1])[None].flip(1).float(),
    )


def test_a_reranker_changes_the_order_and_not_the_cosines(indexed, room_files):
    before = indexed.search(room_files[1][3], k=12)
    after = indexed.search(room_files[1][3], k=12, rerank=upside_down)
    assert paths(after) == paths(before)[::-1]
    assert [h.similarity for h in after] == pytest.approx([h.similarity for h in before][::-1])
    assert [h.rank_before for h in after] == list(range(12, 0, -1)) and after[0].score == 11


def test_a_reranker_sees_the_shortlist_only(indexed, room_files):
    after = indexed.search(room_files[1][3], k=2, shortlist=4, rerank=upside_down)
    assert paths(after) == paths(indexed.search(room_files[1][3], k=4))[::-1][:2]


def test_a_reranker_brings_nothing_back_that_was_filtered_out(indexed, room_files):
    def everything(ranking):
        rows = torch.arange(len(ranking.gallery))[None]
        return dataclasses.replace(ranking, indices=rows, scores=rows.float())

    hits = indexed.search(room_files[1][3], k=12, rerank=everything, leave_self_out=True)
    assert room_files[1][3] not in paths(hits) and len(hits) == 11


@pytest.mark.parametrize(
    "name", ["aqe", "dba+aqe", "k-reciprocal", "diffusion", "superglobal", "shares", "transport"]
)
def test_rerankers_by_name_keep_the_hits_and_say_who_moved_them(indexed, room_files, name):
    before = indexed.search(room_files[1][3], k=12)
    after = indexed.search(room_files[1][3], k=12, rerank=name)
    assert set(paths(after)) == set(paths(before))
    assert {h.path: h.similarity for h in after} == pytest.approx({h.path: h.similarity for h in before})
    lifts = [lift for hit in after for lift in hit.influences()]
    assert (lifts == []) == (name in ("shares", "transport"))
    assert all(lift.item.path in map(str, room_files[1]) for lift in lifts) and before[0].influences() == ()


def test_an_unknown_reranker_is_refused(indexed, room_files):
    with pytest.raises(UnknownNameError, match="re-ranker"):
        indexed.search(room_files[1][3], rerank="magic")
    with pytest.raises(UnsupportedMethodError, match="has none"):
        indexed.search(room_files[1][3], rerank=upside_down)[0].influences()


# --- large galleries ------------------------------------------------------------------------------


def test_beyond_the_memory_budget_the_store_is_searched(indexed, room_files, mini):
    small = Gallery.open(indexed.uri, mini, memory_budget=100)
    for options in ({}, {"where": "label != 'x'"}, {"leave_self_out": True}, {"explain": True}):
        expected = indexed.search(room_files[1][3], k=5, **options)
        found = small.search(room_files[1][3], k=5, **options)
        assert paths(found) == paths(expected)
        assert [h.similarity for h in found] == pytest.approx([h.similarity for h in expected], abs=1e-5)


def test_the_accelerator_follows_the_gallery_and_finds_what_exact_search_finds(
    mini, room_files, monkeypatch, tmp_path
):
    pytest.importorskip("faiss")
    files = room_files[1]
    plain, gallery = (Gallery.create(tmp_path / name, mini) for name in ("plain", "g"))
    for each in (plain, gallery):
        each.add(files[:10])
    assert gallery.optimize() == 10 and gallery.describe().accelerator == "fresh"
    folder = next(path for path in (tmp_path / "g" / "accelerator").iterdir() if path.is_dir())

    def is_as_exact(opened):
        for options in ({"k": 5}, {"k": 5, "leave_self_out": True}):
            expected = plain.search(files[3], **options)
            with monkeypatch.context() as patch:
                patch.setattr(Searcher, "_exact", lambda *_: pytest.fail("searched exactly"))
                found = opened.search(files[3], **options)
            assert paths(found) == paths(expected)
            assert [h.similarity for h in found] == pytest.approx([h.similarity for h in expected], abs=1e-6)

    is_as_exact(gallery)
    lost = plain.search(files[3], k=2)[1].path
    for each in (plain, gallery):
        each.remove(lost)
        each.add(files[10:11])
    assert gallery.describe().accelerator == "stale"
    is_as_exact(gallery)
    assert gallery.describe().accelerator == "fresh" and not gallery.check().findings
    is_as_exact(Gallery.open(tmp_path / "g", mini))
    assert gallery.optimize() == 10 and folder.exists()  # nothing was built again
    gallery.add(files[11:])  # more than a fifth changed
    plain.add(files[11:])
    assert paths(gallery.search(files[3], k=11)) == paths(plain.search(files[3], k=11))
    assert gallery.describe().accelerator == "stale"
    assert gallery.optimize() == 11 and not folder.exists()
    is_as_exact(gallery)


def test_a_damaged_accelerator_is_ignored(mini, room_files, tmp_path):
    pytest.importorskip("faiss")
    gallery = Gallery.create(tmp_path / "g", mini)
    gallery.add(room_files[1][:3])
    gallery.optimize()
    for index in (tmp_path / "g" / "accelerator").rglob("index.faiss"):
        index.write_bytes(index.read_bytes()[:200])
    assert len(Gallery.open(tmp_path / "g", mini).search(room_files[1][0])) == 3


@pytest.mark.parametrize("name", ["index.faiss", "ids.npy", "vectors.f32", "stamp.json"])
@pytest.mark.parametrize("content", [b"", b"[1]", b'{"version": null, "folder": 3, "count": 1}'])
def test_an_empty_or_foreign_file_of_the_accelerator_is_ignored(mini, room_files, tmp_path, name, content):
    gallery = Gallery.create(tmp_path / "g", mini)
    gallery.add(room_files[0])
    gallery.optimize()
    (file,) = (tmp_path / "g" / "accelerator").rglob(name)
    file.write_bytes(content)
    again = Gallery.open(tmp_path / "g", mini)
    assert len(again.search(room_files[1][0], k=3)) == 3
    assert again.describe().accelerator in ("none", "fresh")


def test_an_accelerator_needs_a_folder_and_pictures(mini, tmp_path):
    with pytest.raises(GalleryError, match="local folder"):
        Gallery.in_memory(mini).optimize()
    with pytest.raises(GalleryError, match="empty"):
        Gallery.create(tmp_path / "g", mini).optimize()


@pytest.mark.parametrize(("rerank", "of_cosine"), [("shares", 1), ("transport", 1 - MIX)])
def test_a_hit_that_cannot_be_read_ranks_as_if_no_cells_matched(mini, photos, tmp_path, rerank, of_cosine):
    gallery = Gallery.create(tmp_path / "g.gallery", mini)
    gallery.add(photos)
    query = (photos / "one.png").read_bytes()
    whole = gallery.search(query, k=3, rerank=rerank)
    gone = whole[1].path
    gone.unlink()
    found = gallery.search(query, k=3, rerank=rerank)
    assert list(found.unreadable) == [str(gone)] and "no such file" in found.unreadable[str(gone)]
    assert not whole.unreadable
    scores = {hit.path: hit.score for hit in found}
    cosine = next(hit.similarity for hit in found if hit.path == gone)
    assert scores[gone] == pytest.approx(of_cosine * cosine)
    assert scores[whole[0].path] == pytest.approx(whole[0].score) and whole[0].score != whole[0].similarity


def test_a_file_that_was_replaced_is_neither_shown_nor_explained_as_the_indexed_one(mini, photos, tmp_path):
    gallery = Gallery.create(tmp_path / "g.gallery", mini)
    gallery.add(photos)
    replaced, other = photos / "one.png", photos / "b" / "five.bmp"
    hit = next(hit for hit in gallery.search(replaced.read_bytes(), k=5) if hit.path == replaced)
    assert hit.why().similarity == pytest.approx(hit.similarity, abs=1e-4)
    content = replaced.read_bytes()
    replaced.write_bytes(other.read_bytes())
    with pytest.raises(UnreadableImageError, match=r"one\.png has changed since it was indexed; index"):
        hit.why()
    assert gallery.search(hit.id, k=1)[0].id == hit.id  # the stored embedding still answers
    with pytest.raises(UnreadableImageError, match="has changed since"):
        gallery.search(hit.id, k=1, explain=True)
    replaced.write_bytes(content)  # the same content again, at another time
    assert hit.why().similarity == pytest.approx(hit.similarity, abs=1e-4)
