"""Reading of checkpoint files as named tensors, without running code: torch, NumPy, safetensors."""

from __future__ import annotations

import logging
import pickle
import re
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lookalike.errors import CheckpointError, first_line
from lookalike.models.budgets import check_archive, check_tensor
from lookalike.models.checkpoints.tensorflow import is_tensorflow, read_tensorflow
from lookalike.models.mistaken import other_kind
from lookalike.models.saving import load_safetensors
from lookalike.models.wrappers import without_wrappers

# Where the tensors of a training checkpoint lie, beside the epoch, the optimizer and the rest.
# Averaged weights come first: training code evaluates with them.
_INSIDE = (
    "state_dict_ema", "model_ema", "ema_state_dict", "ema_model", "ema",
    "state_dict", "model_state_dict", "model", "net", "network",
)  # fmt: skip

_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Contents:
    """Contents of a checkpoint file."""

    path: Path
    tensors: Mapping[str, Tensor]  # floating ones as fp32; names without those of wrappers
    meta: Mapping[str, Any]  # what the file says of the network besides its tensors; mostly empty

    def some_names(self, n: int = 4) -> str:
        """The first tensor names, for messages."""
        names = sorted(self.tensors)
        return ", ".join(names[:n]) + (f" and {len(names) - n} more" if len(names) > n else "")

    def below(self, prefix: str) -> dict[str, Tensor]:
        """The tensors whose names begin with the prefix, without it."""
        return {name.removeprefix(prefix): t for name, t in self.tensors.items() if name.startswith(prefix)}


def read_checkpoint(path: Path) -> Contents:
    """Read a file by its suffix: ``.npz``, ``.safetensors``, and torch's format for all others.

    TensorFlow's checkpoints are told by what they hold; a bundle is given by its ``.index`` or by what
    the names of its files begin with.

    Raises CheckpointError: unreadable, damaged, no tensors, or objects that only code could make.
    """
    meta: Mapping[str, Any] = {}
    if is_tensorflow(path):
        return Contents(path, {name: _plain(t) for name, t in read_tensorflow(path).items()}, meta)
    match path.suffix.lower():
        case ".npz":
            tensors = _read_numpy(path)
        case ".safetensors":
            tensors = load_safetensors(path)
        case _:
            tensors, meta = _read_torch(path)
    if not tensors:
        raise CheckpointError(f"{path} holds no named tensors; give a state_dict saved with torch.save")
    try:
        for name, tensor in tensors.items():
            check_tensor(name, tensor)
    except ValueError as error:
        raise _damaged(path, error) from error
    tensors = {name: _plain(t) for name, t in without_wrappers(tensors, str(path)).items()}
    return Contents(path, tensors, meta)


def _plain(tensor: Tensor) -> Tensor:
    return tensor.detach().float() if tensor.is_floating_point() else tensor.detach()


def _read_torch(path: Path) -> tuple[dict[str, Tensor], Mapping[str, Any]]:
    content = _unpickle(path)
    if not isinstance(content, Mapping):
        raise CheckpointError(
            f"{path} holds a {type(content).__name__} instead of a mapping from names to tensors; "
            "give a state_dict saved with torch.save"
        )
    meta = content.get("meta")
    found = [key for key in _INSIDE if isinstance(content.get(key), Mapping)]
    if len(found) > 1:
        _logger.warning("%s holds %s; the weights of %s are taken", path, ", ".join(found), found[0])
    inside = content[found[0]] if found else content
    tensors = {str(name): value for name, value in inside.items() if isinstance(value, Tensor)}
    if not tensors or not found:  # several networks in one file, each under its name
        parts = ((name, part) for name, part in inside.items() if isinstance(part, Mapping))
        tensors |= {
            f"{name}.{k}": v for name, part in parts for k, v in part.items() if isinstance(v, Tensor)
        }
    return tensors, meta if isinstance(meta, Mapping) else {}


def _unpickle(path: Path) -> Any:
    """torch.load, restricted to tensors, numbers, strings, containers and NumPy numbers and arrays."""
    try:
        check_archive(path)
        with torch.serialization.safe_globals(_numpy_globals()), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # old files: remarks on storages that change nothing
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        found = re.search(r"GLOBAL ([\w.]+)", str(error))
        if found is None:
            raise _damaged(path, error) from error
        raise CheckpointError(
            f"{path} holds Python objects ({found[1]}) that are not loaded, because loading them can run "
            "code; save the network's state_dict alone and give that file"
        ) from error
    except Exception as error:  # a file from outside can make the unpickler fail in any way
        raise _damaged(path, error) from error


def _numpy_globals() -> list[Any]:
    """Globals in pickles of NumPy numbers and arrays, which checkpoints often keep with the tensors."""
    scalar, array = np.float64(0).__reduce__()[0], np.zeros(0).__reduce__()[0]
    return [
        *((scalar, f"numpy.{core}.multiarray.scalar") for core in ("core", "_core")),
        *((array, f"numpy.{core}.multiarray._reconstruct") for core in ("core", "_core")),
        np.ndarray,
        np.dtype,
        *{type(np.dtype(kind)) for kind in ("bool", "i1", "i2", "i4", "i8", "u1", "f2", "f4", "f8", "U1")},
    ]


def _read_numpy(path: Path) -> dict[str, Tensor]:
    try:
        check_archive(path)
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
    except Exception as error:  # a file from outside can make the zip reader fail in any way
        raise _damaged(path, error) from error
    return {name: torch.tensor(array) for name, array in arrays.items() if array.dtype.kind in "fiub"}


def _damaged(path: Path, error: Exception) -> CheckpointError:
    if other := other_kind(path):
        return CheckpointError(f"{path} holds no weights: it is {other}")
    reason = first_line(error)[:200]
    if reason.startswith("Weights only load failed"):  # torch goes on to advise loading what runs code
        reason = "it holds Python objects that are not loaded, because loading them can run code"
    return CheckpointError(f"{path} can't be read as a checkpoint, it may be damaged: {reason}")
