"""Training of embedders on labeled images, and of re-rankers on labeled embeddings.

The only importer of Lightning and pytorch-metric-learning (the extra ``train``).
"""

from lookalike.training.avsl import AvslObjective, AvslSettings, TrainableAvsl
from lookalike.training.fitting import TrainingResult, fit
from lookalike.training.lightning_runs import RuntimeOptions
from lookalike.training.losses import LOSSES, EmbeddingLoss
from lookalike.training.model_spec import ModelSpec
from lookalike.training.objective import Objective, Output
from lookalike.training.presets import PRESETS, Preset, preset
from lookalike.training.run_directory import kept_epoch, recorded
from lookalike.training.settings import TrainSettings
from lookalike.training.train_network import train_network
from lookalike.training.trainable import Trainable, TrainableEmbedding, cosine_neighbors

__all__ = [
    "LOSSES",
    "PRESETS",
    "AvslObjective",
    "AvslSettings",
    "EmbeddingLoss",
    "ModelSpec",
    "Objective",
    "Output",
    "Preset",
    "RuntimeOptions",
    "TrainSettings",
    "Trainable",
    "TrainableAvsl",
    "TrainableEmbedding",
    "TrainingResult",
    "cosine_neighbors",
    "fit",
    "kept_epoch",
    "preset",
    "recorded",
    "train_network",
]
