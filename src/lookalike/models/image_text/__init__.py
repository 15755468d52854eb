"""Image-text models of open_clip and transformers: image towers as our networks, words by their libraries."""

from lookalike.models.image_text.finding import (
    OPEN_CLIP,
    holds_image_text,
    load_image_text,
    with_absolute_weights,
)
from lookalike.models.image_text.text_tower import TextTower

__all__ = ["OPEN_CLIP", "TextTower", "holds_image_text", "load_image_text", "with_absolute_weights"]
