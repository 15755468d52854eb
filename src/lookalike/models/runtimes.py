"""Faster ways to run an embedder on a processor: an exported graph or a compiled network, checked first.

They give embeddings only. Maps, and shares that a gallery keeps, are computed by the network itself in fp32.
"""

from __future__ import annotations

import contextlib
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from importlib.util import find_spec
from typing import Any, TypeAlias, final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from lookalike import images
from lookalike.errors import LookalikeError, UnsupportedMethodError, check_name, first_line
from lookalike.models.devices import choose_precision
from lookalike.models.embedder import Embedder, InputPixels
from lookalike.models.finite import check_finite
from lookalike.models.graph_cache import cached_graph
from lookalike.models.lanes import in_lanes, n_lanes, parts_of

RUNTIMES = ("eager", "openvino", "onnx", "compile", "auto")
MIN_COSINE = 0.9995  # with fp32 eager, of every picture that a runtime is checked on
_N_CHECKED = 8  # pictures
_NEEDED = {
    "openvino": ("openvino", "onnx", "onnxscript", "onnxruntime"),
    "onnx": ("onnx", "onnxscript", "onnxruntime"),
}
_EXTRAS = {"openvino": "lookalike[onnx,openvino]", "onnx": "lookalike[onnx]"}
_COMPILED_BATCH = 32  # images; fewer are filled up, so that the network is compiled once

_Run: TypeAlias = Callable[[NDArray[np.float32]], NDArray[Any]]  # (B, 3, H, W) normalized to (B, D)


@dataclass(frozen=True)
class RuntimeFacts:
    """How embeddings were computed, as a gallery states it."""

    runtime: str  # openvino, onnx, compile or eager
    precision: str  # of its products: f32 or bf16
    version: str  # of its library
    cosine: float  # the lowest with fp32 eager, of the pictures that it was checked on
    n_checked: int

    def to_dict(self) -> dict[str, Any]:
        """The facts as JSON types."""
        return asdict(self)


@final
class CheckedRuntime:
    """Embeds pixels as an embedder does, by a runtime that is opened and checked with the first pictures.

    ``runtime`` is openvino, onnx, compile, or auto: the fastest of openvino and onnx that is installed and
    right, if it is faster than eager, timed on the first pictures. bf16 is used where the processor
    multiplies it natively and all of those pictures keep a cosine of 0.9995 with fp32 eager, else fp32.

    Raises UnknownNameError for another name, UnsupportedMethodError for an embedder that is not in fp32 on
    the processor, LookalikeError where a library is missing.
    """

    def __init__(self, embedder: Embedder, runtime: str) -> None:
        check_name("runtime", runtime, RUNTIMES)
        if embedder.device.type != "cpu" or embedder.precision != "fp32":
            raise UnsupportedMethodError(
                f"runtime {runtime} replaces fp32 on the processor, and {embedder.name} runs in "
                f"{embedder.precision} on {embedder.device.type}; leave the runtime out"
            )
        if runtime in _NEEDED and (missing := _missing(runtime)):
            raise LookalikeError(
                f"runtime {runtime} needs {' and '.join(missing)}; install {_EXTRAS[runtime]}"
            )
        self._embedder, self._wanted = embedder, runtime
        self._run: _Run | None = None
        self.facts: RuntimeFacts | None = None  # None before the first pictures

    def embed_pixels(self, pixels: Sequence[InputPixels], *, names: Sequence[str] | None = None) -> Tensor:
        """Unit embeddings (B, D) as ``Embedder.embed_pixels``.

        The first call may take minutes, to export or compile; raises LookalikeError where that fails, or
        where the result is not that of eager.
        """
        if self.facts is None:
            self._open(pixels[:_N_CHECKED])
        if self._run is None:
            return self._embedder.embed_pixels(pixels, names=names)
        found = torch.from_numpy(np.asarray(self._run(self._fed(pixels)), np.float32))
        check_finite(
            found, self._embedder.name, names or [f"image {i + 1} of {len(found)}" for i in range(len(found))]
        )
        return F.normalize(found, dim=1)

    def _fed(self, pixels: Sequence[InputPixels]) -> NDArray[np.float32]:
        return images.normalize(np.stack(pixels), self._embedder.preprocessing)

    def _open(self, pixels: Sequence[InputPixels]) -> None:
        expected = self._embedder.embed_pixels(pixels)
        eager = RuntimeFacts("eager", "f32", torch.__version__, 1.0, len(pixels))
        if self._wanted == "eager":
            self.facts = eager
            return
        fed = self._fed(pixels)
        if self._wanted != "auto":
            self._run, self.facts = _checked(self._embedder, self._wanted, fed, expected)
            return
        best, self.facts = _seconds(lambda: self._embedder.embed_pixels(pixels)), eager
        for name in [each for each in _NEEDED if not _missing(each)]:
            with contextlib.suppress(LookalikeError):  # what can't be exported is not chosen
                run, facts = _checked(self._embedder, name, fed, expected)
                if (took := _seconds(lambda run=run: run(fed))) < best:  # type: ignore[misc]
                    best, self._run, self.facts = took, run, facts


def _missing(runtime: str) -> list[str]:
    return [name for name in _NEEDED[runtime] if find_spec(name) is None]


def _seconds(work: Callable[[], object]) -> float:
    """The shorter of two runs."""
    taken = []
    for _ in range(2):
        start = time.perf_counter()
        work()
        taken.append(time.perf_counter() - start)
    return min(taken)


def _checked(
    embedder: Embedder, runtime: str, fed: NDArray[np.float32], expected: Tensor
) -> tuple[_Run, RuntimeFacts]:
    """The first of a runtime's forms, the fastest first, that keeps the cosines."""
    lowest = 0.0
    for precision, version, run in _FORMS[runtime](embedder):
        found = torch.from_numpy(np.asarray(run(fed), np.float32))
        cosines = F.cosine_similarity(found, expected, dim=1) if found.shape == expected.shape else None
        lowest = -1.0 if cosines is None else float(cosines.min())
        if lowest >= MIN_COSINE:
            return run, RuntimeFacts(runtime, precision, version, round(lowest, 7), len(fed))
    raise LookalikeError(
        f"runtime {runtime} gives {embedder.name} embeddings with a cosine of {lowest:.5f} to those of fp32 "
        f"(at least {MIN_COSINE} is needed); leave the runtime out"
    )


def _openvino_forms(embedder: Embedder) -> Iterator[tuple[str, str, _Run]]:
    import openvino

    core = openvino.Core()
    path = cached_graph(embedder, "openvino")
    try:
        model = core.read_model(path)
    except RuntimeError:  # damaged
        model = core.read_model(cached_graph(embedder, "openvino", again=True))
    has_bf16 = "BF16" in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    for precision in ["bf16"] * has_bf16 + ["f32"]:
        options = {
            "INFERENCE_PRECISION_HINT": precision,
            "INFERENCE_NUM_THREADS": torch.get_num_threads(),
            "NUM_STREAMS": n_lanes(),  # parts of a batch side by side: an eighth less time for a ViT-S
            "ENABLE_CPU_PINNING": False,
        }
        compiled = core.compile_model(model, "CPU", options)
        queue = openvino.AsyncInferQueue(compiled, n_lanes())
        yield precision, openvino.__version__, partial(_run_queued, queue)


def _run_queued(queue: Any, batch: NDArray[np.float32]) -> NDArray[Any]:
    """The rows of a batch, run in parts by OpenVINO's queue."""
    parts = _slices(batch)
    found: dict[int, NDArray[Any]] = {}

    def take(request: Any, place: int) -> None:
        found[place] = request.get_output_tensor().data.copy()

    queue.set_callback(take)
    for place, part in enumerate(parts):
        queue.start_async([batch[part]], place)
    queue.wait_all()
    return np.concatenate([found[place] for place in range(len(parts))])


def _slices(batch: NDArray[np.float32]) -> list[slice]:
    """The small parts of a batch (B, 3, H, W)."""
    return [slice(rows[0], rows[-1] + 1) for rows in parts_of(range(len(batch)), batch[0, 0].size)]


def _onnx_forms(embedder: Embedder) -> Iterator[tuple[str, str, _Run]]:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = torch.get_num_threads() // n_lanes()
    path, providers = str(cached_graph(embedder, "onnx")), ["CPUExecutionProvider"]
    try:
        session = onnxruntime.InferenceSession(path, options, providers=providers)
    except Exception:  # damaged; onnxruntime's own classes share no documented parent
        path = str(cached_graph(embedder, "onnx", again=True))
        session = onnxruntime.InferenceSession(path, options, providers=providers)

    def run(batch: NDArray[np.float32]) -> NDArray[Any]:
        rows = in_lanes(lambda part: session.run(None, {"images": batch[part]})[0], _slices(batch))
        return np.concatenate(rows)

    yield "f32", onnxruntime.__version__, run


def _compiled_forms(embedder: Embedder) -> Iterator[tuple[str, str, _Run]]:
    if len(embedder.scales) > 1 or embedder.preprocessing.mode == "fit":
        raise UnsupportedMethodError(
            f"{embedder.name} takes pictures in several sizes, and runtime compile one; leave the runtime out"
        )
    network = torch.compile(embedder.network)
    native = choose_precision("auto", embedder.device) == "bf16"
    for precision in ["bf16"] * native + ["f32"]:

        def run(batch: NDArray[np.float32], precision: str = precision) -> NDArray[Any]:
            return _run_compiled(network, embedder, batch, use_bf16=precision == "bf16")

        yield precision, torch.__version__, run


@torch.inference_mode()
def _run_compiled(
    network: Callable[[Tensor], Tensor], embedder: Embedder, batch: NDArray[np.float32], *, use_bf16: bool
) -> NDArray[Any]:
    rows = []
    for start in range(0, len(batch), _COMPILED_BATCH):
        some = torch.from_numpy(batch[start : start + _COMPILED_BATCH])
        filled = torch.cat([some, some[-1:].expand(_COMPILED_BATCH - len(some), -1, -1, -1)])
        try:
            with warnings.catch_warnings(), torch.autocast("cpu", dtype=torch.bfloat16, enabled=use_bf16):
                warnings.simplefilter("ignore")  # the compiler's, about torch's own
                found = network(filled)
        except Exception as error:  # of the compiler, in many classes
            raise LookalikeError(
                f"{embedder.name} can't be compiled here: {first_line(error)}; use runtime openvino or onnx"
            ) from error
        rows.append(F.normalize(found[: len(some)].float(), dim=1).numpy())
    return np.concatenate(rows)


_FORMS: dict[str, Callable[[Embedder], Iterator[tuple[str, str, _Run]]]] = {
    "openvino": _openvino_forms,
    "onnx": _onnx_forms,
    "compile": _compiled_forms,
}
