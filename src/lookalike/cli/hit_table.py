"""The hits of a search on the terminal, and what to know about them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from lookalike.cli.printing import echo, one_line, print_table
from lookalike.cli.verified import correction_in_words, inliers_in_words

if TYPE_CHECKING:
    from lookalike.gallery import Hit, SearchResult


def is_good(hits: Sequence[Hit]) -> bool | None:
    """Whether some hit is a match with probability 0.5 or more; None without probabilities."""
    if any(hit.probability is None for hit in hits):
        return None
    return any((hit.probability or 0) >= 0.5 for hit in hits)


def print_hits(hits: Sequence[Hit], *, with_scores: bool) -> None:
    """Print one row for each hit, with the columns that some hit fills."""
    if is_good(hits) is False:
        echo("no good match" + (": every hit below has a probability under 0.5" if hits else ""))
    header = ("", "similarity", "score", "probability", "inliers", "before", "path")
    rows = [
        (
            str(hit.rank),
            f"{hit.similarity:z.4f}",
            f"{hit.score:z.4f}" if with_scores else "",
            "" if hit.probability is None else f"{hit.probability:z.2f}",
            "" if hit.verification is None else inliers_in_words(hit.verification),
            "" if hit.rank_before in (None, hit.rank) else str(hit.rank_before),
            one_line(hit.record.path) + "".join(f"\n= {one_line(copy.path)}" for copy in hit.record.copies),
        )
        for hit in hits
    ]
    used = [i for i in range(len(header)) if i in (0, 1, 6) or any(row[i] for row in rows)]
    print_table(tuple(header[i] for i in used), [tuple(row[i] for i in used) for row in rows])


def print_remarks(
    hits: SearchResult,
    *,
    correction: str | None,
    has_text: bool,
    has_words: bool,
    has_region: bool,
    is_calibrated: bool,
) -> None:
    """Print what the scores are, which hits could not be read, and why there are no probabilities."""
    if correction:
        echo(correction_in_words(correction))
    by_distance = hits.rerank == "avsl"
    if by_distance:
        echo("ranked by AVSL's inferred distance: a score is one minus half of it")
    behind = "behind those that can be read" if by_distance else "as if none of its cells matched"
    for path, reason in hits.unreadable.items():
        echo(f"ranked {behind}: {path}: {reason}", err=True)
    if has_text:
        echo("similarities with words are lower than between images; only their order counts")
    if is_calibrated and has_words:
        echo("no probabilities: they are calibrated for images, not for words")
    if is_calibrated and has_region and not any(hit.verification for hit in hits):
        echo(
            "no probabilities: they are calibrated for whole images, not for regions; "
            "--rerank geometry gives them"
        )
