"""Output files of ``lookalike explain``: images, single overlays and maps as arrays."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from lookalike import render
from lookalike.errors import LookalikeError, replacing
from lookalike.explainers import EmbedsImages, difference, place_matches
from lookalike.explainers.opening import opened_with_shares
from lookalike.models.embedder import Embedder
from lookalike.render.colors import check_colors
from lookalike.types import Explanation, GeometricMatch, GraphExplanation, TextExplanation


@dataclass(frozen=True)
class Outputs:
    """Files to write; None for those that are not written."""

    picture: Path | None = None  # both images with their maps
    overlays: Path | None = None  # folder for an overlay of each image
    lines: Path | None = None  # best matching cells
    maps: Path | None = None  # .npz of the maps
    versus: Path | None = None  # another image: ``picture`` then shows why the match is closer than it
    colors: str = "lookalike"  # or "jet"


def write_outputs(
    explanation: Explanation,
    model: Embedder | EmbedsImages,
    outputs: Outputs,
) -> list[Path]:
    """Write the files that ``outputs`` names and return their paths.

    Raises LookalikeError if a file can't be written, ValueError for unknown colors, and
    UnsupportedMethodError if the model has no shares for lines or a difference.
    """
    written: list[Path] = []
    check_colors(outputs.colors)  # raises for an unknown name even if nothing is drawn
    if outputs.versus is not None and outputs.picture is not None:
        embedder = opened_with_shares(model, "--versus")
        preferred = difference(
            explanation.query.picture, explanation.match.picture, outputs.versus, model=embedder
        )
        written += _save(outputs.picture, render.preference(preferred).save)
    elif outputs.picture is not None:
        picture = render.side_by_side(explanation, colors=outputs.colors)
        written += _save(outputs.picture, picture.save)
    if outputs.overlays is not None:
        for name, single in render.overlays(explanation, colors=outputs.colors).items():
            written += _save(outputs.overlays / name, single.save)
        if isinstance(explanation, GraphExplanation):
            for name, single in node_pictures(explanation, colors=outputs.colors).items():
                written += _save(outputs.overlays / name, single.save)
    if outputs.lines is not None:
        embedder = opened_with_shares(model, "--lines")
        matches = place_matches(explanation.query.picture, explanation.match.picture, model=embedder)
        written += _save(outputs.lines, render.match_lines(matches).save)
    if outputs.maps is not None:
        written += _save(outputs.maps, lambda path: save_maps(explanation, path), [".npz"])
    return written


def write_inlier_lines(found: GeometricMatch, path: Path) -> list[Path]:
    """Write the picture of a geometric match and return its path. Raises LookalikeError if it can't be."""
    return _save(path, render.inlier_lines(found).save)


def save_maps(explanation: Explanation, path: Path) -> None:
    """Write an .npz with float32 ``query_map`` and ``match_map`` (h, w), ``similarity`` and ``residual``.

    The residual of a heat map is NaN.
    """
    with path.open("wb") as file:  # given a path, savez would append .npz to another extension
        np.savez(
            file,
            query_map=explanation.query_map,
            match_map=explanation.match_map,
            similarity=np.float32(explanation.similarity),
            residual=np.float32(explanation.residual if explanation.additive else np.nan),
        )


def node_pictures(explanation: GraphExplanation, *, colors: str = "lookalike") -> dict[str, Image.Image]:
    """Draw the top node of each level on both images; return the images by file name.

    One node per level is the one that both images have most in common (``together``), one is the one
    with the largest share of the distance (``apart``).
    """
    pictures = {}
    for number, level in enumerate(explanation.levels):
        for side, nodes in (("together", level.together), ("apart", level.apart)):
            node = nodes[0]
            of_node = Explanation(
                similarity=explanation.similarity,
                query=node.query,
                match=node.match,
                method=f"avsl, level {number} {side}: node {node.node}, {node.share:z.4f} of distance "
                f"{explanation.distance:z.4f}",
                additive=False,
                model=explanation.model,
            )
            pictures[f"level{number}_{side}_node{node.node}.png"] = render.side_by_side(
                of_node, colors=colors
            )
    return pictures


def level_lines(explanation: Explanation) -> list[str]:
    """Return text lines with what the graph corrected, and each level's share of the distance, reliability
    and top nodes; empty without levels.
    """
    if not isinstance(explanation, GraphExplanation):
        return []
    change = explanation.distance - explanation.own_distance
    lines = [
        f"distance {explanation.distance:z.4f}; the highest level alone {explanation.own_distance:z.4f}, "
        f"corrected by the graph {change:+z.4f}; level by level:"
    ]
    for number, level in enumerate(explanation.levels, start=1):
        together = ", ".join(f"{node.node} ({node.common:+z.4f})" for node in level.together[:3])
        apart = ", ".join(f"{node.node} ({node.share:z.4f})" for node in level.apart[:3])
        lines.append(
            f"  {number}: {level.share:z.4f}, reliability {level.reliability:z.2f}; "
            f"nodes together {together}; apart {apart}"
        )
    return lines


def part_lines(explanation: Explanation) -> list[str]:
    """Return text lines with the value of each word or part; empty without words."""
    if not isinstance(explanation, TextExplanation):
        return []
    about = "by leaving each word out" if explanation.by_words else "by parts, which sum to it"
    lines = [f"{explanation.text!r}, {about}:"]
    lines += [f"  {part.value:+z.4f}  {part.label}" for part in explanation.parts]
    return lines + [f"  {value:+z.4f}  ({name})" for name, value in explanation.query.residual_parts]


def check_picture_name(path: Path, suffixes: Collection[str] | None = None) -> None:
    """Raise LookalikeError unless the name ends as that of a picture, or with one of the suffixes."""
    if suffixes is None:
        suffixes = [ending for ending, name in Image.registered_extensions().items() if name in Image.SAVE]
    if path.suffix.lower() not in suffixes:
        raise LookalikeError(f"{path} has no known extension; use .png, .jpg or .webp (maps: .npz)")


def _save(path: Path, save: Callable[[Path], object], suffixes: Collection[str] | None = None) -> list[Path]:
    check_picture_name(path, suffixes)
    with replacing(path, make_folder=True) as file:
        save(file)
    return [path]
