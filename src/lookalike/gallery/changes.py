"""What was done to a picture, in words, and which of two near-duplicates to keep."""

from __future__ import annotations

import math
import time

from lookalike.rerankers.alignment import Alignment
from lookalike.store import Record

_SHOWN = 0.95  # of a picture's area: less means that something was cut off or added
_TURNED = 1.5  # degrees
_RESIZED = 1.06
_GRAY, _COLORED = 2.5, 8.0  # mean saturation, 0 to 255
_BRIGHTER, _CONTRAST = 10.0, 1.2
_SHARPNESS = 1.35
_RE_ENCODED = ("re-encoded",)
_LESS_COMPRESSED = 1.2  # bytes over bytes
_SAME_TIME = 2 * 10**9  # nanoseconds; files copied together are no older than each other
_FIRST_TIME = 631_152_000 * 10**9  # 1990: earlier ones stand in archives and cameras without a clock
_DAY = 86_400 * 10**9
_LAID_OVER = 0.82  # agreement below which parts differ


def changes_in_words(found: Alignment) -> tuple[str, ...]:
    """Say what distinguishes the second picture from the first, most visible first.

    ``re-encoded`` if only the values of pixels differ. Where two pictures differ in parts, nothing says which
    of them was altered.
    """
    words: list[str] = []
    if found.is_mirrored:
        words.append("flipped")
    is_turned = abs(found.rotation) > _TURNED
    if is_turned:
        words.append(f"rotated by {found.rotation:z.0f}°")
    words += _of_frames(found, is_turned)
    if not 1 / _RESIZED < found.scale < _RESIZED:
        words.append(f"resized to {100 * found.scale:.0f} %")
    was_gray, is_gray = (value < _GRAY for value in found.saturation)
    if is_gray and found.saturation[0] > _COLORED:
        words.append("grayscale")
    elif was_gray and found.saturation[1] > _COLORED:
        words.append("colored")
    words += _of_light(found)
    if found.agreement < _LAID_OVER:
        words.append("parts differ (something laid over)")
    return tuple(words) or _RE_ENCODED


def _of_frames(found: Alignment, is_turned: bool) -> list[str]:
    """Cut off and added; a rotation alone cuts corners and is not said to crop."""
    least = 0.8 if is_turned else _SHOWN
    words: list[str] = []
    if found.overlap[0] < least:
        words.append(
            "border removed" if found.plain_outside[0] else f"cropped to {100 * found.overlap[0]:.0f} %"
        )
    if found.overlap[1] < least:
        words.append("border added" if found.plain_outside[1] else "shows more")
    return words


def _of_light(found: Alignment) -> list[str]:
    words: list[str] = []
    if abs(found.brightness) > _BRIGHTER:
        words.append("brighter" if found.brightness > 0 else "darker")
    if not 1 / _CONTRAST < found.contrast < _CONTRAST and not words:
        words.append("more contrast" if found.contrast > 1 else "less contrast")
    if not 1 / _SHARPNESS < found.sharpness < _SHARPNESS:
        words.append("sharper" if found.sharpness > 1 else "blurred")
    return words


def merits(found: Alignment | None, first: Record, second: Record) -> tuple[float, tuple[str, ...]]:
    """Say how much better the first is to keep than the second (negative: worse), and why, in words.

    What counts, in this order: showing more, no added border, pixels for the same content, sharpness, color;
    then, if nothing else was changed, less compression; then the older file.
    """
    if found is not None:
        for amount, words in _visible_merits(found):
            if amount:
                return amount, words if amount > 0 else ()
    ratio = _sign(first.size / max(1, second.size), _LESS_COMPRESSED)
    if ratio and found is not None and changes_in_words(found) == _RE_ENCODED:
        return ratio, ("less compressed",) if ratio > 0 else ()
    times = believed_time(first.mtime_ns), believed_time(second.mtime_ns)
    if not all(map(math.isfinite, times)) or abs(first.mtime_ns - second.mtime_ns) < _SAME_TIME:
        return 0.0, ()
    return (0.5, ("older",)) if first.mtime_ns < second.mtime_ns else (-0.5, ())


def believed_time(mtime_ns: int) -> float:
    """Return a file's time in nanoseconds since 1970; infinity for one that says nothing of its age.

    That is one before 1990 (1970 and 1980 stand for no time), and one that is yet to come.
    """
    return mtime_ns if _FIRST_TIME <= mtime_ns <= time.time_ns() + _DAY else math.inf


def _visible_merits(found: Alignment) -> list[tuple[float, tuple[str, ...]]]:
    shows_more = _beyond(found, 0) - _beyond(found, 1)
    border = float(found.plain_outside[1] and found.overlap[1] < _SHOWN) - float(
        found.plain_outside[0] and found.overlap[0] < _SHOWN
    )
    size = _sign(1 / found.scale, _RESIZED)
    sharp = _sign(1 / found.sharpness, _SHARPNESS)
    gray, other = found.saturation
    color = float(other < _GRAY and gray > _COLORED) - float(gray < _GRAY and other > _COLORED)
    return [
        (6 * shows_more, ("shows more",)),
        (5 * border, ("without the border",)),
        (4 * size, ("more pixels",)),
        (3 * sharp, ("sharper",)),
        (2 * color, ("in color",)),
    ]


def _beyond(found: Alignment, side: int) -> float:
    """Whether a picture shows something beyond what the other shows."""
    least = 0.8 if abs(found.rotation) > _TURNED else _SHOWN
    return float(found.overlap[side] < least and not found.plain_outside[side])


def _sign(ratio: float, least: float) -> float:
    return 1.0 if ratio > least else -1.0 if ratio < 1 / least else 0.0
