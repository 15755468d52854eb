"""Re-ranking methods: new scores for a shortlist from the embeddings alone.

The graph methods take one query with its K candidates, so memory is bounded by K x K; the joint form of
k-reciprocal encoding takes all queries with the whole gallery.
"""

from lookalike.ops.reranking.diffusion import diffuse, diffusion_graph, diffusion_removals, query_seeds
from lookalike.ops.reranking.expansion import (
    augment_database,
    expand,
    expand_without_each,
    other_neighbors,
)
from lookalike.ops.reranking.joint_k_reciprocal import (
    JointEncoding,
    joint_encoding,
    joint_k_reciprocal_scores,
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
    "JointEncoding",
    "augment_database",
    "diffuse",
    "diffusion_graph",
    "diffusion_removals",
    "expand",
    "expand_without_each",
    "joint_encoding",
    "joint_k_reciprocal_scores",
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
