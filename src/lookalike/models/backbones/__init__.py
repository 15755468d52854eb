"""timm models as backbones with one interface; the only importer of timm, at first need (``making``)."""

from lookalike.models.backbones.attention import attention_as_leaves, recorded_attention
from lookalike.models.backbones.backbone import Backbone, load_weights
from lookalike.models.backbones.cadene import published_weights
from lookalike.models.backbones.levels import N_LEVELS, LevelChoice, level_maps, level_widths
from lookalike.models.backbones.making import (
    create_backbone,
    model_names,
    preprocessing_of,
    resize_backbone,
    saved_backbone,
)

__all__ = [
    "N_LEVELS",
    "Backbone",
    "LevelChoice",
    "attention_as_leaves",
    "create_backbone",
    "level_maps",
    "level_widths",
    "load_weights",
    "model_names",
    "preprocessing_of",
    "pretrained_trunk",
    "published_weights",
    "recorded_attention",
    "resize_backbone",
    "saved_backbone",
]
