"""The text tower of an image-text model, run by the library that it comes from (extra ``[text]``)."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from typing import Any, final

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lookalike.errors import CheckpointError, LookalikeError, first_line
from lookalike.models.text_source import TextSource

_BROKEN = (
    OSError,
    LookupError,
    AttributeError,
    TypeError,
    ValueError,
    RuntimeError,
    ImportError,
    AssertionError,
)

_AT_ONCE = 64  # texts in one forward pass


@final
class TextTower:
    """A text tower on a device; ``name`` is for messages.

    Raises LookalikeError without the extra, CheckpointError for broken files.
    """

    def __init__(self, source: TextSource, device: torch.device, *, name: str) -> None:
        self._library = library_of(source)
        self._device = device
        load = _open_clip_model if source.package == "open_clip" else _transformers_model
        try:
            self._model, self._tokens, self._embed, self._embed_images = load(self._library, source)
        except _BROKEN as error:
            raise CheckpointError(
                f"the text tower of {name} can't be loaded by {source.package}: {first_line(error)}; "
                "check its files"
            ) from error
        self._model.eval().requires_grad_(False).to(device)

    @torch.inference_mode()
    def embed(self, texts: Sequence[str]) -> Tensor:
        """Unit embeddings of texts: (B, D) float32 on the CPU; what exceeds the model's length is cut off."""
        tokens = self._tokens(list(texts))
        units = []
        for start in range(0, len(texts), _AT_ONCE):
            some = {key: rows[start : start + _AT_ONCE].to(self._device) for key, rows in tokens.items()}
            units.append(F.normalize(self._embed(some).float(), dim=1).cpu())
        return torch.cat(units)

    @torch.inference_mode()
    def embed_images(self, images: Tensor) -> Tensor:
        """Unit embeddings of normalized images (B, 3, H, W) by the library's own image tower: (B, D)."""
        return F.normalize(self._embed_images(images.to(self._device)).float(), dim=1).cpu()

    def forget_images(self) -> None:
        """Give the memory of the library's image tower back."""
        for name in ("visual", "vision_model"):
            if hasattr(self._model, name):
                setattr(self._model, name, nn.Identity())


def library_of(source: TextSource) -> Any:
    """The library of a text tower. Raises LookalikeError where it is not installed."""
    try:
        return importlib.import_module(source.package)
    except ImportError as error:
        raise LookalikeError(
            f"searching by words needs {source.package}: pip install 'lookalike[text]'"
        ) from error


_Parts = tuple[nn.Module, Callable[[list[str]], dict[str, Tensor]], Callable[[dict[str, Tensor]], Tensor],
               Callable[[Tensor], Tensor]]  # fmt: skip


def _open_clip_model(library: Any, source: TextSource) -> _Parts:
    model = library.create_model(source.name, pretrained=source.weights)
    tokenize = library.get_tokenizer(source.name)
    return (
        model,
        lambda texts: {"text": tokenize(texts)},
        lambda tokens: model.encode_text(tokens["text"]),
        model.encode_image,
    )


def _transformers_model(library: Any, source: TextSource) -> _Parts:
    library.utils.logging.disable_progress_bar()
    model = library.AutoModel.from_pretrained(source.name)
    tokenizer = library.AutoTokenizer.from_pretrained(source.name)
    length = int(model.config.text_config.max_position_embeddings)
    is_siglip = model.config.model_type == "siglip"  # trained on texts of full length, without a mask

    def tokens(texts: list[str]) -> dict[str, Tensor]:
        padding = "max_length" if is_siglip else True
        found = tokenizer(texts, padding=padding, truncation=True, max_length=length, return_tensors="pt")
        names = ("input_ids",) if is_siglip else ("input_ids", "attention_mask")
        return {name: found[name] for name in names}

    return (
        model,
        tokens,
        lambda inputs: _tensor(model.get_text_features(**inputs)),
        lambda images: _tensor(model.get_image_features(pixel_values=images)),
    )


def _tensor(features: Any) -> Tensor:
    """The features (B, D), which newer versions return inside an object."""
    return features if isinstance(features, Tensor) else features.pooler_output
