"""The device and the number format that a model runs in."""

from __future__ import annotations

from typing import Literal, get_args

import torch

from lookalike.errors import check_name

Precision = Literal["fp32", "bf16", "auto"]


def choose_device(device: str | torch.device) -> torch.device:
    """The device of that name; ``auto`` is the GPU where there is one, else the CPU."""
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    return torch.device(device)


def choose_precision(precision: Precision, device: torch.device) -> Precision:
    """``fp32`` or ``bf16``; ``auto`` is bf16 where the device multiplies it natively.

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
