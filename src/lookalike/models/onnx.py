"""An embedding model in ONNX format; the only importer of onnxruntime (extra ``[onnx]``)."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeAlias, final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from lookalike import images
from lookalike.errors import CheckpointError, LookalikeError, first_line, opening
from lookalike.images import GrayLevels, Preprocessing
from lookalike.models.finite import check_finite
from lookalike.models.loading import parse_normalization, split_output

_DEFAULT_SIDE = 224  # pixels, where the model takes any size
_MAX_BATCH = 1024  # images in one run that a file may ask for
_TYPES: dict[str, type[np.generic]] = {
    "tensor(float)": np.float32,
    "tensor(float16)": np.float16,
    "tensor(double)": np.float64,
    "tensor(uint8)": np.uint8,
}
# Names that exporters give to the output that embeds the whole image, the likeliest first, and to scores.
_EMBEDDINGS = (
    "pooler_output", "image_embeds", "image_embedding", "image_embeddings", "image_features",
    "sentence_embedding", "embedding", "embeddings", "features",
)  # fmt: skip
_SCORES = (
    "logits",
    "logit",
    "scores",
    "score",
    "probs",
    "probabilities",
    "probability",
    "softmax",
    "classes",
)

_Array: TypeAlias = NDArray[Any]


@dataclass(frozen=True)
class _Input:
    name: str
    dtype: type[np.generic]
    is_channels_last: bool  # (B, H, W, 3)
    batch: int | None  # None: any
    size: tuple[int | None, int | None]  # (H, W); None: any


@final
class OnnxEmbedder:
    """Runs a model with one image input; one of its outputs is the embedding (B, D).

    Pictures are squashed to the model's input size, or to ``input_size`` (H, W) where it takes any, and
    normalized by ``normalization`` (imagenet, sop or MEAN/STD); a file that ``export_graph`` wrote says
    by itself what it takes. An input of uint8 gets the pixels as they are. The input is (B, 3, H, W) or
    (B, H, W, 3), in float16, float32 or float64. ``output``
    names the embedding, also as ``model.onnx:NAME``; else it is the only output of two axes, or the one
    called pooler_output, image_embeds and the like: tokens (B, N, D), feature maps and class scores are
    not taken for one. Only the methods ``occlusion``, ``leave-one-out`` and ``rise`` can explain it.

    Raises CheckpointError for a file that is no such model, and names its outputs where none or several
    could be the embedding.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        normalization: str | None = None,
        input_size: tuple[int, int] | None = None,
        output: str | None = None,
        levels: GrayLevels | None = None,
    ) -> None:
        try:
            import onnxruntime
        except ImportError as error:
            raise LookalikeError("ONNX models need onnxruntime; install lookalike[onnx]") from error
        file, named = split_output(path)
        self._path = file
        self.name = file.name
        if not file.is_file():
            raise CheckpointError(f"there is no file {file}; check the path")
        with opening(f"the model {file}"), file.open("rb"):
            pass  # what the system lacks for that, onnxruntime would call a fault of the file
        try:
            options = onnxruntime.SessionOptions()
            options.log_severity_level = 4  # what it would print comes as an exception too
            self._session: Any = onnxruntime.InferenceSession(
                str(file), options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # onnxruntime's own classes share no documented parent
            raise CheckpointError(f"{file} is no ONNX model: {first_line(error)}") from error
        self._input = self._image_input()
        try:
            own = None if normalization or input_size else self._own_preprocessing()
            self.preprocessing = (
                self._squashing(normalization or "imagenet", input_size, levels)
                if own is None
                else replace(own, levels=levels or own.levels)
            )
        except (ValueError, TypeError, LookupError, AttributeError) as error:
            raise CheckpointError(f"{file} can't be fed: {error}") from error
        self.output = self._embedding_output(output or named)

    def embed(self, sources: Sequence[Any], *, batch_size: int = 32) -> Tensor:
        """Unit embeddings of a list of images, each as in ``Embedder.embed``: (B, D) float32.

        Raises ModelOutputError, naming the image, for an embedding with NaN or infinity.
        """
        step = self._input.batch or batch_size
        outputs, names = [], []
        for start in range(0, len(sources), step):
            readings = [images.read(s, self.preprocessing) for s in sources[start : start + step]]
            names += [reading.picture.name for reading in readings]
            outputs.append(self._run(np.stack([reading.pixels for reading in readings])))
        embeddings = torch.from_numpy(np.concatenate(outputs)).float()
        check_finite(embeddings, self.name, names)
        return F.normalize(embeddings, dim=1)

    def _own_preprocessing(self) -> Preprocessing | None:
        """The preprocessing that an export of ours carries; None for other files."""
        carried = self._session.get_modelmeta().custom_metadata_map.get("lookalike")
        return None if carried is None else Preprocessing.from_dict(json.loads(carried)["preprocessing"])

    def _squashing(
        self, normalization: str, input_size: tuple[int, int] | None, levels: GrayLevels | None
    ) -> Preprocessing:
        mean, std = parse_normalization(normalization)
        return Preprocessing("squash", self._size(input_size), 1.0, "bilinear", mean, std, levels)

    # --- the model's input --------------------------------------------------------------------

    def _image_input(self) -> _Input:
        inputs = self._session.get_inputs()
        found = [each for each in inputs if len(each.shape or ()) == 4 and each.type in _TYPES]
        shown = ", ".join(f"{each.name} {each.type} {each.shape}" for each in inputs)
        if len(inputs) != 1 or not found:
            raise CheckpointError(
                f"{self._path} takes {shown}; an image model takes one input (B, 3, H, W) or (B, H, W, 3) "
                "of floats or uint8; export the image part alone"
            )
        shape = [side if isinstance(side, int) and side > 0 else None for side in found[0].shape]
        is_last = shape[3] == 3 and shape[1] != 3
        channels, size = (shape[3], shape[1:3]) if is_last else (shape[1], shape[2:])
        if channels not in (3, None):
            raise CheckpointError(f"{self._path} takes {shown}; an image model takes 3 channels")
        if shape[0] is not None and shape[0] > _MAX_BATCH:
            raise CheckpointError(
                f"{self._path} takes {shape[0]} images at once; at most {_MAX_BATCH} are run"
            )
        return _Input(found[0].name, _TYPES[found[0].type], is_last, shape[0], (size[0], size[1]))

    def _size(self, wanted: tuple[int, int] | None) -> tuple[int, int]:
        fixed = self._input.size
        if wanted is None:
            return fixed[0] or _DEFAULT_SIDE, fixed[1] or _DEFAULT_SIDE
        if any(side not in (None, given) for side, given in zip(fixed, wanted, strict=True)):
            raise CheckpointError(
                f"{self._path} takes images of {fixed[0] or 'any'} x {fixed[1] or 'any'} pixels, not "
                f"{wanted[0]} x {wanted[1]}; leave the input size out"
            )
        return wanted

    # --- the model's outputs ------------------------------------------------------------------

    def _embedding_output(self, wanted: str | None) -> str:
        """The name of the output that is the embedding, by what a run of a gray picture returns."""
        names = [str(output.name) for output in self._session.get_outputs()]
        if wanted is not None and wanted not in names:
            raise CheckpointError(f"{self._path} has no output {wanted!r}; it has {', '.join(names)}")
        gray = np.full((1, *self.preprocessing.input_size, 3), 128, np.uint8)
        answers = dict(zip(names, self._answers(gray, names), strict=True))
        shown = ", ".join(f"{name} {np.shape(answer)}" for name, answer in answers.items())
        if wanted is not None:
            if self._is_vector(answers[wanted]):
                return wanted
            raise CheckpointError(
                f"output {wanted} of {self._path} is no embedding (B, D): it returns {shown}; name another, "
                "or export the model with its pooling"
            )
        vectors = [name for name in names if self._is_vector(answers[name])]
        usual = [name for name in _EMBEDDINGS for found in vectors if found.lower() == name]
        likely = [name for name in vectors if name.lower() not in _SCORES]
        if usual:
            return next(name for name in vectors if name.lower() == usual[0])
        if len(likely) == 1:
            return likely[0]
        if not vectors:
            raise CheckpointError(
                f"{self._path} returns {shown}: no embedding (B, D), but tokens or feature maps, which laid "
                "end to end would compare places; export the model with its pooling"
            )
        what = "class scores" if not likely else "several outputs that could be the embedding"
        raise CheckpointError(
            f"{self._path} returns {what}: {shown}; name one as --model {self._path.name}:{vectors[0]} "
            f"or --output-name {vectors[0]} if it is meant"
        )

    def _is_vector(self, answer: Any) -> bool:
        shape = np.shape(answer)
        is_rows = len(shape) == 2 or (len(shape) == 4 and shape[2:] == (1, 1))
        return is_rows and shape[0] == (self._input.batch or 1) and np.asarray(answer).dtype.kind == "f"

    def _run(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Embeddings (B, D), before normalization, of pixels (B, H, W, 3)."""
        n = len(pixels)
        (answer,) = self._answers(pixels, [self.output])
        if not (np.ndim(answer) in (2, 4) and len(answer) >= n):
            raise CheckpointError(
                f"output {self.output} of {self._path} should have a row for each of {n} images; it has "
                f"shape {np.shape(answer)}"
            )
        rows: NDArray[np.float32] = np.asarray(answer)[:n].reshape(n, -1).astype(np.float32)
        return rows

    def _answers(self, pixels: NDArray[np.uint8], names: list[str]) -> list[Any]:
        batch = self._fed(pixels)
        if self._input.batch and len(batch) < self._input.batch:  # exported for a fixed batch: fill it up
            batch = np.concatenate([batch, np.repeat(batch[-1:], self._input.batch - len(batch), axis=0)])
        try:
            answers: list[Any] = self._session.run(names, {self._input.name: batch})
        except Exception as error:  # as above
            raise CheckpointError(
                f"{self._path} can't be run on images {batch.shape[1:]}: {first_line(error)}; if it takes "
                "another size, give it as the input size"
            ) from error
        return answers

    def _fed(self, pixels: NDArray[np.uint8]) -> _Array:
        """Pixels (B, H, W, 3) in the type and layout of the model's input."""
        if self._input.dtype is np.uint8:  # such a model normalizes by itself
            return (
                pixels if self._input.is_channels_last else np.ascontiguousarray(pixels.transpose(0, 3, 1, 2))
            )
        batch = images.normalize(pixels, self.preprocessing).astype(self._input.dtype, copy=False)
        return np.ascontiguousarray(batch.transpose(0, 2, 3, 1)) if self._input.is_channels_last else batch
