"""The two published trainings of CSA by name; they differ only in the descriptors that they learn from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from lookalike.errors import DatasetError
from lookalike.training.reranking_settings import RerankerSettings


@dataclass(frozen=True)
class RerankerPreset:
    """A training of a re-ranker with the settings and descriptors of its authors."""

    source: str
    descriptors: tuple[str, ...]  # names of the authors' files
    fewest: int  # other descriptors that may stand in for them: at least so many,
    most: int  # and at most
    settings: RerankerSettings = field(default_factory=RerankerSettings)

    def choose(self, available: Sequence[str], origin: str) -> list[str]:
        """Return the authors' descriptors if all are available, or else all others, if not too many or few.

        ``origin`` names the data in messages. Raises DatasetError.
        """
        if set(self.descriptors) <= set(available):
            return list(self.descriptors)
        if self.fewest <= len(available) <= self.most:
            return list(available)
        needed = "those of one network" if self.most == 1 else "those of several networks"
        raise DatasetError(
            f"{origin} should hold the descriptors {', '.join(self.descriptors)}, or {needed}, for this "
            f"preset, got {', '.join(available) or 'none'}; choose with --descriptors"
        )


_ONE, _SEVERAL = ("gl18-tl-resnet101-gem-w",), tuple(f"gl18-tl-resnet{n}-gem-w" for n in (50, 101, 152))

RERANKER_PRESETS: Mapping[str, RerankerPreset] = {
    "csa": RerankerPreset("Ouyang et al., NeurIPS 2021, experiment_rSfm120k.sh", _ONE, 1, 1),
    "csa-augmented": RerankerPreset(
        "Ouyang et al., NeurIPS 2021, experiment_augrSfm120k.sh", _SEVERAL, 2, 1_000
    ),
}


def reranker_preset(name: str) -> RerankerPreset:
    """Return the preset of that name. Raises ValueError for an unknown one."""
    if name not in RERANKER_PRESETS:
        raise ValueError(f"a preset of a re-ranker is {' or '.join(RERANKER_PRESETS)}; got {name!r}")
    return RERANKER_PRESETS[name]
