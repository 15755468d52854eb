"""A SentenceTransformer for images as our embedder (extra ``[sentence-transformers]``).

The other way round nothing is needed: an ``Embedder`` has ``encode``, ``similarity`` and the rest.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, final

import numpy as np
import torch
from PIL import Image
from sentence_transformers import SentenceTransformer
from torch import Tensor
from torch.nn import functional as F

from lookalike.errors import LookalikeError, UnsupportedMethodError, first_line
from lookalike.images import ImageSource, load
from lookalike.models.embedder import Embedder

_SAME = 1e-3  # largest distance of two unit embeddings of one picture that is as large as the input


@final
class SentenceTransformerImages:
    """A SentenceTransformer that embeds pictures, of which only the embeddings are known.

    Methods ``occlusion``, ``leave-one-out`` and ``rise`` explain it.
    """

    def __init__(self, model: SentenceTransformer, name: str = "") -> None:
        self.name = name or str(getattr(model.model_card_data, "model_name", None) or "SentenceTransformer")
        self._model = model

    def embed(self, sources: Sequence[ImageSource], *, batch_size: int = 32) -> Tensor:
        """Unit embeddings (B, D) float32 on the CPU. Raises UnreadableImageError as ``Embedder.embed``."""
        pictures = [s if isinstance(s, Image.Image) else load(s).image for s in sources]
        found = self._model.encode(
            pictures, batch_size=batch_size, convert_to_tensor=True, show_progress_bar=False
        )
        return F.normalize(torch.as_tensor(found).detach().to("cpu", torch.float32), dim=1)


def embedder_of(
    model: SentenceTransformer, *, name: str = "", device: str = "auto"
) -> Embedder | SentenceTransformerImages:
    """A SentenceTransformer as our embedder: with shares where its backbone is understood (CLIP, SigLIP).

    The embedder is compared with the model on a picture of noise; where it differs, and for other backbones,
    it is a ``SentenceTransformerImages``. Words stay with the model. Raises UnsupportedMethodError for a
    model without pictures.
    """
    outside = SentenceTransformerImages(model, name)
    try:
        outside.embed([Image.new("RGB", (64, 48))])
    except Exception as error:  # of its processor, in many classes
        raise UnsupportedMethodError(
            f"this SentenceTransformer embeds no pictures: {first_line(error)}"
        ) from error
    try:
        with tempfile.TemporaryDirectory() as folder:
            target = Path(folder) / (name or "sentence-transformer")
            model.save_pretrained(str(target), create_model_card=False)
            found = Embedder.load(target, device="cpu")
    except LookalikeError:
        return outside
    h, w = found.preprocessing.input_size
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (h, w, 3), dtype=np.uint8))
    if not float((found.embed(noise) - outside.embed([noise])).norm()) <= _SAME:
        return outside
    alone: Any = replace(found.as_loaded(), text=None, name=outside.name)
    return Embedder.of(alone, device=device)
