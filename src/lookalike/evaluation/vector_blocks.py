"""Embeddings in blocks of rows, from a tensor or from a file that may not fit into memory."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from lookalike.datasets.descriptors import PublishedPart, read_matrix
from lookalike.errors import DatasetError

ROWS = 8192


@dataclass(frozen=True)
class NpyRows:
    """The matrix of a .npy file in C order, read in slices."""

    path: Path
    shape: tuple[int, int]
    dtype: np.dtype[np.generic]
    offset: int  # bytes before the first number

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, part: slice) -> Tensor:
        """Rows as float32; read without a memory map, whose pages would count as memory of the process."""
        start, stop, _ = part.indices(len(self))
        width = self.shape[1]
        start_byte = self.offset + start * width * self.dtype.itemsize
        numbers = np.fromfile(self.path, self.dtype, (stop - start) * width, offset=start_byte)
        return torch.from_numpy(numbers.reshape(-1, width).astype(np.float32, copy=False))


@dataclass(frozen=True, eq=False)
class VectorBlocks:
    """Embeddings (G, D), read in blocks of finite float32 rows."""

    name: str  # for messages
    rows: Tensor | NpyRows

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def width(self) -> int:
        """D."""
        return int(self.rows.shape[1])

    def blocks(self, n_rows: int = ROWS) -> Iterator[Tensor]:
        """Yield (B, D) float32, B at most n_rows, in order. Raises DatasetError for NaN and infinity."""
        for start in range(0, len(self.rows), n_rows):
            block = self.rows[start : start + n_rows].float()
            bad = ~block.isfinite().all(1)
            if bad.any():
                raise DatasetError(
                    f"{self.name} holds NaN or infinity, first in row {start + int(bad.nonzero()[0])}; "
                    "remove or recompute those rows"
                )
            yield block

    def whole(self) -> Tensor:
        """All rows (G, D)."""
        return torch.cat(list(self.blocks()))


def open_vectors(path: str | Path, part: PublishedPart = "db") -> VectorBlocks:
    """Open the rows of a .npy file, left on disk, or of a .npz, .safetensors, .pt or .pkl file.

    Of a .pkl in CSA's layout the ``part`` is read; one of a matrix alone is taken whole. Raises
    LookalikeError for files that can't be read or hold no such array.
    """
    path = Path(path)
    if path.suffix == ".npy":
        try:
            mapped = np.load(path, mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError, EOFError):
            return VectorBlocks(str(path), read_matrix(path, part))  # which says what is wrong
        is_matrix = isinstance(mapped, np.memmap) and mapped.ndim == 2 and mapped.size
        if is_matrix and mapped.dtype.kind in "iuf" and mapped.flags.c_contiguous:
            return VectorBlocks(str(path), NpyRows(path, mapped.shape, mapped.dtype, mapped.offset))
    return VectorBlocks(str(path), read_matrix(path, part))
