"""Serialization of shares for galleries that keep them: half precision, compressed.

An image takes at most 2 N D bytes: 100 cells of width 960 are 192 kB before compression.
"""

from __future__ import annotations

import io
import json

import numpy as np
import torch

from lookalike.types import Geometry, Shares


def pack_shares(shares: Shares) -> bytes:
    """Return shares as a compressed .npz: float16 values divided by the largest magnitude."""
    largest = float(shares.values.abs().max()) or 1.0
    layout = {
        "grid": shares.grid,
        "original_size": shares.geometry.original_size,
        "input_size": shares.geometry.input_size,
        "crop": shares.geometry.crop,
        "largest": largest,
    }
    buffer = io.BytesIO()
    np.savez_compressed(
        buffer,
        values=(shares.values / largest).numpy().astype(np.float16),
        residual=shares.residual.numpy(),
        layout=np.frombuffer(json.dumps(layout).encode(), np.uint8),
    )
    return buffer.getvalue()


def unpack_shares(packed: bytes) -> Shares:
    """Return the shares that ``pack_shares`` packed, float32 with half precision."""
    with np.load(io.BytesIO(packed), allow_pickle=False) as arrays:
        layout = json.loads(arrays["layout"].tobytes())
        values = torch.from_numpy(arrays["values"].astype(np.float32)) * layout["largest"]
        residual = torch.from_numpy(arrays["residual"])
    geometry = Geometry(tuple(layout["original_size"]), tuple(layout["input_size"]), tuple(layout["crop"]))
    return Shares(values, residual, tuple(layout["grid"]), geometry)
