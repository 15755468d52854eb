"""Gradients of the cosine with respect to the pixels that enter a network, and explanations from them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from lookalike.errors import UnsupportedMethodError
from lookalike.explainers.base import image_map, read_whole
from lookalike.explainers.cells import feature_grid, grid_of_cells, summed_by_cell
from lookalike.models.embedder import Embedder, ImageSource
from lookalike.models.finite import check_finite
from lookalike.models.scales import merged_embeddings, scaled_images
from lookalike.types import Explanation, ImageMap, Reading


def pixel_explanation(
    embedder: Embedder,
    sources: Sequence[ImageSource | Reading],
    products: Callable[[Tensor, Tensor], Tensor],
    *,
    method: str,
) -> Explanation:
    """Heat maps of two images from values of their normalized pixels, summed over channels and cells.

    ``products`` takes an image (1, 3, H, W) and the other's unit embedding (D,) and returns the values
    (1, 3, H, W). The cells are those of the model's feature grid, or 14 along the shorter side where
    it has none.
    """
    readings = [read_whole(source, embedder) for source in sources]
    tensors = [embedder.tensor(reading)[0] for reading in readings]
    with torch.no_grad():
        units = [_unit_embeddings(embedder, tensor)[0] for tensor in tensors]
    check_finite(torch.stack(units), embedder.name, [reading.picture.name for reading in readings])

    def to_map(reading: Reading, image: Tensor, other: Tensor) -> ImageMap:
        values = products(image, other)[0].sum(0)  # (H, W)
        grid = feature_grid(embedder, reading) or grid_of_cells(reading.geometry.input_size)
        return image_map(reading, summed_by_cell(values, grid), grid)

    return Explanation(
        similarity=float(units[0].double() @ units[1].double()),
        query=to_map(readings[0], tensors[0], units[1]),
        match=to_map(readings[1], tensors[1], units[0]),
        method=method,
        additive=False,
        model=embedder.name,
    )


def pixel_gradients(embedder: Embedder, images: Tensor, other: Tensor) -> Tensor:
    """Gradient of each image's cosine with a unit embedding (D,): (B, 3, H, W), in normalized pixels.

    Raises UnsupportedMethodError where the network has no finite gradient.
    """
    embedder.network.train().eval()  # drops what timm caches in inference mode (LeViT's biases)
    pixels = images.detach().clone().requires_grad_()
    with torch.enable_grad():
        cosines = _unit_embeddings(embedder, pixels) @ other
        gradient = torch.autograd.grad(cosines.sum(), pixels)[0] if cosines.requires_grad else None
    if gradient is None or not bool(gradient.isfinite().all()):
        raise UnsupportedMethodError(
            f"the embedding of {embedder.name} has no finite gradient to its pixels; use method 'occlusion'"
        )
    return gradient


def _unit_embeddings(embedder: Embedder, images: Tensor) -> Tensor:
    """Those of ``Embedder.embed`` in fp32, so that gradients pass: (B, D) of images (B, 3, H, W)."""
    at_scales = [
        F.normalize(embedder.network(scaled).float(), dim=1)
        for scaled in scaled_images(images, embedder.scales)
    ]
    return merged_embeddings(at_scales, embedder.scale_power, embedder.network.merged_head)
