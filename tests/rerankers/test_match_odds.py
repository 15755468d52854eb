"""Odds of a match by cosine and inliers."""

import math

import pytest
import torch

from lookalike.errors import GalleryError
from lookalike.ops.calibration import fit_logistic_plane
from lookalike.rerankers import DEFAULT_ODDS, MatchOdds, fit_match_odds


def test_the_log_odds_are_what_the_formula_says():
    odds = MatchOdds(-3.0, 2.0, 1.5, 0.2, "made", 1, 1)
    expected = -3 + 2 * 0.6 + 1.5 * math.log(8) + math.log(0.2 / 0.8)
    assert odds.log_odds(0.6, 7) == pytest.approx(expected)
    assert odds.probability(0.6, 7) == pytest.approx(1 / (1 + math.exp(-expected)))


def test_by_default_chance_inliers_prove_nothing_and_many_prove_all():
    assert DEFAULT_ODDS.probability(0.8, 4) < 0.5
    assert DEFAULT_ODDS.probability(0.99, 0) < 0.01
    assert DEFAULT_ODDS.probability(0.3, 40) > 0.95


def test_planted_slopes_are_recovered():
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(40_000, 2, generator=generator, dtype=torch.float64)
    logits = 1.5 * x[:, 0] - 0.7 * x[:, 1]
    is_match = torch.rand(len(x), generator=generator) < torch.sigmoid(logits)
    first, second, intercept = fit_logistic_plane(x[is_match], x[~is_match]).tolist()
    assert (first, second) == pytest.approx((1.5, -0.7), abs=0.06)
    assert abs(intercept) < 0.06


def test_fitted_odds_tell_matches_from_others():
    positives = torch.tensor([[0.6 + 0.01 * i, 25.0 + 9 * i] for i in range(12)])
    negatives = torch.tensor([[0.5 + 0.02 * i, float(i % 6)] for i in range(12)])
    odds = fit_match_odds(positives, negatives, prior=0.5, source="made")
    assert odds.per_cosine >= 0 and odds.per_inlier > 0
    assert all(odds.probability(float(c), int(n)) > 0.5 for c, n in positives)
    assert all(odds.probability(float(c), int(n)) < 0.5 for c, n in negatives)
    assert MatchOdds.from_dict(odds.to_dict()) == odds


def test_a_cosine_that_speaks_against_matches_is_left_out():
    positives = torch.tensor([[0.1 + 0.01 * i, 20.0 + 5 * i] for i in range(12)])  # turned: low cosines
    negatives = torch.tensor([[0.8 + 0.01 * i, float(i % 5)] for i in range(12)])
    assert fit_match_odds(positives, negatives, prior=0.5, source="made").per_cosine == 0


def test_pairs_without_more_inliers_than_others_give_no_odds():
    pairs = torch.tensor([[0.5, float(i % 4)] for i in range(12)])
    with pytest.raises(GalleryError, match="no more inliers"):
        fit_match_odds(pairs, torch.cat([pairs[:, :1], pairs[:, 1:] + 9], dim=1), prior=0.5, source="made")
    with pytest.raises(GalleryError, match="5 pairs or more"):
        fit_match_odds(pairs[:3], pairs, prior=0.5, source="made")
