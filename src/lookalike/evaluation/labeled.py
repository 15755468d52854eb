"""Embeddings with labels, the input of every evaluation."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from lookalike.errors import DatasetError
from lookalike.ops.compared import Compared, ComparedNodes, ComparedUnits
from lookalike.ops.similarity import unit_rows


@dataclass(frozen=True, eq=False, repr=False)
class LabeledEmbeddings:
    """Unit embeddings, a label for each, and the image files if they are known."""

    values: Tensor  # (G, D) float32, unit length
    labels: tuple[str, ...]  # one for each row
    paths: tuple[Path, ...] | None  # one for each row; None if the embeddings came without images
    source: str  # origin, for messages and reports
    model: str = ""  # name of the model that made them; empty if unknown
    left_out: tuple[tuple[str, str], ...] = ()  # files that could not be used, and why
    precision: str = ""  # of the model's forward pass: fp32 or bf16; empty if unknown
    nodes: ComparedNodes | None = None  # of an AVSL model, which judge instead of the values
    lacks_nodes: bool = False  # made by an AVSL model, but without its nodes, so judged by the cosine

    def __len__(self) -> int:
        return len(self.labels)

    def __repr__(self) -> str:
        n, width = self.values.shape
        return f"<LabeledEmbeddings of {self.source}: {n:,} rows, {width} dimensions>"

    @property
    def is_avsl(self) -> bool:
        """Whether images are compared by the distance that an AVSL model infers."""
        return self.nodes is not None

    @property
    def compared(self) -> Compared:
        """What similarities are computed from: the nodes, or else the unit embeddings."""
        return ComparedUnits(self.values) if self.nodes is None else self.nodes

    @property
    def classes(self) -> tuple[str, ...]:
        """The distinct labels, sorted."""
        return tuple(sorted(set(self.labels)))


def labeled(
    values: Tensor,
    labels: Sequence[str],
    *,
    source: str,
    paths: Sequence[Path] | None = None,
    model: str = "",
    left_out: Sequence[tuple[str, str]] = (),
    precision: str = "",
) -> LabeledEmbeddings:
    """Check embeddings (G, D) of any float type with their G labels; scale rows to unit length.

    Rows that have it are kept as they are.

    Raises DatasetError for another number of labels, and for rows that are NaN, infinite or zero.
    """
    if len(values) != len(labels):
        raise DatasetError(
            f"{source} has {len(values):,} embeddings and {len(labels):,} labels; give one label for each row"
        )
    values = values.detach().float().cpu()
    _refuse(~values.isfinite().all(1), source, "hold NaN or infinity")
    _refuse(values.abs().amax(1) == 0, source, "are zero and so have no direction")
    return LabeledEmbeddings(
        unit_rows(values),
        tuple(labels),
        None if paths is None else tuple(paths),
        source,
        model,
        tuple(left_out),
        precision,
    )


def check_can_be_judged(queries: LabeledEmbeddings, gallery: LabeledEmbeddings | None) -> None:
    """Raise DatasetError if retrieval would be meaningless: one class, different widths, no match."""
    among = queries if gallery is None else gallery
    if queries.is_avsl != among.is_avsl:
        raise DatasetError(
            "queries and gallery are compared by different rules, one of them by an AVSL model's distance; "
            "both must come from the same model"
        )
    if queries.values.shape[1] != among.values.shape[1]:
        raise DatasetError(
            f"queries have width {queries.values.shape[1]} and the gallery {among.values.shape[1]}; "
            "both must come from the same model"
        )
    if not len(among):
        raise DatasetError(f"{among.source} holds no labeled images; evaluating needs two classes or more")
    if len(among.classes) < 2:
        raise DatasetError(
            f"all {len(among):,} labels of {among.source} are {among.classes[0]!r}; "
            "evaluating needs two classes or more"
        )
    counts = Counter(among.labels)
    if not any(counts[label] > (gallery is None) for label in queries.labels):
        raise DatasetError(
            f"no query of {queries.source} has a match: "
            + ("every class has one image" if gallery is None else "the gallery has none of their labels")
            + "; check the labels"
        )


def _refuse(bad: Tensor, source: str, fault: str) -> None:
    if bad.any():
        raise DatasetError(
            f"{int(bad.sum())} of {len(bad):,} embeddings of {source} {fault}, "
            f"first in row {int(bad.nonzero()[0])}; remove or recompute them"
        )
