"""An embedder as a graph for other runtimes: ONNX (extra ``[onnx]``) or OpenVINO (``[openvino]``)."""

from __future__ import annotations

import contextlib
import io
import json
import logging
import tempfile
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from lookalike.errors import LookalikeError, UnsupportedMethodError, first_line, replacing, unknown_name
from lookalike.models.embedder import Embedder
from lookalike.models.heads import propagate
from lookalike.models.network import EmbeddingNetwork

GraphFormat: TypeAlias = Literal["onnx", "openvino"]
METADATA = "lookalike"  # the entry of the file with name, preprocessing and fingerprint, as JSON
_PARITY = 1e-4  # largest difference that an export may have, of unit embeddings and their shares
_OUTPUTS = ("embedding", "shares", "residual")
_Run: TypeAlias = Callable[[NDArray[np.float32]], Sequence[NDArray[Any]]]


@dataclass(frozen=True)
class Export:
    """A graph that was written, and how far it is from the model."""

    path: Path
    outputs: Mapping[str, tuple[int, ...]]  # name, shape for one image
    parity: float  # largest absolute difference over all outputs, on noise in batches of 1 and 3


class _Graph(nn.Module):
    """What is exported: (B, 3, H, W) normalized pixels to unit embeddings and, if asked, shares of them."""

    def __init__(self, network: EmbeddingNetwork, with_shares: bool) -> None:
        super().__init__()
        self.network = network
        self.with_shares = with_shares

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """(B, D); with shares also (B, h, w, D) and (B, D), which sum to it."""
        if not self.with_shares:
            return (F.normalize(self.network(images), dim=1),)
        network, pooling = self.network, self.network.pooling
        assert pooling is not None
        trace = network.backbone.trace(images)
        shares = propagate(network.head, propagate(network.own_layers, pooling.shares(trace)))
        embeddings = network.head(network.own_layers(pooling(trace.features)))
        lengths = embeddings.norm(dim=1, keepdim=True).clamp(min=1e-12)
        shares = shares / lengths[:, None]  # (B, N + 1, D)
        h, w = trace.features.grid
        cells = shares[:, :-1].reshape(-1, h, w, shares.shape[2])
        return embeddings / lengths, cells, shares[:, -1]


def export_graph(
    embedder: Embedder, path: str | Path, *, format: GraphFormat = "onnx", with_shares: bool = False
) -> Export:
    """Write an embedder as a graph with one input ``images`` (B, 3, H, W), normalized, of any B.

    Its output ``embedding`` (B, D) has unit length; with shares there are ``shares`` (B, h, w, D) and
    ``residual`` (B, D). Their product with another image's embedding is the similarity map and what it
    misses, which sum to the cosine. The file carries name and preprocessing, so ``OnnxEmbedder`` needs no
    settings. It is run on noise and compared before it is kept.

    Raises UnsupportedMethodError for a model without shares, of several scales or of inputs of any size,
    and LookalikeError where the graph can't be made, differs, can't be written, or a library is missing.
    """
    if format not in ("onnx", "openvino"):
        raise unknown_name("a graph's format", format, ("onnx", "openvino"))
    _check(embedder, with_shares)
    names = _OUTPUTS if with_shares else _OUTPUTS[:1]
    try:
        graph = _Graph(embedder.network, with_shares).to("cpu").eval()
        return _export(graph, embedder, Path(path), format, names)
    finally:
        embedder.to(embedder.device)


def _export(
    graph: _Graph, embedder: Embedder, target: Path, format: GraphFormat, names: Sequence[str]
) -> Export:
    size, described = embedder.preprocessing.input_size, _described(embedder)
    with tempfile.TemporaryDirectory() as folder:
        written = Path(folder) / "model.onnx"
        _write_onnx(graph, size, written, names, described)
        if format == "onnx":
            run, files = _onnx_run(written), {target: written}
        else:
            run, files = _openvino(written, described, target)
        shapes, parity = _compared(graph, run, size)
        if not parity <= _PARITY:
            raise LookalikeError(
                f"the {format} graph of {embedder.name} differs by {parity:.1e} from the model (at most "
                f"{_PARITY:.0e} is allowed), so it was not kept; export without shares, or the other format"
            )
        for place, file in files.items():
            with replacing(place, make_folder=True) as beside:
                beside.write_bytes(file.read_bytes())
    return Export(target, dict(zip(names, shapes, strict=True)), parity)


def _check(embedder: Embedder, with_shares: bool) -> None:
    network = embedder.network
    if len(embedder.scales) > 1:
        raise UnsupportedMethodError(
            f"{embedder.name} merges {len(embedder.scales)} scales, and a graph has one; "
            "load it with one scale"
        )
    if embedder.preprocessing.mode == "fit":
        raise UnsupportedMethodError(
            f"{embedder.name} takes images in their own proportions, and a graph one size; make a model that "
            "squashes them: lookalike models make MODEL FOLDER --squash"
        )
    if with_shares and network.pooling is None:
        raise UnsupportedMethodError(
            f"how {embedder.name} pools its features is not understood, so its graph has no shares; export "
            "it without, or load it with pooling 'mean'"
        )


def _described(embedder: Embedder) -> str:
    return json.dumps(
        {
            "name": embedder.name,
            "fingerprint": embedder.fingerprint(),
            "preprocessing": embedder.preprocessing.to_dict(),
        }
    )


def _write_onnx(
    graph: nn.Module, size: tuple[int, int], path: Path, names: Sequence[str], described: str
) -> None:
    try:
        import onnx
        import onnxscript  # noqa: F401  torch's exporter needs it
    except ImportError as error:
        raise LookalikeError("exporting needs onnx and onnxscript; install lookalike[onnx]") from error
    try:
        with _silenced():
            torch.onnx.export(
                graph,
                (torch.zeros(2, 3, *size),),
                str(path),
                input_names=["images"],
                output_names=list(names),
                dynamic_shapes={"images": {0: torch.export.Dim("batch", min=1, max=1024)}},
                external_data=False,
                dynamo=True,
            )
    except Exception as error:  # of torch's exporter, in many classes
        raise LookalikeError(f"the model can't be made a graph: {first_line(error)}") from error
    model = onnx.load(str(path))
    entry = model.metadata_props.add()
    entry.key, entry.value = METADATA, described
    onnx.save(model, str(path))


@contextmanager
def _silenced() -> Iterator[None]:
    """Without the steps that torch's exporter prints, and its warnings about torch's own."""
    level = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(level)


def _onnx_run(path: Path) -> _Run:
    try:
        import onnxruntime
    except ImportError as error:
        raise LookalikeError("exports are checked with onnxruntime; install lookalike[onnx]") from error
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return lambda images: session.run(None, {"images": images})


def _openvino(path: Path, described: str, target: Path) -> tuple[_Run, dict[Path, Path]]:
    try:
        import openvino
    except ImportError as error:
        raise LookalikeError("the format openvino needs the library; install lookalike[openvino]") from error
    model = openvino.convert_model(str(path))
    model.set_rt_info(described, [METADATA])
    file = path.with_suffix(".xml")
    openvino.save_model(model, str(file), compress_to_fp16=False)
    compiled = openvino.Core().compile_model(str(file), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})

    def run(images: NDArray[np.float32]) -> list[NDArray[Any]]:
        results = compiled(images)
        return [results[output] for output in compiled.outputs]

    return run, {target: file, target.with_suffix(".bin"): path.with_suffix(".bin")}


@torch.inference_mode()
def _compared(graph: nn.Module, run: _Run, size: tuple[int, int]) -> tuple[list[tuple[int, ...]], float]:
    """Shapes of the outputs for one image, and the largest difference from the model."""
    generator = torch.Generator().manual_seed(0)
    shapes: list[tuple[int, ...]] = []
    worst = 0.0
    for n_images in (3, 1):
        images = torch.randn(n_images, 3, *size, generator=generator)
        expected = [output.numpy() for output in graph(images)]
        found = run(images.numpy())
        shapes = [tuple(output.shape) for output in found]
        if shapes != [output.shape for output in expected]:
            return shapes, float("inf")
        gaps = [float(np.abs(a - b).max()) for a, b in zip(found, expected, strict=True)]
        worst = max(worst, *(gap if np.isfinite(gap) else float("inf") for gap in gaps))
    return shapes, worst
