"""A small AVSL model with random weights and links."""

import torch

from lookalike.images import Preprocessing
from lookalike.models.avsl_network import AvslNetwork, GraphSettings
from lookalike.models.backbones import create_backbone
from lookalike.models.embedder import Embedder
from lookalike.models.saving import LoadedModel

SIZE = (64, 96)  # not square


def avsl_embedder(architecture="mobilenetv2_050", width=24, bias=0.0, **settings):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        backbone = create_backbone(architecture)
    network = AvslNetwork.new(backbone, width, GraphSettings(top_k=5, **settings), seed=3)
    generator = torch.Generator().manual_seed(7)
    network.gates.update([torch.randn(width, width, generator=generator) for _ in range(2)])
    for gate in network.gates.biases:
        gate.data.fill_(bias)
    loaded = LoadedModel(network.embedder_network(), Preprocessing("squash", SIZE), "tiny-avsl")
    return Embedder.of(loaded, device="cpu", precision="fp32")
