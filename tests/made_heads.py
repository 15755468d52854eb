"""Heads with random weights, one of every kind that an embedder may have: name to width -> head."""

import torch
from torch import nn

from lookalike.models.heads import L2Norm
from lookalike.models.whitening import whitening


def linear(c, d, bias=True):
    layer = nn.Linear(c, d, bias=bias)
    generator = torch.Generator().manual_seed(c * 100 + d)
    for parameter in layer.parameters():
        parameter.data = torch.randn(parameter.shape, generator=generator) / c**0.5
    return layer.requires_grad_(False)


def batch_norm(norm):
    generator = torch.Generator().manual_seed(norm.num_features)
    for tensor in (norm.weight.data, norm.bias.data, norm.running_mean):
        tensor.copy_(torch.randn(tensor.shape, generator=generator))
    norm.running_var.copy_(torch.rand(norm.running_var.shape, generator=generator) + 0.2)
    return norm.requires_grad_(False)


def layer_norm(c, **options):
    norm = nn.LayerNorm(c, **options)
    norm.weight.data = torch.linspace(-1, 2, c)
    if norm.bias is not None:
        norm.bias.data = torch.linspace(0.5, -0.5, c)
    return norm.requires_grad_(False)


def pca(c):
    return whitening(torch.randn(40, c, generator=torch.Generator().manual_seed(3)), min(c - 1, 5))


HEADS = {
    "none": lambda c: nn.Sequential(),
    "affine": lambda c: nn.Sequential(linear(c, 4)),
    "affine without bias": lambda c: nn.Sequential(linear(c, 9, bias=False)),
    "BatchNorm": lambda c: nn.Sequential(batch_norm(nn.BatchNorm1d(c, eps=1e-3))),
    "LayerNorm": lambda c: nn.Sequential(layer_norm(c, eps=1e-6)),
    "LayerNorm without bias": lambda c: nn.Sequential(layer_norm(c, bias=False)),
    "L2": lambda c: nn.Sequential(L2Norm()),
    "L2 with floor": lambda c: nn.Sequential(L2Norm(eps=1e-6)),
    "PCA whitening": lambda c: nn.Sequential(pca(c)),
    "ReLU MLP": lambda c: nn.Sequential(linear(c, 11), nn.ReLU(), linear(11, 4)),
    "ReLU MLP in place": lambda c: nn.Sequential(linear(c, 11), nn.ReLU(inplace=True), linear(11, 4)),
    "GELU MLP": lambda c: nn.Sequential(linear(c, 11), nn.GELU(), linear(11, 4)),
    "chain of all": lambda c: nn.Sequential(
        L2Norm(),
        pca(c),
        L2Norm(),
        linear(min(c - 1, 5), 11),
        batch_norm(nn.BatchNorm1d(11)),
        nn.ReLU(),
        linear(11, 9),
        nn.GELU(),
        layer_norm(9),
        linear(9, 4, bias=False),
    ),
}
