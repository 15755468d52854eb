"""Rendering of explanations, differences and cell matches as PIL images.

Nothing here reads or writes files or runs a model. Attributions in one image share a color range; maps
that promise no sum are drawn each between its own ends.
"""

from lookalike.render.comparison import strip
from lookalike.render.geometry import inlier_lines, outlined
from lookalike.render.lines import match_lines
from lookalike.render.overlay import match_overlay, overlay, query_overlay
from lookalike.render.pair import side_by_side
from lookalike.render.preference import preference
from lookalike.render.ranges import shared_range
from lookalike.render.singles import overlays
from lookalike.render.words import word_maps

__all__ = [
    "inlier_lines",
    "match_lines",
    "match_overlay",
    "outlined",
    "overlay",
    "overlays",
    "preference",
    "query_overlay",
    "shared_range",
    "side_by_side",
    "strip",
    "word_maps",
]
