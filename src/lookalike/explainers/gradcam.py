"""Grad-CAM on the cosine of a pair.

Selvaraju et al., *Grad-CAM*, ICCV 2017, with the similarity instead of a class score and without
the ReLU: cells that lower the similarity are negative.
"""

from __future__ import annotations

from typing import final

import torch
from torch import Tensor
from torch.nn import functional as F

from lookalike.errors import UnsupportedMethodError
from lookalike.explainers.base import image_map, read_whole
from lookalike.models.embedder import Embedder, ImageSource
from lookalike.models.finite import check_finite
from lookalike.types import Explanation, Features, Reading


@final
class GradCam:
    """Method ``gradcam``: features weighted by the mean gradient of the cosine. A heat map."""

    name = "gradcam"
    promise = "a heat map from gradients"

    def __init__(self, embedder: Embedder) -> None:
        self.embedder = embedder

    def __call__(self, query: ImageSource | Reading, match: ImageSource | Reading) -> Explanation:
        """Return the explanation of two images.

        Raises UnsupportedMethodError if the embedding does not depend on the cells.
        """
        readings = read_whole(query, self.embedder), read_whole(match, self.embedder)
        query_features, match_features = (self._features(reading) for reading in readings)
        query_unit, match_unit = self._unit(query_features), self._unit(match_features)
        units = torch.stack([query_unit, match_unit])
        check_finite(units, self.embedder.name, [reading.picture.name for reading in readings])
        return Explanation(
            similarity=float(query_unit.double() @ match_unit.double()),
            query=image_map(readings[0], self._cam(query_features, match_unit), query_features.grid),
            match=image_map(readings[1], self._cam(match_features, query_unit), match_features.grid),
            method=self.name,
            additive=False,
            model=self.embedder.name,
        )

    def _features(self, reading: Reading) -> Features:
        image, _ = self.embedder.tensor(reading)
        with torch.no_grad():
            features: Features = self.embedder.network.backbone(image)
        return features

    def _unit(self, features: Features) -> Tensor:
        with torch.no_grad():
            return self._embedding(features)

    def _embedding(self, features: Features) -> Tensor:
        network = self.embedder.network
        if network.pooling is None or self.embedder.scales != (1.0,):
            raise UnsupportedMethodError(
                f"gradcam needs one pass with a pooling over cells; {self.embedder.name} has none, "
                "use method 'occlusion'"
            )
        vector: Tensor = network.head(network.own_layers(network.pooling(features)))[0]
        return F.normalize(vector, dim=0)

    def _cam(self, features: Features, other: Tensor) -> Tensor:
        cells = features.cells.detach().clone().requires_grad_()  # (1, N, C)
        with torch.enable_grad():
            cosine = self._embedding(Features(cells, features.prefix, features.grid)) @ other
            if not cosine.requires_grad:
                raise UnsupportedMethodError(
                    f"the embedding of {self.embedder.name} does not depend on the cells of its last layer "
                    "(CLS pooling), so gradcam has no gradient; use method 'shares' or 'occlusion'"
                )
            (gradient,) = torch.autograd.grad(cosine, cells)
        return cells.detach()[0] @ gradient[0].mean(0)
