"""Restricted unpickling: builtin containers, numbers, strings and NumPy arrays, without running code.

For ground truth and features that are published as ``.pkl``. Any other class or function that a pickle
names is refused before it is looked up. NumPy's own constructors are replaced, because they trust the
type flags in the file, which a hostile file can set so that bytes are read as object pointers. What is
made is bounded by the size of the file: a few bytes can otherwise ask for gigabytes.
"""

from __future__ import annotations

import os
import pickle
import struct
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO, Any, ClassVar

import numpy as np

from lookalike.errors import DatasetError, first_line

_PLAIN_KINDS = "biufcSU"  # bool, integers, floats, complex, bytes, text: data without pointers
_LARGEST_FACTOR = (
    16  # bytes made, or elements when repeated parts are counted each time, for a byte of the file
)
_SPARE = 1 << 16  # for tiny files
_ELEMENT = 16  # what an element of a set counts for, in bytes


def read_pickle(path: Path) -> Any:
    """Read the object in a pickle file of any protocol, Python 2 included (its byte strings become str).

    Raises DatasetError for a missing or damaged file, and for one that holds anything but plain data.
    """
    return _read(path, _unpickled)


def read_pickled_array(path: Path) -> Any:
    """Read the object that ``numpy.save`` pickled into a ``.npy`` file, such as a dict.

    Raises DatasetError as `read_pickle`, and for an array of another shape or of numbers.
    """
    return _read(path, _unpickled_array)


def _read(path: Path, reader: Callable[[IO[bytes]], Any]) -> Any:
    try:
        with path.open("rb") as file:
            return reader(file)
    except _ForbiddenName as error:
        raise DatasetError(
            f"{path} holds Python objects ({error}) that are not loaded, because loading them can run code; "
            "save lists, dicts, numbers, strings and NumPy arrays only"
        ) from error
    except OSError as error:
        raise DatasetError(f"{path} can't be read: {error.strerror}; check the path") from error
    except Exception as error:  # a file from outside can make the unpickler fail in any way
        raise DatasetError(
            f"{path} can't be read as a pickle, it may be damaged: {first_line(error)[:200]}; fetch it again"
        ) from error


def _unpickled(file: IO[bytes]) -> Any:
    limit = _LARGEST_FACTOR * os.fstat(file.fileno()).st_size + _SPARE
    content = _Restricted(file, limit).load()
    _check_repetition(content, limit)
    return content


def _check_repetition(content: Any, limit: int) -> None:
    """Refuse content that is small in the file and huge once repeated parts are written out."""
    count, rest = 0, [content]
    while rest:
        item = rest.pop()
        if isinstance(item, Mapping):
            parts: Any = [*item.keys(), *item.values()]
        elif isinstance(item, list | tuple | set | frozenset):
            parts = item
        elif isinstance(item, np.ndarray) and item.dtype.kind == "O":
            parts = item.reshape(-1).tolist()
        else:
            count += item.size if isinstance(item, np.ndarray) and not item.itemsize else 1
            parts = ()
        count += len(parts)
        if count > limit:
            raise _TooMuch
        rest.extend(parts)


def _unpickled_array(file: IO[bytes]) -> Any:
    version = np.lib.format.read_magic(file)
    read_header = {
        (1, 0): np.lib.format.read_array_header_1_0,
        (2, 0): np.lib.format.read_array_header_2_0,
    }[version]
    shape, _, dtype = read_header(file)
    if shape != () or not dtype.hasobject:
        raise pickle.UnpicklingError(f"it is an array of {dtype} of shape {shape}, not one object")
    return _unpickled(file).item()


class _ForbiddenName(pickle.UnpicklingError):
    """A pickle names something that is not plain data; the message is the name."""


class _TooMuch(pickle.UnpicklingError):
    """A pickle asks for much more than its size."""

    def __init__(self) -> None:
        super().__init__(f"its content is more than {_LARGEST_FACTOR} times as large as the file")


def _load_bytearray(unpickler: Any) -> None:
    (n_bytes,) = struct.unpack("<Q", unpickler.read(8))
    unpickler.append(bytearray(unpickler.read(n_bytes)))  # the inherited one reserves before it reads


class _Restricted(pickle._Unpickler):  # in Python: the C one reserves what a file asks for, unchecked
    def __init__(self, file: IO[bytes], limit: int) -> None:
        super().__init__(file, encoding="latin1")
        self._left = limit

    def find_class(self, module: str, name: str) -> Any:
        """Return the safe replacement of a name, or raise _ForbiddenName."""
        try:
            return _Maker(_MAKERS[module, name], self._spend)
        except KeyError:
            raise _ForbiddenName(f"{module}.{name}") from None

    def _spend(self, n_bytes: int) -> None:
        self._left -= n_bytes
        if self._left < 0:
            raise _TooMuch

    dispatch: ClassVar = {**pickle._Unpickler.dispatch, pickle.BYTEARRAY8[0]: _load_bytearray}


class _Maker:
    """A function that a pickle can call but not modify; ``spend`` is told the bytes that it makes."""

    __slots__ = ("_function", "_spend")
    _function: Callable[..., Any]
    _spend: Callable[[int], None]

    def __init__(self, function: Callable[..., Any], spend: Callable[[int], None]) -> None:
        object.__setattr__(self, "_function", function)
        object.__setattr__(self, "_spend", spend)

    def __call__(self, *arguments: Any) -> Any:
        made = self._function(*arguments)
        self._spend(_size_of(made))
        if isinstance(made, _Array):
            made.spend = self._spend
        return made

    def __setattr__(self, name: str, value: Any) -> None:
        raise pickle.UnpicklingError(f"a pickle can't set {name} here")

    def __setstate__(self, state: Any) -> None:
        raise pickle.UnpicklingError("a pickle can't modify the functions it is read with")


class _DType:
    """A dtype given by its code and byte order only, without the flags that NumPy would trust."""

    __slots__ = ("_plain",)

    def __init__(self, code: str) -> None:
        dtype = np.dtype(str(code))
        if dtype.kind not in _PLAIN_KINDS + "O" or dtype.names or dtype.subdtype:
            raise pickle.UnpicklingError(f"arrays of {dtype} are not plain data")
        self._plain = dtype

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        order, subtype, names = state[1], state[2], state[3]
        if subtype is not None or names is not None or order not in ("<", ">", "|", "="):
            raise pickle.UnpicklingError("arrays of records are not plain data")
        self._plain = self._plain.newbyteorder(order)

    @property
    def plain(self) -> np.dtype[Any]:
        return self._plain


class _Array(np.ndarray[Any, np.dtype[Any]]):
    """An array whose contents are set by the pickle's next step, and checked before NumPy uses them."""

    spend: Callable[[int], None]

    def __setstate__(self, state: Any, /) -> None:
        _, shape, dtype, fortran, content = state[-5:]
        if dtype.plain.kind == "O":
            _check_objects(shape, content)
        else:
            content = _bytes(content)
            self.spend(len(content))
        super().__setstate__((1, tuple(shape), dtype.plain, bool(fortran), content))  # type: ignore[arg-type]


def _check_objects(shape: tuple[int, ...], content: Any) -> None:
    if not isinstance(content, list) or int(np.prod(shape, dtype=np.float64)) != len(content):
        raise pickle.UnpicklingError(f"an array of shape {shape} does not come with as many objects")


def _bytes(content: Any = b"") -> bytes:
    if isinstance(content, str):  # Python 2's bytes, see encoding above
        return content.encode("latin1")
    return content if isinstance(content, bytes) else bytes(memoryview(content))


def _size_of(made: Any) -> int:
    """Bytes of what a function made, about."""
    if isinstance(made, set | frozenset):
        return _ELEMENT * len(made)
    if isinstance(made, np.ndarray):
        return int(made.nbytes)
    return len(made) if isinstance(made, bytes | bytearray) else 0


def _dtype(code: str, *_alignment_and_copy: Any) -> _DType:
    return _DType(code)


def _empty_array(*_subtype_shape_code: Any) -> _Array:
    return np.ndarray.__new__(_Array, (0,), np.int8)


def _array_of_buffer(content: Any, dtype: _DType, shape: tuple[int, ...], order: str) -> Any:
    return np.frombuffer(_bytes(content), _no_objects(dtype)).reshape(tuple(shape), order=order)  # type: ignore[call-overload]


def _scalar(dtype: _DType, content: Any = b"") -> Any:
    return np.frombuffer(_bytes(content), _no_objects(dtype), count=1)[0]


def _no_objects(dtype: _DType) -> np.dtype[Any]:
    if dtype.plain.kind == "O":
        raise pickle.UnpicklingError("objects can't be made from bytes")
    return dtype.plain


def _encoded(text: str, encoding: str = "latin1") -> bytes:
    if encoding not in ("latin1", "latin-1"):
        raise pickle.UnpicklingError(f"strings are not encoded as {encoding}")
    return text.encode("latin1")


def _bytearray(content: Any = b"", encoding: str = "latin1") -> bytearray:
    return bytearray(_encoded(content, encoding) if isinstance(content, str) else _bytes(content))


def _makers() -> Mapping[tuple[str, str], Callable[..., Any]]:
    makers: dict[tuple[str, str], Callable[..., Any]] = {("_codecs", "encode"): _encoded}
    for module in ("builtins", "__builtin__"):
        makers |= {(module, kind.__name__): kind for kind in (set, frozenset, complex)}
        makers[module, "bytes"] = _bytes
        makers[module, "bytearray"] = _bytearray
    for core in ("numpy.core", "numpy._core"):
        makers[f"{core}.multiarray", "_reconstruct"] = _empty_array
        makers[f"{core}.multiarray", "scalar"] = _scalar
        makers[f"{core}.numeric", "_frombuffer"] = _array_of_buffer
    makers["numpy", "ndarray"] = _empty_array
    makers["numpy", "dtype"] = _dtype
    return makers


_MAKERS = _makers()
