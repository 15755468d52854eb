"""Methods that explain 24 architectures: grid, pooling, completeness, layers and time of each.

    uv run python benchmarks/architectures.py > docs/architectures.md

Weights are random: the test is whether shares sum to the embedding that timm computes, and at every
layer to the similarity.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping

import torch
from environment import describe_run, parser_of, seconds
from torch import Tensor
from torch.nn import functional as F
from torch.nn.modules.batchnorm import _BatchNorm

from lookalike import images
from lookalike.errors import LookalikeError
from lookalike.explainers.capabilities import Survey, generated_pictures, survey
from lookalike.models.embedder import Embedder
from lookalike.models.frozen_pass import FrozenPass
from lookalike.models.layers import layers_of
from lookalike.types import Reading

# name, input size and pooling (None: the default)
MODELS = (
    ("resnet50", None, None),
    ("resnet18", (160, 224), "gem"),
    ("convnext_tiny", (192, 256), None),
    ("efficientnet_b0", None, None),
    ("mobilenetv3_small_100", None, None),
    ("mobilenetv2_100", (224, 160), "max"),
    ("regnety_008", None, None),
    ("densenet121", None, None),
    ("swin_tiny_patch4_window7_224", None, None),
    ("vit_small_patch16_224", (160, 240), "mean"),
    ("vit_small_patch16_224", None, None),
    ("vit_small_patch14_reg4_dinov2", (196, 252), None),
    ("vit_small_patch14_reg4_dinov2", (196, 252), "mean"),
    ("vit_small_patch16_dinov3", None, None),
    ("vit_small_patch16_dinov3", (192, 272), "mean"),
    ("vit_base_patch16_siglip_224", None, None),
    ("beit_base_patch16_224", None, None),
    ("eva02_tiny_patch14_224", None, None),
    ("mixer_s32_224", None, None),
    ("maxvit_rmlp_pico_rw_256", None, None),
    ("caformer_s18", None, None),
    ("fastvit_t8", None, None),
    ("hiera_tiny_224", None, None),
    ("pvt_v2_b0", None, None),
    ("xcit_nano_12_p16_224", None, None),
    ("xcit_nano_12_p16_224", (192, 256), "mean"),
    ("cait_xxs24_224", None, None),
    ("cait_xxs24_224", None, "mean"),
    ("coat_tiny", None, None),
)


HEADER = (
    "architecture", "input", "pooling", "grid", "completeness error", "residual", "time", "every layer",
    "no cell at layer 0", "at the last block", "methods",
)  # fmt: skip

INTRODUCTION = """\
Made by `benchmarks/architectures.py` with random weights. *Completeness error* is how much the sum of
shares and residual misses timm's own embedding, relative to its length, in fp32. *Residual* is the part
of a pair's similarity that no cell accounts for: zero except for CLS tokens. *Time* is one pair by
`shares`, in forward passes of one image, on a busy machine.

*Every layer* is the largest difference between a similarity and the sum of its shares over all
[layers](layers.md), with random biases, tokens, layer scales and BatchNorm statistics. What has *no
cell* is in percent of the similarity, by kind. With random weights a CLS token takes little from the
cells: these are no figures of trained networks.

By default a model pools as timm does, the DINO family by its CLS token. A cell of a convolutional grid
is drawn on its own area. Where stride-2 layers pad on both sides (ResNet, MobileNetV3), the area it sees
lies up to half a cell further up and left, as in the published codes. Layers that pad as TensorFlow
does, ConvNeXt and transformers see the area drawn."""


def row(embedder: Embedder, pooling: str | None) -> tuple[str, ...]:
    """The cells of one line of the table."""
    result = survey(embedder)
    shares = result.methods["shares"]
    size = "{} x {}".format(*result.input_size)
    grid = "none" if result.grid is None else "{} x {}".format(*result.grid)
    named = pooling or f"default: {result.pooling}"
    if shares.refusal:
        numbers, methods = ("", "", ""), f"refused: {shares.refusal}"
    else:
        numbers = (f"{result.completeness_error:.0e}", f"{shares.residual:+.0e}", _time(embedder, result))
        methods = ", ".join(name for name, answer in result.methods.items() if answer.refusal is None)
    return (embedder.name, size, named, grid, *numbers, *layers(embedder), methods)


def layers(embedder: Embedder) -> tuple[str, str, str]:
    """The largest gap of the sums of all layers, and what has no cell at the first and the last of them."""
    randomize(embedder)
    query, match = (embedder.read(images.load(picture)) for picture in generated_pictures())
    wanted = torch.cat([_unit(embedder, match), _drawn(embedder.width)])
    expected = wanted @ _unit(embedder, query)[0]
    gaps, without = [], []
    try:
        for layer in range(len(layers_of(embedder.network.backbone))):
            located = FrozenPass(embedder, query, layer=layer).shares(wanted)
            total = located.values.sum(1) + sum(located.residual.values())
            gaps.append(float((total - expected).abs().max()))
            without.append(_parts(located.residual, float(expected[0])))
    except LookalikeError as error:
        return f"refused: {error}", "", ""
    return f"{max(gaps):.0e} ({len(gaps)} layers)", without[0], without[-1]


@torch.no_grad()
def randomize(embedder: Embedder) -> None:
    """Give biases, tokens, positions, layer scales and statistics values that matter, as training would."""
    network, generator = embedder.network, torch.Generator().manual_seed(1)
    for name, values in network.named_parameters():
        noise = 0.1 * torch.randn(values.shape, generator=generator)
        if "gamma" in name and float(values.abs().mean()) < 0.05:
            values.fill_(0.3)  # fresh layer scales are 1e-5
        if values.ndim <= 1 or not name.endswith("weight"):
            values.add_(noise)
    norms = [module for module in network.modules() if isinstance(module, _BatchNorm)]
    if not norms:
        return
    for norm in norms:
        norm.momentum = 1.0
    network.train()
    network(torch.randn(2, 3, *embedder.preprocessing.input_size, generator=generator))
    network.eval()
    for norm in norms:
        assert norm.running_mean is not None and norm.running_var is not None
        noise = torch.randn(norm.running_mean.shape, generator=generator)
        norm.running_mean.add_(0.2 * noise * norm.running_var.sqrt())
        norm.running_var.mul_(1 + 0.2 * torch.rand(noise.shape, generator=generator))


def _parts(residual: Mapping[str, Tensor], similarity: float) -> str:
    """Percentages of the similarity by kind, those that round to zero left out, registers together."""
    sums: dict[str, float] = {}
    for name, values in residual.items():
        kind = "registers" if name.startswith("register") else name
        sums[kind] = sums.get(kind, 0.0) + 100 * float(values[0]) / abs(similarity)
    return ", ".join(f"{kind} {v:.1f} %" for kind, v in sums.items() if abs(v) >= 0.05) or "nothing"


def _time(embedder: Embedder, result: Survey) -> str:
    picture, _ = generated_pictures()
    forward = min(seconds(lambda: embedder.embed(picture)) for _ in range(3))
    return f"{result.methods['shares'].seconds / forward:.1f}"


@torch.no_grad()
def _unit(embedder: Embedder, reading: Reading) -> Tensor:
    return F.normalize(embedder.network(embedder.tensor(reading)[0]), dim=1)


def _drawn(width: int) -> Tensor:
    return F.normalize(torch.randn(1, width, generator=torch.Generator().manual_seed(3)), dim=1)


def main() -> None:
    parser_of(__doc__).parse_args()
    warnings.simplefilter("ignore")  # timm's notes on resampling positions
    print("# Architectures and the methods that explain them\n")
    print(f"{INTRODUCTION}\n")
    print(f"{describe_run()}\n")
    print(f"| {' | '.join(HEADER)} |")
    print("|---" * len(HEADER) + "|")
    for architecture, size, pooling in MODELS:
        torch.manual_seed(0)
        try:
            embedder = Embedder.from_timm(
                architecture, pretrained=False, input_size=size, pooling=pooling, device="cpu"
            )
        except LookalikeError as error:
            cells: tuple[str, ...] = (architecture, "", pooling or "", *[""] * 7, f"refused: {error}")
        else:
            cells = row(embedder, pooling)
        print(f"| {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
