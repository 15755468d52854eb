"""The sources' checkpoint formats."""

from pathlib import Path

from lookalike.errors import CheckpointError
from lookalike.saved import LoadedModel

SUFFIXES = (".pth", ".pt", ".npz", ".safetensors")


def load_checkpoint(path: Path) -> LoadedModel:
    raise CheckpointError(f"{path}")
