"""HEIF by an installed plugin (extra ``[heif]``), registered when the first such file is read."""

from __future__ import annotations

import importlib

from PIL import Image

_PLUGINS = ("pillow_heif", "pi_heif")  # the second only reads, which is enough here


def registered_heif() -> bool:
    """Whether HEIF files can be read; registers a plugin with Pillow if one is installed."""
    for name in _PLUGINS:
        if "HEIF" in Image.OPEN:
            break
        try:
            importlib.import_module(name).register_heif_opener()
        except ImportError:
            continue
    return "HEIF" in Image.OPEN
