"""Published settings of AVSL and of its baselines by name: backbone, training and losses.

Numbers are those of ``samples_avsl.sh`` and ``samples_baseline.sh`` of the authors' code, and where these
say nothing the defaults of its ``args.csv`` and of its framework; ``docs/avsl_training.md`` says which.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from lookalike.training.avsl import AvslSettings
from lookalike.training.settings import TrainSettings


@dataclass(frozen=True)
class Preset:
    """A training with the settings of its authors."""

    source: str
    model: str  # start model, as for ``Embedder.load``
    settings: TrainSettings
    avsl: AvslSettings | None = None  # None: a baseline, with the loss and pooling below
    loss: str = "proxy-anchor"  # one of ``LOSSES``
    pooling: str | None = None
    dims: int = 512


_SCRIPTS = "Zhang et al., CVPR 2022"
_MODELS = {"resnet50": "resnet50.tv_in1k", "bninception": "bninception"}

# Of their framework: 61 epochs, an end after 15 epochs without a gain or at 0.6 of the best, the best kept.
_COMMON = TrainSettings(
    epochs=61, patience=15, collapse=0.6, keep_best=True, batch_size=180, weight_decay=1e-4, clip=10,
    warm_up_epochs=5, step_factor=0.5,
)  # fmt: skip
_PRODUCTS = replace(
    _COMMON, backbone_rate=6e-4, head_rate=6e-4, loss_rate=0.06, step_epochs=15, step_factor=0.25,
    freeze_batch_norm=False, evaluate_every=5, recalls=(1, 10, 100),
)  # fmt: skip
_BASELINE = replace(_COMMON, backbone_rate=1e-4, head_rate=1e-4, loss_rate=0.01, clustering=True)
_MARGIN = replace(
    _COMMON, batch_size=32, images_per_class=4, backbone_rate=1e-5, head_rate=1e-4, loss_rate=0.01,
    gate_rate=1e-4, step_epochs=10, warm_up_epochs=0,
)  # fmt: skip

_AVSL: Mapping[str, tuple[TrainSettings, AvslSettings]] = {
    "cub200": (
        replace(_COMMON, backbone_rate=1e-5, head_rate=5.5e-4, loss_rate=1.1e-4, step_epochs=10),
        AvslSettings(level_weights=(0.5, 1.0, 0.5)),
    ),
    "cars196": (
        replace(
            _COMMON,
            backbone_rate=0.00025230934618157737,
            head_rate=0.00016294139202611374,
            loss_rate=0.09918213648327627,
            step_epochs=5,
        ),
        AvslSettings(level_weights=(1.0, 4.0, 4.0)),
    ),
    "sop": (
        _PRODUCTS,
        AvslSettings(level_weights=(1.0, 4.0, 4.0), negative_margin=2.4),
    ),
}
_BASELINES: Mapping[str, tuple[TrainSettings, str]] = {
    "cub200": (replace(_BASELINE, step_epochs=5), "proxy-anchor-avsl"),
    "cars196": (replace(_BASELINE, step_epochs=10), "proxy-anchor-avsl"),
    "sop": (_PRODUCTS, "proxy-anchor-avsl-sop"),
}
# Their order of the levels' weights: the framework gives the final loss the first of them, 1.
_MARGIN_LEVELS = AvslSettings(base="margin", level_weights=(0.2, 1.0, 1.0))


def _presets() -> dict[str, Preset]:
    found = {}
    for backbone, model in _MODELS.items():
        for data, (settings, avsl) in _AVSL.items():
            name = f"{data}-{backbone}"
            found[name] = Preset(_SCRIPTS, model, settings, avsl)
            baseline, loss = _BASELINES[data]
            found[f"{name}-baseline"] = Preset(_SCRIPTS, model, baseline, loss=loss, pooling="avgmax")
            found[f"{name}-margin"] = Preset(_SCRIPTS, model, _MARGIN, _MARGIN_LEVELS)
            of_images = replace(_MARGIN, gate_rate=0.0, clustering=True)
            found[f"{name}-margin-baseline"] = Preset(
                _SCRIPTS, model, of_images, loss="margin-avsl", pooling="avgmax"
            )
    return found


# DATA-BACKBONE is AVSL with Proxy-Anchor, -margin AVSL with the margin loss, -baseline the loss alone.
PRESETS: Mapping[str, Preset] = _presets()


def preset(name: str) -> Preset:
    """Return the preset of that name. Raises ValueError for an unknown one."""
    if name not in PRESETS:
        raise ValueError(f"a preset is {', '.join(PRESETS)}; got {name!r}")
    return PRESETS[name]
