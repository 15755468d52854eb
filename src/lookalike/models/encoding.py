"""The interface of sentence-transformers for images, so that an embedder stands where such a model does."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Protocol, cast

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F
from tqdm.auto import tqdm

from lookalike.images import ImageSource, is_one_image
from lookalike.types import FloatArray


def stacked_rows(given: Any) -> Tensor:
    """Embeddings as one tensor (n, D), from an array, a tensor or a list of rows."""
    rows = [torch.as_tensor(row) for row in given]
    return torch.stack(rows).detach().to("cpu", torch.float32)


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
        truncate_dim: int | None = None,
        precision: str = "float32",
        prompt_name: str | None = None,
        prompt: str | None = None,
    ) -> FloatArray | Tensor | list[Tensor]:
        """Embeddings of images under the names and options of ``SentenceTransformer.encode``.

        One image gives (D,), several (n, D) float32: as an array, with ``convert_to_tensor`` as a tensor, and
        with neither as a list of tensors. They are of length 1 whether or not ``normalize_embeddings`` asks
        for it; ``truncate_dim`` keeps the first dimensions, and then it decides. Raises what ``embed``
        raises, but no images give (0, D); ValueError for a prompt, which pictures have not, and for a
        ``precision`` but float32.
        """
        if prompt or prompt_name:
            raise ValueError(f"pictures are embedded without a prompt; got {prompt or prompt_name!r}")
        if precision != "float32":
            raise ValueError(f"embeddings are float32; got precision {precision!r}, use quantize_embeddings")
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
        if truncate_dim is not None:
            embeddings = embeddings[:, :truncate_dim]
            embeddings = F.normalize(embeddings, dim=1) if normalize_embeddings else embeddings
        if convert_to_tensor:
            return embeddings[0] if alone else embeddings
        if convert_to_numpy:
            return np.asarray(embeddings[0] if alone else embeddings, dtype=np.float32)
        return embeddings[0] if alone else list(embeddings)

    encode_query = encode_document = encode  # newer names, for models whose two sides differ
    similarity_fn_name = "cosine"

    def similarity_pairwise(
        self: _Embeds,
        embeddings1: Tensor | FloatArray | Sequence[Tensor] | Sequence[FloatArray],
        embeddings2: Tensor | FloatArray | Sequence[Tensor] | Sequence[FloatArray],
    ) -> Tensor:
        """Cosine of each of n embeddings with its own partner: (n,) float32, in [-1, 1]."""
        first, second = stacked_rows(embeddings1), stacked_rows(embeddings2)
        return F.cosine_similarity(first, second, dim=1).clamp(-1, 1)

    def get_sentence_embedding_dimension(self: _Embeds) -> int:
        """D, the length of the embeddings."""
        return self.width

    def get_embedding_dimension(self: _Embeds) -> int:
        """D, by its newer name."""
        return self.width
