"""Methods that explain 26 architectures: grid, pooling, completeness and time of each.

    uv run python benchmarks/architectures.py > docs/architectures.md

Weights are random: the test is whether shares sum to the embedding that timm computes.
"""

from __future__ import annotations

import warnings

from environment import describe_run, parser_of

from lookalike.errors import LookalikeError
from lookalike.explainers.capabilities import Survey, survey
from lookalike.models.embedder import Embedder

# name, input size (None: the model's own), pooling
MODELS = (
    ("resnet50", None, "own"),
    ("resnet18", (160, 224), "gem"),
    ("convnext_tiny", (192, 256), "own"),
    ("efficientnet_b0", None, "own"),
    ("mobilenetv3_small_100", None, "own"),
    ("mobilenetv2_100", (224, 160), "max"),
    ("regnety_008", None, "own"),
    ("densenet121", None, "own"),
    ("swin_tiny_patch4_window7_224", None, "own"),
    ("vit_small_patch16_224", (160, 240), "mean"),
    ("vit_small_patch16_224", None, "own"),
    ("vit_small_patch14_reg4_dinov2", (196, 252), "own"),
    ("vit_small_patch14_reg4_dinov2", (196, 252), "mean"),
    ("vit_small_patch16_dinov3", None, "own"),
    ("vit_base_patch16_siglip_224", None, "own"),
    ("beit_base_patch16_224", None, "own"),
    ("eva02_tiny_patch14_224", None, "own"),
    ("mixer_s32_224", None, "own"),
    ("maxvit_rmlp_pico_rw_256", None, "own"),
    ("caformer_s18", None, "own"),
    ("fastvit_t8", None, "own"),
    ("hiera_tiny_224", None, "own"),
    ("pvt_v2_b0", None, "own"),
    ("xcit_nano_12_p16_224", None, "own"),
    ("cait_xxs24_224", None, "own"),
    ("coat_tiny", None, "own"),
)


def row(architecture: str, result: Survey, pooling: str) -> str:
    size = "{} x {}".format(*result.input_size)
    grid = "none" if result.grid is None else "{} x {}".format(*result.grid)
    shares = result.methods["shares"]
    if shares.refusal:
        return f"| {architecture} | {size} | {pooling} | {grid} | | | | refused: {shares.refusal} |"
    methods = ", ".join(name for name, answer in result.methods.items() if answer.refusal is None)
    return (
        f"| {architecture} | {size} | {pooling} | {grid} | {result.completeness_error:.0e} "
        f"| {shares.residual:+.0e} | {shares.seconds:.2f} s | {methods} |"
    )


def main() -> None:
    parser_of(__doc__).parse_args()
    warnings.simplefilter("ignore")  # timm's notes on resampling positions
    print("# Architectures and the methods that explain them\n")
    print(
        "Made by `benchmarks/architectures.py` with random weights. *Completeness error* is how much the sum"
    )
    print(
        "of shares and residual misses timm's own embedding, relative to its length, in fp32. *Residual* is"
    )
    print(
        "the part of a pair's similarity that no cell accounts for: zero except for CLS tokens. *Time* is one"
    )
    print("pair by `shares`.\n")
    print(
        "A cell of a convolutional grid is drawn on its own area. Where stride-2 layers pad on both sides\n"
        "(ResNet, MobileNetV3), the area it sees lies up to half a cell further up and left, as in the\n"
        "published codes. Layers that pad as TensorFlow does, ConvNeXt and transformers see the area drawn.\n"
    )
    print(f"{describe_run()}\n")
    print("| architecture | input | pooling | grid | completeness error | residual | time | methods |")
    print("|---|---|---|---|---|---|---|---|")
    for architecture, size, pooling in MODELS:
        try:
            embedder = Embedder.from_timm(architecture, pretrained=False, input_size=size, pooling=pooling)
        except LookalikeError as error:
            print(f"| {architecture} | | {pooling} | | | | | refused: {error} |", flush=True)
            continue
        result = survey(embedder)
        name = result.pooling if pooling == "own" else pooling
        print(row(architecture, result, f"own: {name}" if pooling == "own" else name), flush=True)


if __name__ == "__main__":
    main()
