"""Options shared by several commands, and parsers of their values."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from lookalike.errors import LookalikeError

GalleryUri = Annotated[
    str, typer.Option("--gallery", "-g", metavar="GALLERY", help="Folder of the gallery, or an s3:// URI.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]
Engine = Annotated[
    str, typer.Option("--engine", metavar="local|ray", help="Where to work: this process, or a Ray cluster.")
]
RayAddress = Annotated[
    str | None,
    typer.Option("--address", help="With --engine ray: of a running cluster, or auto; else this machine."),
]
Model = Annotated[
    str,
    typer.Option(
        help="Model: mini, a timm name, hf-hub:owner/name, a saved folder, a checkpoint, open_clip:NAME@FILE "
        "or an .onnx file."
    ),
]
PoolingName = Annotated[
    str | None,
    typer.Option(help="Pooling to use instead of the model's own: mean, max, gem, avgmax, rmac or cls."),
]
InputSize = Annotated[
    str | None,
    typer.Option(
        metavar="H[xW]", help="Input size in pixels instead of the model's own, e.g. 320 or 240x320."
    ),
]
OutputName = Annotated[
    str | None,
    typer.Option(
        metavar="NAME", help="For an .onnx file: its output that is the embedding; also FILE.onnx:NAME."
    ),
]
MeanImage = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE.npy",
        help="For networks of the WACV 2019 demo: the mean image that is subtracted, (H, W, 3) in BGR.",
    ),
]
HeadCount = Annotated[
    int | None,
    typer.Option(
        "--heads",
        min=1,
        metavar="N",
        help="For vision transformers of WACV 2022: attention heads, if there is not one for 64 dimensions.",
    ),
]
LearnedWhiteningName = Annotated[
    str | None,
    typer.Option(
        "--whitening",
        metavar="NAME[:ms]",
        help="For retrieval networks (TPAMI 2019): a whitening that the file carries, for one scale, or with "
        ":ms for three.",
    ),
]
Normalization = Annotated[
    str | None,
    typer.Option(
        metavar="imagenet|sop|MEAN/STD",
        help="For checkpoints that don't record theirs, e.g. sop or 0.5,0.5,0.5/0.5,0.5,0.5.",
    ),
]
PrecisionName = Annotated[
    str | None,
    typer.Option(
        "--precision",
        metavar="fp32|bf16|fp16|auto",
        help="Number format of the model's forward pass; auto is bf16 where the processor has it. "
        "By default fp32.",
    ),
]
DeviceName = Annotated[
    str,
    typer.Option(metavar="auto|cpu|cuda", help="Where the model runs; auto is the GPU where there is one."),
]
LevelsText = Annotated[
    str | None,
    typer.Option(
        metavar="BLACK,WHITE",
        help="Values of black and white in gray pictures of more than 8 bits, e.g. 0,4095 or 1000,-1000.",
    ),
]


def _allow_pixels(pixels: int | None) -> None:
    if pixels is not None:
        from dataclasses import replace

        from lookalike.images import set_limits
        from lookalike.images.limits import default_limits

        set_limits(replace(default_limits(), max_pixels=pixels))


MaxPixels = Annotated[
    int | None,
    typer.Option(
        min=1,
        metavar="N",
        callback=_allow_pixels,
        help="Read images of up to so many pixels (height x width); by default 120 million.",
    ),
]


def parse_levels(text: str | None) -> tuple[float, float] | None:
    """Parse ``0,4095`` as the values of black and white. Raises typer.BadParameter."""
    if text is None:
        return None
    try:
        black, white = (float(part) for part in text.split(","))
    except ValueError as error:
        raise typer.BadParameter(f"--levels takes two numbers: black,white; got {text!r}") from error
    return black, white


def parse_size(text: str | None) -> tuple[int, int] | None:
    """Parse ``320`` or ``240x320`` as (H, W). Raises typer.BadParameter."""
    if text is None:
        return None
    sides = text.lower().split("x")
    if len(sides) > 2 or not all(side.isdigit() and int(side) > 0 for side in sides):
        raise typer.BadParameter(f"an input size is H or HxW in pixels, e.g. 320 or 240x320; got {text!r}")
    return int(sides[0]), int(sides[-1])


def parse_assignments(assignments: Iterable[str]) -> dict[str, Any]:
    """Parse ``name=value`` texts; values are parsed as JSON, or else kept as strings.

    Raises typer.BadParameter.
    """
    options: dict[str, Any] = {}
    for assignment in assignments:
        name, equals, value = assignment.partition("=")
        if not equals:
            raise typer.BadParameter(f"--set takes NAME=VALUE, got {assignment!r}")
        try:
            options[name] = json.loads(value)
        except json.JSONDecodeError:
            options[name] = value
    return options


def parse_ks(text: str) -> list[int]:
    """Return the values of K in text such as ``1,2,4,8``."""
    parts = text.split(",")
    if not all(part.strip().isdecimal() and int(part) > 0 for part in parts):
        raise typer.BadParameter(f"-k takes positive integers such as 1,2,4,8; got {text!r}")
    return [int(part) for part in parts]


def parse_scales(text: str | None) -> tuple[float, ...] | None:
    """Parse ``1,0.707,0.5``. Raises typer.BadParameter."""
    if text is None:
        return None
    try:
        values = tuple(float(part) for part in text.split(","))
    except ValueError:
        values = ()
    if not values or not all(0 < value <= 4 for value in values):
        raise typer.BadParameter(
            f"--scales takes factors above 0 and up to 4, such as 1,0.707,0.5; got {text!r}"
        )
    return values


def keep_inputs(inputs: Sequence[str | Path], *outputs: Path | None) -> None:
    """Raise LookalikeError for an output that would replace a file that is read, or another output."""
    files = [output for output in outputs if output is not None]
    for number, output in enumerate(files):
        for file in map(Path, inputs):
            if output.is_file() and file.is_file() and output.samefile(file):
                raise LookalikeError(
                    f"{output} is read here and would be replaced; name another file to write"
                )
        if output.absolute() in [other.absolute() for other in files[:number]]:
            raise LookalikeError(f"{output} is to be written twice; name another file for one of the two")
