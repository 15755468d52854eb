"""Words for geometric evidence on the command line."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lookalike.types import Verification


def inliers_in_words(found: Verification) -> str:
    """Return the number of inliers, and what is special about them."""
    known = (("mirrored", found.mirrored), ("cells", found.source == "cells"))
    remarks = [word for word, holds in known if holds]
    return f"{found.n_inliers}" + (f" ({', '.join(remarks)})" if remarks and found.n_inliers else "")
