"""timm models as backbones with one interface; the only importer of timm."""

from lookalike.models.backbones.attention import attention_as_leaves, recorded_attention
from lookalike.models.backbones.backbone import (
    Backbone,
    create_backbone,
    load_weights,
    model_names,
    preprocessing_of,
    resize_backbone,
)
from lookalike.models.backbones.bit_resnet_v2 import bit_resnet_v2
from lookalike.models.backbones.bn_inception import BnInception, bninception, published_weights
from lookalike.models.backbones.hybrid import vit_mobile_s16
from lookalike.models.backbones.levels import N_LEVELS, LevelChoice, level_maps, level_widths
from lookalike.models.backbones.options import check_architecture
from lookalike.models.backbones.plain_trunks import PlainTrunk, alexnet_trunk, vgg_trunk
from lookalike.models.backbones.slim_resnet_v2 import SlimResNetV2, slim_resnet_v2
from lookalike.models.backbones.transformers_trunk import TransformersTrunk, pretrained_trunk

__all__ = [
    "N_LEVELS",
    "Backbone",
    "BnInception",
    "LevelChoice",
    "PlainTrunk",
    "SlimResNetV2",
    "TransformersTrunk",
    "alexnet_trunk",
    "attention_as_leaves",
    "bit_resnet_v2",
    "bninception",
    "check_architecture",
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
    "slim_resnet_v2",
    "vgg_trunk",
    "vit_mobile_s16",
]
