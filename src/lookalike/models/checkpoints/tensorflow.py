"""Reading of TensorFlow checkpoints without TensorFlow: tensor bundles, and the older single files.

Both keep named tensors in a sorted table of key and value blocks, the format of LevelDB: a bundle its
table in ``NAME.index``, with the bytes in ``NAME.data-00000-of-00001`` and so on, the older form
everything in one file. Blocks and tensors carry CRC-32C sums, which are checked.
"""

from __future__ import annotations

import math
import re
import struct
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lookalike.errors import CheckpointError, first_line

_MAGIC = struct.pack("<Q", 0xDB4775248B80FB57)  # at the end of a table
_FOOTER = 48  # bytes
_TRAILER = 5  # bytes after a block: its compression and its sum
_MAX_TABLE = 2**31  # bytes; that of a bundle has some kilobytes
_SHARD = re.compile(r"(?P<prefix>.*)\.(index|data-\d{5}-of-\d{5})", re.DOTALL)
_DTYPES = {
    1: "<f4",
    2: "<f8",
    3: "<i4",
    4: "u1",
    6: "i1",
    9: "<i8",
    10: "?",
    19: "<f2",
}  # TensorFlow's numbers
_VALUES = {
    "<f4": 5,
    "<f8": 6,
    "<i4": 7,
    "u1": 7,
    "i1": 7,
    "<i8": 10,
    "?": 11,
    "<f2": 13,
}  # where a tensor keeps its values
_MAX_KEY = 4096  # bytes; keys repeat the one before, so that a small file could ask for gigabytes
_MAX_ENTRIES = 100_000
# What the readers below raise for damaged files, TypeError and AttributeError for a number in place of bytes.
_BROKEN = (
    OSError, ValueError, LookupError, RuntimeError, struct.error, ArithmeticError, MemoryError, TypeError,
    AttributeError,
)  # fmt: skip
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5  # wire types of protocol buffers


def is_tensorflow(path: Path) -> bool:
    """Whether a path is a table of TensorFlow, one of a bundle's files, or what their names begin with."""
    if path.with_name(path.name + ".index").is_file() or _is_data_shard(path):
        return True
    try:
        with path.open("rb") as file:
            if file.seek(0, 2) < _FOOTER:
                return False
            file.seek(-len(_MAGIC), 2)
            return file.read() == _MAGIC
    except OSError:
        return False


def read_tensorflow(path: Path) -> dict[str, Tensor]:
    """All numeric tensors of a checkpoint by name, floating ones as they are.

    ``path`` is one of a bundle's files or what their names begin with, or a file of the older form.
    Raises CheckpointError for a file that is missing, damaged or compressed.
    """
    found = _SHARD.fullmatch(path.name)
    prefix = path.with_name(found["prefix"]) if found else path
    index = prefix.with_name(prefix.name + ".index")
    try:
        if index.is_file():
            return _read_bundle(prefix, index)
        return _read_single(path)
    except CheckpointError:
        raise
    except _BROKEN as error:
        raise CheckpointError(
            f"{path} can't be read as a TensorFlow checkpoint, it may be damaged: {first_line(error)[:200]}"
        ) from error


def _is_data_shard(path: Path) -> bool:
    found = _SHARD.fullmatch(path.name)
    return found is not None and path.with_name(f"{found['prefix']}.index").is_file()


# --- the two forms ------------------------------------------------------------------------------


def _read_bundle(prefix: Path, index: Path) -> dict[str, Tensor]:
    table = dict(_entries(index))
    n_shards = _last(_fields(table.pop(b"", b"")), 1, 1)
    tensors: dict[str, Tensor] = {}
    left: dict[Path, int] = {}  # bytes of each file that no tensor has claimed
    for key, value in table.items():
        fields = _fields(value)
        dtype, shape = _DTYPES.get(_last(fields, 1, 0)), _shape(_last(fields, 2, b""))
        if dtype is None or 7 in fields:  # strings, and tensors in slices
            continue
        shard = prefix.with_name(f"{prefix.name}.data-{_last(fields, 3, 0):05d}-of-{n_shards:05d}")
        if not shard.is_file():
            raise CheckpointError(
                f"{index} needs {shard.name} beside it, which is not there; copy both files"
            )
        n_bytes = np.dtype(dtype).itemsize * math.prod(shape)
        left[shard] = left.get(shard, shard.stat().st_size) - n_bytes
        if left[shard] < 0:
            raise ValueError(f"its tensors overlap: they have more bytes than {shard.name}")
        data = _read_at(shard, _last(fields, 4, 0), n_bytes)
        _check_sum(data, _last(fields, 6, b""), f"{key.decode()} in {shard}")
        tensors[key.decode()] = _tensor(np.frombuffer(data, dtype), shape)
    return tensors


def _read_single(path: Path) -> dict[str, Tensor]:
    table = list(_entries(path))
    known = _described(next((value for key, value in table if not key), b""))
    tensors: dict[str, Tensor] = {}
    for key, value in table:
        for saved in _fields(value).get(2, ()) if key else ():
            fields = _fields(saved)
            name = _last(fields, 1, b"").decode()
            if any(_fields(extent) for extent in _fields(_last(fields, 2, b"")).get(1, ())):
                raise CheckpointError(f"{path} holds only a slice of {name}; save it whole")
            if name in known:
                dtype, shape = known[name]
                tensors[name] = _tensor(_values(_fields(_last(fields, 3, b"")), dtype), shape)
    if missing := sorted(set(known) - set(tensors)):
        raise CheckpointError(
            f"{path} names {len(missing)} tensors that it lacks, e.g. {missing[0]}; copy it again"
        )
    return tensors


def _described(meta: bytes) -> dict[str, tuple[str, tuple[int, ...]]]:
    """Type and shape of each numeric tensor of a single file."""
    saved = [_fields(each) for part in _fields(meta).get(1, ()) for each in _fields(part).get(1, ())]
    return {
        _last(each, 1, b"").decode(): (_DTYPES[_last(each, 3, 0)], _shape(_last(each, 2, b"")))
        for each in saved
        if _last(each, 3, 0) in _DTYPES
    }


def _values(content: Mapping[int, list[Any]], dtype: str) -> np.ndarray[Any, Any]:
    """A tensor's values as they were written: its bytes, or numbers one after the other."""
    if raw := _last(content, 4, b""):
        return np.frombuffer(raw, dtype)
    found: list[np.ndarray[Any, Any]] = [np.zeros(0, dtype)]
    for each in content.get(_VALUES[dtype], ()):
        if isinstance(each, bytes) and dtype in ("<f4", "<f8"):
            found.append(np.frombuffer(each, dtype))
            continue
        numbers = np.array([each] if isinstance(each, int) else list(_varints(each)), np.int64)
        # of half precision the bits are written as a number
        found.append(numbers.astype("<u2").view(dtype) if dtype == "<f2" else numbers.astype(dtype))
    return np.concatenate(found)


def _tensor(values: np.ndarray[Any, Any], shape: tuple[int, ...]) -> Tensor:
    return torch.from_numpy(values.copy()).reshape(shape)


# --- tables -------------------------------------------------------------------------------------


def _entries(path: Path) -> Iterator[tuple[bytes, bytes]]:
    """The keys and values of a table, in order."""
    size = path.stat().st_size
    if size > _MAX_TABLE:
        raise CheckpointError(f"{path} has {size:,} bytes, more than a table of TensorFlow; check the path")
    table = path.read_bytes()
    if table[-len(_MAGIC) :] != _MAGIC:
        raise ValueError("it does not end as a table does")
    position = len(table) - _FOOTER
    _, position = _handle(table, position)  # of the meta index, which is empty
    (offset, length), _ = _handle(table, position)
    n_entries, last = 0, b""
    for _key, handle in _block(table, offset, length):
        (offset, length), _ = _handle(handle, 0)
        for key, value in _block(table, offset, length):
            if n_entries and key <= last:
                raise ValueError("the keys of its table are not in order")
            n_entries, last = n_entries + 1, key
            if n_entries > _MAX_ENTRIES:
                raise ValueError(f"its table has more than {_MAX_ENTRIES:,} entries")
            yield key, value


def _block(table: bytes, offset: int, length: int) -> Iterator[tuple[bytes, bytes]]:
    """The keys and values of a block; each key says how much of the one before it begins with."""
    if offset + length + _TRAILER > len(table) or length < 4:
        raise ValueError("a block lies beyond the end")
    block = table[offset : offset + length]
    if table[offset + length] != 0:
        raise CheckpointError(
            "the checkpoint's table is compressed, which TensorFlow never does; save it again"
        )
    end = offset + length + 1
    _check_sum(table[offset:end], table[end : end + 4], "a block of the table")
    (n_restarts,) = struct.unpack_from("<I", block, length - 4)
    end, position, key = length - 4 * (n_restarts + 1), 0, b""
    while position < end:
        shared, position = _varint(block, position)
        own, position = _varint(block, position)
        n_value, position = _varint(block, position)
        if position + own + n_value > end or shared > len(key) or shared + own > _MAX_KEY:
            raise ValueError("an entry lies beyond the end of its block")
        key = key[:shared] + block[position : position + own]
        position += own + n_value
        yield key, block[position - n_value : position]


def _handle(data: bytes, position: int) -> tuple[tuple[int, int], int]:
    offset, position = _varint(data, position)
    length, position = _varint(data, position)
    return (offset, length), position


def _read_at(path: Path, offset: int, n_bytes: int) -> bytes:
    if offset + n_bytes > path.stat().st_size:
        raise ValueError(f"{path.name} ends before a tensor does")
    with path.open("rb") as file:
        file.seek(offset)
        return file.read(n_bytes)


# --- protocol buffers ---------------------------------------------------------------------------


def _fields(message: bytes) -> dict[int, list[Any]]:
    """The values of each field by its number: whole numbers, and everything else as bytes."""
    found: dict[int, list[Any]] = {}
    position = 0
    value: Any
    while position < len(message):
        tag, position = _varint(message, position)
        kind = tag & 7
        if kind == _VARINT:
            value, position = _varint(message, position)
        elif kind in (_FIXED32, _FIXED64, _BYTES):
            length = {_FIXED32: 4, _FIXED64: 8}.get(kind, 0)
            if kind == _BYTES:
                length, position = _varint(message, position)
            if position + length > len(message):
                raise ValueError("a field lies beyond the end of its message")
            value = message[position : position + length]
            position += length
        else:
            raise ValueError(f"wire type {kind} is unknown")
        found.setdefault(tag >> 3, []).append(value)
    return found


def _last(fields: Mapping[int, list[Any]], number: int, default: Any) -> Any:
    return fields[number][-1] if number in fields else default


def _shape(message: bytes) -> tuple[int, ...]:
    sizes = tuple(_last(_fields(dim), 1, 0) for dim in _fields(message).get(2, ()))
    if math.prod(sizes) > _MAX_TABLE:
        raise ValueError(f"a tensor of {sizes} is too large")
    return sizes


def _varint(data: bytes, position: int) -> tuple[int, int]:
    value = shift = 0
    while shift < 64:
        byte = data[position]
        value |= (byte & 127) << shift
        position, shift = position + 1, shift + 7
        if byte < 128:
            return value, position
    raise ValueError("a number has no end")


def _varints(data: bytes) -> Iterator[int]:
    position = 0
    while position < len(data):
        value, position = _varint(data, position)
        yield value - 2**64 if value >= 2**63 else value


# --- sums ---------------------------------------------------------------------------------------

_POLYNOMIAL = 0x82F63B78  # of CRC-32C, Castagnoli, bits reversed
_MASK = 0xA282EAD8  # TensorFlow turns and shifts its sums
_MIN_CHUNK, _MAX_CHUNKS = 64, 4096  # bytes; chunks are summed side by side


def crc32c(data: bytes) -> int:
    """CRC-32C of some bytes.

    >>> hex(crc32c(b"123456789"))
    '0xe3069283'
    """
    n_chunks = min(_MAX_CHUNKS, len(data) // _MIN_CHUNK)
    length = len(data) // n_chunks if n_chunks else 0
    whole = n_chunks * length
    total = 0xFFFFFFFF
    if whole:
        columns = np.frombuffer(data, np.uint8, whole).reshape(n_chunks, length).T.astype(np.uint32)
        sums = np.zeros(n_chunks, np.uint32)
        for column in columns:
            sums = _TABLE[(sums ^ column) & 255] ^ (sums >> np.uint32(8))
        shift = _shift_by(length)
        for chunk in sums.tolist():
            total = _applied(shift, total) ^ chunk
    for byte in data[whole:]:
        total = int(_TABLE[(total ^ byte) & 255]) ^ (total >> 8)
    return total ^ 0xFFFFFFFF


def _check_sum(data: bytes, stored: bytes, what: str) -> None:
    sum_ = crc32c(data)
    masked = ((sum_ >> 15 | sum_ << 17) + _MASK) & 0xFFFFFFFF
    if stored and masked != int.from_bytes(stored, "little"):
        raise CheckpointError(f"{what} is damaged: its sum is not the one that was stored; copy it again")


def _make_table() -> np.ndarray[Any, np.dtype[np.uint32]]:
    table = np.arange(256, dtype=np.uint32)
    for _ in range(8):
        table = np.where(table & 1, table >> 1 ^ np.uint32(_POLYNOMIAL), table >> 1).astype(np.uint32)
    return table


_TABLE = _make_table()


def _shift_by(n_bytes: int) -> list[int]:
    """What n zero bytes make of each bit of a sum: the columns of a matrix over two elements."""
    power = [int(_TABLE[1 << i]) if i < 8 else 1 << (i - 8) for i in range(32)]  # of one byte
    result = [1 << i for i in range(32)]
    while n_bytes:
        if n_bytes & 1:
            result = [_applied(power, column) for column in result]
        power = [_applied(power, column) for column in power]
        n_bytes >>= 1
    return result


def _applied(columns: list[int], value: int) -> int:
    total = 0
    while value:
        lowest = value & -value
        total ^= columns[lowest.bit_length() - 1]
        value ^= lowest
    return total
