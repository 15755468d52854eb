"""Interpolation of a grid of vectors between its corners."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F


def zoomed_grid(values: Float[Tensor, "h w D"], size: tuple[int, int]) -> Float[Tensor, "H W D"]:
    """Values of a grid interpolated linearly to another size (H, W); those at the corners stay there.

    As ``scipy.ndimage.zoom`` of order 1, by which Dosovitskiy et al. (ICLR 2021) fit position embeddings
    to another input size.

    >>> import torch
    >>> zoomed_grid(torch.tensor([[[0.0], [4.0]]]), (1, 5)).flatten()
    tensor([0., 1., 2., 3., 4.])
    """
    channels_first = values.double().permute(2, 0, 1)[None]
    larger = F.interpolate(channels_first, size=size, mode="bilinear", align_corners=True)
    return larger[0].permute(1, 2, 0).to(values.dtype)
