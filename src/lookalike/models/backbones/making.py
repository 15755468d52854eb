"""Making backbones, by timm or without it.

The door to timm: importing it takes longer than importing torch and everything else, so what needs it
(``timm_models``, ``timm_heads``, ``options``) is imported when it is called for, here and in ``Backbone``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from lookalike.images import Preprocessing
from lookalike.models.backbones.backbone import Backbone, load_weights
from lookalike.models.backbones.bundled_networks import MobileTransformer, bundled_network


def create_backbone(architecture: str, *, pretrained: bool = False, **options: Any) -> Backbone:
    """Create a backbone by timm name or ``hf-hub:owner/name``, with pretrained or random weights.

    Options go to ``timm.create_model``; one is our own: ``std_conv_eps``, the epsilon of weight-
    standardized convolutions. Raises UnknownModelError: no such name, or weights that can't be had.
    """
    from lookalike.models.backbones.timm_models import timm_backbone

    return timm_backbone(architecture, options, pretrained=pretrained)


def saved_backbone(
    architecture: str, options: Mapping[str, Any], weights: Mapping[str, Tensor], size: tuple[int, int]
) -> Backbone:
    """The backbone of a saved model for inputs of size (H, W), without timm in the form of a bundled one.

    Raises ValueError for options that ask for far more than the weights, CheckpointError for weights that
    are not the architecture's, UnknownModelError and LookalikeError as ``create_backbone`` and
    ``resize_backbone``.
    """
    network = bundled_network(architecture, options)
    if network is None:
        from lookalike.models.backbones.options import check_architecture

        check_architecture(architecture, options, weights)
        backbone = create_backbone(architecture, **options)
    else:
        backbone = Backbone(network, architecture, options)
    resize_backbone(backbone, size)
    load_weights(backbone, weights)
    return backbone


def resize_backbone(backbone: Backbone, size: tuple[int, int]) -> None:
    """Set the backbone's input size (H, W); timm resamples the position embeddings.

    Raises LookalikeError where patches or windows do not fit the size. Convolutional networks
    take any size and are left as they are.
    """
    if backbone.is_convolutional and not hasattr(backbone.model, "set_input_size"):
        return
    if isinstance(backbone.model, MobileTransformer):
        if backbone.model.patch_embed.img_size == tuple(size):
            return
        by_timm = create_backbone(backbone.architecture, **backbone.options)
        load_weights(by_timm, backbone.model.state_dict())
        backbone.model = by_timm.model
    from lookalike.models.backbones.timm_models import resize

    resize(backbone, size)


def preprocessing_of(backbone: Backbone) -> Preprocessing:
    """timm's preprocessing for evaluation with this model."""
    from lookalike.models.backbones.timm_models import evaluation_preprocessing

    return evaluation_preprocessing(backbone)


def model_names(pattern: str = "", *, pretrained: bool = False) -> list[str]:
    """timm's model names that contain the pattern (or match it, with ``*``)."""
    from lookalike.models.backbones.timm_models import names_like

    return names_like(pattern, pretrained=pretrained)
