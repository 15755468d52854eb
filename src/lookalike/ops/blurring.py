"""Gaussian blur of images, as what an explanation compares a picture or a part of it with."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F


def gaussian_blur(
    images: Float[Tensor, "B C H W"], *, size: int = 11, sigma: float = 5.0
) -> Float[Tensor, "B C H W"]:
    """Each channel convolved with a Gaussian of ``size`` x ``size`` pixels; the border is repeated outward.

    The default is that of the insertion metric of RISE (Petsiuk et al., BMVC 2018). Raises ValueError for a
    size that is not odd and positive, and for a sigma that is not positive.

    >>> gaussian_blur(torch.tensor([[[[0.0, 0.0, 4.0, 0.0, 0.0]]]]), size=3, sigma=1e6)
    tensor([[[[0.0000, 1.3333, 1.3333, 1.3333, 0.0000]]]])
    """
    if size < 1 or size % 2 == 0 or sigma <= 0:
        raise ValueError(f"a blur takes an odd positive size and a positive sigma, got {size} and {sigma}")
    reach = size // 2
    offsets = torch.arange(-reach, reach + 1, dtype=images.dtype, device=images.device)
    kernel = (-(offsets**2) / (2 * sigma**2)).exp()
    kernel = (kernel / kernel.sum()).expand(images.shape[1], 1, 1, size)
    padded = F.pad(images, (reach, reach, reach, reach), mode="replicate")
    along_rows = F.conv2d(padded, kernel, groups=images.shape[1])
    return F.conv2d(along_rows, kernel.transpose(2, 3), groups=images.shape[1])
