"""Modules that one module uses and another one owns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, TypeVar

from torch import nn

Module = TypeVar("Module", bound=nn.Module)


@dataclass(frozen=True)
class Borrowed(Generic[Module]):
    """A module kept as a plain attribute of another, so that torch does not register it there.

    Registered twice, its weights would appear twice in ``parameters()`` and ``state_dict()``; its
    owner alone moves, saves and trains them.
    """

    module: Module
