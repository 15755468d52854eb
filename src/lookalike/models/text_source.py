"""Where the text tower of an image-text model lies."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class TextSource:
    """What a library loads a text tower from; that happens when words are first asked for."""

    package: Literal["open_clip", "transformers"]
    name: str  # as the library takes it: an architecture, local-dir:FOLDER, hf-hub:owner/name, a folder
    weights: str | None  # a file or a tag, where the name is an architecture
    image_size: tuple[int, int]  # (H, W) that its image tower takes
