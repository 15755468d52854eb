"""Loading of a file, bytes, a Pillow image, an array or a tensor as an upright RGB `Picture`."""

from __future__ import annotations

import io
import re
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias, Union, cast

import numpy as np
from numpy.typing import NDArray

# Imported for their effect: each registers its format with Pillow without loading all the others.
from PIL import AvifImagePlugin as _avif  # noqa: F401
from PIL import BmpImagePlugin as _bmp  # noqa: F401
from PIL import GifImagePlugin as _gif  # noqa: F401
from PIL import Image, UnidentifiedImageError
from PIL import JpegImagePlugin as _jpeg  # noqa: F401
from PIL import PngImagePlugin as _png  # noqa: F401
from PIL import PpmImagePlugin as _ppm  # noqa: F401
from PIL import TiffImagePlugin as _tiff  # noqa: F401
from PIL import WebPImagePlugin as _webp  # noqa: F401

from lookalike.errors import UnreadableImageError
from lookalike.images.arrays import is_array, rgb_of_array
from lookalike.images.colors import to_rgb
from lookalike.images.declared import choose_page, correct_values, tiff_variant
from lookalike.images.grays import UnknownLevelsError
from lookalike.images.limits import Limits, default_limits
from lookalike.images.object_store import FoundFile, path_text
from lookalike.images.pillow_warnings import quiet_pillow
from lookalike.images.plugins import registered_heif
from lookalike.images.preprocessing import GrayLevels
from lookalike.images.sources import elsewhere_bytes, found_bytes, is_elsewhere
from lookalike.types import Picture

if TYPE_CHECKING:
    from torch import Tensor

# An array is (H, W, 3) or (H, W) uint8; a tensor is (3, H, W), uint8 or floating in [0, 1].
# A Union, not ``|``: the name of the tensor is a string because torch is not imported here.
ImageSource: TypeAlias = Union[str, Path, bytes, Image.Image, NDArray[Any], "Tensor", Picture]

# Nothing else is tried: Pillow's EPS, PDF, WMF and font readers never see an untrusted file.
FORMATS = ("JPEG", "PNG", "WEBP", "TIFF", "GIF", "BMP", "PPM", "AVIF", "HEIF")

_START_OF_SCAN = b"\xff\xda"
_USUAL_SCANS = 30  # of a progressive JPEG: some ten, with an embedded second picture twenty
_MAX_SCANNED = 4_000_000_000  # pixels times scans; 2 to 3 seconds
_REASON_LENGTH = 300  # characters
_ORIENTATION_TAG = 0x0112
_UPRIGHT = {  # EXIF orientation -> what makes the picture upright
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def is_one_image(source: object) -> bool:
    """Whether this is a single image and not a collection of images.

    An array of two or three dimensions is one image, one of four dimensions a batch of them.
    """
    if is_array(source):
        return np.ndim(cast(Any, source)) < 4
    return isinstance(source, str | bytes | Path | Image.Image | Picture)


def load(
    source: ImageSource,
    *,
    at_least: tuple[int, int] | None = None,
    limits: Limits | None = None,
    levels: GrayLevels | None = None,
    name: str | None = None,
) -> Picture:
    """The picture as 8-bit sRGB, upright by its EXIF orientation, transparency over white.

    ``source`` is a path, the bytes of a file, a PIL image, a numpy array (H, W, 3) or (H, W) uint8, a
    torch tensor (3, H, W), uint8 or floating in [0, 1], or a `Picture`, which is returned unchanged.
    Of an animation the first frame is taken. With ``at_least`` (H, W), in pixels of the upright
    picture, a JPEG is decoded at 1/2, 1/4 or 1/8 scale as long as both sides keep that size;
    ``original_size`` is always the file's own.

    ``levels`` are the values of black and white in gray of more than 8 bits; without them a file
    counts as unreadable where it does not declare them (floats beyond [0, 1], signed and 32-bit
    integers). ``limits`` are by default those of ``set_limits``. ``name`` replaces the file name in
    ``Picture.name`` and in messages.

    Raises `UnreadableImageError` for whatever is wrong with the file: missing, damaged, truncated,
    not an image, in a format that is not read, beyond the limits. Raises ValueError for an array or
    tensor of another shape, dtype or range, and TypeError for anything else.
    """
    limits = limits or default_limits()
    if at_least is not None and min(at_least) < 1:
        raise ValueError(f"at_least is a size (H, W) in pixels, both 1 or more; got {at_least}")
    if isinstance(source, Picture):
        return source if name is None else replace(source, name=name)
    if isinstance(source, Image.Image):
        label = _printable(name or Path(str(getattr(source, "filename", ""))).name or "image")
        with _failures_in_words(label, b""), quiet_pillow():
            return _from_image(source, limits, levels, label)
    if isinstance(source, bytes | bytearray | memoryview):
        label = _printable(name or "image")
        return _from_bytes(bytes(source), label, at_least, limits, levels, label)
    if isinstance(source, str | Path):
        path = Path(source)
        label = _printable(name or path_text(source))
        data = _file_bytes(source, label, limits)
        return _from_bytes(data, label, at_least, limits, levels, _printable(name or path.name))
    if is_array(source):
        return _from_array(source, limits, _printable(name or "image"))
    raise TypeError(
        "an image is a path, bytes, a PIL image, a numpy array, a torch tensor or a Picture; "
        f"got {type(source).__name__}"
    )


def file_bytes(path: str | Path, *, limits: Limits | None = None) -> bytes:
    """The bytes of a file, to be hashed and decoded without reading it twice; raises as `load`.

    What lies at ``s3://`` is read through a cache.
    """
    return _file_bytes(path, _printable(path_text(path)), limits or default_limits())


def listed_bytes(found: FoundFile, *, limits: Limits | None = None) -> bytes:
    """The bytes of an object at ``s3://`` or of a member of a tar that was listed, past the cache.

    Raises as `load`.
    """
    limits, label = limits or default_limits(), _printable(found.path)
    try:
        return found_bytes(found, lambda n_bytes: _check_bytes(n_bytes, label, limits))
    except FileNotFoundError as error:
        raise UnreadableImageError(f"{label}: no such file any more") from error


def _printable(name: str) -> str:
    """The name without control characters and broken encodings, safe for terminals and pages."""
    return "".join(character if character.isprintable() else "?" for character in name)


# --- from where -------------------------------------------------------------------------------


def _file_bytes(source: str | Path, label: str, limits: Limits) -> bytes:
    path = Path(source)
    try:
        if is_elsewhere(source):
            return elsewhere_bytes(source, lambda n_bytes: _check_bytes(n_bytes, label, limits))
        status = path.stat()
        if stat.S_ISDIR(status.st_mode):
            raise UnreadableImageError(f"{label}: a folder, not an image file; list_images finds its images")
        if not stat.S_ISREG(status.st_mode):  # a pipe or device could block or never end
            raise UnreadableImageError(f"{label}: not a regular file")
        _check_bytes(status.st_size, label, limits)
        with path.open("rb") as file:
            return file.read(status.st_size)
    except FileNotFoundError as error:
        raise UnreadableImageError(f"{label}: no such file") from error
    except (OSError, ValueError, MemoryError) as error:  # ValueError: a NUL in the path
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise UnreadableImageError(f"{label}: the file cannot be read: {reason}") from error


def _check_bytes(n_bytes: int, label: str, limits: Limits) -> None:
    if n_bytes == 0:
        raise UnreadableImageError(f"{label}: the file is empty (0 bytes)")
    if n_bytes > limits.max_bytes:
        raise UnreadableImageError(
            f"{label}: {n_bytes:,} bytes is more than the limit of {limits.max_bytes:,}; "
            "shrink it, or allow more if you trust it, by images.set_limits(Limits(max_bytes=...))"
        )


def _check_pixels(size: tuple[int, int], label: str, limits: Limits) -> None:
    width, height = size
    if width < 1 or height < 1:
        raise UnreadableImageError(f"{label}: the picture has no pixels ({height} x {width})")
    if width == height == 1:
        raise UnreadableImageError(f"{label}: the picture is a single pixel, which shows nothing to compare")
    if width * height > limits.max_pixels:
        raise UnreadableImageError(
            f"{label}: {height:,} x {width:,} pixels is more than the limit of {limits.max_pixels:,}; "
            f"shrink it, or allow more if you trust it: --max-pixels {width * height}, or in Python "
            "images.set_limits"
        )


def _check_scans(file: Image.Image, data: bytes, label: str) -> None:
    """Refuse a JPEG with so many scans over its pixels that decoding takes far longer than its size tells."""
    if file.format not in ("JPEG", "MPO"):
        return
    n_scans = data.count(_START_OF_SCAN)  # of embedded pictures too, which adds a few
    if n_scans > _USUAL_SCANS and n_scans * file.width * file.height > _MAX_SCANNED:
        raise UnreadableImageError(
            f"{label}: a JPEG of {n_scans:,} scans, which takes too long to decode; save it again with the "
            "usual ten or so"
        )


# --- decoding ---------------------------------------------------------------------------------


def _from_bytes(
    data: bytes,
    label: str,
    at_least: tuple[int, int] | None,
    limits: Limits,
    levels: GrayLevels | None,
    name: str,
) -> Picture:
    _check_bytes(len(data), label, limits)
    with _failures_in_words(label, data), quiet_pillow():
        if _signature(data) == "HEIF":
            registered_heif()
        formats = [known for known in FORMATS if known in Image.OPEN]  # HEIF: only with its plugin
        with Image.open(io.BytesIO(data), formats=formats) as file:
            choose_page(file)
            _check_pixels(file.size, label, limits)
            _check_scans(file, data, label)
            correct_values(file)
            draft_size = None
            if at_least is not None and file.format in ("JPEG", "MPO"):
                draft_size = _draft(file, at_least)
            file.load()
            image = _upright_rgb(file, levels)
            format = file.format or ""
    return Picture(image, draft_size or (image.height, image.width), name, format)


def _from_image(source: Image.Image, limits: Limits, levels: GrayLevels | None, name: str) -> Picture:
    _check_pixels(source.size, name, limits)
    source.load()
    image = _upright_rgb(source, levels)
    return Picture(image, (image.height, image.width), name)


def _from_array(source: Any, limits: Limits, name: str) -> Picture:
    pixels = rgb_of_array(source)
    _check_pixels((pixels.shape[1], pixels.shape[0]), name, limits)
    return Picture(Image.fromarray(pixels), (pixels.shape[0], pixels.shape[1]), name)


def _draft(file: Image.Image, at_least: tuple[int, int]) -> tuple[int, int]:
    """Set the scale at which a JPEG will be decoded; returns its full upright size (H, W)."""
    full, wanted = (file.height, file.width), at_least
    if _orientation(file) in (5, 6, 7, 8):  # rotated by 90 degrees in the file
        full, wanted = full[::-1], wanted[::-1]
    file.draft(None, (wanted[1], wanted[0]))
    return full


def _upright_rgb(image: Image.Image, levels: GrayLevels | None) -> Image.Image:
    """An upright RGB copy of an image, without metadata."""
    turn = _UPRIGHT.get(_orientation(image))
    rgb = to_rgb(image, levels)
    if turn is not None:
        rgb = rgb.transpose(turn)
    if rgb is image:
        rgb = rgb.copy()
    rgb.info = {}  # an orientation left here would turn the picture again when it is saved and read
    return rgb


def _orientation(image: Image.Image) -> int:
    """EXIF orientation, 1 to 8; 1 if it is missing or can't be read."""
    try:
        orientation = image.getexif().get(_ORIENTATION_TAG, 1)
    except Exception:  # damaged EXIF makes no picture unreadable, and Pillow raises anything here
        return 1
    return orientation if orientation in _UPRIGHT else 1


# --- failures in words ------------------------------------------------------------------------


@contextmanager
def _failures_in_words(label: str, data: bytes) -> Iterator[None]:
    try:
        yield
    except UnreadableImageError:
        raise
    except Exception as error:  # hostile bytes make Pillow's decoders raise nearly every type
        raise UnreadableImageError(f"{label}: {_cause(error, data)}") from error


def _cause(error: Exception, data: bytes) -> str:
    if isinstance(error, UnidentifiedImageError):
        return _why_not_identified(data)
    if isinstance(error, Image.DecompressionBombError):
        count = re.search(r"\((\d+) pixels\)", str(error))
        pixels, wanted = (f"{int(count[1]):,} pixels, more", count[1]) if count else ("more pixels", "N")
        return (
            f"{pixels} than are read ({default_limits().max_pixels:,}); shrink it, or allow more if you "
            f"trust it: --max-pixels {wanted}, or in Python images.set_limits"
        )
    if isinstance(error, UnknownLevelsError):
        return str(error)
    if isinstance(error, MemoryError):
        return "not enough memory to decode it; shrink it"
    if isinstance(error, EOFError) or "truncated" in str(error).lower():
        end = f" after {len(data):,} bytes" if data else ""
        return f"truncated{end}, before the picture is complete; copy or download it again"
    reason = _printable(" ".join(str(error).split()))[:_REASON_LENGTH]  # a decoder's own words, of any form
    return f"damaged or in a variant that cannot be decoded ({reason or type(error).__name__})"


def _why_not_identified(data: bytes) -> str:
    kind = _signature(data)
    if kind == "HEIF" and "HEIF" not in Image.OPEN:
        return "HEIF needs a plugin, which is used when it is installed: pip install 'lookalike[heif]'"
    if kind == "TIFF" and (variant := tiff_variant(data)):
        return f"a TIFF of {variant}, which is not read here or is damaged; convert it to 8 or 16 bits"
    if kind is not None:
        return f"begins like a {kind} file but is damaged or truncated ({len(data):,} bytes)"
    return f"not an image in a format that is read here ({', '.join(FORMATS)})"


def _signature(data: bytes) -> str | None:
    """The format that the first bytes announce, for messages only."""
    starts = {"JPEG": b"\xff\xd8", "PNG": b"\x89PNG", "GIF": b"GIF8", "BMP": b"BM"}
    for kind, start in starts.items():
        if data.startswith(start):
            return kind
    if data[:4] in (b"II*\0", b"MM\0*"):
        return "TIFF"
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "WebP"
    if data[4:8] == b"ftyp":
        return "AVIF" if data[8:12] in (b"avif", b"avis") else "HEIF"
    return None
