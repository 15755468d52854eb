"""Weights of BN-Inception as pretrained-models.pytorch, by Cadene, publishes them."""

from __future__ import annotations

import re
from collections.abc import Mapping

import torch
from torch import Tensor


def published_weights(weights: Mapping[str, Tensor], *_model: object) -> dict[str, Tensor]:
    """Weights as files of pretrained-models.pytorch hold them, with all that this version of torch wants.

    The older files have BatchNorm of shape (1, C), and none counts batches.
    """
    plain = {name: t.flatten() if "_bn." in name else t for name, t in weights.items()}
    norms = {match[1] for name in plain if (match := re.fullmatch(r"(.*_bn)\.running_mean", name))}
    counts = {f"{name}.num_batches_tracked": torch.tensor(0) for name in norms}
    return {**counts, **{n: t.reshape(()) if n.endswith("tracked") else t for n, t in plain.items()}}
