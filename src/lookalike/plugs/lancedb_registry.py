"""Our embedders in LanceDB's registry, under the name ``lookalike``: importing this module registers them."""

from __future__ import annotations

from typing import Any

from lancedb.embeddings import EmbeddingFunction, register

from lookalike.models.cache import load_cached


@register("lookalike")  # type: ignore[no-untyped-call]
class LookalikeEmbeddings(EmbeddingFunction):
    """Embeds the pictures of a table's source column: paths, or the bytes of files.

    ``model`` is whatever ``Embedder.load`` takes. The table remembers it, and embeds queries with it.
    """

    model: str = "mini"

    def ndims(self) -> int:
        """D."""
        return load_cached(self.model).width

    def compute_source_embeddings(self, images: Any, *args: Any, **kwargs: Any) -> list[Any]:
        """Unit embeddings of a column of pictures."""
        given = self.sanitize_input(images)
        several = [given] if isinstance(given, bytes) else list(given)
        return list(load_cached(self.model).embed(several).numpy()) if several else []

    def compute_query_embeddings(self, query: Any, *args: Any, **kwargs: Any) -> list[Any]:
        """The unit embedding of one picture: a path, the bytes of a file, or a PIL image."""
        return list(load_cached(self.model).embed(query).numpy())
