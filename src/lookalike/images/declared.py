"""What a file says of its pixels beyond what Pillow tells: TIFF tags, PNG's transparent value."""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import Any

from PIL import Image, ImageFile, ImagePalette, TiffImagePlugin

_SUBFILE, _BITS, _PHOTOMETRIC, _COLOR_MAP, _SAMPLE_FORMAT, _NO_DATA = 254, 258, 262, 320, 339, 42113
_REDUCED, _MASK = 1, 4  # bits of NewSubfileType: a smaller version of another page; its mask
_MOST_PAGES = 32  # that are looked at for the picture itself
_WHITE_IS_ZERO = 0
_SIGNED = 2

# Gray variants that Pillow's decoders read but its table of TIFFs lacks; white is zero in most of them.
# Key: byte order, photometric interpretation, sample format, fill order, bits, extra samples.
_MORE_TIFFS = {
    (b"MM", 0, (1,), 1, (16,), ()): ("I;16B", "I;16B"),
    (b"II", 0, (1,), 1, (12,), ()): ("I;16", "I;12"),
    (b"MM", 0, (1,), 1, (12,), ()): ("I;16", "I;12"),
    (b"MM", 1, (1,), 1, (12,), ()): ("I;16", "I;12"),
    (b"II", 0, (2,), 1, (16,), ()): ("I", "I;16S"),
    (b"MM", 0, (2,), 1, (16,), ()): ("I", "I;16BS"),
    (b"MM", 0, (3,), 1, (32,), ()): ("F", "F;32BF"),
}
for _key, _modes in _MORE_TIFFS.items():
    TiffImagePlugin.OPEN_INFO.setdefault(_key, _modes)


@dataclass(frozen=True)
class Declared:
    """How the gray values of a file are meant."""

    top: float | None = None  # the value of white, black being 0; None: the file doesn't say
    white_is_zero: bool = False
    no_data: float | None = None  # the value of pixels that hold none
    dtype: str | None = None  # of the file's values, where Pillow's mode has another of that size


def declared(image: Image.Image) -> Declared:
    """What is known of an image's gray values: from its TIFF tags, else from its format and mode."""
    tags: Any = getattr(image, "tag_v2", None)
    if tags is None:
        if image.mode.startswith("I;16"):
            return Declared(top=65_535)
        # Pillow scales gray of more than 8 bits in a PGM to 16 bits; in a PFM white is 1
        of_netpbm = {"I": 65_535.0, "F": 1.0}.get(image.mode)
        return Declared(top=of_netpbm if image.format == "PPM" else None)
    bits = _first(tags.get(_BITS), 1)
    is_unsigned = _first(tags.get(_SAMPLE_FORMAT), 1) == 1
    is_signed = _first(tags.get(_SAMPLE_FORMAT), 1) == _SIGNED
    return Declared(
        top=float(2**bits - 1) if is_unsigned and bits <= 16 else None,
        white_is_zero=_first(tags.get(_PHOTOMETRIC), 1) == _WHITE_IS_ZERO,
        no_data=_number(tags.get(_NO_DATA)),
        dtype="uint32"
        if image.mode == "I" and bits == 32 and is_unsigned
        else "int8"
        if image.mode == "L" and bits == 8 and is_signed
        else None,
    )


def choose_page(file: Image.Image) -> None:
    """Go to the first page of a TIFF that is neither a reduced version nor a mask of another one.

    Where all pages are, the first one stays.
    """
    if not _is_beside(file):
        return
    for page in range(1, min(getattr(file, "n_frames", 1), _MOST_PAGES)):
        file.seek(page)
        if not _is_beside(file):
            return
    file.seek(0)


def correct_values(file: ImageFile.ImageFile) -> None:
    """Repair, in an opened file, what Pillow takes from it in other units than its pixels.

    The transparent value of a PNG is in the file's own bits, pixels are in 8; a TIFF's color map of
    8-bit numbers would be divided by 256 like one of 16 bits.
    """
    if file.format == "PNG" and "transparency" in file.info and file.tile:
        file.info["transparency"] = _in_eight_bits(file.info["transparency"], str(file.tile[0].args))
    tags: Any = getattr(file, "tag_v2", None)
    if tags is not None and file.mode in ("P", "PA"):
        colors = tags.get(_COLOR_MAP) or ()
        if colors and 0 < max(colors) < 256:
            file.palette = ImagePalette.raw("RGB;L", bytes(colors))


def _is_beside(file: Image.Image) -> bool:
    tags: Any = getattr(file, "tag_v2", None)
    return tags is not None and bool(_first(tags.get(_SUBFILE), 0) & (_REDUCED | _MASK))


def _in_eight_bits(value: Any, raw_mode: str) -> Any:
    """PNG's transparent gray value or color in the scale of Pillow's 8-bit pixels."""
    if raw_mode in ("L;2", "L;4") and isinstance(value, int):
        return value * 255 // (3 if raw_mode == "L;2" else 15)
    if raw_mode == "RGB;16B" and isinstance(value, tuple):
        return tuple(channel >> 8 for channel in value)
    return value


def _first(value: Any, default: int) -> int:
    """The first number of a tag that should hold numbers."""
    if isinstance(value, tuple):
        value = value[0] if value else default
    return value if isinstance(value, int) else default


def _number(text: Any) -> float | None:
    """The number in GDAL's text tag; None if it holds none."""
    try:
        return float(str(text).strip("\0 ")) if text is not None else None
    except ValueError:
        return None


def tiff_variant(data: bytes) -> str | None:
    """Bits, sample format and photometric interpretation of a TIFF, for messages; None if it has none."""
    try:
        directory = TiffImagePlugin.ImageFileDirectory_v2(data[:8])
        file = io.BytesIO(data)
        file.seek(directory.next)
        directory.load(file)
        bits, photometric = directory[_BITS], directory[_PHOTOMETRIC]
    except Exception:  # the file may be damaged in any way
        return None
    kind = {2: " signed", 3: " floating"}.get(_first(directory.get(_SAMPLE_FORMAT), 1), "")
    return f"{', '.join(map(str, bits))}{kind} bits, photometric interpretation {photometric}"
