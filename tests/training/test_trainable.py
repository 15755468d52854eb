"""What a training refuses to go on with."""

import pytest
import torch

from lookalike.errors import TrainingError
from lookalike.images import Preprocessing
from lookalike.models.avsl_network import AvslNetwork, GraphSettings
from lookalike.models.saving import LoadedModel
from lookalike.training import AvslSettings, TrainableAvsl
from lookalike.training.trainable import cosine_neighbors


def test_embeddings_that_are_no_numbers_have_no_neighbors():
    embeddings = torch.eye(4)
    embeddings[2, 1] = torch.nan
    with pytest.raises(TrainingError, match="the training diverged"):
        cosine_neighbors(embeddings, 2)


def test_an_avsl_model_goes_on_with_its_own_graph_only(tiny_backbone):
    network = AvslNetwork.new(tiny_backbone("mobilenetv2_050"), 6, GraphSettings(top_k=3))
    start = LoadedModel(network.embedder_network(), Preprocessing("squash", (64, 96)), "small")
    assert TrainableAvsl.of(start, AvslSettings(top_k=3)).network.gates is network.gates
    with pytest.raises(ValueError, match=r"small is an AVSL model with .*top_k=3"):
        TrainableAvsl.of(start, AvslSettings())
