"""Data types that the packages exchange: frozen dataclasses of inputs and results.

Axis letters: ``B`` batch, ``N`` cells of the grid (row-major, ``N = h * w``), ``D`` embedding
width, ``C`` channels, ``h w`` feature grid, ``H W`` pixels. Sizes are (height, width); boxes are
(left, top, right, bottom) in original pixels.
"""

from lookalike.types.explanations import (
    CellMatch,
    CellSimilarity,
    Difference,
    Explanation,
)
from lookalike.types.features import AttentionCall, Features, Shares, Trace
from lookalike.types.geometry import FloatArray, Geometry, Picture, Reading
from lookalike.types.graphs import GraphExplanation, LevelReason, NodeChain, NodePath, NodeReason
from lookalike.types.maps import ImageMap
from lookalike.types.progress import Progress, ProgressCallback, tracked
from lookalike.types.rankings import Influence, Move, Ranking
from lookalike.types.scales import ColorScale
from lookalike.types.text_explanations import TextExplanation, TextPart
from lookalike.types.verification import Corners, GeometricMatch, Verification, carried

__all__ = [
    "AttentionCall",
    "CellMatch",
    "CellSimilarity",
    "ColorScale",
    "Corners",
    "Difference",
    "Explanation",
    "Features",
    "FloatArray",
    "GeometricMatch",
    "Geometry",
    "GraphExplanation",
    "ImageMap",
    "Influence",
    "LevelReason",
    "Move",
    "NodeChain",
    "NodePath",
    "NodeReason",
    "Picture",
    "Progress",
    "ProgressCallback",
    "Ranking",
    "Reading",
    "Shares",
    "TextExplanation",
    "TextPart",
    "Trace",
    "Verification",
    "carried",
    "tracked",
]
