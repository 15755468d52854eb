"""LeGrad: how the attention of each layer could raise the similarity.

Bousselham, Boggust, Chaybouti, Strobelt, Kuehne, *LeGrad: An Explainability Method for Vision
Transformers via Feature Formation Sensitivity*, ICCV 2025, arXiv 2404.03214.
"""

from __future__ import annotations

from typing import final

import torch
from torch import Tensor

from lookalike.explainers.base import image_map, read_whole
from lookalike.explainers.token_layers import TokenLayers
from lookalike.models.backbones import attention_as_leaves
from lookalike.models.embedder import Embedder, ImageSource
from lookalike.types import Explanation, Reading


@final
class LeGrad:
    """Method ``legrad``: gradients of the similarity to attention weights, layer by layer. A heat map.

    The tokens that leave a layer are embedded as if it were the last, by the model's own norm, pooling
    and head. The gradient of that embedding's cosine with the other image to the layer's attention
    weights (A, T, T) shows which attention would raise it; negative gradients are set to zero, and the
    rest is averaged over heads, attending tokens and layers, as in the paper. Attending tokens count
    only as far as the pooling takes them: with the CLS token as pooling the map is that of its row, with
    the mean that of all patch tokens. Values are 0 or more; the paper's final stretch to [0, 1] is left
    out.
    """

    name = "legrad"
    promise = "a heat map from gradients to attention, layer by layer"

    def __init__(self, embedder: Embedder) -> None:
        self.embedder = embedder

    def __call__(self, query: ImageSource | Reading, match: ImageSource | Reading) -> Explanation:
        """Return the explanation of two images, from one backward pass through each single layer.

        Raises UnsupportedMethodError for models without global attention.
        """
        readings = [read_whole(source, self.embedder) for source in (query, match)]
        a, b = (TokenLayers(self.embedder, reading, method=self.name) for reading in readings)
        return Explanation(
            similarity=float(a.unit.double() @ b.unit.double()),
            query=image_map(readings[0], _sensitivity(a, b.unit), a.grid),
            match=image_map(readings[1], _sensitivity(b, a.unit), b.grid),
            method=self.name,
            additive=False,
            model=self.embedder.name,
        )


def _sensitivity(layers: TokenLayers, other: Tensor) -> Tensor:
    """The mean over layers, for each patch token: (N,)."""
    of_layers = [_of_layer(layers, number, other) for number in range(len(layers.blocks))]
    return torch.stack(of_layers).mean(0)[layers.n_prefix :]


def _of_layer(layers: TokenLayers, number: int, other: Tensor) -> Tensor:
    """Positive gradients of one layer, averaged over heads and attending tokens: (P + N,)."""
    with torch.enable_grad(), attention_as_leaves() as weights:
        leaving = layers.run(number, layers.blocks[number].tokens)
    with torch.enable_grad():
        cosine = layers.embed(leaving)[0] @ other
    (gradient,) = torch.autograd.grad(cosine, weights[0])  # (1, A, T, T)
    return gradient[0].clamp(min=0).mean((0, 1))
