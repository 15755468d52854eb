"""Labeled images, the type that readers return and that training and evaluation take."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, repr=False)
class LabeledImages:
    """Image files and the label of each, in the order of the source."""

    paths: tuple[Path, ...]
    labels: tuple[str, ...]  # one for each path

    def __post_init__(self) -> None:
        if len(self.paths) != len(self.labels):
            raise ValueError(
                f"each image has one label, got {len(self.paths)} images and {len(self.labels)} labels"
            )

    def __len__(self) -> int:
        return len(self.paths)

    def __repr__(self) -> str:
        return f"<LabeledImages: {len(self):,} images of {len(self.classes):,} classes>"

    @property
    def classes(self) -> tuple[str, ...]:
        """The distinct labels, sorted."""
        return tuple(sorted(set(self.labels)))

    @property
    def codes(self) -> tuple[int, ...]:
        """For each image, the position of its label in ``classes``."""
        position = {name: i for i, name in enumerate(self.classes)}
        return tuple(position[label] for label in self.labels)

    @property
    def counts(self) -> dict[str, int]:
        """Number of images of each class."""
        return dict(Counter(self.labels))
