"""Attributable visual similarity (AVSL): nodes, their graph, distances and shares.

Zhang, Zheng, Zhou, Lu, *Attributable Visual Similarity Learning*, CVPR 2022 (arXiv 2203.14932).
An image has D nodes at each of L feature levels, low to high. A pair's difference at a node is
trusted where both images are certain of it, and else inferred from the nodes below.
"""

from lookalike.ops.avsl.attribution import (
    DistanceShares,
    Parents,
    corrections,
    distance_map,
    distance_shares,
    inferred,
    strongest_parents,
)
from lookalike.ops.avsl.blocks import TILE, all_pairs, listed_pairs, nearest_nodes
from lookalike.ops.avsl.distance import final_distances, level_distances
from lookalike.ops.avsl.graph import Graph, Nodes, moving_average, sparse_links
from lookalike.ops.avsl.losses import hard_triplets, margin_loss, proxy_anchor_loss
from lookalike.ops.avsl.nodes import activation_maps, certainty, map_cosines, node_embedding

__all__ = [
    "TILE",
    "DistanceShares",
    "Graph",
    "Nodes",
    "Parents",
    "activation_maps",
    "all_pairs",
    "certainty",
    "corrections",
    "distance_map",
    "distance_shares",
    "final_distances",
    "hard_triplets",
    "inferred",
    "level_distances",
    "listed_pairs",
    "map_cosines",
    "margin_loss",
    "moving_average",
    "nearest_nodes",
    "node_embedding",
    "proxy_anchor_loss",
    "sparse_links",
    "strongest_parents",
]
