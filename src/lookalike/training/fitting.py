"""``fit``: train a similarity on labeled images in one call."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lookalike.datasets import LabeledImages, PictureRows, read_dataset, splits_of
from lookalike.models.embedder import Embedder
from lookalike.models.loading import load_model
from lookalike.training.avsl import AvslSettings
from lookalike.training.holding_out import held_out
from lookalike.training.lightning_runs import RuntimeOptions
from lookalike.training.model_spec import ModelSpec
from lookalike.training.run_directory import learned_from_all
from lookalike.training.settings import TrainSettings
from lookalike.training.train_network import train_network
from lookalike.training.trainable import TrainableEmbedding
from lookalike.training.validation import validate
from lookalike.types import ProgressCallback
from lookalike.types.html import table_html


@dataclass(frozen=True, repr=False)
class TrainingResult:
    """A finished training: where the model is, and how good it is on images it did not learn from."""

    path: Path  # run directory, which every command and ``Embedder.load`` take as a model
    metrics: dict[str, float]  # of the saved weights, in [0, 1]; empty without evaluation data
    spec: ModelSpec
    settings: TrainSettings
    before: dict[str, float] = field(default_factory=dict)  # the same metrics of the start model, by cosine
    n_held_out: int = 0  # images that were held out of the data, which had no split to evaluate on

    def __hash__(self) -> int:
        return hash((self.path, self.spec))

    def __repr__(self) -> str:
        metrics = ", ".join(f"{name} {value:z.4f}" for name, value in self.metrics.items())
        return f"TrainingResult({str(self.path)!r}{', ' if metrics else ''}{metrics})"

    def _repr_html_(self) -> str:
        """Return the metrics before and after as a table, for notebooks."""
        rows = (
            (name, f"{self.before[name]:.2%}" if name in self.before else "", f"{value:.2%}")
            for name, value in self.metrics.items()
        )
        return table_html(f"trained model: {self.path}", ("metric", "before", "after"), rows)

    def load(self) -> Embedder:
        """Load the trained model."""
        return Embedder.load(self.path)

    def to_dict(self) -> dict[str, Any]:
        """Return the result in JSON types."""
        return {
            "model": str(self.path),
            "metrics": self.metrics,
            "before": self.before,
            "held_out": self.n_held_out,
            "spec": self.spec.to_dict(),
            "settings": self.settings.to_dict(),
        }


def fit(
    data: str | Path | LabeledImages | PictureRows,
    model: str = "mini",
    *,
    out: str | Path,
    loss: str = "proxy-anchor",
    dims: int = 512,
    pooling: str | None = None,
    avsl: AvslSettings | None = None,
    settings: TrainSettings | None = None,
    split: str | None = None,
    evaluate_on: str | Path | LabeledImages | PictureRows | None = None,
    layout: str = "auto",
    hold_out: float = 0.0,
    resume: bool = False,
    runtime: RuntimeOptions | None = None,
    progress: ProgressCallback | None = None,
) -> TrainingResult:
    """Train ``model`` on labeled images and write it to the new folder ``out``.

    ``data`` is a dataset in one of ``datasets.LAYOUTS`` or labeled images; ``split`` is the part to learn
    from, by default ``train`` if there is one. ``evaluate_on`` is another split, dataset or labeled
    images, by default the split ``test`` or ``val``. ``loss`` is one of ``LOSSES``, on an embedding of
    ``dims`` dimensions (0: the model's own); ``avsl`` trains AVSL instead (Zhang et al., CVPR 2022), with
    the loss that its settings name. Without ``settings`` the defaults are used, with 4 images per class
    for losses that compare images. ``hold_out`` is the part of each class, in [0, 1), that is not learned
    from but evaluated on where there is nothing else to evaluate on. ``resume`` continues an interrupted
    training in ``out``, which must
    have been started with the same arguments.

    Raises DatasetError, UnknownModelError, CheckpointError, UnsupportedMethodError, ValueError for an
    unknown loss, and TrainingError, see ``train_network``.
    """
    spec = ModelSpec(model=model, pooling=pooling, loss=loss, dims=dims, avsl=avsl)
    settings = settings or spec.default_settings()
    train, validation = training_data(data, split, evaluate_on, layout)
    n_held_out = 0
    if validation is None and hold_out and not (resume and learned_from_all(Path(out), train)):
        train, validation = held_out(train, hold_out, settings.seed)
        n_held_out = 0 if validation is None else len(validation)
    network, objective = spec.build(len(train.classes), settings)
    metrics = train_network(
        network,
        objective,
        train,
        settings,
        out=Path(out),
        validation=validation,
        description=spec.to_dict(),
        resume=resume,
        runtime=runtime,
        progress=progress,
    )
    before = {} if validation is None else _metrics_of_start(spec, settings, validation)
    return TrainingResult(Path(out), metrics, spec, settings, before, n_held_out)


def _metrics_of_start(spec: ModelSpec, settings: TrainSettings, data: LabeledImages) -> dict[str, float]:
    """Of the model as it was, which reads pictures in its own way and not in that of the training."""
    start = TrainableEmbedding.of(load_model(spec.model, pooling=spec.pooling))
    return validate(start, data, start.preprocessing, settings)


def training_data(
    data: str | Path | LabeledImages | PictureRows,
    split: str | None = None,
    evaluate_on: str | Path | LabeledImages | PictureRows | None = None,
    layout: str = "auto",
) -> tuple[LabeledImages, LabeledImages | None]:
    """Return the images to learn from and those to evaluate on, if there are any; see ``fit``.

    Raises DatasetError for a dataset or split that can't be read.
    """
    data = data.labeled_images() if isinstance(data, PictureRows) else data
    evaluate_on = evaluate_on.labeled_images() if isinstance(evaluate_on, PictureRows) else evaluate_on
    splits: tuple[str, ...] = () if isinstance(data, LabeledImages) else splits_of(data, layout)
    if split is None and "train" in splits:
        split = "train"
    if evaluate_on is None:
        evaluate_on = next((name for name in ("test", "val") if name in splits and name != split), None)
    train = data if isinstance(data, LabeledImages) else read_dataset(data, split, layout)
    if evaluate_on is None or isinstance(evaluate_on, LabeledImages):
        return train, evaluate_on
    if str(evaluate_on) in splits and not isinstance(data, LabeledImages):
        return train, read_dataset(data, str(evaluate_on), layout)
    return train, read_dataset(evaluate_on)
