"""Setting aside what one's images have in common, and whitening."""

import pytest
import torch
from torch.nn import functional as F

from lookalike import scenes
from lookalike.explainers import SharesExplainer
from lookalike.models.embedder import Embedder
from lookalike.ops.map_truth import positive_density_ratio
from lookalike.ops.regrid import mask_coverage


@pytest.fixture(scope="module")
def mini():
    return Embedder.load("mini", precision="fp32", device="cpu")


@pytest.fixture(scope="module")
def rooms():
    return [scenes.room(10**6 + i, paintings=[10**6 + i], size=(120, 160)).image for i in range(24)]


@pytest.mark.parametrize("fit", ["setting_aside", "whitened"])
def test_shares_still_sum_to_the_embedding_and_it_loads_again(fit, mini, rooms, pictures, tmp_path):
    fitted = getattr(mini, fit)(rooms)
    shares = fitted.shares(pictures[0])
    unit = F.normalize(shares.total, dim=0)
    torch.testing.assert_close(unit, fitted.embed(pictures[:1])[0], atol=1e-5, rtol=0)
    fitted.save(tmp_path / "fitted")
    again = Embedder.load(tmp_path / "fitted", precision="fp32")
    torch.testing.assert_close(again.embed(pictures), fitted.embed(pictures))


def test_the_original_embedder_is_left_as_it_was(mini, rooms, pictures):
    before = mini.embed(pictures)
    mini.setting_aside(rooms)
    torch.testing.assert_close(mini.embed(pictures), before, rtol=0, atol=0)


def test_images_of_one_kind_become_unlike(mini, rooms):
    """Rooms resemble one another; without what they have in common they hardly do."""

    def mean_cosine(embedder):
        embeddings = embedder.embed(rooms[12:])
        return float((embeddings @ embeddings.T).fill_diagonal_(0).sum() / (12 * 11))

    assert mean_cosine(mini) > 0.3
    assert abs(mean_cosine(mini.setting_aside(rooms[:12]))) < 0.2


def test_maps_turn_to_what_two_rooms_truly_share(rooms):
    """With a model that was not taught so by pairs of rooms, as mini was."""
    model = Embedder.load("mini-vit", precision="fp32", device="cpu")

    def density_ratio(embedder):
        ratios = []
        for seed in range(4):
            query, match, painting = scenes.room_pair(seed, size=(120, 160))
            why = SharesExplainer(embedder)(query.image, match.image)
            mask = torch.from_numpy(query.masks[painting])
            coverage = mask_coverage(why.query_geometry, mask, why.query_map.shape)
            ratios.append(positive_density_ratio(torch.from_numpy(why.query_map), coverage))
        return sum(ratios) / len(ratios)

    assert density_ratio(model.setting_aside(rooms)) > 1.2 * density_ratio(model)


def test_too_few_images_are_refused(mini, rooms):
    with pytest.raises(ValueError, match="2 directions to set aside"):
        mini.setting_aside(rooms[:3])
