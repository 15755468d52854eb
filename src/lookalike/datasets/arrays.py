"""Files of arrays: reading embeddings and labels, writing rankings."""

from __future__ import annotations

import pickle
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from lookalike.datasets.texts import label_text, read_lines
from lookalike.errors import LookalikeError, first_line, replacing
from lookalike.models.budgets import check_archive, check_array_header, check_tensor
from lookalike.types import Ranking

# What numpy, safetensors and torch raise for a damaged or misnamed file.
_BROKEN = (OSError, ValueError, EOFError, KeyError, RuntimeError, MemoryError, OverflowError, SyntaxError,
           SafetensorError, pickle.UnpicklingError, zipfile.BadZipFile)  # fmt: skip


def read_vectors(path: str | Path) -> Tensor:
    """Read embeddings (items, width) float32 from a .npy, .npz, .safetensors or .pt/.pth file.

    No code in the file is executed. A file of several arrays must hold exactly one of two dimensions.
    Raises LookalikeError, naming the file and what is wrong.
    """
    return _the_matrix(read_arrays(path), Path(path))


def read_arrays(path: str | Path) -> dict[str, Tensor]:
    """Read all numeric arrays of such a file, by name; an array without a name is called ``""``.

    Raises LookalikeError, naming the file and what is wrong.
    """
    path = Path(path)
    arrays = _read_arrays(path)
    try:
        return {name: torch.as_tensor(array) for name, array in arrays.items() if _is_numeric(array)}
    except TypeError as error:
        raise LookalikeError(f"{path} can't be read as {path.suffix}: {error}") from error


def read_labels(path: str | Path) -> tuple[str, ...]:
    """Read the label of each row as text: an array of one dimension, or the lines of a .txt file.

    A file of several arrays must hold exactly one of one dimension. Labels are integers or, in .npy and
    .npz, strings. Raises LookalikeError, naming the file and what is wrong.
    """
    path = Path(path)
    if path.suffix.lower() == ".txt":
        return _lines(path)
    arrays = _read_arrays(path, ".txt")
    vectors = {name: np.asarray(array) for name, array in arrays.items() if np.ndim(array) == 1}
    if len(vectors) != 1:
        shapes = ", ".join(f"{name or 'array'} {np.shape(array)}" for name, array in arrays.items())
        raise LookalikeError(f"{path} should hold one array of labels (items,), got {shapes or 'no array'}")
    labels = next(iter(vectors.values()))
    if labels.dtype.kind not in "iuUSb":
        raise LookalikeError(f"{path} should hold whole numbers or strings as labels, got {labels.dtype}")
    return _named(path, [label_text(label) for label in labels.tolist()])


def write_ranks(path: str | Path, ranking: Ranking, ranks: Tensor | None) -> Path:
    """Write an .npz with ``indices`` (Q, K), ``scores`` (Q, K) and, if given, ``ranks`` (G, Q).

    Returns the path. Raises LookalikeError for another ending, or if the file can't be written.
    """
    path = Path(path)
    if path.suffix != ".npz":
        raise LookalikeError(f"rankings are written as .npz; name the file {path.with_suffix('.npz')}")
    arrays = {"indices": ranking.indices.cpu().numpy(), "scores": ranking.scores.cpu().numpy()}
    if ranks is not None:
        arrays["ranks"] = ranks.numpy()
    with replacing(path) as file:
        np.savez(file, allow_pickle=False, **arrays)
    return path


def _the_matrix(tensors: Mapping[str, Tensor], path: Path) -> Tensor:
    matrices = {name: tensor for name, tensor in tensors.items() if tensor.ndim == 2}
    if len(matrices) != 1:
        shapes = ", ".join(f"{name or 'array'} {tuple(t.shape)}" for name, t in tensors.items())
        raise LookalikeError(
            f"{path} should hold one array of shape (items, width), got {shapes or 'no array'}"
        )
    matrix = next(iter(matrices.values()))
    if not matrix.numel() or matrix.is_complex() or matrix.dtype == torch.bool:
        raise LookalikeError(
            f"{path} should hold real numbers, one row per item; got {tuple(matrix.shape)} of {matrix.dtype}"
        )
    return matrix.float()


def _read_arrays(path: Path, *others: str) -> dict[str, Any]:
    """Arrays and tensors of a file by name; ``others`` are further endings, for the message."""
    if path.suffix.lower() not in _READERS:
        raise LookalikeError(f"{path} should end with one of {', '.join([*_READERS, *others])}")
    if not path.is_file():
        raise LookalikeError(f"there is no file {path}")
    try:
        content = _READERS[path.suffix.lower()](path)
        arrays = dict(content) if isinstance(content, Mapping) else {"": content}
    except (*_BROKEN, TypeError) as error:
        raise LookalikeError(f"{path} can't be read as {path.suffix}: {first_line(error)}") from error
    return {name: array for name, array in arrays.items() if isinstance(array, np.ndarray | Tensor)}


def _is_numeric(array: np.ndarray[Any, Any] | Tensor) -> bool:
    return isinstance(array, Tensor) or array.dtype.kind not in "US"


def _lines(path: Path) -> tuple[str, ...]:
    return _named(path, [label_text(line) for line in read_lines(path)])


def _named(path: Path, labels: list[str]) -> tuple[str, ...]:
    if "" in labels:
        raise LookalikeError(f"{path} has no label in row {labels.index('') + 1}; complete it")
    return tuple(labels)


def _read_numpy(path: Path) -> Any:
    check_archive(path)
    with path.open("rb") as file:  # np.load(path) would leave a damaged .npz open
        if path.suffix.lower() == ".npy":
            check_array_header(file, path.stat().st_size)
            file.seek(0)
        loaded = np.load(file, allow_pickle=False)
        return loaded if isinstance(loaded, np.ndarray) else dict(loaded)


def _read_torch(path: Path) -> Any:
    check_archive(path)
    content = torch.load(path, map_location="cpu", weights_only=True)
    tensors = content if isinstance(content, Mapping) else {"the tensor": content}
    for name, tensor in tensors.items():
        if isinstance(tensor, Tensor):
            check_tensor(str(name), tensor)
    return content


_READERS: dict[str, Callable[[Path], Any]] = {
    ".npy": _read_numpy,
    ".npz": _read_numpy,
    ".safetensors": load_file,
    ".pt": _read_torch,
    ".pth": _read_torch,
}
