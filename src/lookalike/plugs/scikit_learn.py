"""Embeddings as a scikit-learn transformer, for pipelines and grid searches (extra ``[train]``)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, final

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils.validation import check_is_fitted

from lookalike.images import ImageSource
from lookalike.models.cache import load_cached
from lookalike.types import FloatArray


@final
class EmbedderTransformer(TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """Turns images into unit embeddings: the first step of a pipeline.

    ``model`` is whatever ``Embedder.load`` takes. Nothing is learned: ``fit`` loads the model. Inputs are n
    paths, PIL images or arrays, also in an object array (n,) or (n, 1), as a column of a table gives them.

    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn.neighbors import KNeighborsClassifier
    >>> pipeline = make_pipeline(EmbedderTransformer(), KNeighborsClassifier(1))
    >>> black, white = np.zeros((60, 80, 3), np.uint8), np.full((60, 80, 3), 255, np.uint8)
    >>> pipeline.fit([black, white], ["night", "snow"]).predict([white]).tolist()
    ['snow']
    """

    def __init__(self, model: str = "mini", *, batch_size: int = 32, workers: int = 0) -> None:
        self.model = model
        self.batch_size = batch_size
        self.workers = workers

    def fit(self, X: Sequence[ImageSource] | NDArray[Any], y: object = None) -> EmbedderTransformer:
        """Load the model; the images are not looked at. Raises UnknownModelError and CheckpointError."""
        self.n_features_out_ = load_cached(self.model).width
        return self

    def transform(self, X: Sequence[ImageSource] | NDArray[Any]) -> FloatArray:
        """Unit embeddings (n, D) float32. Raises NotFittedError before ``fit``, and as ``embed``."""
        check_is_fitted(self)
        embedder = load_cached(self.model)
        found = embedder.embed(_images(X), batch_size=self.batch_size, workers=self.workers)
        return np.asarray(found, dtype=np.float32)

    def get_feature_names_out(self, input_features: object = None) -> NDArray[np.object_]:
        """Names of the D columns: the model's and a number."""
        check_is_fitted(self)
        return np.array([f"{self.model}{i}" for i in range(self.n_features_out_)], dtype=object)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array = False
        tags.input_tags.string = True
        tags.requires_fit = True
        return tags


def _images(X: Sequence[ImageSource] | NDArray[Any]) -> Iterable[ImageSource]:
    """The images of a list, of a column of a table, or of an object array (n,) or (n, 1)."""
    if hasattr(X, "to_numpy"):
        X = X.to_numpy()
    if isinstance(X, np.ndarray) and X.dtype.kind in "OUS":
        return list(X.reshape(len(X), -1)[:, 0])
    return X
