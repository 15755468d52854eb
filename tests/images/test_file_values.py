"""What the numbers of a file mean: photometric interpretation, bits, levels, no data, profiles, pages."""

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image, ImageCms

from lookalike.errors import UnreadableImageError
from lookalike.images import load

H, W = 4, 6
EIGHT_BITS = np.arange(H * W, dtype=np.uint8).reshape(H, W) * 10 + 3  # 3 to 233


def gray(data, **options):
    return np.asarray(load(data, **options).image)[..., 0]


def tiff(data, *, bits, photometric=1, order="<", sample_format=1, **tags):
    """A TIFF of one strip; further tags are NAME=(number, type, values)."""
    entries = sorted(
        [
            (256, 4, (W,)), (257, 4, (H,)), (258, 3, (bits,)), (259, 3, (1,)), (262, 3, (photometric,)),
            (273, 4, (8,)), (277, 3, (1,)), (278, 4, (H,)), (279, 4, (len(data),)),
            (339, 3, (sample_format,)), *tags.values(),
        ]
    )  # fmt: skip
    body, extra = b"", b""
    start = 8 + len(data)
    extra_at = start + 2 + 12 * len(entries) + 4
    for number, kind, values in entries:
        packed = values if kind == 2 else b"".join(struct.pack(order + " HI"[kind - 2], v) for v in values)
        if len(packed) > 4:
            packed, extra = struct.pack(order + "I", extra_at + len(extra)), extra + packed
        body += struct.pack(order + "HHI", number, kind, len(values)) + packed.ljust(4, b"\0")
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "I", start)
    return head + data + struct.pack(order + "H", len(entries)) + body + bytes(4) + extra


def twelve_bits(values):
    planes = (values[..., None].astype(np.uint32) >> np.arange(11, -1, -1)) & 1
    return np.packbits(planes.reshape(len(values), -1).astype(np.uint8), axis=1).tobytes()


def png(values, bits, kind, *chunks):
    def chunk(name, body):
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    flat = values.reshape(H, -1)
    if bits == 16:
        rows = flat.astype(">u2")
    else:
        rows = np.packbits(((flat[..., None] >> np.arange(bits - 1, -1, -1)) & 1).reshape(H, -1), axis=1)
    data = b"".join(b"\0" + row.tobytes() for row in rows)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", struct.pack(">IIBBBBB", W, H, bits, kind, 0, 0, 0))
        + b"".join(chunk(name, body) for name, body in chunks)
        + chunk(b"IDAT", zlib.compress(data))
        + chunk(b"IEND", b"")
    )


# --- TIFF -------------------------------------------------------------------------------------


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("photometric", [0, 1])
@pytest.mark.parametrize("bits", [8, 12, 16])
def test_gray_of_a_tiff_is_the_same_whichever_end_is_white(bits, photometric, order):
    top = 2**bits - 1
    values = np.rint(EIGHT_BITS.astype(float) * top / 255).astype(np.uint16)
    stored = values if photometric else top - values
    data = {8: lambda: stored.astype(np.uint8).tobytes(), 12: lambda: twelve_bits(stored)}.get(
        bits, lambda: stored.astype(order + "u2").tobytes()
    )()
    found = gray(tiff(data, bits=bits, photometric=photometric, order=order))
    assert np.abs(found.astype(int) - EIGHT_BITS).max() <= 1


def test_white_is_zero_also_for_floats():
    stored = (1 - EIGHT_BITS / 255).astype("<f4")
    found = gray(tiff(stored.tobytes(), bits=32, photometric=0, sample_format=3))
    np.testing.assert_array_equal(found, EIGHT_BITS)


@pytest.mark.parametrize(("bits", "sample_format", "kind"), [(16, 2, "<i2"), (32, 1, "<u4"), (32, 2, "<i4")])
def test_signed_and_32_bit_gray_needs_levels(bits, sample_format, kind):
    data = tiff(EIGHT_BITS.astype(kind).tobytes(), bits=bits, sample_format=sample_format)
    with pytest.raises(UnreadableImageError, match=r"from 3 to 233.*--levels BLACK,WHITE"):
        load(data)
    np.testing.assert_array_equal(gray(data, levels=(0, 255)), EIGHT_BITS)


def test_pixels_without_data_are_white_and_not_part_of_the_range():
    values = (EIGHT_BITS / 255).astype("<f4")
    values[1, 2] = -9999
    data = tiff(values.tobytes(), bits=32, sample_format=3, none=(42113, 2, b"-9999\0"))
    expected = EIGHT_BITS.copy()
    expected[1, 2] = 255
    np.testing.assert_array_equal(gray(data), expected)


def test_no_data_holds_for_eight_bits_too():
    data = tiff(EIGHT_BITS.tobytes(), bits=8, none=(42113, 2, b"83\0"))
    expected = np.where(EIGHT_BITS == 83, 255, EIGHT_BITS)
    np.testing.assert_array_equal(gray(data), expected)


@pytest.mark.parametrize("scale", [1, 257])
def test_a_color_map_may_hold_numbers_of_8_or_16_bits(scale):
    colors = np.zeros((3, 256), int)
    colors[:, 3] = 10, 200, 77
    data = tiff(
        np.full((H, W), 3, np.uint8).tobytes(), bits=8, photometric=3,
        map=(320, 3, tuple((colors * scale).ravel().tolist())),
    )  # fmt: skip
    assert (np.asarray(load(data).image) == (10, 200, 77)).all()


def test_the_page_that_is_a_reduced_version_is_not_the_picture():
    large, small = Image.new("RGB", (40, 30), "red"), Image.new("RGB", (20, 15), "blue")
    buffer = io.BytesIO()
    small.save(buffer, "TIFF", save_all=True, append_images=[large], tiffinfo={254: 1})
    first, second = buffer.getvalue().rsplit(struct.pack("<HHII", 254, 4, 1, 1), 1)
    picture = load(first + struct.pack("<HHII", 254, 4, 1, 0) + second)
    assert picture.original_size == (30, 40)
    assert picture.image.getpixel((0, 0)) == (255, 0, 0)


def test_of_several_pages_the_first_is_taken():
    pages = [Image.new("RGB", (5, 3), color) for color in ("red", "blue")]
    buffer = io.BytesIO()
    pages[0].save(buffer, "TIFF", save_all=True, append_images=pages[1:])
    assert load(buffer.getvalue()).image.getpixel((0, 0)) == (255, 0, 0)


def test_a_variant_that_is_not_read_is_named():
    with pytest.raises(
        UnreadableImageError, match="a TIFF of 64 floating bits, photometric interpretation 1"
    ):
        load(tiff(EIGHT_BITS.astype("<f8").tobytes(), bits=64, sample_format=3))


# --- PNG --------------------------------------------------------------------------------------


@pytest.mark.parametrize("bits", [1, 2, 4, 8, 16])
def test_the_transparent_gray_value_is_white_at_every_depth(bits):
    values = (np.arange(H * W).reshape(H, W) * 7919) % 2**bits
    data = png(values, bits, 0, (b"tRNS", struct.pack(">H", int(values[1, 1]))))
    expected = np.rint(values * 255 / (2**bits - 1))
    expected[values == values[1, 1]] = 255
    np.testing.assert_array_equal(gray(data), expected)


def test_the_transparent_color_of_16_bits_is_white():
    values = (np.arange(H * W * 3).reshape(H, W, 3) * 257) % 65_536
    data = png(values, 16, 2, (b"tRNS", struct.pack(">HHH", *(int(v) for v in values[2, 3]))))
    expected = values // 257
    expected[2, 3] = 255
    np.testing.assert_array_equal(np.asarray(load(data).image), expected)


# --- profiles ---------------------------------------------------------------------------------


def profile(space=b"RGB ", gamma=1.0):
    """An ICC profile with red and green swapped (RGB), or linear gray (GRAY)."""

    def number(value):
        return struct.pack(">i", round(value * 65_536))

    def xyz(*values):
        return b"XYZ " + bytes(4) + b"".join(map(number, values))

    curve = b"curv" + bytes(4) + struct.pack(">IH", 1, round(gamma * 256)) + bytes(2)
    text = b"Swapped\0"
    tags = {
        b"desc": b"desc" + bytes(4) + struct.pack(">I", len(text)) + text + bytes(78),
        b"wtpt": xyz(0.9642, 1.0, 0.8249),
    }
    if space == b"RGB ":
        tags |= {b"gXYZ": xyz(0.4360, 0.2225, 0.0139), b"rXYZ": xyz(0.3851, 0.7169, 0.0971),
                 b"bXYZ": xyz(0.1431, 0.0606, 0.7141),
                 b"rTRC": curve, b"gTRC": curve, b"bTRC": curve}  # fmt: skip
    else:
        tags |= {b"kTRC": curve}
    at, table, data = 128 + 4 + 12 * len(tags), struct.pack(">I", len(tags)), b""
    for name, body in tags.items():
        body += bytes(-len(body) % 4)
        table += name + struct.pack(">II", at + len(data), len(body))
        data += body
    head = struct.pack(">I4sI4s4s4s", at + len(data), bytes(4), 0x02100000, b"mntr", space, b"XYZ ")
    white = struct.pack(">iii", 63_190, 65_536, 54_061)  # D50
    return (head + bytes(12) + b"acsp" + bytes(28) + white).ljust(128, b"\0") + table + data


@pytest.mark.parametrize("file_format", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF"])
def test_colors_are_converted_by_the_profile(file_format):
    options = {"quality": 100} if file_format in ("JPEG", "WEBP", "AVIF") else {}
    buffer = io.BytesIO()
    Image.new("RGB", (32, 16), (255, 0, 0)).save(buffer, file_format, icc_profile=profile(), **options)
    found = np.asarray(load(buffer.getvalue()).image).astype(int)
    assert np.abs(found - (0, 255, 0)).max() <= 16


def test_gray_is_converted_by_its_profile():
    buffer = io.BytesIO()
    Image.new("L", (8, 8), 55).save(buffer, "PNG", icc_profile=profile(b"GRAY"))
    # linear 55/255 in sRGB's curve: 1.055 * 0.2157 ** (1 / 2.4) - 0.055 = 0.5019
    assert np.abs(gray(buffer.getvalue()).astype(int) - 128).max() <= 1


def test_what_is_transparent_is_white_whatever_the_profile():
    buffer = io.BytesIO()
    image = Image.new("RGBA", (8, 8), (255, 0, 0, 255))
    image.putpixel((0, 0), (255, 0, 0, 0))
    image.save(buffer, "PNG", icc_profile=profile())
    found = load(buffer.getvalue()).image
    assert found.getpixel((0, 0)) == (255, 255, 255)
    assert np.abs(np.array(found.getpixel((1, 1))) - (0, 255, 0)).max() <= 1


@pytest.mark.parametrize("damaged", [b"no profile", profile()[:200], profile(b"GRAY")])
def test_a_profile_that_is_damaged_or_of_other_colors_is_left_out(damaged):
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8), (200, 100, 50)).save(buffer, "PNG", icc_profile=damaged)
    assert load(buffer.getvalue()).image.getpixel((0, 0)) == (200, 100, 50)


def test_an_srgb_profile_changes_nothing():
    buffer = io.BytesIO()
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    Image.new("RGB", (8, 8), (201, 99, 50)).save(buffer, "PNG", icc_profile=srgb)
    assert load(buffer.getvalue()).image.getpixel((0, 0)) == (201, 99, 50)


def test_cielab_is_converted():
    srgb, lab = ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB")
    color = Image.new("RGB", (8, 8), (55, 200, 75))
    buffer = io.BytesIO()
    ImageCms.applyTransform(color, ImageCms.buildTransform(srgb, lab, "RGB", "LAB")).save(buffer, "TIFF")
    assert np.abs(np.array(load(buffer.getvalue()).image.getpixel((3, 3))) - (55, 200, 75)).max() <= 4


def test_signed_8_bits_and_unsigned_32_bits_are_not_taken_for_others():
    signed = tiff((EIGHT_BITS.astype(int) - 128).astype(np.int8).tobytes(), bits=8, sample_format=2)
    with pytest.raises(UnreadableImageError, match="from -125 to 105"):
        load(signed)
    assert (gray(signed, levels=(-128, 127)) == EIGHT_BITS).all()
    unsigned = tiff((EIGHT_BITS.astype(np.uint32) * 16_843_009).tobytes(), bits=32)  # to 2**32 - 1
    assert (gray(unsigned, levels=(0, 2**32 - 1)) == EIGHT_BITS).all()


def test_a_profile_is_srgb_by_its_numbers_and_not_by_its_name(tmp_path):
    icc = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    linear = b"curv" + bytes(8)  # the curve without entries: y = x
    for i in range(int.from_bytes(icc[128:132], "big")):
        at = 132 + 12 * i
        if icc[at : at + 4] in (b"rTRC", b"gTRC", b"bTRC"):
            icc[at + 4 : at + 12] = struct.pack(">II", len(icc), len(linear))
    icc += linear
    icc[:4] = struct.pack(">I", len(icc))
    Image.new("RGB", (4, 4), (55, 128, 250)).save(tmp_path / "linear.png", icc_profile=bytes(icc))
    red, green, blue = (255 * (1.055 * (v / 255) ** (1 / 2.4) - 0.055) for v in (55, 128, 250))
    found = np.asarray(load(tmp_path / "linear.png").image)[0, 0]
    assert np.abs(found - np.array([red, green, blue])).max() <= 1
