"""What recurs over the pictures of a collection, and an audit's list of it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, final, overload

import numpy as np

from lookalike.errors import GalleryError, writing
from lookalike.gallery.regions import Box
from lookalike.types import FloatArray

_FILE = "audit.json"


@dataclass(frozen=True, eq=False, repr=False)
class Recurrence:
    """Something that recurs in many pictures, and how much of their similarity it carries.

    A *preference* is how much more similar the pictures that carry it are to each other than to others: a
    difference of mean cosines over pairs. *Without* it, the same place is filled in both kinds of pictures
    with what surrounds it; *aside*, its directions are removed from all embeddings. Where all pictures that
    were looked at carry it, there are no others, and a preference is their mean cosine itself.
    """

    id: str  # for ``Gallery.without`` and ``--set-aside``
    what: str  # "mark at one place", "frame", "band", "mark at changing places"
    place: str  # in words
    boxes: Mapping[str, Box]  # path -> where it lies, pixels of the original
    part: float  # of the pictures that were looked at, (0, 1]
    area: float  # of the picture as the model sees it, (0, 1]
    preference: float  # [-2, 2]
    preference_without: float
    preference_aside: float
    nearest: float  # of the pictures that carry it, part whose nearest carries it as well, [0, 1]
    nearest_aside: float
    nearest_chance: float  # if pictures were near each other at random
    share: float  # of the summed similarity of all pairs that were looked at, signed
    strength: float  # how much agrees: its place in the order
    directions: FloatArray = field(repr=False)  # (k, D) orthonormal: what it adds to an embedding

    @property
    def paths(self) -> tuple[str, ...]:
        """The pictures that carry it."""
        return tuple(self.boxes)

    @property
    def carried(self) -> float:
        """How much more similar it makes the pictures that carry it, beyond what any such place does."""
        return self.preference - self.preference_without

    @property
    def sentence(self) -> str:
        """What it is, where, what it carries, and what setting it aside brings."""
        if self.part == 1:
            return (
                f"{self.what} ({self.place}) in all {len(self.boxes)} pictures that were looked at. Their "
                f"mean similarity is {self.preference:z.3f}, {self.preference_without:z.3f} with its place "
                f"filled, {self.preference_aside:z.3f} when it is set aside"
            )
        return (
            f"{self.what} ({self.place}) in {len(self.boxes)} pictures, {self.part:.0%} of those looked at. "
            f"They are {self.preference:+z.3f} more similar to each other than to others, "
            f"{self.preference_without:+z.3f} with its place filled in all, {self.preference_aside:+z.3f} "
            f"when it is set aside. For {self.nearest:.0%} the nearest picture carries it too, for "
            f"{self.nearest_aside:.0%} when it is set aside, for {self.nearest_chance:.0%} by chance"
        )

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON types, without the directions."""
        values = {name: value for name, value in self.__dict__.items() if name != "directions"}
        boxes = {path: list(box) for path, box in self.boxes.items()}
        return {**values, "boxes": boxes, "carried": self.carried}

    def __repr__(self) -> str:
        return f"Recurrence({self.id!r}, {self.sentence})"


@final
@dataclass(frozen=True, eq=False, repr=False)
class Audit(Sequence[Recurrence]):
    """What recurs in a gallery beyond chance, what carries most first."""

    found: tuple[Recurrence, ...]
    n_examined: int  # pictures
    n_images: int  # of the gallery
    fingerprint: str  # of the model
    remarks: tuple[str, ...] = ()  # what was not looked for, and why
    unreadable: Mapping[str, str] = field(default_factory=dict)  # path -> why

    @property
    def sentence(self) -> str:
        """What was found, in a sentence."""
        looked = f"{self.n_examined:,} of {self.n_images:,} pictures were looked at"
        if not self.found:
            return f"{looked}: nothing recurs beyond chance."
        first, n = self.found[0], len(self.found)
        return (
            f"{looked}: {n} thing{'s recur' if n > 1 else ' recurs'} beyond chance. First: {first.sentence}."
        )

    def to_dict(self) -> dict[str, Any]:
        """Return everything but the directions, as JSON types."""
        return {
            "sentence": self.sentence,
            "n_examined": self.n_examined,
            "n_images": self.n_images,
            "found": [each.to_dict() for each in self.found],
            "remarks": list(self.remarks),
            "unreadable": dict(self.unreadable),
        }

    def save(self, folder: Path) -> None:
        """Write it beside a gallery, so that ``set_aside`` takes its ids."""
        values = {**self.__dict__, "found": [_stored(each) for each in self.found]}
        new = folder / f".{_FILE}"
        with writing(folder, GalleryError):
            new.write_text(json.dumps({**values, "unreadable": dict(self.unreadable)}))
            new.replace(folder / _FILE)

    @classmethod
    def load(cls, folder: Path) -> Audit:
        """Read what ``save`` wrote. Raises GalleryError if there is none or if it is damaged."""
        try:
            values = json.loads((folder / _FILE).read_text())
            found = tuple(_restored(each) for each in values.pop("found"))
            remarks = tuple(values.pop("remarks"))
            return cls(found=found, remarks=remarks, **values)
        except FileNotFoundError as error:
            raise GalleryError(
                f"{folder} has not been audited; run 'lookalike audit -g {folder}' first"
            ) from error
        except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
            raise GalleryError(f"{folder / _FILE} is damaged ({error}); audit again") from error

    @overload
    def __getitem__(self, index: int) -> Recurrence: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[Recurrence, ...]: ...
    def __getitem__(self, index: int | slice) -> Recurrence | tuple[Recurrence, ...]:
        return self.found[index]

    def __len__(self) -> int:
        return len(self.found)

    def __iter__(self) -> Iterator[Recurrence]:
        return iter(self.found)

    def __repr__(self) -> str:
        return f"Audit({self.sentence})"


def _stored(found: Recurrence) -> dict[str, Any]:
    return {**found.__dict__, "boxes": dict(found.boxes), "directions": found.directions.tolist()}


def _restored(values: dict[str, Any]) -> Recurrence:
    boxes = {path: tuple(box) for path, box in values.pop("boxes").items()}
    return Recurrence(boxes=boxes, directions=np.array(values.pop("directions"), np.float32), **values)
