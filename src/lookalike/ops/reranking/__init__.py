"""Re-ranking methods: new scores for a shortlist from the embeddings alone.

The graph methods take one query with its K candidates, so memory is bounded by K x K.
"""

from lookalike.ops.reranking.diffusion import diffuse, diffusion_graph, diffusion_removals, query_seeds
from lookalike.ops.reranking.expansion import (
    augment_database,
    expand,
    expand_without_each,
    other_neighbors,
)
from lookalike.ops.reranking.k_reciprocal import (
    k_reciprocal_encoding,
    k_reciprocal_removals,
    k_reciprocal_scores,
    node_distances,
)
from lookalike.ops.reranking.superglobal import (
    refinement_weights,
    superglobal_scores,
    superglobal_terms,
)

__all__ = [
    "augment_database",
    "diffuse",
    "diffusion_graph",
    "diffusion_removals",
    "expand",
    "expand_without_each",
    "k_reciprocal_encoding",
    "k_reciprocal_removals",
    "k_reciprocal_scores",
    "node_distances",
    "other_neighbors",
    "query_seeds",
    "refinement_weights",
    "superglobal_scores",
    "superglobal_terms",
]
