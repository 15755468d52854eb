"""Networks for serving: a BatchNorm that follows a convolution becomes part of its weights."""

from __future__ import annotations

import copy
from collections import Counter
from dataclasses import replace
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_weights

from lookalike.models.embedder import Embedder

_TOLERANCE = 1e-5  # of an embedding's length; folding in fp32 moves it by 1e-7 to 2e-6
_MOST_BYTES = 32 * 2**20  # of weights: larger networks spend their time in products, and gain 2 %


@torch.no_grad()  # weights made in inference mode have no gradients pass through them
def folded(embedder: Embedder) -> Embedder:
    """An embedder that gives the same to rounding, with each BatchNorm computed by the convolution before it.

    It has weights of its own. It is the embedder itself for large networks, AVSL models and beyond fp32 on
    the processor, where there is nothing to fold, and where a picture of noise shows that the network does
    something else with its convolutions.
    """
    network = embedder.network
    is_other = network.graph is not None or embedder.precision != "fp32" or embedder.device.type != "cpu"
    if is_other or sum(weights.nbytes for weights in network.parameters()) > _MOST_BYTES:
        return embedder
    if not any(isinstance(module, nn.BatchNorm2d) for module in network.modules()):
        return embedder  # before it is copied: what runs in another library can't be
    noise = torch.rand(1, 3, *embedder.preprocessing.input_size, generator=torch.Generator().manual_seed(0))
    noise = noise.to(memory_format=torch.channels_last)
    copied = copy.deepcopy(network)
    expected, pairs = _run_noting_pairs(copied, noise)
    if not pairs:
        return embedder
    for conv, norm in pairs:
        _fold(conv, norm)
    _replace(copied, {norm: getattr(norm, "act", None) or nn.Identity() for _, norm in pairs})
    gap = float((copied(noise) - expected).norm() / expected.norm().clamp(min=1e-12))
    if not gap <= _TOLERANCE:
        return embedder
    return Embedder.of(replace(embedder.as_loaded(), network=copied), device="cpu")


def _run_noting_pairs(
    network: nn.Module, images: Tensor
) -> tuple[Tensor, list[tuple[nn.Conv2d, nn.BatchNorm2d]]]:
    """The embeddings, and the norms whose input is the output of a convolution, each of which ran once."""
    outputs: dict[int, tuple[nn.Conv2d, Tensor]] = {}  # holds them, so that no other tensor has their id
    pairs: list[tuple[nn.Conv2d, nn.BatchNorm2d]] = []
    ran: Counter[nn.Module] = Counter()

    def after_convolution(conv: nn.Module, _args: Any, output: Tensor) -> None:
        ran[conv] += 1
        outputs[id(output)] = cast(nn.Conv2d, conv), output

    def before_norm(norm: nn.Module, args: tuple[Tensor, ...]) -> None:
        ran[norm] += 1
        if id(args[0]) in outputs:
            pairs.append((outputs[id(args[0])][0], cast(nn.BatchNorm2d, norm)))

    hooks = []
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            hooks.append(module.register_forward_hook(after_convolution))
        elif isinstance(module, nn.BatchNorm2d) and module.running_mean is not None:
            hooks.append(module.register_forward_pre_hook(before_norm))
    try:
        embeddings: Tensor = network(images)
    finally:
        for hook in hooks:
            hook.remove()
    return embeddings, [pair for pair in pairs if all(ran[module] == 1 for module in pair)]


def _fold(conv: nn.Conv2d, norm: nn.BatchNorm2d) -> None:
    assert norm.running_mean is not None and norm.running_var is not None
    conv.weight, conv.bias = fuse_conv_bn_weights(
        conv.weight, conv.bias, norm.running_mean, norm.running_var, norm.eps, norm.weight, norm.bias
    )


def _replace(network: nn.Module, replacements: dict[nn.BatchNorm2d, nn.Module]) -> None:
    for parent in list(network.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, nn.BatchNorm2d) and child in replacements:
                setattr(parent, name, replacements[child])
