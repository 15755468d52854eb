"""Published settings of AVSL by name: backbone, training and losses."""

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
    avsl: AvslSettings
    dims: int = 512


# The authors' code stops after 15 evaluations without gain; 60 epochs are our choice.
_COMMON = TrainSettings(epochs=60, batch_size=180, weight_decay=1e-4, clip=10, warm_up_epochs=5)
_RESNET, _INCEPTION = "resnet50.tv_in1k", "inception_v3.tv_in1k"

_CUB = Preset(
    "Zhang et al., CVPR 2022, CUB-200-2011",
    _RESNET,
    replace(_COMMON, backbone_rate=1e-5, head_rate=5.5e-4, loss_rate=1.1e-4, step_epochs=10, step_factor=0.5),
    AvslSettings(level_weights=(0.5, 1.0, 0.5)),
)
_CARS = Preset(
    "Zhang et al., CVPR 2022, Cars196",
    _RESNET,
    replace(
        _COMMON,
        backbone_rate=0.00025230934618157737,
        head_rate=0.00016294139202611374,
        loss_rate=0.09918213648327627,
        step_epochs=5,
        step_factor=0.5,
    ),
    AvslSettings(level_weights=(1.0, 4.0, 4.0)),
)
_SOP = Preset(
    "Zhang et al., CVPR 2022, Stanford Online Products",
    _RESNET,
    replace(
        _COMMON,
        backbone_rate=6e-4,
        head_rate=6e-4,
        loss_rate=0.06,
        step_epochs=15,
        step_factor=0.25,
        freeze_batch_norm=False,
        evaluate_every=5,
    ),
    AvslSettings(level_weights=(1.0, 4.0, 4.0), negative_margin=2.4),
)

PRESETS: Mapping[str, Preset] = {
    "cub200-resnet50": _CUB,
    "cars196-resnet50": _CARS,
    "sop-resnet50": _SOP,
    # instead of BN-Inception, the authors' other backbone, which is not in timm
    "cub200-inception": replace(_CUB, model=_INCEPTION),
    "cars196-inception": replace(_CARS, model=_INCEPTION),
    "sop-inception": replace(_SOP, model=_INCEPTION),
}


def preset(name: str) -> Preset:
    """Return the preset of that name. Raises ValueError for an unknown one."""
    if name not in PRESETS:
        raise ValueError(f"a preset is {', '.join(PRESETS)}; got {name!r}")
    return PRESETS[name]
