"""Bounds on what files of arrays and models may ask for, checked before anything is allocated."""

from __future__ import annotations

import math
import zipfile
from pathlib import Path
from typing import IO

import numpy as np
import torch
from torch import Tensor

_FREE_BYTES = 256 * 2**20  # that any archive may expand to
_MOST_EXPANSION = 50  # times its size; arrays of numbers compress by 2 to 10


def check_archive(path: Path) -> None:
    """Raise ValueError for a zip archive (.npz, torch's files) that expands to many times its size."""
    if not zipfile.is_zipfile(path):
        return
    with zipfile.ZipFile(path) as archive:
        entries = archive.infolist()
        expanded = sum(entry.file_size for entry in entries)
        size = path.stat().st_size
        if expanded > max(_FREE_BYTES, _MOST_EXPANSION * size):
            raise ValueError(
                f"its {size:,} bytes expand to {expanded:,}; if that is meant, save it without compression"
            )
        for entry in entries:
            if entry.filename.endswith(".npy"):
                with archive.open(entry) as member:
                    check_array_header(member, entry.file_size)


def check_array_header(file: IO[bytes], size: int) -> None:
    """Raise ValueError where a .npy of so many bytes announces more numbers than it holds."""
    version = np.lib.format.read_magic(file)
    read = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
    if version not in read:
        return  # version 3 is for names of fields, which are refused later
    shape, _, dtype = read[version](file)
    if any(side < 0 for side in shape) or math.prod(shape) * dtype.itemsize > size:
        raise ValueError(f"it announces {shape} of {dtype} and holds {size:,} bytes")


def check_tensor(name: str, tensor: Tensor) -> None:
    """Raise ValueError for a tensor that is not dense, or repeats its numbers to look larger than it is."""
    if tensor.layout is not torch.strided or tensor.is_quantized or tensor.device.type == "meta":
        raise ValueError(f"{name} is no dense tensor")
    if tensor.numel() * tensor.element_size() > tensor.untyped_storage().nbytes():
        raise ValueError(f"{name} announces {tuple(tensor.shape)} and holds fewer numbers")
