"""Pictures of results: explanations, differences and cell matches in, PIL images out.

Nothing here reads or writes a file or knows a model. Maps in one picture share one range.
"""

from lookalike.render.comparison import strip
from lookalike.render.lines import match_lines
from lookalike.render.overlay import match_overlay, overlay, query_overlay
from lookalike.render.pair import side_by_side
from lookalike.render.preference import preference
from lookalike.render.ranges import shared_range
from lookalike.render.singles import overlays

__all__ = [
    "match_lines",
    "match_overlay",
    "overlay",
    "overlays",
    "preference",
    "query_overlay",
    "shared_range",
    "side_by_side",
    "strip",
]
