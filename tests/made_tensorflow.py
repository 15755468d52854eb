"""TensorFlow checkpoints written for tests, in both forms, and a TF-slim ResNetV2 of small widths."""

import struct
from pathlib import Path

import numpy as np

from lookalike.models.checkpoints.tensorflow import crc32c

MAGIC = struct.pack("<Q", 0xDB4775248B80FB57)
KINDS = {np.dtype("<f4"): 1, np.dtype("<f8"): 2, np.dtype("<i4"): 3, np.dtype("<i8"): 9, np.dtype("<f2"): 19}


def varint(number):
    written = b""
    while number > 127:
        written += bytes([number & 127 | 128])
        number >>= 7
    return written + bytes([number])


def field(number, value):
    """A field of a protocol buffer: a whole number, or bytes."""
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    return varint(number << 3 | 2) + varint(len(value)) + value


def masked(data):
    sum_ = crc32c(data)
    return struct.pack("<I", ((sum_ >> 15 | sum_ << 17) + 0xA282EAD8) & 0xFFFFFFFF)


def shape_of(array):
    return b"".join(field(2, field(1, n)) for n in array.shape)


def table(entries, *, per_block=3):
    """A table of sorted keys and values, with a few entries a block and keys that share beginnings."""
    written, index = b"", []
    for start in range(0, len(entries), per_block):
        part = entries[start : start + per_block]
        handle = varint(len(written)) + varint(len(block(part)))
        written += closed(block(part))
        index.append((part[-1][0], handle))
    meta = varint(len(written)) + varint(len(block([])))
    written += closed(block([]))
    top = varint(len(written)) + varint(len(block(index)))
    written += closed(block(index))
    return written + (meta + top).ljust(40, b"\0") + MAGIC


def block(entries):
    written, before = b"", b""
    for key, value in entries:
        shared = next(
            (i for i, (a, b) in enumerate(zip(key, before, strict=False)) if a != b),
            min(len(key), len(before)),
        )
        written += varint(shared) + varint(len(key) - shared) + varint(len(value)) + key[shared:] + value
        before = key
    return written + struct.pack("<II", 0, 1)


def closed(data):
    return data + b"\0" + masked(data + b"\0")


def write_bundle(prefix, tensors, *, n_shards=1):
    """``prefix.index`` and its data files; tensors go to the files in turn."""
    shards = [b""] * n_shards
    entries = [(b"", field(1, n_shards))]
    for i, (name, array) in enumerate(sorted(tensors.items())):
        data, shard = array.tobytes(), i % n_shards
        entry = field(1, KINDS[array.dtype]) + field(2, shape_of(array)) + field(3, shard)
        entry += field(4, len(shards[shard])) + field(5, len(data))
        entries.append((name.encode(), entry + varint(6 << 3 | 5) + masked(data)))
        shards[shard] += data
    Path(f"{prefix}.index").write_bytes(table(entries))
    for i, data in enumerate(shards):
        Path(f"{prefix}.data-{i:05d}-of-{n_shards:05d}").write_bytes(data)


def write_single(path, tensors):
    """The older form: every tensor's values as numbers one after the other."""
    metas, entries = b"", []
    for name, array in sorted(tensors.items()):
        extents = b"".join(field(1, b"") for _ in array.shape)
        metas += field(
            1,
            field(1, name.encode())
            + field(2, shape_of(array))
            + field(3, KINDS[array.dtype])
            + field(4, extents),
        )
        entry = {"<f4": 5, "<f8": 6, "<i4": 7, "<i8": 10, "<f2": 13}[array.dtype.str]
        if array.dtype.str in ("<f4", "<f8"):
            values = field(entry, array.tobytes())
        else:  # half precision as the bits of each number
            numbers = array.view(np.uint16) if array.dtype == np.float16 else array
            values = field(entry, b"".join(varint(int(number) % 2**64) for number in numbers.ravel()))
        data = field(1, name.encode()) + field(2, extents) + field(3, values)
        entries.append((b"\0\1" + name.encode(), field(2, data)))
    path.write_bytes(table([(b"", field(1, metas)), *entries]))


def slim_tensors(*, units=(1, 2, 1), inner=(4, 6, 8), outer=(12, 20, 28), stem=8, n_outputs=5, seed=0):
    """Tensors of a TF-slim ResNetV2 by their names, random."""
    rng = np.random.default_rng(seed)
    scope, found = "resnet_v2_50", {}

    def norm(name, n):
        found[f"{name}/gamma"] = rng.uniform(0.5, 1.5, n)
        found[f"{name}/beta"] = rng.normal(0, 0.3, n)
        found[f"{name}/moving_mean"] = rng.normal(0, 0.3, n)
        found[f"{name}/moving_variance"] = rng.uniform(0.5, 1.5, n)

    def convolution(name, k, c, d, *, has_bias):
        found[f"{name}/weights"] = rng.normal(0, (k * k * c) ** -0.5, (k, k, c, d))
        if has_bias:
            found[f"{name}/biases"] = rng.normal(0, 0.1, d)
        else:
            norm(f"{name}/BatchNorm", d)

    convolution(f"{scope}/conv1", 7, 3, stem, has_bias=True)
    channels = stem
    for b, (n, middle, width) in enumerate(zip(units, inner, outer, strict=True), start=1):
        for u in range(1, n + 1):
            name = f"{scope}/block{b}/unit_{u}/bottleneck_v2"
            norm(f"{name}/preact", channels)
            if channels != width:
                convolution(f"{name}/shortcut", 1, channels, width, has_bias=True)
            convolution(f"{name}/conv1", 1, channels, middle, has_bias=False)
            convolution(f"{name}/conv2", 3, middle, middle, has_bias=False)
            convolution(f"{name}/conv3", 1, middle, width, has_bias=True)
            channels = width
    norm(f"{scope}/postnorm", channels)
    convolution(f"{scope}/logits", 1, channels, n_outputs, has_bias=True)
    return {name: values.astype(np.float32) for name, values in found.items()}
