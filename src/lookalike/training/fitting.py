"""``fit``: train a similarity on labeled images in one call."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lookalike.datasets import LabeledImages, read_dataset, splits_of
from lookalike.models.embedder import Embedder
from lookalike.training.avsl import AvslSettings
from lookalike.training.lightning_runs import RuntimeOptions
from lookalike.training.model_spec import ModelSpec
from lookalike.training.settings import TrainSettings
from lookalike.training.train_network import train_network
from lookalike.types import ProgressCallback


@dataclass(frozen=True, repr=False)
class TrainingResult:
    """A finished training: where the model is, and how good it is on images it did not learn from."""

    path: Path  # run directory, which every command and ``Embedder.load`` take as a model
    metrics: dict[str, float]  # of the saved weights, in [0, 1]; empty without evaluation data
    spec: ModelSpec
    settings: TrainSettings

    def __hash__(self) -> int:
        return hash((self.path, self.spec))

    def __repr__(self) -> str:
        metrics = ", ".join(f"{name} {value:z.4f}" for name, value in self.metrics.items())
        return f"TrainingResult({str(self.path)!r}{', ' if metrics else ''}{metrics})"

    def load(self) -> Embedder:
        """Load the trained model."""
        return Embedder.load(self.path)

    def to_dict(self) -> dict[str, Any]:
        """Return the result in JSON types."""
        return {
            "model": str(self.path),
            "metrics": self.metrics,
            "spec": self.spec.to_dict(),
            "settings": self.settings.to_dict(),
        }


def fit(
    data: str | Path | LabeledImages,
    model: str = "mini",
    *,
    out: str | Path,
    loss: str = "proxy-anchor",
    dims: int = 512,
    pooling: str | None = None,
    avsl: AvslSettings | None = None,
    settings: TrainSettings | None = None,
    split: str | None = None,
    evaluate_on: str | Path | LabeledImages | None = None,
    layout: str = "auto",
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
    for losses that compare images. ``resume`` continues an interrupted training in ``out``, which must
    have been started with the same arguments.

    Raises DatasetError, UnknownModelError, CheckpointError, UnsupportedMethodError, ValueError for an
    unknown loss, and TrainingError, see ``train_network``.
    """
    spec = ModelSpec(model=model, pooling=pooling, loss=loss, dims=dims, avsl=avsl)
    settings = settings or spec.default_settings()
    train, validation = training_data(data, split, evaluate_on, layout)
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
    return TrainingResult(Path(out), metrics, spec, settings)


def training_data(
    data: str | Path | LabeledImages,
    split: str | None = None,
    evaluate_on: str | Path | LabeledImages | None = None,
    layout: str = "auto",
) -> tuple[LabeledImages, LabeledImages | None]:
    """Return the images to learn from and those to evaluate on, if there are any; see ``fit``.

    Raises DatasetError for a dataset or split that can't be read.
    """
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
