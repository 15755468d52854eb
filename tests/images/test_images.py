import io
import itertools
import json
import os
import random
import struct
import subprocess
import sys
import time
import warnings
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, features

from lookalike.errors import UnreadableImageError
from lookalike.images import Limits, Preprocessing, iter_images, list_images, load, normalize, prepare, read
from lookalike.ops.regrid import box_coverage
from lookalike.types import Picture

ORIENTATION = 0x0112
HAS_AVIF = features.check("avif")
RED, GREEN, BLUE, WHITE = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)


def encoded(image, file_format, **options):
    buffer = io.BytesIO()
    image.save(buffer, file_format, **options)
    return buffer.getvalue()


def oriented(orientation):
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    return exif


def pixels(picture):
    return np.asarray(picture.image)


def smooth(height, width):
    """A colorful picture without sharp edges: what JPEG is made for."""
    y, x = np.mgrid[0:height, 0:width]
    channels = (x * 255 / width, y * 255 / height, 128 + 60 * np.sin(x / 29) + 60 * np.cos(y / 37))
    return Image.fromarray(np.stack(channels, axis=-1).astype(np.uint8))


def noise(height, width, channels=3, seed=0):
    values = np.random.default_rng(seed).integers(0, 256, (height, width, channels), dtype=np.uint8)
    return Image.fromarray(values.squeeze())


def small_files():
    """One small file of every format and variant that is read."""
    rgba = noise(23, 31, 4)
    rgb, palette = rgba.convert("RGB"), rgba.convert("RGB").quantize(16)
    gray16 = Image.fromarray(np.asarray(rgb)[..., 0].astype(np.uint16) * 257)
    gray_float = Image.fromarray(np.asarray(rgb)[..., 0].astype(np.float32) / 255)
    turned = oriented(6)
    files = {
        "jpeg": encoded(rgb, "JPEG", exif=turned),
        "jpeg progressive": encoded(rgb, "JPEG", progressive=True),
        "jpeg cmyk": encoded(rgb.convert("CMYK"), "JPEG"),
        "jpeg multi-picture": encoded(rgb, "MPO", save_all=True, append_images=[rgb]),
        "png": encoded(rgba, "PNG", exif=turned),
        "png palette": encoded(palette, "PNG", transparency=3),
        "png 16 bit": encoded(gray16, "PNG"),
        "webp": encoded(rgb, "WEBP", exif=turned),
        "webp lossless": encoded(rgba, "WEBP", lossless=True),
        "webp animated": encoded(rgb, "WEBP", save_all=True, append_images=[rgba]),
        "tiff": encoded(rgb, "TIFF", exif=turned),
        "tiff float": encoded(gray_float, "TIFF"),
        "gif": encoded(palette, "GIF", transparency=2),
        "gif animated": encoded(palette, "GIF", save_all=True, append_images=[rgb.quantize(5)]),
        "bmp": encoded(rgb, "BMP"),
        "bmp palette": encoded(palette, "BMP"),
        "ppm": encoded(rgb, "PPM"),
        "pgm 16 bit": encoded(gray16, "PPM"),
    }
    if features.check("libtiff"):
        files["tiff lzw"] = encoded(rgba, "TIFF", compression="tiff_lzw")
    if HAS_AVIF:
        files["avif"] = encoded(rgb, "AVIF", exif=turned)
    return files


# --- formats ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("file_format", "options", "tolerance"),
    [
        ("PNG", {}, 0),
        ("BMP", {}, 0),
        ("PPM", {}, 0),
        ("TIFF", {}, 0),
        ("TIFF", {"compression": "tiff_lzw"}, 0),
        ("WEBP", {"lossless": True}, 0),
        ("WEBP", {"quality": 95}, 8),
        ("JPEG", {"quality": 98, "subsampling": 0}, 8),
        ("JPEG", {"quality": 98, "subsampling": 0, "progressive": True}, 8),
        pytest.param("AVIF", {"quality": 95}, 8, marks=pytest.mark.skipif(not HAS_AVIF, reason="no AVIF")),
    ],
)
def test_a_picture_comes_back_from_each_format(file_format, options, tolerance, tmp_path):
    image = smooth(37, 61)
    path = tmp_path / f"picture.{file_format.lower()}"
    path.write_bytes(encoded(image, file_format, **options))
    picture = load(path)
    assert (picture.image.mode, picture.original_size, picture.name) == ("RGB", (37, 61), path.name)
    assert np.abs(pixels(picture).astype(int) - np.asarray(image)).max() <= tolerance


def test_path_string_bytes_and_image_give_the_same_pixels(tmp_path):
    path = tmp_path / "picture.png"
    path.write_bytes(encoded(noise(9, 14), "PNG"))
    expected = pixels(load(path))
    for source in (str(path), path.read_bytes(), Image.open(path)):
        np.testing.assert_array_equal(pixels(load(source)), expected)


def test_a_picture_is_handed_back_and_can_be_renamed():
    picture = load(noise(9, 14))
    assert load(picture) is picture
    assert load(picture, name="query").name == "query"
    assert load(picture, name="query").image is picture.image


def test_a_loaded_image_shares_nothing_with_the_one_given():
    image = noise(9, 14)
    picture = load(image)
    before = pixels(picture).copy()
    image.paste((0, 0, 0), (0, 0, 14, 9))
    np.testing.assert_array_equal(pixels(picture), before)


@pytest.mark.parametrize("file_format", ["GIF", "WEBP", "PNG", "TIFF"])
def test_of_an_animation_the_first_frame_is_taken(file_format):
    first, second = Image.new("RGB", (14, 9), RED), Image.new("RGB", (14, 9), BLUE)
    options = {"lossless": True} if file_format == "WEBP" else {}
    data = encoded(first, file_format, save_all=True, append_images=[second], **options)
    assert (pixels(load(data)) == RED).all()


def test_an_unknown_kind_of_source_is_a_type_error():
    with pytest.raises(TypeError, match="got int"):
        load(7)


def test_importing_images_does_not_import_torch():
    code = "import sys, lookalike.images; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


# --- orientation ------------------------------------------------------------------------------

# Where the top left corner of the stored picture belongs when it is shown: (bottom?, right?).
SHOWN_CORNER = {1: (0, 0), 2: (0, 1), 3: (1, 1), 4: (1, 0), 5: (0, 0), 6: (0, 1), 7: (1, 1), 8: (1, 0)}


def planted_corner():
    image = Image.new("RGB", (96, 64), GREEN)
    image.paste(RED, (0, 0, 32, 16))  # wider than high, so that a transpose shows
    return image


@pytest.mark.parametrize("file_format", ["JPEG", "PNG", "TIFF", "WEBP"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_corner_is_where_the_orientation_says(orientation, file_format):
    data = encoded(planted_corner(), file_format, exif=oriented(orientation))
    picture = load(data)
    height, width = (96, 64) if orientation >= 5 else (64, 96)
    assert picture.original_size == (height, width) == (picture.image.height, picture.image.width)
    patch_height, patch_width = (32, 16) if orientation >= 5 else (16, 32)
    bottom, right = SHOWN_CORNER[orientation]
    top, left = bottom * (height - patch_height), right * (width - patch_width)
    expected = np.zeros((height, width), dtype=bool)
    expected[top : top + patch_height, left : left + patch_width] = True
    is_red = pixels(picture)[..., 0] > 128
    assert (is_red == expected).mean() > 0.98  # lossy formats blur the border


def test_orientation_is_applied_once():
    picture = load(encoded(planted_corner(), "JPEG", exif=oriented(6)))
    assert load(picture.image).original_size == picture.original_size
    assert load(encoded(picture.image, "PNG")).original_size == picture.original_size


def test_damaged_exif_does_not_make_a_picture_unreadable():
    data = encoded(smooth(20, 30), "JPEG", exif=b"Exif\0\0II*\0\xff\xff\xff\xff")
    assert load(data).original_size == (20, 30)


# --- colors ----------------------------------------------------------------------------------


def one_color(mode, color, **info):
    image = Image.new(mode, (5, 3), color)
    image.info.update(info)
    return image


@pytest.mark.parametrize(
    ("mode", "color", "expected"),
    [
        ("L", 77, (77, 77, 77)),
        ("1", 1, WHITE),
        ("LA", (100, 51), (224, 224, 224)),  # 100 * 0.2 + 255 * 0.8
        ("RGBA", (200, 100, 0, 102), (233, 193, 153)),  # c * 0.4 + 255 * 0.6
        ("RGBA", (9, 9, 9, 0), WHITE),
        ("RGBA", (9, 8, 7, 255), (9, 8, 7)),
        ("RGBa", (40, 20, 0, 102), (193, 173, 153)),  # stored times alpha: c + 255 * 0.6
        ("CMYK", (0, 255, 255, 0), RED),
        ("CMYK", (51, 102, 0, 51), (163, 122, 204)),  # (255 - ink) * (255 - 51) / 255
        ("I;16", 65_535, WHITE),
        ("I;16", 32_768, (128, 128, 128)),  # 127.502
        ("I;16", 25_700, (100, 100, 100)),
        ("I;16B", 25_700, (100, 100, 100)),
        ("F", 0.4, (102, 102, 102)),  # fits [0, 1]
    ],
)
def test_each_mode_becomes_the_color_worked_out_by_hand(mode, color, expected):
    assert (np.abs(pixels(load(one_color(mode, color))).astype(int) - expected) <= 1).all()


@pytest.mark.parametrize("file_format", ["PNG", "TIFF"])
def test_sixteen_bit_gray_files_are_scaled_and_not_clipped(file_format):
    values = np.array([[0, 257, 512], [30_000, 65_278, 65_535]], dtype=np.uint16)
    gray = pixels(load(encoded(Image.fromarray(values), file_format)))
    np.testing.assert_array_equal(gray[..., 0], [[0, 1, 2], [117, 254, 255]])  # value / 257
    assert (gray[..., :1] == gray).all()


@pytest.mark.parametrize(
    "values",
    [
        np.array([[-100, 0, 100]], dtype=np.int32),
        np.array([[0, 7, 200]], dtype=np.int32),  # of 8 bits, or a dark picture of more
        np.array([[0, 1.5, 0.2]], dtype=np.float32),
    ],
)
def test_gray_values_whose_scale_is_not_known_are_refused(values):
    with pytest.raises(UnreadableImageError, match=r"x\.tif: .*which are black and white; give both once"):
        load(Image.fromarray(values), name="x.tif")


def test_given_levels_are_the_same_for_every_picture():
    dark, bright = (np.array([[-1000, 0, top]], dtype=np.int32) for top in (200, 3000))
    levels = (-1000, 1000)
    np.testing.assert_array_equal(pixels(load(Image.fromarray(dark), levels=levels))[0, :, 0], [0, 128, 153])
    np.testing.assert_array_equal(
        pixels(load(Image.fromarray(bright), levels=levels))[0, :, 0], [0, 128, 255]
    )


def test_levels_may_fall():
    image = Image.fromarray(np.array([[0, 51, 4095]], dtype=np.uint16))
    np.testing.assert_array_equal(pixels(load(image, levels=(4095, 0)))[0, :, 0], [255, 252, 0])


def test_what_is_not_a_number_is_white_as_what_is_transparent():
    image = Image.fromarray(np.array([[np.nan, 0.2, 1.0, 0.0]], dtype=np.float32))
    np.testing.assert_array_equal(pixels(load(image))[0, :, 0], [255, 51, 255, 0])


def test_infinite_values_are_clipped():
    image = Image.fromarray(np.array([[np.inf, -np.inf, 2.0]], dtype=np.float32))
    np.testing.assert_array_equal(pixels(load(image, levels=(0, 4)))[0, :, 0], [255, 0, 128])


def test_palette_colors_are_looked_up():
    image = Image.new("P", (5, 3), 1)
    image.putpalette([*GREEN, 10, 20, 30])
    assert (pixels(load(encoded(image, "PNG"))) == (10, 20, 30)).all()


@pytest.mark.parametrize(("file_format", "transparency"), [("PNG", 1), ("GIF", 1), ("PNG", b"\xff\x00")])
def test_a_transparent_palette_entry_is_white(file_format, transparency):
    image = Image.new("P", (5, 3), 1)
    image.paste(0, (0, 0, 2, 3))
    image.putpalette([*GREEN, 10, 20, 30])
    result = pixels(load(encoded(image, file_format, transparency=transparency)))
    assert (result[:, :2] == GREEN).all()
    assert (result[:, 2:] == WHITE).all()


def test_half_transparent_palette_entries_are_mixed_with_white():
    image = Image.new("P", (5, 3), 1)
    image.putpalette([*GREEN, 10, 20, 30])
    result = pixels(load(encoded(image, "PNG", transparency=b"\xff\x66")))
    assert (result == (157, 161, 165)).all()  # c * 0.4 + 255 * 0.6


@pytest.mark.parametrize(("mode", "color"), [("L", 90), ("RGB", (1, 2, 3)), ("I;16", 30_000)])
def test_the_color_that_a_png_declares_transparent_is_white(mode, color):
    data = encoded(one_color(mode, color), "PNG", transparency=color)
    assert (pixels(load(data)) == WHITE).all()


def test_inverted_adobe_cmyk_has_its_true_colors():
    red = Image.new("CMYK", (16, 8), (0, 255, 255, 0))
    data = encoded(red, "JPEG", quality=95)
    assert b"Adobe" in data  # Pillow writes and reads CMYK the way Photoshop does: inverted
    assert (np.abs(pixels(load(data)).astype(int) - RED) <= 3).all()


# --- decoding at reduced scale ----------------------------------------------------------------


@pytest.mark.parametrize("orientation", [1, 6])
@pytest.mark.parametrize(
    ("at_least", "decoded"),
    [
        ((100, 100), (150, 250)),  # 600 x 1000 at 1/4
        ((75, 125), (75, 125)),  # exactly 1/8
        ((76, 125), (150, 250)),
        ((150, 251), (300, 500)),
        ((301, 20), (600, 1000)),
        ((2000, 2000), (600, 1000)),  # larger than the file: all there is
    ],
)
def test_a_jpeg_is_decoded_no_smaller_than_asked(at_least, decoded, orientation):
    stored = smooth(1000, 600) if orientation == 6 else smooth(600, 1000)
    picture = load(encoded(stored, "JPEG", exif=oriented(orientation)), at_least=at_least)
    assert picture.original_size == (600, 1000)
    assert (picture.image.height, picture.image.width) == decoded


@pytest.mark.parametrize("mode", ["squash", "crop", "letterbox"])
@pytest.mark.parametrize("size", [(1203, 1601), (1601, 1203)])
def test_reading_at_reduced_scale_looks_like_reading_in_full(mode, size):
    data = encoded(smooth(*size), "JPEG", quality=92)
    preprocessing = Preprocessing(mode, (96, 112), crop_pct=0.9)
    quick = read(data, preprocessing)
    full, full_geometry = prepare(load(data), preprocessing)
    difference = np.abs(quick.pixels.astype(int) - full)
    assert load(data, at_least=(200, 200)).image.width < size[1] / 2  # the test decodes at reduced scale
    assert difference.mean() < 0.5
    assert difference.max() <= 6
    assert quick.geometry == full_geometry


def test_only_jpeg_is_decoded_at_reduced_scale():
    assert load(encoded(smooth(80, 120), "PNG"), at_least=(8, 8)).image.size == (120, 80)


def test_at_least_must_be_positive():
    with pytest.raises(ValueError, match=r"got \(0, 5\)"):
        load(noise(9, 14), at_least=(0, 5))


# --- hostile and damaged files ----------------------------------------------------------------


def png_chunk(kind, body):
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png_header(height, width):
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", header)


@pytest.mark.parametrize("side", [11_000, 20_000, 2**31 - 1])
def test_a_decompression_bomb_is_refused_by_its_header(side):
    data = png_header(side, side) + png_chunk(b"IDAT", zlib.compress(bytes(10**6))) + png_chunk(b"IEND", b"")
    start = time.perf_counter()
    with pytest.raises(UnreadableImageError, match="pixels"):
        load(data, name="bomb.png")
    assert time.perf_counter() - start < 0.5


def test_a_picture_that_pillow_would_warn_about_is_refused_only_by_our_limit():
    data = png_header(10_000, 10_000) + png_chunk(b"IDAT", zlib.compress(b"\0")) + png_chunk(b"IEND", b"")
    with pytest.raises(UnreadableImageError, match="10,000 x 10,000 pixels is more than the limit of 9,999"):
        load(data, limits=Limits(max_pixels=9_999))
    assert Image.MAX_IMAGE_PIXELS == 89_478_485


def test_limits_hold_for_bytes_files_and_images(tmp_path):
    data = encoded(noise(20, 30), "PNG")
    path = tmp_path / "large.png"
    path.write_bytes(data)
    for source in (data, path):
        with pytest.raises(UnreadableImageError, match="bytes is more than the limit of 100;"):
            load(source, limits=Limits(max_bytes=100))
    with pytest.raises(UnreadableImageError, match="20 x 30 pixels is more than the limit of 599;"):
        load(noise(20, 30), limits=Limits(max_pixels=599))


@pytest.mark.parametrize(
    ("content", "cause"),
    [
        (b"", r"empty \(0 bytes\)"),
        (b"just text, named like a photograph", "not an image in a format that is read here"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n", "not an image in a format"),
        (b"%PDF-1.7\n", "not an image in a format"),
        (b"\xff\xd8\xff\xe0\x00\x10JFIF", "truncated after 10 bytes"),
        (b"\xff\xd8\xff\xe0", "begins like a JPEG file but is damaged or truncated"),
        (b"GIF89a", "begins like a GIF file but is damaged"),
        (
            b"\0\0\0\x18ftypheic\0\0\0\0mif1heic",
            "HEIF needs a plugin|begins like a HEIF file but is damaged|damaged or in a variant",
        ),
        (png_header(0, 5) + png_chunk(b"IEND", b""), "begins like a PNG file but is damaged"),
        (b"\x89PNG\r\n\x1a\n\xff\xff\xff\xffIHDR", "truncated after 16 bytes"),
        (png_header(5, 5) + b"\xff\xff\xff\xf0IDATxxxx", "damaged|truncated"),
    ],
)
def test_a_bad_file_is_named_with_its_cause(content, cause, tmp_path):
    path = tmp_path / "photo.jpg"
    path.write_bytes(content)
    with pytest.raises(UnreadableImageError, match=cause) as caught:
        load(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)


def progressive(side, more_scans):
    buffer = io.BytesIO()
    Image.new("RGB", (side, side), (90, 120, 60)).save(buffer, "JPEG", progressive=True)
    data = buffer.getvalue()
    last = data[data.rindex(b"\xff\xda") : -2]
    return data[:-2] + last * more_scans + data[-2:]


def test_a_jpeg_of_many_scans_is_refused_unless_it_is_small():
    assert load(progressive(200, 200)).original_size == (200, 200)
    with pytest.raises(UnreadableImageError, match=r"bomb\.jpg: a JPEG of 1,510 scans, which takes too long"):
        load(progressive(2000, 1500), name="bomb.jpg")


def test_the_words_of_a_decoder_are_one_line(monkeypatch):
    def refuse(*_, **__):
        raise OSError("Invalid input:\n\x1b[31mno such box\n" + "x" * 900)

    monkeypatch.setattr(Image, "open", refuse)
    with pytest.raises(UnreadableImageError, match=r"Invalid input: \?\[31mno such box xxx") as caught:
        load(b"bytes of any kind", name="a.heic")
    assert str(caught.value).isprintable() and len(str(caught.value)) < 500


def test_what_is_no_readable_file_is_named_with_its_cause(tmp_path):
    cases = {
        tmp_path / "missing.jpg": "no such file",
        tmp_path: "a folder, not an image",
        Path("/dev/zero"): "not a regular file",
        Path("a\0b"): r"a\?b: the file cannot be read",
        tmp_path / ("x" * 5000): "cannot be read",
    }
    for path, cause in cases.items():
        with pytest.raises(UnreadableImageError, match=cause):
            load(path)


def test_the_original_exception_is_chained():
    with pytest.raises(UnreadableImageError) as caught:
        load(b"nonsense")
    assert caught.value.__cause__ is not None


def test_control_characters_in_a_name_do_not_reach_the_terminal(tmp_path):
    path = tmp_path / "a\x1b[31m\nb\udcff.jpg"
    path.write_bytes(b"nonsense")
    with pytest.raises(UnreadableImageError, match=r"a\?\[31m\?b\?\.jpg: not an image"):
        load(path)


@pytest.mark.parametrize("kind", sorted(small_files()))
def test_a_truncated_file_is_an_error_or_whole(kind):
    """Some formats end with bytes that carry no pixels; what is left must then be the full picture."""
    data = small_files()[kind]
    whole = pixels(load(data))
    errors = 0
    for length in sorted({*range(0, len(data), max(1, len(data) // 40)), len(data) - 3, len(data) - 1}):
        try:
            np.testing.assert_array_equal(pixels(load(data[:length])), whole, err_msg=f"{length} bytes")
        except UnreadableImageError:
            errors += 1
    assert errors >= 15


def test_a_photograph_cut_in_half_says_how_much_is_there():
    data = encoded(smooth(200, 300), "JPEG")
    half = data[: len(data) // 2]
    for at_least in (None, (20, 30)):
        with pytest.raises(UnreadableImageError, match=f"half.jpg: truncated after {len(half):,} bytes"):
            load(half, name="half.jpg", at_least=at_least)


def mutated(data, generator):
    changed = bytearray(data)
    reach = min(len(changed), 80) if generator.random() < 0.5 else len(changed)  # headers are the tender part
    for _ in range(generator.randint(1, 4)):
        place = generator.randrange(min(reach, len(changed)))
        action = generator.random()
        if action < 0.6:
            changed[place] ^= 1 << generator.randrange(8)
        elif action < 0.8:
            changed[place] = generator.randrange(256)
        else:
            del changed[place : place + generator.randint(1, 8)]
    return bytes(changed)


def test_mutated_files_are_pictures_or_unreadable_and_nothing_else():
    generator = random.Random(20)
    outcomes = {Picture: 0, UnreadableImageError: 0}
    limits = Limits(max_pixels=10**6)  # a flipped bit in a header may ask for 100 megapixels
    for _, data in zip(range(400), itertools.cycle(small_files().values()), strict=False):
        try:
            outcome = load(mutated(data, generator), limits=limits, at_least=(5, 7))
        except UnreadableImageError as error:
            outcome = error
        outcomes[type(outcome)] += 1
    assert outcomes[Picture] > 40
    assert outcomes[UnreadableImageError] > 40


def test_no_warning_escapes_from_many_threads_and_filters_stay_as_they_were():
    data = encoded(noise(8, 9), "JPEG", exif=b"Exif\0\0II*\0\x08\0\0\0\x05\0")  # 5 entries, none there
    with pytest.warns(UserWarning, match="Corrupt EXIF"):
        Image.open(io.BytesIO(data)).getexif()
    before = list(warnings.filters)
    with ThreadPoolExecutor(4) as pool:
        sizes = list(pool.map(lambda _: load(data).original_size, range(200)))
    assert set(sizes) == {(8, 9)}
    assert list(warnings.filters) == before


# --- folders ----------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path):
    names = (
        "b.JPG a.png notes.txt .hidden.png sub/c.webp sub/deep/d.tiff .git/e.png thumbs/f.gif sub/raw.heic"
    )
    for name in names.split():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    return tmp_path


def listed(folder, **options):
    return [path.relative_to(folder).as_posix() for path in list_images(folder, **options)]


def test_images_are_listed_by_suffix_sorted_and_without_hidden_ones(folder):
    assert listed(folder) == [
        "a.png",
        "b.JPG",
        "sub/c.webp",
        "sub/deep/d.tiff",
        "sub/raw.heic",
        "thumbs/f.gif",
    ]


def test_only_the_folder_itself_when_not_recursive(folder):
    assert listed(folder, recursive=False) == ["a.png", "b.JPG"]


@pytest.mark.parametrize(
    ("ignore", "left"),
    [
        (["thumbs"], ["a.png", "b.JPG", "sub/c.webp", "sub/deep/d.tiff", "sub/raw.heic"]),
        (["sub/", "*.gif"], ["a.png", "b.JPG"]),
        (["sub/*/d.*", "raw.*", "thumbs/*"], ["a.png", "b.JPG", "sub/c.webp"]),
    ],
)
def test_ignored_patterns_match_names_and_paths(folder, ignore, left):
    assert listed(folder, ignore=ignore) == left


def test_links_are_followed_once_and_loops_end(folder):
    (folder / "a_loop").symlink_to(folder, target_is_directory=True)
    (folder / "sub" / "back").symlink_to(folder / "sub", target_is_directory=True)
    (folder / "self").symlink_to(folder / "self")
    (folder / "broken.png").symlink_to(folder / "nowhere.png")
    (folder / "linked.png").symlink_to(folder / "a.png")
    assert listed(folder) == [
        *["a.png", "b.JPG", "broken.png", "linked.png", "sub/c.webp", "sub/deep/d.tiff", "sub/raw.heic"],
        "thumbs/f.gif",
    ]


def test_images_are_listed_in_the_order_of_their_paths(tmp_path):
    for name in (
        "b.jpg",
        "a.jpg",
        "a/z.jpg",
        "a/b/c.jpg",
        "a b/x.jpg",
        "a-/y.jpg",
        "a.jpg.d/q.png",
        "Z/ä.jpg",
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "a0").symlink_to(tmp_path / "Z")  # hides nothing: Z itself is listed
    listed = list_images(tmp_path)
    assert listed == sorted(tmp_path.rglob("*.*g")) and len(listed) == 8
    assert list(iter_images(tmp_path)) == list(map(str, listed))


def test_a_linked_folder_elsewhere_is_listed(folder, tmp_path_factory):
    elsewhere = tmp_path_factory.mktemp("disk")
    (elsewhere / "z.png").touch()
    (folder / "disk").symlink_to(elsewhere, target_is_directory=True)
    assert "disk/z.png" in listed(folder)


def test_a_folder_that_cannot_be_listed_is_named_with_its_cause(folder):
    cases = {folder / "nowhere": "nowhere: no such folder", folder / "a.png": "a.png: a file, not a folder"}
    for path, cause in cases.items():
        with pytest.raises(UnreadableImageError, match=cause):
            list_images(path)


def test_what_is_no_regular_file_is_listed_and_reading_it_says_why(tmp_path):
    (tmp_path / "gone.jpg").symlink_to(tmp_path / "nowhere")
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "folder.jpg").mkdir()
    listed = list_images(tmp_path)
    assert [path.name for path in listed] == ["gone.jpg", "pipe.png"]
    for path, cause in zip(listed, ("no such file", "not a regular file"), strict=True):
        with pytest.raises(UnreadableImageError, match=cause):
            load(path)


def test_a_single_string_of_patterns_is_refused(folder):
    with pytest.raises(TypeError, match="sequence of patterns"):
        list_images(folder, ignore="*.gif")


# --- preprocessing ----------------------------------------------------------------------------


def test_preprocessing_survives_json():
    preprocessing = Preprocessing("crop", (196, 224), 0.9, "bilinear", (0.5, 0.4, 0.3), (0.2, 0.25, 0.3))
    assert Preprocessing.from_dict(json.loads(json.dumps(preprocessing.to_dict()))) == preprocessing


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"mode": "stretch"}, "mode is one of squash, crop, letterbox, fit; got 'stretch'"),
        ({"mode": ["crop"]}, "mode is one of"),
        ({"interpolation": "area"}, "interpolation is one of"),
        ({"input_size": 224}, "input_size has 2 finite numbers; got 224"),
        ({"input_size": [224, 0]}, "input_size is"),
        ({"input_size": [224.5, 224]}, "input_size is"),
        ({"input_size": [True, True]}, "input_size has"),
        ({"input_size": [10**9, 10**9]}, "input_size is"),
        ({"crop_pct": 0}, "crop_pct lies in"),
        ({"crop_pct": 1.01}, "crop_pct lies in"),
        ({"crop_pct": 1e-320}, "crop_pct 1e-320 is too small"),
        ({"crop_pct": "0.9"}, "crop_pct has 1 finite number"),
        ({"mean": [0.5, 0.5]}, "mean has 3 finite numbers"),
        ({"mean": [124, 116, 104]}, "mean has three values in"),
        ({"std": [0.2, 0.2, 0]}, "std has three values above 0"),
        ({"std": [0.2, 0.2, float("nan")]}, "std has 3 finite numbers"),
        ({"size": 7}, r"unknown preprocessing settings \['size'\]"),
    ],
)
def test_settings_that_make_no_sense_are_refused_by_name(change, message):
    settings = Preprocessing("crop", (64, 96)).to_dict()
    with pytest.raises(ValueError, match=message):
        Preprocessing.from_dict(settings | change)


def test_missing_settings_are_named():
    with pytest.raises(ValueError, match=r"lacks \['input_size', 'mode'\]"):
        Preprocessing.from_dict({})


TIMM_MODE = {"squash": "squash", "crop": "center", "letterbox": "border"}


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic", "lanczos", "nearest"])
@pytest.mark.parametrize("mode", TIMM_MODE)
def test_prepared_and_normalized_pixels_equal_timms(mode, interpolation):
    from timm.data import create_transform

    sizes = [(64, 64), (37, 61), (61, 37), (23, 24), (5, 90), (91, 7), (32, 47), (113, 208)]
    inputs = [(32, 32), (31, 31), (24, 40), (40, 17)]
    for size, input_size, crop_pct in itertools.product(sizes, inputs, (1.0, 0.875, 0.9)):
        image = noise(*size, seed=1)
        preprocessing = Preprocessing(mode, input_size, crop_pct, interpolation)
        timm_transform = create_transform(
            (3, *input_size),
            crop_pct=crop_pct,
            crop_mode=TIMM_MODE[mode],
            interpolation=interpolation,
            mean=preprocessing.mean,
            std=preprocessing.std,
        )
        prepared, _ = prepare(load(image), preprocessing)
        np.testing.assert_array_equal(
            normalize(prepared[None], preprocessing)[0],
            timm_transform(image).numpy(),
            err_msg=f"{size} -> {input_size}, {crop_pct}",
        )


@pytest.mark.parametrize(
    ("mode", "size", "expected"),
    [
        # 100 x 300 to 40 / 0.8 = 50: 50 x 150; the window 5..45, 55..95 at 2 original pixels each.
        ("crop", (100, 300), (10.0, 110.0, 80.0, 80.0)),
        # 99 x 200 to 50 x int(50 * 200 / 99) = 50 x 101; the window starts at round(30.5) = 30.
        ("crop", (99, 200), (5 * 99 / 50, 30 * 200 / 101, 40 * 99 / 50, 40 * 200 / 101)),
        # 100 x 300 to 50 x 50, window 5..45: rows count 2 original pixels, columns 6.
        ("squash", (100, 300), (10.0, 30.0, 80.0, 240.0)),
        # 100 x 300 into 50 x 50: 17 x 50 (16.67 rounded), 23 rows of padding, 11 above.
        ("letterbox", (100, 300), (-11 * 100 / 17, 30.0, 40 * 100 / 17, 240.0)),
    ],
)
def test_the_crop_follows_the_rounding_that_happened(mode, size, expected):
    _, geometry = prepare(load(noise(*size)), Preprocessing(mode, (40, 40), crop_pct=0.8))
    assert geometry.original_size == size
    assert geometry.input_size == (40, 40)
    assert geometry.crop == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("decoded_smaller", [False, True])
@pytest.mark.parametrize("size", [(300, 520), (520, 300)])
@pytest.mark.parametrize(
    "preprocessing",
    [
        Preprocessing("squash", (64, 96)),
        Preprocessing("crop", (64, 64), 0.875, "bilinear"),
        Preprocessing("crop", (64, 96), 0.9),
        Preprocessing("letterbox", (64, 96), 1.0, "bilinear"),
    ],
)
def test_a_planted_square_is_where_the_geometry_says(preprocessing, size, decoded_smaller):
    left, top, right, bottom = box = (150, 190, 210, 260)  # inside the crop of every mode
    image = Image.new("RGB", size[::-1], "black")
    image.paste(WHITE, box)
    if decoded_smaller:
        picture = load(encoded(image, "JPEG", quality=95), at_least=(140, 140))
        assert picture.image.height == size[0] // 2
    else:
        picture = load(image)
    seen, geometry = prepare(picture, preprocessing)

    # What the input shows, mapped to the original: edges lie within one input pixel.
    padding = tuple(round(255 * value) for value in preprocessing.mean)
    is_square = (seen.min(axis=2) > 127) & ~(seen == padding).all(axis=2)
    rows, columns = np.flatnonzero(is_square.any(1)), np.flatnonzero(is_square.any(0))
    first = geometry.cell_box(rows[0], columns[0], preprocessing.input_size)
    last = geometry.cell_box(rows[-1], columns[-1], preprocessing.input_size)
    pixel_width, pixel_height = first[2] - first[0], first[3] - first[1]
    assert abs(first[0] - left) <= pixel_width and abs(last[2] - right) <= pixel_width
    assert abs(first[1] - top) <= pixel_height and abs(last[3] - bottom) <= pixel_height

    # What the geometry predicts for a coarse grid is what the input shows there.
    grid = (4, seen.shape[1] // 16)
    shown = is_square.reshape(grid[0], 16, grid[1], 16)
    np.testing.assert_allclose(shown.mean(axis=(1, 3)), box_coverage(geometry, box, grid), atol=0.15)


def test_letterbox_pads_with_the_mean_color_on_both_sides():
    preprocessing = Preprocessing("letterbox", (20, 40), mean=(0.5, 0.2, 0.0))
    seen, geometry = prepare(load(Image.new("RGB", (10, 10), WHITE)), preprocessing)
    assert (seen[:, :10] == (128, 51, 0)).all()
    assert (seen[:, 10:30] == 255).all()
    assert (seen[:, 30:] == (128, 51, 0)).all()
    assert geometry.crop == (0, -5, 10, 20)


def test_the_geometry_counts_original_pixels_when_the_picture_was_decoded_smaller():
    data = encoded(smooth(803, 1201), "JPEG")  # odd sides: 1/4 scale is not exact
    picture = load(data, at_least=(200, 200))
    assert (picture.image.height, picture.image.width) == (201, 301)
    _, geometry = prepare(picture, Preprocessing("squash", (64, 96)))
    assert geometry.crop == (0, 0, 803, 1201)


@pytest.mark.parametrize("mode", ["squash", "crop", "letterbox"])
@pytest.mark.parametrize("size", [(1, 2_000_000), (2_000_000, 1)])
def test_very_long_pictures_cost_little(mode, size):
    height, width = size
    start = time.perf_counter()
    seen, geometry = prepare(load(Image.new("RGB", (width, height), RED)), Preprocessing(mode, (224, 192)))
    assert time.perf_counter() - start < 2
    assert seen.shape == (224, 192, 3)
    assert (seen == RED).all(axis=2).any()
    assert geometry.original_size == size


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic", "lanczos"])
@pytest.mark.parametrize("turned", [False, True])
def test_the_strip_of_a_long_picture_equals_the_cut_from_the_whole(interpolation, turned, monkeypatch):
    # Gray values near the middle: Pillow picks the order of its two passes by size, and where the
    # first one overshoots and is clipped the order shows.
    image = noise(*((1500, 70) if turned else (70, 1500))).point(lambda value: 100 + value // 5)
    preprocessing = Preprocessing("crop", (48, 48), 0.875, interpolation)
    whole, geometry = prepare(load(image), preprocessing)
    monkeypatch.setattr("lookalike.images.preparing._MAX_RESIZED", 1000)
    strip, strip_geometry = prepare(load(image), preprocessing)
    assert np.abs(whole.astype(int) - strip).max() <= 1
    assert strip_geometry == geometry


def test_the_order_of_the_two_passes_does_not_show(monkeypatch):
    picture, preprocessing = load(smooth(400, 30)), Preprocessing("letterbox", (48, 96))
    usual, _ = prepare(picture, preprocessing)
    monkeypatch.setattr("lookalike.images.preparing._MAX_BETWEEN", 100)
    turned, _ = prepare(picture, preprocessing)
    assert np.abs(usual.astype(int) - turned).max() <= 1


def test_normalize_equals_the_formula_and_is_contiguous():
    batch = np.random.default_rng(3).integers(0, 256, (2, 5, 7, 3), dtype=np.uint8)
    preprocessing = Preprocessing("squash", (5, 7))
    mean, std = np.array(preprocessing.mean), np.array(preprocessing.std)
    result = normalize(batch, preprocessing)
    assert (result.shape, result.dtype, result.flags.c_contiguous) == ((2, 3, 5, 7), np.float32, True)
    np.testing.assert_allclose(result, ((batch / 255 - mean) / std).transpose(0, 3, 1, 2), atol=2e-6)


def test_normalize_refuses_what_is_no_batch_of_pictures():
    for wrong in (np.zeros((5, 7, 3), np.uint8), np.zeros((1, 3, 5, 7), np.uint8), np.zeros((1, 5, 7, 3))):
        with pytest.raises(ValueError, match="expected uint8 pictures"):
            normalize(wrong, Preprocessing("squash", (5, 7)))


def test_images_of_every_format_that_is_read_are_listed(tmp_path):
    for name in ("a.pbm", "b.pnm", "c.PFM", "d.ppm"):
        (tmp_path / name).touch()
    assert [path.name for path in list_images(tmp_path)] == ["a.pbm", "b.pnm", "c.PFM", "d.ppm"]
