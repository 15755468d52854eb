"""Images a second of each runtime over fp32 eager, in one run: tensors in memory, batches of 32.

ResNet-50 and ViT-S/14 have random weights (speed does not depend on them; the cosine is over noise), the
bundled models their own. Rounds alternate between eager and the runtime; ratios are medians over rounds, of
elapsed and of processor time: on a machine with other programs, trust the second.

    python benchmarks/runtimes.py --models mini resnet50 vit_small_patch14_dinov2 --runtimes openvino onnx
"""

from __future__ import annotations

import time

import numpy as np
import torch
from environment import describe_run, parser_of

from lookalike.errors import LookalikeError
from lookalike.models.embedder import Embedder
from lookalike.models.runtimes import CheckedRuntime

BUNDLED = ("mini", "mini-vit")
MODELS = (*BUNDLED, "resnet50", "vit_small_patch14_dinov2")
HEAD = ("model", "runtime", "cosine", "elapsed, ratio", "processor time, ratio", "eager ms/image")


def main() -> None:
    parser = parser_of(__doc__)
    parser.add_argument("--models", nargs="+", default=MODELS)
    parser.add_argument("--runtimes", nargs="+", default=["openvino", "onnx", "compile"])
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    print(describe_run())
    print(f"\n| {' | '.join(HEAD)} |\n|{'---|' * len(HEAD)}")
    for name in options.models:
        torch.manual_seed(0)
        embedder = (
            Embedder.load(name, device="cpu")
            if name in BUNDLED
            else Embedder.from_timm(name, pretrained=False, input_size=(224, 224), device="cpu")
        )
        size = embedder.preprocessing.input_size
        pixels = list(np.random.default_rng(0).integers(0, 256, (options.batch, *size, 3), dtype=np.uint8))
        for runtime in options.runtimes:
            compare(name, embedder, CheckedRuntime(embedder, runtime), pixels, options.rounds)


def compare(
    name: str, embedder: Embedder, runtime: CheckedRuntime, pixels: list[np.ndarray], rounds: int
) -> None:
    """Print one line of the table."""
    try:
        runtime.embed_pixels(pixels)
    except LookalikeError as error:
        print(f"| {name} | {error} | | | | |", flush=True)
        return
    taken: dict[str, list[tuple[float, float]]] = {"eager": [], "faster": []}
    for _ in range(rounds):
        for form, model in (("eager", embedder), ("faster", runtime)):
            start, used = time.perf_counter(), time.process_time()
            model.embed_pixels(pixels)
            taken[form].append((time.perf_counter() - start, time.process_time() - used))
    eager, faster = (np.median(np.array(taken[form]), axis=0) for form in ("eager", "faster"))
    ratios, facts = eager / faster, runtime.facts
    assert facts is not None
    what = f"{name} | {facts.runtime} {facts.precision} | {facts.cosine:.5f}"
    print(f"| {what} | {ratios[0]:.2f} | {ratios[1]:.2f} | {1000 * eager[1] / len(pixels):.0f} |", flush=True)


if __name__ == "__main__":
    main()
