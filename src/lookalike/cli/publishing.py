"""``lookalike models push``: a model and its card on the Hugging Face hub."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lookalike.cli.options import AsJson
from lookalike.cli.printing import echo, friendly_errors, print_json


def push_model(
    model: Annotated[str, typer.Argument(help="Any model: its layers and weights are uploaded.")],
    repository: Annotated[str, typer.Argument(metavar="OWNER/NAME", help="Repository; made if new.")],
    run: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Take data, settings and metrics from this training.")
    ] = None,
    license_name: Annotated[
        str, typer.Option("--license", metavar="ID", help="License of the weights, such as apache-2.0.")
    ] = "",
    data: Annotated[str, typer.Option(metavar="TEXT", help="What the model learned from.")] = "",
    folder: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Write model and card here, and upload nothing.")
    ] = None,
    private: Annotated[bool, typer.Option("--private", help="Make a new repository private.")] = False,
    half: Annotated[bool, typer.Option("--half", help="Store weight matrices as fp16.")] = False,
    as_json: AsJson = False,
) -> None:
    """Upload a model with a model card of what is known about it.

    Others then load it as hf-hub:OWNER/NAME. Look at the card first with --folder.

    Example: lookalike models push run/ me/birds --run run/ --license apache-2.0 --folder look/
    """
    with friendly_errors():
        from lookalike.models.embedder import Embedder
        from lookalike.models.model_card import ModelFacts

        given = {name: text for name, text in (("license", license_name), ("data", data)) if text}
        facts = (
            ModelFacts(license=license_name, data=data) if run is None else ModelFacts.of_run(run, **given)
        )
        embedder = Embedder.load(model, device="cpu")
        if folder is None:
            where = embedder.push_to_hub(repository, facts=facts, private=private or None, half=half)
        else:
            embedder.save_pretrained(folder, facts=facts, repository=repository, half=half)
            where = str(folder)
        if as_json:
            print_json({"where": where})
        else:
            echo(f"wrote {where}" if folder else f"uploaded to {where}; load it as hf-hub:{repository}")
