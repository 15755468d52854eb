"""A planted hub is found, said in a sentence, and corrected."""

import numpy as np
import pytest
import torch

from lookalike.errors import UnknownNameError
from lookalike.gallery.hubs import Corrected, find_hubs
from lookalike.store import Record, Snapshot
from lookalike.types import Ranking

N, WIDTH = 60, 200
SHARED, OWN = 8.0, 0.67  # of what all have in common, and of each one's detail


def record(row):
    name = "label.jpg" if row == 0 else f"bottle_{row}.jpg"
    return Record(f"{row:020d}", f"/photos/{name}", f"{row:064d}", 1, 0)


def snapshot(with_hub=True):
    """Images in all directions with something in common, and one that is only what they share: row 0."""
    rng = np.random.default_rng(0)
    values = rng.normal(size=(N, WIDTH)) * OWN
    values[:, 0] += SHARED
    if with_hub:
        values[0] = np.eye(WIDTH)[0]
    units = values / np.linalg.norm(values, axis=1, keepdims=True)
    return Snapshot(0, [record(row) for row in range(N)], units.astype(np.float32))


def ranking(found, unit):
    gallery = torch.from_numpy(found.embeddings)
    best = (gallery @ unit).topk(N)
    return Ranking(unit[None], gallery, best.indices[None], best.values[None])


def test_a_planted_hub_is_named_with_what_setting_it_aside_would_bring():
    found = find_hubs(snapshot())
    assert [hub.path for hub in found.hubs] == ["/photos/label.jpg"]
    assert found.hubs[0].n_near > 50
    assert found.n_changed == found.hubs[0].n_first > 20
    assert found.sentence.startswith(f"label.jpg (near {found.hubs[0].n_near} of 60) turns up")
    assert f"{found.n_changed} of 60 searches would begin with another image" in found.sentence


def test_without_a_hub_nothing_is_said():
    found = find_hubs(snapshot(with_hub=False))
    assert found.hubs == () and found.sentence == ""


@pytest.mark.parametrize("correction", ["csls", "center"])
def test_the_corrections_take_the_hub_from_the_first_place(correction):
    found = snapshot()
    corrected = Corrected(correction, found, found.embeddings.mean(0))
    rng = np.random.default_rng(1)
    first_before = first_after = 0
    for row in range(1, N):
        own = found.embeddings[row] * 12.4 - SHARED * np.eye(WIDTH)[0]
        near = SHARED * np.eye(WIDTH)[0] + 0.3 * own + rng.normal(size=WIDTH) * OWN  # has some of its detail
        unit = torch.nn.functional.normalize(torch.from_numpy(near.astype(np.float32)), dim=0)
        before = ranking(found, unit)
        first_before += int(before.indices[0, 0]) == row
        first_after += int(corrected.ranking(before, 5).indices[0, 0]) == row
    assert first_before < 10 and first_after > 40


def test_csls_is_twice_the_cosine_less_both_neighborhoods():
    found = snapshot()
    gallery = torch.from_numpy(found.embeddings)
    unit = torch.nn.functional.normalize(
        torch.randn(WIDTH, generator=torch.Generator().manual_seed(3)), dim=0
    )
    cosines = gallery @ unit
    near_query = cosines.topk(10).values.mean()
    products = gallery @ gallery[5]
    products[5] = -torch.inf
    expected = 2 * cosines[5] - near_query - products.topk(10).values.mean()
    scores = Corrected("csls", found, found.embeddings.mean(0)).scores(unit)
    assert scores[5] == pytest.approx(float(expected), abs=1e-5)


def test_an_unknown_correction_lists_those_that_are():
    with pytest.raises(UnknownNameError, match="csls, center"):
        Corrected("cls", snapshot(), snapshot().embeddings.mean(0))
