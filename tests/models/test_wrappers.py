"""Names of weights that were saved through DataParallel and torch.compile."""

import pytest
import torch
from torch import nn

from lookalike.errors import CheckpointError
from lookalike.models.wrappers import without_wrappers


def network():
    return nn.Sequential(nn.Linear(3, 2), nn.Sequential(nn.Linear(2, 5), nn.BatchNorm1d(5)))


def compiled(module):
    return torch.compile(module, backend="eager")  # not run, so nothing is compiled


def part_compiled():
    whole = network()
    whole[1] = compiled(whole[1])
    return whole


@pytest.mark.parametrize(
    "wrapped",
    [
        network(),
        nn.DataParallel(network()),
        compiled(network()),
        compiled(nn.DataParallel(network())),
        nn.DataParallel(compiled(network())),
        part_compiled(),
        nn.DataParallel(part_compiled()),
    ],
    ids=["plain", "parallel", "compiled", "compiled parallel", "parallel compiled", "part", "parallel part"],
)
def test_wrapped_weights_have_the_names_of_the_network(wrapped):
    assert without_wrappers(wrapped.state_dict(), "w").keys() == network().state_dict().keys()


def test_a_part_of_the_network_that_is_called_module_keeps_its_name():
    own = {"block.module.weight": torch.ones(2), "block.module_scale": torch.ones(1)}
    assert without_wrappers(own, "w") == own


def test_two_networks_in_one_file_are_refused():
    with pytest.raises(CheckpointError, match=r"w\.pth holds a twice, once as module\.a"):
        without_wrappers({"a": torch.ones(2), "module.a": torch.zeros(2)}, "w.pth")
