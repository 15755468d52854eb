"""The check that a model's numbers are numbers."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from lookalike.errors import ModelOutputError


def check_finite(embeddings: Tensor, model: str, names: Sequence[str]) -> None:
    """Raise ModelOutputError, naming model and image, where an embedding of (B, D) has NaN or infinity."""
    finite = embeddings.isfinite().flatten(1).all(1)
    if bool(finite.all()):
        return
    row = int((~finite).nonzero()[0])
    what = "NaN" if bool(embeddings[row].isnan().any()) else "infinity"
    raise ModelOutputError(f"the model {model} gives {what} for {names[row]}; repair the weights")
