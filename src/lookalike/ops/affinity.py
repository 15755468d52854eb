"""Affinity features of a shortlist, and the similarities and losses of CSA on them.

Ouyang, Wu, Wang, Zhou, Li, *Contextual Similarity Aggregation with Self-attention for Visual
Re-ranking*, NeurIPS 2021. The T = 1 + K items are the query and its candidates, in this order; L is the
number of anchors and C the width of the refined features.
"""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional as F

SMALLEST_SQUARE = 1e-4  # published: squared distances below it count as this much


def affinity_features(
    queries: Float[Tensor, "Q D"],
    candidates: Float[Tensor, "Q K D"],
    n_anchors: int,
    following: Float[Tensor, "Q M D"] | None = None,
) -> Float[Tensor, "Q T L"]:
    """Cosines of the query and its candidates (rows) with the anchors (columns), section 3.2.

    The anchors are the query and the first n_anchors - 1 of its ranking: the candidates and, if they are
    fewer, those ``following`` them. All are unit vectors. Where the ranking ends before the last anchor
    the last columns are zero. Raises ValueError for n_anchors below 1.

    >>> query, candidates = torch.tensor([[1.0, 0.0]]), torch.tensor([[[0.6, 0.8], [0.0, 1.0]]])
    >>> affinity_features(query, candidates, 2)
    tensor([[[1.0000, 0.6000],
             [0.6000, 1.0000],
             [0.0000, 0.8000]]])
    """
    if n_anchors < 1:
        raise ValueError(f"there is at least one anchor, the query; got n_anchors = {n_anchors}")
    parts = [queries[:, None], candidates] if following is None else [queries[:, None], candidates, following]
    anchors = torch.cat([part[:, :n_anchors] for part in parts], dim=1)[:, :n_anchors].transpose(1, 2)
    affinity = torch.cat([queries[:, None] @ anchors, candidates @ anchors], dim=1)
    return F.pad(affinity, (0, n_anchors - affinity.shape[2]))


def refined_similarities(tokens: Float[Tensor, "Q T C"]) -> Float[Tensor, "Q T"]:
    """Cosine of every refined feature with that of the query, in [-1, 1]; column 0, the query's, is 1."""
    units = F.normalize(tokens, dim=2)
    return (units @ units[:, 0, :, None]).squeeze(2)


def exp_similarities(tokens: Float[Tensor, "Q T C"], temperature: float) -> Float[Tensor, "Q T"]:
    """exp(cosine / temperature) of every refined feature with the query's, equation 6."""
    return (refined_similarities(tokens) / temperature).exp()


def contrastive_loss(
    exp_similarity: Float[Tensor, "Q T"], relevant: Bool[Tensor, "Q T"]
) -> Float[Tensor, ""]:
    """Minus the logarithm of the relevant items' share of all exp-similarities, mean over queries.

    As published, the query itself is a relevant item, in column 0. With a small temperature drop
    that column: its share would be close to 1 and the gradients would vanish.
    """
    share = (exp_similarity * relevant).sum(1) / exp_similarity.sum(1)
    return -share.log().mean()


def reconstruction_loss(
    rebuilt: Float[Tensor, "Q T L"], affinity: Float[Tensor, "Q T L"]
) -> Float[Tensor, ""]:
    """Mean distance of the directions of rebuilt and original affinity features, in [0.01, 2].

    The loss that the paper calls MSE (section 3.4): it preserves the information of the affinity features.
    """
    squares = (F.normalize(rebuilt, dim=2) - F.normalize(affinity, dim=2)).square().sum(2)
    return squares.clamp(min=SMALLEST_SQUARE).sqrt().mean()


def ranking_loss(
    scores: Float[Tensor, "Q K"], relevant: Bool[Tensor, "Q K"], temperature: float
) -> Float[Tensor, ""]:
    """Minus the mean log share of each relevant candidate against all that are not, mean over queries.

    Unlike in ``contrastive_loss``, every relevant candidate has to stand out by itself. Queries
    whose candidates are all relevant or all irrelevant are left out.
    """
    logits = scores / temperature
    others = logits.masked_fill(relevant, float("-inf")).logsumexp(1, keepdim=True)  # (Q, 1)
    each = F.softplus(others - logits)  # (Q, K): -log(exp(logit) / (exp(logit) + exp(others)))
    useful = relevant.any(1) & ~relevant.all(1)
    each = torch.where(relevant & useful[:, None], each, 0.0)
    of_query = each.sum(1) / relevant.sum(1).clamp(min=1)
    return of_query.sum() / useful.sum().clamp(min=1)
