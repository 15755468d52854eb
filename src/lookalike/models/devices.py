"""The device and the number format that a model runs in."""

from __future__ import annotations

from typing import Literal, get_args

import torch

from lookalike.errors import UnknownNameError, check_name

Precision = Literal["fp32", "bf16", "fp16", "auto"]


def choose_device(device: str | torch.device) -> torch.device:
    """The device of that name; ``auto`` is the GPU where there is one, else the CPU.

    Raises UnknownNameError for a name that torch does not know, and for a GPU that is not there.
    """
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        chosen = torch.device(device)
    except RuntimeError as error:
        raise UnknownNameError(f"device is auto, cpu, cuda, cuda:1 or mps; got {device!r}") from error
    n_gpus = torch.cuda.device_count() if chosen.type == "cuda" else 1
    if (chosen.index or 0) >= n_gpus:
        there = f"has {n_gpus} of them here" if n_gpus else "finds none here"
        raise UnknownNameError(f"device {device} is a GPU, and torch {there}; take auto or cpu")
    return chosen


def autocast_type(precision: Precision) -> torch.dtype | None:
    """The type that products are computed in; None for fp32, the type of the weights."""
    return {"bf16": torch.bfloat16, "fp16": torch.float16}.get(precision)


def choose_precision(precision: Precision, device: torch.device) -> Precision:
    """``fp32``, ``bf16`` or ``fp16``; ``auto`` is bf16 where the device multiplies it natively.

    Raises UnknownNameError for any other name.
    """
    check_name("precision", precision, get_args(Precision))
    if precision != "auto":
        return precision
    if device.type == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported() else "fp32"
    if device.type == "cpu":
        native = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
        return "bf16" if native else "fp32"
    return "fp32"
