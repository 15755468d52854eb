"""Pixels as lookalike reads them, beside libvips and ImageMagick: one small file for each variant.

Needs ``vips`` (libvips-tools) and ``convert`` (ImageMagick) on the path; HEIC also the extra ``[heif]``.
Prints a table: variant, mean and largest difference from each decoder (0 to 255). Where a decoder can't
read a file or answers otherwise, docs/formats.md says which one is followed and why.

    python benchmarks/reliability/decoders.py [FOLDER]
"""

from __future__ import annotations

import datetime
import struct
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image, ImageCms

from lookalike import images
from lookalike.errors import UnreadableImageError

HEIGHT, WIDTH = 48, 64
SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def color() -> np.ndarray:
    """A smooth picture with all corners different: (H, W, 3) uint8."""
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH]
    return np.stack([40 + 3 * x, 220 - 4 * y, 60 + 2 * x + y], axis=2).clip(0, 255).astype(np.uint8)


def gray(bits: int) -> np.ndarray:
    """A slope over nearly the whole range of so many bits."""
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH]
    slope = (x / (WIDTH - 1) * 0.8 + y / (HEIGHT - 1) * 0.15 + 0.02) * (2**bits - 1)
    return np.rint(slope).astype(np.uint16 if bits > 8 else np.uint8)


def tiff(
    path: Path, data: bytes, *, bits: tuple[int, ...], photometric: int, order: str = "<", **tags
) -> None:
    """A TIFF of one uncompressed strip; tags are NAME=(number, type, values)."""
    kinds = {2: "s", 3: "H", 4: "I"}
    entries = [
        (256, 4, (WIDTH,)),
        (257, 4, (HEIGHT,)),
        (258, 3, bits),
        (259, 3, (1,)),
        (262, 3, (photometric,)),
        (273, 4, (8,)),
        (277, 3, (len(bits),)),
        (278, 4, (HEIGHT,)),
        (279, 4, (len(data),)),
        *tags.values(),
    ]
    entries.sort()
    pad = len(data) % 2
    start = 8 + len(data) + pad
    extra_at, extra, body = start + 2 + 12 * len(entries) + 4, b"", b""
    for number, kind, values in entries:
        if kind == 2:
            count, packed = len(values), values
        else:
            count = len(values)
            packed = b"".join(struct.pack(order + kinds[kind], v) for v in values)
        if len(packed) > 4:
            where, packed = (
                struct.pack(order + "I", extra_at + len(extra)),
                packed + b"\0" * (len(packed) % 2),
            )
            extra += packed
            packed = where
        body += struct.pack(order + "HHI", number, kind, count) + packed.ljust(4, b"\0")
    head = (b"II" if order == "<" else b"MM") + struct.pack(order + "HI", 42, start)
    path.write_bytes(
        head + data + b"\0" * pad + struct.pack(order + "H", len(entries)) + body + bytes(4) + extra
    )


def packed_bits(values: np.ndarray, bits: int) -> bytes:
    """Rows of values, each row padded to a whole byte."""
    planes = (values[..., None].astype(np.uint32) >> np.arange(bits - 1, -1, -1)) & 1
    return np.packbits(planes.reshape(len(values), -1).astype(np.uint8), axis=1).tobytes()


def png(path: Path, values: np.ndarray, bits: int, kind: int, *chunks: tuple[bytes, bytes]) -> None:
    """A PNG of any bit depth, with more chunks before its pixels."""
    import zlib

    def chunk(name: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    flat = values.reshape(HEIGHT, -1)
    rows = flat.astype(">u2").tobytes() if bits == 16 else packed_bits(flat, bits)
    step = len(rows) // HEIGHT
    data = b"".join(b"\0" + rows[i * step : (i + 1) * step] for i in range(HEIGHT))
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", WIDTH, HEIGHT, bits, kind, 0, 0, 0))
    middle = b"".join(chunk(name, body) for name, body in chunks)
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n" + header + middle + chunk(b"IDAT", zlib.compress(data)) + chunk(b"IEND", b"")
    )


def without_adobe(data: bytes) -> bytes:
    """A JPEG without its APP14 marker."""
    at = data.index(b"\xff\xee")
    return data[:at] + data[at + 2 + struct.unpack(">H", data[at + 2 : at + 4])[0] :]


def vips(*arguments: str) -> None:
    subprocess.run(["vips", *arguments], check=True, capture_output=True)


def write_files(folder: Path) -> None:
    rgb = Image.fromarray(color())
    turned = Image.Exif()
    turned[0x0112] = 6
    write_jpegs(folder, rgb, turned)
    write_pngs(folder, rgb, turned)
    write_gray_tiffs(folder)
    write_color_tiffs(folder, rgb, turned)
    rgb.save(folder / "webp lossy.webp", quality=95)
    rgb.save(folder / "webp orientation 6.webp", lossless=True, exif=turned)
    with_alpha(rgb).save(folder / "webp alpha.webp", lossless=True)
    rgb.quantize(64).save(folder / "gif palette.gif")
    rgb.save(folder / "bmp 24 bit.bmp")
    rgb.save(folder / "ppm 8 bit.ppm")
    (folder / "pgm 16 bit.pgm").write_bytes(
        b"P5 %d %d 65535\n" % (WIDTH, HEIGHT) + gray(16).astype(">u2").tobytes()
    )
    (folder / "pgm 12 bit.pgm").write_bytes(
        b"P5 %d %d 4095\n" % (WIDTH, HEIGHT) + gray(12).astype(">u2").tobytes()
    )
    rgb.save(folder / "avif.avif", quality=95)
    rgb.save(folder / "avif orientation 6.avif", quality=95, exif=turned)
    try:
        import pillow_heif

        pillow_heif.register_heif_opener()
        rgb.save(folder / "heic.heic", quality=95)
        rgb.save(folder / "heic orientation 6.heic", quality=95, exif=turned)
    except (ImportError, RuntimeError):
        print("HEIC left out: pillow-heif is not installed, or writes none", file=sys.stderr)


def with_alpha(rgb: Image.Image) -> Image.Image:
    alpha = Image.fromarray(gray(8))
    out = rgb.copy()
    out.putalpha(alpha)
    return out


def write_jpegs(folder: Path, rgb: Image.Image, turned: Image.Exif) -> None:
    rgb.save(folder / "jpeg.jpg", quality=95)
    rgb.convert("L").save(folder / "jpeg gray.jpg", quality=95)
    rgb.save(folder / "jpeg progressive.jpg", quality=95, progressive=True)
    rgb.save(folder / "jpeg orientation 6.jpg", quality=95, exif=turned)
    rgb.convert("CMYK").save(folder / "jpeg cmyk adobe.jpg", quality=95)
    adobe = (folder / "jpeg cmyk adobe.jpg").read_bytes()
    (folder / "jpeg cmyk without adobe.jpg").write_bytes(without_adobe(adobe))
    rgb.save(
        folder / "jpeg mpo of two pictures.jpg", format="MPO", save_all=True, append_images=[rgb.rotate(180)]
    )
    vips(
        "icc_export",
        str(folder / "jpeg.jpg"),
        str(folder / "jpeg display p3 profile.jpg[Q=95]"),
        "--output-profile",
        "p3",
    )
    vips(
        "icc_export",
        str(folder / "jpeg.jpg"),
        str(folder / "jpeg cmyk profile.jpg[Q=95]"),
        "--output-profile",
        "cmyk",
    )


def write_pngs(folder: Path, rgb: Image.Image, turned: Image.Exif) -> None:
    for bits in (1, 2, 4, 8, 16):
        png(folder / f"png gray {bits} bit.png", gray(bits), bits, 0)
        clear = int(gray(bits)[HEIGHT // 2, WIDTH // 2])
        png(
            folder / f"png gray {bits} bit transparent value.png",
            gray(bits),
            bits,
            0,
            (b"tRNS", struct.pack(">H", clear)),
        )
    deep = color().astype(np.uint16) * 257
    png(folder / "png rgb 16 bit.png", deep, 16, 2)
    clear = struct.pack(">HHH", *(int(v) for v in deep[20, 30]))
    png(folder / "png rgb 16 bit transparent color.png", deep, 16, 2, (b"tRNS", clear))
    with_alpha(rgb).save(folder / "png rgba.png")
    rgba = np.concatenate([deep, gray(16)[..., None]], axis=2)
    png(folder / "png rgba 16 bit.png", rgba, 16, 6)
    png(folder / "png gray alpha 16 bit.png", np.stack([gray(16), gray(16)[::-1]], axis=2), 16, 4)
    rgb.quantize(64).save(folder / "png palette alpha.png", transparency=bytes(range(0, 256, 4)))
    rgb.save(folder / "png orientation 6.png", exif=turned)
    vips(
        "icc_export",
        str(folder / "png rgb 16 bit.png"),
        str(folder / "png display p3 profile.png"),
        "--output-profile",
        "p3",
        "--depth",
        "8",
    )


def write_gray_tiffs(folder: Path) -> None:
    for photometric, word in ((0, "white is zero"), (1, "black is zero")):
        for bits in (1, 2, 4, 8, 12, 16):
            values = gray(bits) if photometric else 2**bits - 1 - gray(bits)
            for order in ("<", ">"):
                data = values.astype(order + "u2").tobytes() if bits == 16 else packed_bits(values, bits)
                name = f"tiff gray {bits} bit {word}{' big endian' if order == '>' else ''}.tif"
                tiff(folder / name, data, bits=(bits,), photometric=photometric, order=order)
        unit = (gray(16) / 65_535).astype("<f4")
        tiff(
            folder / f"tiff float 0 to 1 {word}.tif",
            (unit if photometric else 1 - unit).astype("<f4").tobytes(),
            bits=(32,),
            photometric=photometric,
            form=(339, 3, (3,)),
        )
    clear = gray(8)
    tiff(
        folder / "tiff gray 8 bit no data.tif",
        clear.tobytes(),
        bits=(8,),
        photometric=1,
        none=(42113, 2, b"%d\0" % clear[9, 9]),
    )


def write_color_tiffs(folder: Path, rgb: Image.Image, turned: Image.Exif) -> None:
    rgb.save(folder / "tiff rgb lzw.tif", compression="tiff_lzw")
    rgb.save(folder / "tiff orientation 6.tif", exif=turned)
    tiff(
        folder / "tiff rgb 16 bit.tif", (color().astype("<u2") * 257).tobytes(), bits=(16,) * 3, photometric=2
    )
    tiff(folder / "tiff rgb planes.tif", color().tobytes(), bits=(8,) * 3, photometric=2)
    straight = np.asarray(with_alpha(rgb))
    tiff(folder / "tiff alpha.tif", straight.tobytes(), bits=(8,) * 4, photometric=2, extra=(338, 3, (2,)))
    premultiplied = straight.copy()
    premultiplied[..., :3] = np.rint(straight[..., :3] * (straight[..., 3:] / 255))
    tiff(
        folder / "tiff premultiplied alpha.tif",
        premultiplied.tobytes(),
        bits=(8,) * 4,
        photometric=2,
        extra=(338, 3, (1,)),
    )
    tiff(
        folder / "tiff extra band.tif", straight.tobytes(), bits=(8,) * 4, photometric=2, extra=(338, 3, (0,))
    )
    inks = np.asarray(rgb.convert("CMYK"))
    tiff(folder / "tiff cmyk.tif", inks.tobytes(), bits=(8,) * 4, photometric=5)
    indexed = rgb.quantize(256)
    colors = np.asarray(indexed.getpalette("RGB") + [0] * 768)[:768].reshape(256, 3).T.ravel()
    for name, scale in (("16", 257), ("8", 1)):
        table = tuple(int(v) * scale for v in colors)
        tiff(
            folder / f"tiff palette of {name} bit colors.tif",
            indexed.tobytes(),
            bits=(8,),
            photometric=3,
            table=(320, 3, table),
        )
    rgb.save(folder / "tiff pages.tif", save_all=True, append_images=[rgb.rotate(180)])
    rgb.save(folder / "tiff jpeg ycbcr.tif", compression="jpeg", quality=95)
    vips(
        "icc_export",
        str(folder / "tiff rgb lzw.tif"),
        str(folder / "tiff cmyk profile.tif"),
        "--output-profile",
        "cmyk",
    )


def by_vips(path: Path, folder: Path) -> np.ndarray:
    out, flat = folder / "vips.png", folder / "flat.png"
    steps = [folder / f"step{i}.v" for i in range(3)]
    vips("autorot", str(path), str(steps[0]))
    has_profile = (
        b"icc-profile-data" in subprocess.run(["vipsheader", "-a", steps[0]], capture_output=True).stdout
    )
    if has_profile:
        vips(
            "icc_transform",
            str(steps[0]),
            str(steps[1]),
            "srgb",
            "--embedded",
            "--intent",
            "relative",
            "--black-point-compensation",
        )
    else:
        vips("colourspace", str(steps[0]), str(steps[1]), "srgb")
    vips("copy", str(steps[1]), str(out))
    has_alpha = Image.open(out).mode in ("RGBA", "LA")
    vips("flatten", str(out), str(flat), "--background", "255") if has_alpha else out.replace(flat)
    return np.asarray(Image.open(flat).convert("RGB"))


def by_imagemagick(path: Path, folder: Path) -> np.ndarray:
    out, profile = folder / "im.png", folder / "srgb.icc"
    profile.write_bytes(SRGB)
    has_profile = (
        subprocess.run(["identify", "-format", "%[profile:icc]", f"{path}[0]"], capture_output=True).stdout
        != b""
    )
    convert = (
        ["-intent", "relative", "-black-point-compensation", "-profile", str(profile)]
        if has_profile
        else ["-colorspace", "sRGB"]
    )
    subprocess.run(
        [
            "convert",
            f"{path}[0]",
            "-auto-orient",
            *convert,
            "-background",
            "white",
            "-flatten",
            "-depth",
            "8",
            f"PNG24:{out}",
        ],
        check=True,
        capture_output=True,
    )
    return np.asarray(Image.open(out).convert("RGB"))


def compared(path: Path, scratch: Path) -> str:
    try:
        ours = np.asarray(images.load(path).image).astype(int)
    except UnreadableImageError as error:
        return f"| {path.stem} | refused: {str(error).partition(': ')[2][:60]} | |"
    cells = []
    for decode in (by_vips, by_imagemagick):
        try:
            theirs = decode(path, scratch).astype(int)
        except (subprocess.CalledProcessError, OSError) as error:
            cells.append(f"can't read it ({(getattr(error, 'stderr', b'') or b'').decode().strip()[-60:]})")
            continue
        if theirs.shape != ours.shape:
            cells.append(f"size {theirs.shape[:2]}, ours {ours.shape[:2]}")
            continue
        gap = abs(theirs - ours)
        cells.append(f"{gap.mean():.2f}, {gap.max()}")
    return f"| {path.stem} | {' | '.join(cells)} |"


def main() -> None:
    with tempfile.TemporaryDirectory() as temporary:
        folder, scratch = Path(sys.argv[1] if len(sys.argv) > 1 else temporary) / "files", Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        write_files(folder)
        print(f"{datetime.date.today()}, mean and largest difference of 255\n")
        print("| variant | libvips | ImageMagick |\n|---|---|---|")
        for path in sorted(folder.iterdir()):
            print(compared(path, scratch))


if __name__ == "__main__":
    main()
