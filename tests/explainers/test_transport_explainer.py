"""Maps of cosine and votes, and the score that they sum to in a search."""

import pytest
import torch
from torch.testing import assert_close

import lookalike
from lookalike.errors import UnsupportedMethodError
from lookalike.explainers import TransportExplainer, make_explainer
from lookalike.gallery import Gallery
from lookalike.ops.transport import transport_votes


@pytest.fixture(scope="module")
def gallery(pictures, tmp_path_factory):
    folder = tmp_path_factory.mktemp("transport")
    for i, picture in enumerate(pictures):
        picture.save(folder / f"{i}.png")
    gallery = Gallery.in_memory("mini")
    gallery.add(folder, workers=0)
    gallery.folder = folder
    return gallery


@pytest.mark.parametrize("options", [{}, {"box": (5, 10, 60, 80)}, {"polygon": [(0, 0), (70, 5), (30, 90)]}])
def test_maps_of_a_hit_sum_to_the_score_it_was_ranked_by(gallery, options):
    hits = gallery.search(gallery.folder / "0.png", rerank="transport", **options)
    assert len({hit.score for hit in hits}) == 4
    for hit in hits:
        why = hit.why()
        assert why.method == "transport" and why.additive
        assert why.similarity == pytest.approx(hit.score, abs=1e-6)
        for side in (why.query, why.match):
            missing = sum(amount for _, amount in side.residual_parts)
            assert side.total + missing == pytest.approx(why.similarity, abs=2e-6)


def test_a_cell_has_its_part_of_the_cosine_and_the_votes_by_it_and_for_it(gallery, pictures):
    a, b = (gallery.embedder.shares(picture) for picture in pictures[1:3])
    votes = transport_votes(a.values, b.values, dustbin=0.4, sharpness=9.0)
    cosine = lookalike.explain(*pictures[1:3], model=gallery.embedder, layer="last")
    options = {"mix": 0.25, "dustbin": 0.4, "sharpness": 9.0}
    why = make_explainer(gallery.embedder, "transport", **options)(*pictures[1:3])
    expected = 0.75 * torch.from_numpy(cosine.query_map) + 0.25 * votes.sum(1).reshape(a.grid)
    assert_close(torch.from_numpy(why.query_map), expected)
    assert why.form == "75% cosine, 25% votes of the cells"


def test_only_votes_remain_with_a_mix_of_one(gallery, pictures):
    why = TransportExplainer(gallery.embedder, mix=1.0)(pictures[0], pictures[0])
    assert (why.query_map >= 0).all() and why.query_map.sum() == pytest.approx(why.similarity, abs=1e-6)


def test_a_chain_is_explained_by_shares_since_its_first_step_changed_the_cosine(gallery):
    hit = gallery.search(gallery.folder / "0.png", rerank="aqe+transport")[1]
    assert hit.why().method == "shares"


def test_an_option_of_another_method_is_refused(gallery, pictures):
    with pytest.raises(UnsupportedMethodError, match="no option contrast"):
        make_explainer(gallery.embedder, "transport", contrast="gallery")
