"""FiftyOne's own datasets: they keep our embeddings, index and maps, and become a gallery.

FiftyOne starts a MongoDB, which its package fetches when it is installed; where it can't run, those tests are
skipped.
"""

import numpy as np
import pytest
from PIL import Image

from lookalike import Gallery, scenes
from lookalike.plugs.fiftyone_samples import embed_samples, explain_samples, heatmap_values, sample_rows
from lookalike.types import Geometry, ImageMap, Picture

SIZES = ((96, 70), (70, 96), (120, 60), (64, 64))  # (W, H) pixels


@pytest.fixture(scope="module")
def fiftyone():
    # not importorskip: importing it starts the database, and what that raises is no ImportError
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FIFTYONE_DO_NOT_TRACK", "true")
        try:
            import fiftyone
            import fiftyone.brain

            fiftyone.list_datasets()
        except Exception as error:
            pytest.skip(f"FiftyOne does not run here: {type(error).__name__}")
    return fiftyone


@pytest.fixture
def dataset(fiftyone, tmp_path):
    dataset = fiftyone.Dataset()
    for i, (width, height) in enumerate(SIZES):
        path = tmp_path / f"wall{i}.png"
        scenes.paint(i, 128).crop((0, 0, width, height)).save(path)
        kind = fiftyone.Classification(label=f"wall {i}")
        dataset.add_sample(fiftyone.Sample(str(path), ground_truth=kind, year=1990 + i))
    (tmp_path / "broken.png").write_bytes(b"no picture")
    dataset.add_sample(fiftyone.Sample(str(tmp_path / "broken.png")))
    yield dataset
    dataset.delete()


def test_embeddings_are_those_of_the_model_and_sort_a_dataset_by_similarity(dataset, mini):
    failed = embed_samples(dataset, mini, batch_size=2)
    assert [path.endswith("broken.png") for path in failed] == [True]
    stored = dataset.values("lookalike")
    assert stored[-1] is None
    expected = mini.embed(dataset.values("filepath")[:4])
    np.testing.assert_allclose(np.stack(stored[:4]), expected, atol=1e-5)
    order = np.argsort(-(expected @ expected[2]).numpy())
    found = dataset.sort_by_similarity(dataset.values("id")[2], k=4, brain_key="lookalike")
    assert found.values("id") == [dataset.values("id")[i] for i in order]
    embed_samples(dataset, mini)  # again: the index is replaced


def test_maps_lie_on_their_pictures_and_share_one_range(dataset, mini):
    query = dataset.first().filepath
    assert len(explain_samples(dataset, query, mini)) == 1
    heatmaps = dataset.values("why")
    assert heatmaps[-1] is None and dataset.values("why_similarity")[-1] is None
    for heatmap, (width, height) in zip(heatmaps[:4], SIZES, strict=True):
        assert heatmap.map.shape[0] / heatmap.map.shape[1] == pytest.approx(height / width, rel=0.02)
    lowest, highest = heatmaps[0].range
    assert all(heatmap.range == [lowest, highest] for heatmap in heatmaps[:4]) and lowest == -highest
    assert max(np.abs(heatmap.map).max() for heatmap in heatmaps[:4]) == pytest.approx(highest)
    assert dataset.first()["why_similarity"] == pytest.approx(1, abs=1e-4)


def test_a_dataset_becomes_a_gallery_whose_hits_lead_back_to_its_samples(dataset, mini, tmp_path):
    gallery = Gallery.create(tmp_path / "gallery", mini)
    added = gallery.add(sample_rows(dataset, label="ground_truth", fields=("year",)))
    assert len(gallery) == 4 and len(added.unreadable) == 1
    hit = gallery.search(dataset.values("filepath")[1], k=1)[0]
    assert hit.metadata["label"] == "wall 1" and hit.metadata["year"] == 1991
    assert dataset[hit.metadata["sample_id"]].filepath == str(hit.path)


def test_values_of_a_map_stay_on_the_part_that_the_model_saw():
    picture = Picture(Image.new("RGB", (200, 100)), (100, 200), "wide")
    seen = Geometry((100, 200), (64, 64), (0.0, 100.0, 100.0, 100.0))  # the right half
    values = np.zeros((2, 3), np.float32)
    values[0, 2] = 1.0
    placed = heatmap_values(ImageMap(picture, seen, values))
    assert placed.shape == (48, 96) and not placed[:, :48].any()
    row, column = np.unravel_index(placed.argmax(), placed.shape)
    assert row < 12 and column > 85
    assert placed.max() == pytest.approx(6 / 100)  # one of 6 cells is 100 / 6 % of the area
