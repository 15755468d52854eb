"""Training: labeled images and an objective turn one embedder into another.

The only importer of Lightning and pytorch-metric-learning (the extra ``train``).
"""

from lookalike.training.avsl import AvslObjective, AvslSettings, TrainableAvsl
from lookalike.training.fit import Running, TrainProgress, fit
from lookalike.training.losses import LOSSES, EmbeddingLoss
from lookalike.training.objective import Objective, Output
from lookalike.training.presets import PRESETS, Preset, preset
from lookalike.training.settings import TrainSettings
from lookalike.training.subject import Subject
from lookalike.training.trainable import Trainable, TrainableEmbedding, cosine_neighbors
from lookalike.training.workplace import recorded

__all__ = [
    "LOSSES",
    "PRESETS",
    "AvslObjective",
    "AvslSettings",
    "EmbeddingLoss",
    "Objective",
    "Output",
    "Preset",
    "Running",
    "Subject",
    "TrainProgress",
    "TrainSettings",
    "Trainable",
    "TrainableAvsl",
    "TrainableEmbedding",
    "cosine_neighbors",
    "fit",
    "preset",
    "recorded",
]
