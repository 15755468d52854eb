"""Settings of a model's preprocessing, saved with its weights."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal, get_args

Mode = Literal["squash", "crop", "letterbox", "fit"]
Interpolation = Literal["bilinear", "bicubic", "lanczos", "nearest", "opencv"]
GrayLevels = tuple[float, float]  # gray values that are black and white

MAX_SIDE = 4096  # pixels; an untrusted settings file must not ask for terabytes


@dataclass(frozen=True)
class Preprocessing:
    """Settings by which a picture is fitted to the network's input and normalized.

    The picture is resized to the input size divided by ``crop_pct`` (rounded down), then the
    center is cut out. ``squash`` resizes both sides freely; ``crop`` keeps the proportions and
    covers the target (what sticks out is cut off); ``letterbox`` keeps them and fits inside it,
    on the mean color. These are timm's crop modes "squash", "center" and "border". ``fit`` keeps
    them, shrinks the picture until it fits inside the target and never enlarges it, so inputs have
    different sizes, at most ``input_size``. Interpolations are Pillow's; ``opencv`` is OpenCV's bilinear
    one, which goes with ``squash`` and without cutting.

    Raises ValueError, naming the field, for invalid values.
    """

    mode: Mode
    input_size: tuple[int, int]  # (H, W) pixels; the largest that may occur where mode is fit
    crop_pct: float = 1.0  # in (0, 1]; share of the resized picture that the center keeps
    interpolation: Interpolation = "bicubic"
    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)  # RGB in [0, 1]; default: ImageNet's
    std: tuple[float, float, float] = (0.229, 0.224, 0.225)  # RGB in units of [0, 1], above 0
    levels: GrayLevels | None = None  # black and white of gray beyond 8 bits; None: as the file declares

    def __post_init__(self) -> None:
        _choose("mode", self.mode, get_args(Mode))
        _choose("interpolation", self.interpolation, get_args(Interpolation))
        sides = _numbers("input_size", self.input_size, 2)
        if not all(isinstance(side, int) and 1 <= side <= MAX_SIDE for side in sides):
            raise ValueError(f"input_size is (H, W), integers from 1 to {MAX_SIDE}; got {self.input_size!r}")
        (share,) = _numbers("crop_pct", (self.crop_pct,), 1)
        if not 0 < share <= 1:
            raise ValueError(f"crop_pct lies in (0, 1]; got {self.crop_pct!r}")
        if self.mode == "fit" and share != 1:
            raise ValueError(f"mode fit cuts nothing off, so crop_pct is 1; got {self.crop_pct!r}")
        if self.interpolation == "opencv" and (self.mode != "squash" or share != 1):
            raise ValueError("interpolation opencv goes with mode squash and crop_pct 1; change one of them")
        if max(sides) / share > MAX_SIDE:
            raise ValueError(f"crop_pct {self.crop_pct!r} is too small for input_size {self.input_size!r}")
        if not all(0 <= value <= 1 for value in _numbers("mean", self.mean, 3)):
            raise ValueError(f"mean has three values in [0, 1]; got {self.mean!r}")
        if not all(value > 0 for value in _numbers("std", self.std, 3)):
            raise ValueError(f"std has three values above 0; got {self.std!r}")
        if self.levels is not None and len(set(_numbers("levels", self.levels, 2))) < 2:
            raise ValueError(f"levels are two different values, black and white; got {self.levels!r}")

    @property
    def resize_target(self) -> tuple[int, int]:
        """(H, W) pixels that the picture is resized to cover, fill or fit before the center is cut."""
        height, width = self.input_size
        return math.floor(height / self.crop_pct), math.floor(width / self.crop_pct)

    def to_dict(self) -> dict[str, Any]:
        """The settings as JSON types, for `from_dict`; ``levels`` only where there are any."""
        return {
            key: list(value) if isinstance(value, tuple) else value
            for key, value in asdict(self).items()
            if key != "levels" or value is not None
        }

    @classmethod
    def from_dict(cls, settings: Mapping[str, Any]) -> Preprocessing:
        """Build the settings that `to_dict` wrote; ValueError for unknown or missing keys and bad values."""
        if not isinstance(settings, Mapping):
            raise ValueError(f"preprocessing is a JSON object; got {type(settings).__name__}")
        known = {field.name for field in fields(cls)}
        if unknown := sorted(str(key) for key in set(settings) - known):
            raise ValueError(f"unknown preprocessing settings {unknown}; known are {sorted(known)}")
        if missing := sorted({"mode", "input_size"} - set(settings)):
            raise ValueError(f"preprocessing lacks {missing}")
        values: dict[str, Any] = {
            key: tuple(value) if isinstance(value, list) else value for key, value in settings.items()
        }
        return cls(**values)


def _choose(field: str, value: object, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise ValueError(f"{field} is one of {', '.join(choices)}; got {value!r}")


def _numbers(field: str, values: object, n: int) -> tuple[float, ...]:
    """The values if they are a tuple of n finite numbers."""
    if not isinstance(values, tuple) or len(values) != n or not all(_is_number(value) for value in values):
        raise ValueError(f"{field} has {n} finite number{'s' if n > 1 else ''}; got {values!r}")
    return values


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
