"""BatchNorm by the statistics of a few images, as networks use it in training mode."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn

from lookalike.errors import UnsupportedMethodError
from lookalike.models.network import EmbeddingNetwork


@torch.no_grad()
def with_batch_statistics(network: EmbeddingNetwork, images: Tensor) -> EmbeddingNetwork:
    """A copy whose BatchNorms keep the mean and variance of a batch (B, 3, H, W), normalized images.

    In evaluation mode it then gives for these images what the network gives in training mode. Raises
    UnsupportedMethodError for a network without BatchNorm.
    """
    copied = copy.deepcopy(network)
    norms = [module for module in copied.modules() if isinstance(module, nn.modules.batchnorm._BatchNorm)]
    if not norms:
        raise UnsupportedMethodError(
            f"{network.backbone.architecture} has no BatchNorm, so its maps don't depend on a batch; leave "
            "batch statistics out"
        )
    hooks = [norm.register_forward_pre_hook(_keep_statistics) for norm in norms]
    try:
        copied(images)
    finally:
        for hook in hooks:
            hook.remove()
    return copied


def _keep_statistics(norm: nn.Module, args: tuple[Any, ...]) -> None:
    (values,) = args
    axes = [axis for axis in range(values.ndim) if axis != 1]
    variance, mean = torch.var_mean(values.float(), axes, correction=0)
    norm.running_mean, norm.running_var = mean, variance
