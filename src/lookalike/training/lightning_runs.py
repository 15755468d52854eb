"""How Lightning is asked to run: precisions by our names, silence, which process writes."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from lightning.pytorch.utilities.rank_zero import rank_zero_only

PRECISIONS = {"fp32": "32-true", "bf16": "bf16-mixed", "fp16": "16-mixed"}


def is_first() -> bool:
    """Whether this is the process, of several, that writes."""
    return bool(rank_zero_only.rank == 0)


@contextmanager
def quiet_lightning() -> Iterator[None]:
    """No advice from Lightning on a terminal that shows a progress bar."""
    logger = logging.getLogger("lightning.pytorch")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module=r"lightning\..*|torch\..*|tensorboard\..*")
            yield
    finally:
        logger.setLevel(level)
        torch.set_grad_enabled(True)
