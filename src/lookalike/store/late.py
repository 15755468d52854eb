"""Packages whose ``__init__`` runs when it is asked for something, and not before."""

from __future__ import annotations

import sys
import threading
from importlib.util import find_spec, module_from_spec
from typing import Any


def import_late(name: str) -> None:
    """Let an installed package run its ``__init__`` only when one of its names is asked for.

    Its modules are imported as ever, by those who import them. Without effect on a package that is imported
    already, or that is not installed.
    """
    spec = None if name in sys.modules else find_spec(name)
    if spec is None or spec.loader is None:
        return
    module, run = module_from_spec(spec), spec.loader.exec_module
    turn, is_run = threading.RLock(), False

    def value(attribute: str) -> Any:
        nonlocal is_run
        with turn:
            if not is_run:
                is_run = True  # before, for modules that it imports may look back
                run(module)
        if attribute not in vars(module):
            raise AttributeError(f"module {name!r} has no attribute {attribute!r}")
        return vars(module)[attribute]

    module.__getattr__ = value  # type: ignore[method-assign]  # PEP 562
    sys.modules[name] = module
