"""Ranking and re-ranking of arrays of embeddings in one call."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from lookalike.rerankers.first_stage import first_stage
from lookalike.rerankers.named import make_reranker
from lookalike.types import Ranking

Embeddings = Tensor | np.ndarray[Any, Any]


def rerank(
    queries: Embeddings, gallery: Embeddings, *, method: str = "csa", k: int = 1024, **options: Any
) -> Ranking:
    """Rank the gallery for every query by cosine and re-rank the first ``k``.

    ``queries`` (Q, D) and ``gallery`` (G, D) are real vectors from the same model, normalized here; a
    query that is in the gallery finds itself. ``method`` is one of ``RERANKERS``, or several joined by
    ``+`` such as ``dba+aqe``; ``options`` are those of the method, such as ``n``, ``alpha`` or
    ``checkpoint``.

    Returns a Ranking with ``indices`` (Q, K) int64 and ``scores`` (Q, K) float32, best first, K = min(k, G).
    Raises UnsupportedMethodError for an unknown method; ValueError for unknown options, for shapes that
    do not fit, and for NaN or infinity.

    >>> ranking = rerank(np.eye(3)[:1], np.eye(3) + 0.1, method="aqe", k=2)
    >>> ranking.indices.tolist()
    [[0, 1]]
    """
    reranker = make_reranker(method, **options)
    return reranker(first_stage(_float32(queries), _float32(gallery), k=k))


def _float32(vectors: Embeddings) -> Tensor:
    if isinstance(vectors, Tensor):
        return vectors.float()
    return torch.from_numpy(np.array(vectors, dtype=np.float32))
