"""The options of a saved architecture beside its weights, checked before the network is built."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import timm
import torch
from torch import Tensor

_MOST_NUMBER = 65_536  # widths and sizes
_MOST_REPEATED = 4  # times the numbers of the file: shared weights are stored once
_OF_DEPTH = re.compile(r"depth|layers|blocks|repeat|stages")


def check_architecture(architecture: str, options: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> None:
    """Raise ValueError for options of ``timm.create_model`` that ask for far more than the weights."""
    inner = options.get("config")  # of a model of transformers
    for name, value in (*options.items(), *(inner.items() if isinstance(inner, Mapping) else ())):
        numbers = list(_numbers(value))
        if any(abs(number) > _MOST_NUMBER for number in numbers):
            raise ValueError(
                f"option {name} is {value!r:.100}; numbers of at most {_MOST_NUMBER:,} are taken"
            )
        if _OF_DEPTH.search(name) and sum(numbers) > len(tensors):
            raise ValueError(f"option {name} is {value!r:.100}, and the file holds {len(tensors)} tensors")
    if not options:
        return
    try:
        with torch.device("meta"):
            outline = timm.create_model(architecture, pretrained=False, num_classes=0, **options)
    except Exception:  # building it in earnest says why, or works
        return
    wanted = sum(t.numel() for t in outline.state_dict().values())
    held = sum(t.numel() for t in tensors.values())
    if wanted > _MOST_REPEATED * held:
        raise ValueError(f"its options describe {wanted:,} weights, and the file holds {held:,}")


def _numbers(value: Any) -> list[float]:
    if isinstance(value, bool) or value is None:
        return []
    if isinstance(value, int | float):
        return [value]
    if isinstance(value, Mapping):
        value = list(value.values())
    if isinstance(value, list | tuple):
        return [number for each in value for number in _numbers(each)]
    return []
