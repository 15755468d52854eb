"""Training: labelled images and an objective turn one embedder into another.

The only importer of Lightning and pytorch-metric-learning (the extra ``train``).
"""

from lookalike.training.objective import Objective, Output
from lookalike.training.settings import TrainSettings
from lookalike.training.trainable import Trainable, TrainableEmbedding, cosine_neighbours

__all__ = ["Objective", "Output", "TrainSettings", "Trainable", "TrainableEmbedding", "cosine_neighbours"]
