"""Objectives: modules that map a network's output and labels to named loss terms."""

from __future__ import annotations

import abc

from torch import Tensor, nn

# Output of a network in training: one tensor or several, each with the batch as first axis.
# With several processes each is gathered along that axis before the objective is called.
Output = Tensor | tuple[Tensor, ...]


class Objective(nn.Module, abc.ABC):
    """Base class of objectives. Its own parameters (proxies, centers, margins) learn at ``loss_rate``.

    It is called once per step with the gathered batch of all processes, after torch was seeded by seed
    and step, so that random draws are the same in every process and after a resume. State that is
    neither parameter nor buffer belongs in ``get_extra_state``.
    """

    def gate_parameters(self) -> list[nn.Parameter]:
        """Its parameters that learn at ``gate_rate``, if that is set; none unless a subclass has gates."""
        return []

    @abc.abstractmethod
    def forward(self, output: Output, labels: Tensor) -> dict[str, Tensor]:
        """Return scalars by name, whose sum is the loss; ``labels`` is (B,) int64, 0 to classes - 1."""
