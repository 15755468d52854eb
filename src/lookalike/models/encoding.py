"""The interface of sentence-transformers for images, so that an embedder stands where such a model does."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol, cast

import numpy as np
from torch import Tensor
from tqdm.auto import tqdm

from lookalike.images import ImageSource, is_one_image
from lookalike.types import FloatArray


class _Embeds(Protocol):
    @property
    def width(self) -> int: ...

    def embed(self, images: ImageSource | Iterable[ImageSource], *, batch_size: int) -> Tensor: ...


class Encoding:
    """``encode`` and the dimension, for classes that have ``embed`` and ``width``."""

    def encode(
        self: _Embeds,
        inputs: ImageSource | Iterable[ImageSource],
        *,
        batch_size: int = 32,
        show_progress_bar: bool | None = None,
        convert_to_numpy: bool = True,
        convert_to_tensor: bool = False,
        normalize_embeddings: bool = False,
    ) -> FloatArray | Tensor | list[Tensor]:
        """Embeddings of images under the names and options of ``SentenceTransformer.encode``.

        One image gives (D,), several (n, D) float32: as an array, with ``convert_to_tensor`` as a tensor, and
        with neither as a list of tensors. They are of length 1 whether or not ``normalize_embeddings`` asks
        for it. Raises what ``embed`` raises, but no images give (0, D).
        """
        alone = is_one_image(inputs)
        several = list(cast(Iterable[ImageSource], [inputs] if alone else inputs))
        shown: Iterable[ImageSource] = (
            tqdm(several, desc="embedding", unit="image") if show_progress_bar else several
        )
        embeddings = (
            self.embed(shown, batch_size=batch_size)
            if several
            else Tensor(np.empty((0, self.width), np.float32))
        )
        if convert_to_tensor:
            return embeddings[0] if alone else embeddings
        if convert_to_numpy:
            return np.asarray(embeddings[0] if alone else embeddings, dtype=np.float32)
        return embeddings[0] if alone else list(embeddings)

    def get_sentence_embedding_dimension(self: _Embeds) -> int:
        """D, the length of the embeddings."""
        return self.width

    def get_embedding_dimension(self: _Embeds) -> int:
        """D, by its newer name."""
        return self.width
