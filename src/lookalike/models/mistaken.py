"""Files that often lie in the place of weights, told by their first bytes."""

from __future__ import annotations

import zipfile
from pathlib import Path


def other_kind(path: Path) -> str:
    """What a file in the place of weights is, and what to do; empty if that is not known."""
    try:
        with path.open("rb") as file:
            start = file.read(64).lstrip()
        if start.startswith(b"version https://git-lfs"):
            return "a pointer of Git LFS; fetch the file with 'git lfs pull'"
        if start.startswith(b"<"):
            return "a page of the web or XML; download the file itself"
        with zipfile.ZipFile(path) as archive:
            if any(name.endswith("/constants.pkl") for name in archive.namelist()):
                return "a TorchScript archive; save the network's state_dict instead"
    except (OSError, zipfile.BadZipFile):
        pass
    return ""
