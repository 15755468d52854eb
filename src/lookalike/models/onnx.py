"""An embedding model in ONNX format; the only importer of onnxruntime (extra ``[onnx]``)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, final

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from lookalike import images
from lookalike.errors import CheckpointError, LookalikeError, first_line
from lookalike.images import Preprocessing
from lookalike.models.loading import parse_normalization

try:
    import onnxruntime
except ImportError:  # an extra: asked for when a model is loaded
    onnxruntime = None


@final
class OnnxEmbedder:
    """Runs a model with one image input (B, 3, H, W); its first output is the embedding (B, D).

    Pictures are squashed to the model's input size and normalized by ``normalization`` (imagenet, sop
    or MEAN/STD). Only the methods ``occlusion``, ``leave-one-out`` and ``rise`` can explain it.
    """

    def __init__(self, path: str | Path, *, normalization: str | None = None) -> None:
        if onnxruntime is None:
            raise LookalikeError("ONNX models need onnxruntime; install lookalike[onnx]")
        self.name = Path(path).name
        try:
            self._session: Any = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
        except Exception as error:  # onnxruntime's own classes share no documented parent
            raise CheckpointError(f"{path} is no ONNX model: {first_line(error)}") from error
        shape = self._session.get_inputs()[0].shape
        if len(shape) != 4 or (shape[1] not in (3, None) and not isinstance(shape[1], str)):
            raise CheckpointError(f"{path} takes input {shape}; an image model takes (B, 3, H, W)")
        self._batch = shape[0] if isinstance(shape[0], int) else None
        height, width = (side if isinstance(side, int) else 224 for side in shape[2:])
        mean, std = parse_normalization(normalization or "imagenet")
        self.preprocessing = Preprocessing("squash", (height, width), 1.0, "bilinear", mean, std)

    def embed(self, sources: Sequence[Any], *, batch_size: int = 32) -> Tensor:
        """Unit embeddings of a list of images, each as in ``Embedder.embed``: (B, D) float32."""
        step = self._batch or batch_size
        outputs = []
        for start in range(0, len(sources), step):
            pixels = np.stack(
                [images.read(s, self.preprocessing).pixels for s in sources[start : start + step]]
            )
            outputs.append(self._run(images.normalize(pixels, self.preprocessing)))
        return F.normalize(torch.from_numpy(np.concatenate(outputs)).float(), dim=1)

    def _run(self, batch: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        n = len(batch)
        if self._batch and n < self._batch:  # the model was exported for a fixed batch: fill it up
            batch = np.concatenate([batch, np.repeat(batch[-1:], self._batch - n, axis=0)])
        output = self._session.run(None, {self._session.get_inputs()[0].name: batch})[0]
        return np.asarray(output)[:n].reshape(n, -1)
