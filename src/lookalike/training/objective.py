"""What a training minimizes: a module from a network's output and labels to named loss terms."""

from __future__ import annotations

import abc

from torch import Tensor, nn

# What a network in training returns: one tensor, or several, each with the batch as first axis.
# With several processes each of them is gathered along that axis before the objective sees it.
Output = Tensor | tuple[Tensor, ...]


class Objective(nn.Module, abc.ABC):
    """Loss terms by name. Its own parameters (proxies, centers, margins) learn at ``loss_rate``.

    It is called once a step with the joined batch of all processes, after the generators of torch
    were seeded by seed and step: what it draws at random is the same in every process and after a
    resume. State that is neither parameter nor buffer belongs in ``get_extra_state``.
    """

    @abc.abstractmethod
    def forward(self, output: Output, labels: Tensor) -> dict[str, Tensor]:
        """Scalars by name; the loss is their sum. ``labels`` is (B,) int64, 0 to classes - 1."""
