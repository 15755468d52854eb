"""``lookalike models export``: a model as a graph for other runtimes."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from lookalike.cli.options import AsJson, InputSize, PoolingName, parse_size
from lookalike.cli.printing import echo, friendly_errors, print_json, print_table


class _Format(StrEnum):
    onnx = "onnx"
    openvino = "openvino"


def export_model(
    model: Annotated[
        str, typer.Argument(help="mini, a timm name, hf-hub:owner/name, a saved folder or a checkpoint.")
    ],
    file: Annotated[
        Path | None, typer.Argument(help="File to write; default: the model's name, .onnx or .xml.")
    ] = None,
    format_name: Annotated[_Format, typer.Option("--format", help="Kind of graph.")] = _Format.onnx,
    with_shares: Annotated[
        bool, typer.Option("--with-shares", help="Add the outputs that similarity maps are made of.")
    ] = False,
    pooling: PoolingName = None,
    input_size: InputSize = None,
    as_json: AsJson = False,
) -> None:
    """Write a model as a graph for ONNX Runtime or OpenVINO.

    The graph is compared with the model before it is kept: they differ by at most 1e-4.

    Example: lookalike models export mini mini.onnx --with-shares
    """
    with friendly_errors():
        from lookalike.models.embedder import Embedder
        from lookalike.models.exporting import export_graph

        embedder = Embedder.load(model, pooling=pooling, input_size=parse_size(input_size), device="cpu")
        suffix = ".onnx" if format_name is _Format.onnx else ".xml"
        target = file or Path(f"{embedder.name.replace('/', '_').replace(':', '_')}{suffix}")
        done = export_graph(embedder, target, format=format_name.value, with_shares=with_shares)
        if as_json:
            print_json({"path": str(done.path), "outputs": done.outputs, "parity": done.parity})
            return
        print_table(("output", "shape for one image"), [(n, str(s)) for n, s in done.outputs.items()])
        echo(f"wrote {done.path}; it differs from the model by at most {done.parity:.1e}")
