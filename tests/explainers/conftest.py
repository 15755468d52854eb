"""Networks with known answers, for tests of explanation methods."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from lookalike.images import Preprocessing
from lookalike.models.backbones import Backbone
from lookalike.models.embedder import Embedder
from lookalike.models.network import EmbeddingNetwork
from lookalike.models.poolings import MeanPooling

SIZE, GRID = (48, 80), (3, 5)


class WeightedPixels(nn.Module):
    """The mean over a grid of 16-pixel cells of ``weights * pixels``, summed over channels: (B, 1, h, w)."""

    def __init__(self, weights):
        super().__init__()
        self.register_buffer("weights", weights)
        self.num_features = 1

    def forward_features(self, images):
        return F.avg_pool2d((images * self.weights).sum(1, keepdim=True), 16)


class OnCircle(nn.Module):
    """An angle (B, 1) as a point on the unit circle: the cosine of two is that of their difference."""

    def forward(self, angle):
        return torch.cat([angle.cos(), angle.sin()], 1)


@pytest.fixture
def angle_model():
    """Makes an embedder of 48 x 80 pixels: the angle ``mean of weights * pixels``, on the circle."""

    def make(weights):
        backbone = Backbone(WeightedPixels(weights), "planted", {})
        network = EmbeddingNetwork(backbone, MeanPooling(), nn.Sequential(OnCircle()))
        return Embedder(network, Preprocessing("squash", SIZE), name="angle", device="cpu")

    return make


@pytest.fixture
def angles_by_cell():
    """What each cell of 3 x 5 adds to the angle of an image (1, 3, H, W): (h, w) float64, by a loop."""
    return _angles_by_cell


def _angles_by_cell(weights, image):
    products = (weights.double() * image[0].double()).sum(0) / (SIZE[0] * SIZE[1])
    return torch.tensor(
        [
            [float(products[16 * y : 16 * y + 16, 16 * x : 16 * x + 16].sum()) for x in range(GRID[1])]
            for y in range(GRID[0])
        ],
        dtype=torch.float64,
    )
