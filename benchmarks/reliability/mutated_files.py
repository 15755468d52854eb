"""Files of every format, damaged at random: does each end as a picture or as one sentence that names it?

Counts crashes, files that take more than 5 seconds, peak memory, and answers that are neither. A file is
read twice, whole and as ``index`` reads it. Each mutation follows from the seed and its number, so a run
goes on where it stopped: results are appended to a file, and those in it are not made again. Small files that
cost much when they are read as they say, whole and valid, are the last ones ("bomb"). Memory is the
peak over that of the process at rest.

    python benchmarks/reliability/mutated_files.py --files 10000 --results mutated.jsonl

Files like those of ``decoders.py`` (which needs libvips-tools) and a few more are mutated; HEIC too where the
extra ``[heif]`` is installed.
"""

from __future__ import annotations

import argparse
import contextlib
import datetime
import io
import json
import os
import platform
import resource
import select
import struct
import subprocess
import sys
import tempfile
import time
import zlib
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import numpy as np
from decoders import write_files
from PIL import Image

from lookalike import images
from lookalike.errors import UnreadableImageError
from lookalike.images import Preprocessing
from lookalike.images.decoding import decode_file

SLOW_SECONDS = 5.0  # of processor time
DEAD_SECONDS = 60.0  # by the clock, after which a file is given up
MOST_SHOWN = 20  # results that are printed one by one
MAX_MEMORY = 6 * 2**30  # bytes of addresses of the reading process, so that it harms nobody
EXTREMES = (0, 1, 2, 0x7F, 0xFF, 0x7FFF, 0xFFFF, 0x10000, 100_000, 0x7FFFFFFF, 0xFFFFFFFF)
SIDES = (0, 1, 3, 9_000, 12_000, 16_383, 30_000, 65_500, 65_535, 1_000_000, 0x7FFFFFFF, 0xFFFFFFFF)
Random = np.random.Generator


def main() -> None:
    """Run, or go on with, a number of mutations, and print the figures of all results."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--files", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--results", type=Path, default=Path("mutated.jsonl"))
    parser.add_argument("--read", type=Path, help=argparse.SUPPRESS)  # this is the reading process
    arguments = parser.parse_args()
    if arguments.read:
        read_mutants(arguments.read, arguments.seed)
        return
    with tempfile.TemporaryDirectory() as temporary:
        write_originals(Path(temporary))
        folder = Path(temporary) / "files"
        known = {each["number"] for each in results_in(arguments.results)}
        wanted = [*range(arguments.files), *range(-len(BOMBS), 0)]
        missing = [number for number in wanted if number not in known]
        with arguments.results.open("a") as file:
            for result in results_of(missing, folder, arguments.seed):
                file.write(json.dumps(result) + "\n")
                file.flush()
    print_figures([each for each in results_in(arguments.results) if each["number"] < arguments.files])


# --- originals ------------------------------------------------------------------------------------


def write_originals(folder: Path) -> None:
    """Write one small file of each variant that is read, some that compress or repeat more, and the bombs."""
    for place in ("files", "bombs"):
        (folder / place).mkdir()
    for name, make in BOMBS.items():
        (folder / "bombs" / name).write_bytes(make())
    folder = folder / "files"
    write_files(folder)
    y, x = np.mgrid[0:300, 0:400]
    waves = (127 + 60 * np.sin(x / 9) + 60 * np.cos(y / 13)).astype(np.uint8)
    large = Image.fromarray(np.stack([waves, waves.T[:300, :300].repeat(2, 1)[:, :400], 255 - waves], axis=2))
    large.save(folder / "jpeg large.jpg", quality=85, exif=large.getexif())
    large.save(folder / "jpeg large progressive.jpg", quality=85, progressive=True)
    large.save(folder / "tiff large deflate.tif", compression="tiff_adobe_deflate")
    large.convert("1").save(folder / "tiff large fax.tif", compression="group4")
    large.save(folder / "png large.png")
    large.quantize(16).save(folder / "gif large.gif", save_all=True, append_images=[large.rotate(180)])
    large.convert("L").save(folder / "bmp large gray.bmp")
    large.save(folder / "webp large lossless.webp", lossless=True)


def mutant(number: int, originals: list[Path], seed: int) -> tuple[str, str, bytes]:
    """The name of the file, the kind of mutation, and the bytes; negative numbers are those of bombs."""
    if number < 0:
        name = list(BOMBS)[number]
        return f"{number} bomb {name}", "bomb", (originals[0].parents[1] / "bombs" / name).read_bytes()
    random = np.random.default_rng([seed, number])
    original = originals[number % len(originals)]
    kind = list(MUTATIONS)[number // len(originals) % len(MUTATIONS)]
    other = originals[int(random.integers(len(originals)))]
    data = MUTATIONS[kind](bytearray(original.read_bytes()), random, other.read_bytes())
    if data.startswith(b"\x89PNG") and random.random() < 0.7:
        data = with_checksums(data)  # otherwise most damage ends at the checksum
    return f"{number:06d} {original.stem}{original.suffix}", kind, bytes(data)


def flip_bits(data: bytearray, random: Random, _: bytes) -> bytearray:
    """1 to 64 bits, half of the time in the first 512 bytes."""
    end = min(len(data), 512) if random.random() < 0.5 else len(data)
    for _n in range(int(2 ** random.uniform(0, 6))):
        data[int(random.integers(end))] ^= 1 << int(random.integers(8))
    return data


def truncate(data: bytearray, random: Random, _: bytes) -> bytearray:
    """The first part, sometimes with the zeros of a copy that stopped."""
    kept = int(random.integers(len(data)))
    return data[:kept] + (bytes(len(data) - kept) if random.random() < 0.3 else b"")


def splice(data: bytearray, random: Random, other: bytes) -> bytearray:
    """The head of this file, and what follows in another one."""
    at = min(int(2 ** random.uniform(2, 11)), len(data), len(other))
    return data[:at] + other[at:]


def change_numbers(data: bytearray, random: Random, _: bytes) -> bytearray:
    """1 to 4 numbers of 16 or 32 bits near the start or the end become extreme ones."""
    for _n in range(int(random.integers(1, 5))):
        bits, order = random.choice(["H", "I"]), random.choice(["<", ">"])
        near = int(random.integers(min(len(data) - 4, 400)))
        at = near if random.random() < 0.7 else len(data) - 4 - near
        value = EXTREMES[int(random.integers(len(EXTREMES)))]
        struct.pack_into(order + bits, data, at, value & (0xFFFF if bits == "H" else 0xFFFFFFFF))
    return data


def repeat_parts(data: bytearray, random: Random, _: bytes) -> bytearray:
    """A part is left out, or comes up to 2,000 times."""
    start, end = sorted(int(v) for v in random.integers(len(data), size=2))
    times = int(2 ** random.uniform(0, 11)) if random.random() < 0.6 else 0
    return data[:start] + data[start:end] * min(times, 4_000_000 // max(1, end - start)) + data[end:]


def declare_sizes(data: bytearray, random: Random, _: bytes) -> bytearray:
    """The height and the width that the file declares become others, up to the largest."""
    height, width = (SIDES[int(random.integers(len(SIDES)))] for _n in range(2))
    if data.startswith(b"\x89PNG"):
        struct.pack_into(">II", data, 16, width, height)
        return with_checksums(data)
    if data.startswith(b"\xff\xd8"):
        for at in jpeg_frames(data):
            struct.pack_into(">HH", data, at + 5, height & 0xFFFF, width & 0xFFFF)
    elif data.startswith(b"GIF8"):
        struct.pack_into("<HH", data, 6, width & 0xFFFF, height & 0xFFFF)
        at = data.find(b",", 13)
        struct.pack_into("<HH", data, at + 5, width & 0xFFFF, height & 0xFFFF)
    elif data.startswith(b"BM"):
        struct.pack_into("<II", data, 18, width, height)
    elif data[:2] in (b"II", b"MM"):
        declare_in_tiff(data, {256: width, 257: height, 278: height})
    elif data[:4] == b"RIFF":
        at = data.find(b"VP8")
        struct.pack_into("<I", data, at + 9, random.integers(2**32))  # both are packed here, in each variant
        struct.pack_into("<I", data, at + 13, random.integers(2**32))
    elif b"ispe" in data:
        struct.pack_into(">II", data, data.index(b"ispe") + 8, width, height)
    elif data[:1] == b"P":
        first, _size, rest = bytes(data).split(b"\n", 2)
        return bytearray(first + f"\n{width} {height}\n".encode() + rest)
    return data


def declare_in_tiff(data: bytearray, values: dict[int, int]) -> None:
    order = "<" if data[:2] == b"II" else ">"
    (start,) = struct.unpack_from(order + "I", data, 4)
    (n,) = struct.unpack_from(order + "H", data, start)
    for at in range(start + 2, start + 2 + 12 * n, 12):
        (tag,) = struct.unpack_from(order + "H", data, at)
        if tag in values:
            struct.pack_into(order + "HII", data, at + 2, 4, 1, values[tag])


def jpeg_frames(data: bytearray) -> list[int]:
    return [at for at in range(len(data) - 9) if data[at] == 0xFF and 0xC0 <= data[at + 1] <= 0xC2]


def with_checksums(data: bytearray) -> bytearray:
    """A PNG whose chunks have the checksums of what they hold now."""
    at = 8
    while at + 12 <= len(data):
        (length,) = struct.unpack_from(">I", data, at)
        end = at + 8 + length
        if end + 4 > len(data):
            break
        struct.pack_into(">I", data, end, zlib.crc32(data[at + 4 : end]))
        at = end + 4
    return data


MUTATIONS = {
    "bits flipped": flip_bits,
    "truncated": truncate,
    "spliced": splice,
    "extreme numbers": change_numbers,
    "parts repeated": repeat_parts,
    "sizes declared": declare_sizes,
}


# --- small files that cost much -------------------------------------------------------------------


def png_of(width: int, height: int, *chunks: tuple[bytes, bytes]) -> bytes:
    """A white PNG, with more chunks before its pixels."""
    body = zlib.compress((b"\0" + b"\xff" * width) * height, 6)
    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    parts = [(b"IHDR", head), *chunks, (b"IDAT", body), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        for name, data in parts
    )


def saved(size: tuple[int, int], format: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", size, (90, 120, 60)).save(buffer, format, **options)
    return buffer.getvalue()


def many_scans() -> bytes:
    """A progressive JPEG whose last scan comes 2,000 times."""
    data = saved((8_000, 8_000), "JPEG", progressive=True)
    return data[:-2] + data[data.rindex(b"\xff\xda") : -2] * 2_000 + data[-2:]


def many_pages() -> bytes:
    """A TIFF of pages that call themselves reduced versions, the last of which leads to the first."""
    data = bytearray(saved((64, 48), "TIFF", tiffinfo={254: 1}))
    (start,) = struct.unpack_from("<I", data, 4)
    (n,) = struct.unpack_from("<H", data, start)
    struct.pack_into("<I", data, start + 2 + 12 * n, start)
    return bytes(data)


def many_frames() -> bytes:
    frames = [Image.new("P", (900, 900), i % 200) for i in range(300)]
    buffer = io.BytesIO()
    frames[0].save(buffer, "GIF", save_all=True, append_images=frames[1:])
    return buffer.getvalue()


BOMBS = {
    "largest side.png": lambda: png_of(1, 49_999_999),
    "elongated.png": lambda: png_of(67_000_000, 1),
    "most pixels.png": lambda: png_of(12_000, 10_000),
    "texts of zeros.png": lambda: png_of(
        64, 48, *[(b"zTXt", b"a\0\0" + zlib.compress(bytes(2**26), 9))] * 20
    ),
    "profile of zeros.png": lambda: png_of(64, 48, (b"iCCP", b"a\0\0" + zlib.compress(bytes(2**28), 9))),
    "most pixels.jpg": lambda: saved((12_000, 10_000), "JPEG"),
    "many scans.jpg": many_scans,
    "most pixels.webp": lambda: saved((10_950, 10_950), "WEBP", lossless=True, quality=0, method=0),
    "most pixels.tif": lambda: saved((12_000, 10_000), "TIFF", compression="tiff_adobe_deflate"),
    "pages in a circle.tif": many_pages,
    "many frames.gif": many_frames,
    "most pixels.gif": lambda: saved((12_000, 10_000), "GIF"),
}


# --- the reading process --------------------------------------------------------------------------


def read_mutants(folder: Path, seed: int) -> None:
    """Read the mutants whose numbers come by stdin; print a line of JSON before and after each."""
    resource.setrlimit(resource.RLIMIT_AS, (MAX_MEMORY, MAX_MEMORY))
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    with Path(os.devnull).open("wb") as nowhere:  # C libraries print what they think of the files
        os.dup2(nowhere.fileno(), 1)
        os.dup2(nowhere.fileno(), 2)
    originals = sorted(folder.iterdir())
    preprocessing = Preprocessing("crop", (224, 224))
    with tempfile.TemporaryDirectory() as scratch:
        at_rest = memory("VmRSS")
        answers.write("ready\n")
        for line in sys.stdin:
            name, kind, data = mutant(int(line), originals, seed)
            path = Path(scratch) / name
            path.write_bytes(data)
            start = time.process_time()
            Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew
            outcome, words = answer_for(path, preprocessing)
            answers.write(
                json.dumps(
                    {
                        "number": int(line),
                        "format": name.split()[1].split(".")[0],
                        "kind": kind,
                        "outcome": outcome,
                        "words": words.replace(scratch, ""),
                        "seconds": round(time.process_time() - start, 3),
                        "mebibytes": round(memory("VmHWM") - at_rest),
                    }
                )
                + "\n"
            )
            path.unlink()


def answer_for(path: Path, preprocessing: Preprocessing) -> tuple[str, str]:
    """What became of a file: "picture", "refused" or "not named"; and the words, or the size."""
    outcome, words = "picture", ""
    for read in (lambda: images.load(path), lambda: decode_file(str(path), preprocessing)):
        try:
            read()
        except UnreadableImageError as error:
            outcome, words = "refused", str(error)
            is_sentence = words.startswith(f"{path}: ") and words.isprintable() and len(words) < 600
            if not is_sentence:
                return "not named", words
        except Exception as error:
            return "not named", f"{type(error).__name__}: {error}"
    return outcome, words


def memory(field: str) -> float:
    """Resident memory of this process, in MiB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(field))


# --- the process that watches it ------------------------------------------------------------------


def results_of(numbers: list[int], folder: Path, seed: int) -> Any:
    """Yield the result of each number; a process that crashes or hangs is replaced by another."""
    reader = None
    for number in numbers:
        if reader is None:
            command = [sys.executable, __file__, "--read", str(folder), "--seed", str(seed)]
            reader = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
            )
            assert reader.stdout is not None
            if reader.stdout.readline() != "ready\n":
                raise RuntimeError("the reading process can't start; run it alone with --read to see why")
        assert reader.stdin is not None and reader.stdout is not None
        with contextlib.suppress(BrokenPipeError):
            reader.stdin.write(f"{number}\n")
        is_ready = select.select([reader.stdout], [], [], DEAD_SECONDS)[0]
        line = reader.stdout.readline() if is_ready else ""
        if line:
            yield json.loads(line)
            continue
        reader.kill()
        code = reader.wait()
        name, kind, _ = mutant(number, sorted(folder.iterdir()), seed)
        outcome, words = ("crash", f"exit {code}") if is_ready else ("hang", f"over {DEAD_SECONDS:g} s")
        yield {
            "number": number, "format": name.split()[1].split(".")[0], "kind": kind, "outcome": outcome,
            "words": words, "seconds": 0 if is_ready else DEAD_SECONDS, "mebibytes": 0,
        }  # fmt: skip
        reader = None
    if reader is not None:
        reader.communicate()


def results_in(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def print_figures(results: list[dict[str, Any]]) -> None:
    """Print a table by format, and what went wrong."""
    print(f"{datetime.date.today()}, {platform.processor() or platform.machine()}, {len(results):,} files\n")
    by_format: defaultdict[str, list[dict[str, Any]]] = defaultdict(list)
    for each in results:
        by_format[each["format"]].append(each)
    print(
        "| format | files | pictures | refused by name | not named | crashes | over 5 s | slowest, s "
        "| most memory, MiB |"
    )
    print("|---|---|---|---|---|---|---|---|---|")
    for name, some in [*sorted(by_format.items()), ("all", results)]:
        n = Counter(each["outcome"] for each in some)
        slow = sum(each["seconds"] > SLOW_SECONDS for each in some)
        slowest, largest = (max(each[key] for each in some) for key in ("seconds", "mebibytes"))
        print(
            f"| {name} | {len(some):,} | {n['picture']:,} | {n['refused']:,} | {n['not named']} "
            f"| {n['crash']} | {slow} | {slowest:.1f} | {largest:,} |"
        )
    wrong = [r for r in results if r["outcome"] not in ("picture", "refused") or r["seconds"] > SLOW_SECONDS]
    for each in wrong[:MOST_SHOWN]:
        print(json.dumps(each))


if __name__ == "__main__":
    main()
