"""The model card (README.md) of a saved embedder, made from what is known and silent on nothing."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lookalike.errors import LookalikeError, first_line
from lookalike.models.saving import LoadedModel, fingerprint_of

_UNSTATED = "not stated"
# A training's run directory.
_RECORD, _RESULT, _EVALUATIONS = "training.json", "result.json", "evaluation.csv"
_SHOWN = ("epochs", "batch_size", "optimizer", "backbone_rate", "head_rate", "schedule", "input_size", "seed")


@dataclass(frozen=True)
class ModelFacts:
    """What people know about a model beyond its weights; what is left empty, the card says is not stated."""

    license: str = ""  # an identifier such as apache-2.0
    data: str = ""  # what it learned from
    metrics: Mapping[str, float] = field(default_factory=dict)  # name of a metric, its value
    protocol: str = ""  # data and rules by which the metrics were had
    base_model: str = ""  # the model that it was trained from, by its name
    settings: Mapping[str, Any] = field(default_factory=dict)  # of the training, by name

    @classmethod
    def of_run(cls, folder: str | Path, **known: Any) -> ModelFacts:
        """The facts that a training's run directory records; ``known`` adds to them or replaces them.

        Raises LookalikeError for a folder that holds no finished training.
        """
        run = Path(folder)
        try:
            record = json.loads((run / _RECORD).read_text(encoding="utf-8"))
            epoch = int(json.loads((run / _RESULT).read_text(encoding="utf-8"))["epoch"])
            data, described = record["data"], record["description"]
            settings = {"loss": described.get("loss", ""), "dims": described.get("dims", ""), "epoch": epoch}
            found = {
                "data": f"{data['images']:,} images of {data['classes']:,} classes",
                "metrics": _metrics_of(run / _EVALUATIONS, epoch),
                "protocol": "the training's own evaluation images, all against all",
                "base_model": str(described.get("model", "")),
                "settings": settings | {name: record["settings"].get(name) for name in _SHOWN},
            }
        except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
            raise LookalikeError(
                f"{folder} is no finished training: {first_line(error)}; give the folder that train wrote"
            ) from error
        return cls(**{**found, **known})


def model_card(model: LoadedModel, facts: ModelFacts, *, repository: str = "") -> str:
    """The card as Markdown with the hub's front matter.

    ``repository`` (owner/name) is where it will lie, for the lines of code that load it.
    """
    backbone, preprocessing = model.network.backbone, model.preprocessing
    height, width = preprocessing.input_size
    name = f"hf-hub:{repository}" if repository else "FOLDER"
    n_weights = sum(p.numel() for p in model.network.parameters())
    rows = [
        ("architecture", f"{backbone.architecture}, {n_weights:,} parameters"),
        ("pooling", model.network.describe_pooling()["name"]),
        ("input", f"{height} x {width} pixels, {preprocessing.mode}, {preprocessing.interpolation}"),
        ("mean and deviation", f"{_numbers(preprocessing.mean)} / {_numbers(preprocessing.std)}"),
        ("scales", _numbers(model.scales)),
        *((("whitening", model.whitening),) if model.whitening else ()),
        ("fingerprint", f"`{fingerprint_of(model)[:16]}`"),
        ("license", facts.license or _UNSTATED),
        ("learned from", facts.data or _UNSTATED),
        ("trained from", facts.base_model or _UNSTATED),
    ]
    return "\n".join(
        [
            *_front_matter(facts),
            f"# {repository.rpartition('/')[2] or model.name}",
            "",
            "An image embedding whose similarities can be explained"
            + (": it is a sum of shares of the image's cells." if model.network.pooling else "."),
            "",
            "```python",
            "import lookalike",
            "",
            f'embedder = lookalike.Embedder.load("{name}")',
            'why = lookalike.explain("a.jpg", "b.jpg", model=embedder)',
            'lookalike.render.side_by_side(why).save("why.png")',
            "```",
            "",
            *_table(("", ""), rows),
            "",
            "## Metrics",
            "",
            *_metrics(facts),
            *_settings(facts),
            "",
        ]
    )


def _front_matter(facts: ModelFacts) -> list[str]:
    entries = [
        "library_name: lookalike",
        "pipeline_tag: image-feature-extraction",
        "tags:",
        "- image-retrieval",
        "- visual-similarity",
        *((f"license: {json.dumps(facts.license)}",) if facts.license else ()),
        *((f"base_model: {json.dumps(facts.base_model)}",) if facts.base_model.count("/") == 1 else ()),
    ]
    return ["---", *entries, "---", ""]


def _metrics(facts: ModelFacts) -> list[str]:
    if not facts.metrics:
        return [f"Metrics: {_UNSTATED}."]
    rows = [(f"`{name}`", f"{value:.4f}") for name, value in facts.metrics.items()]
    return [*_table(("metric", "value"), rows), "", f"Protocol: {facts.protocol or _UNSTATED}."]


def _settings(facts: ModelFacts) -> list[str]:
    rows = [(f"`{name}`", f"`{value}`") for name, value in facts.settings.items() if value not in ("", None)]
    return ["", "## Training", "", *_table(("setting", "value"), rows)] if rows else []


def _table(head: tuple[str, str], rows: Sequence[tuple[str, str]]) -> list[str]:
    cells = [tuple(cell.replace("|", "\\|").replace("\n", " ") for cell in row) for row in rows]
    return [f"| {head[0]} | {head[1]} |", "|---|---|", *(f"| {a} | {b} |" for a, b in cells)]


def _metrics_of(file: Path, epoch: int) -> dict[str, float]:
    if not file.is_file():
        return {}
    with file.open(newline="", encoding="utf-8") as lines:
        rows = [row for row in csv.DictReader(lines) if int(float(row["epoch"])) == epoch]
    return {k: float(v) for k, v in rows[-1].items() if k not in ("step", "epoch")} if rows else {}


def _numbers(values: Sequence[float]) -> str:
    return ", ".join(f"{value:g}" for value in values)
