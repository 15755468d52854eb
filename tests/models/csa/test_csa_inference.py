"""The pass for scoring equals the network itself."""

from __future__ import annotations

import pytest
import torch
from torch.testing import assert_close

from lookalike.models.csa.inference import refined_features
from lookalike.models.csa.network import ContextNetwork, ContextSizes


@pytest.mark.parametrize("has_bias", [True, False])
@pytest.mark.parametrize("shape", [(1, 5), (3, 7), (2, 400)])  # 800 rows: three slices, the last one shorter
def test_features_equal_those_of_the_network(shape, has_bias):
    torch.manual_seed(0)
    sizes = ContextSizes(n_anchors=6, width=8, depth=3, heads=2, hidden=24, query_key_value_bias=has_bias)
    network = ContextNetwork(sizes).eval()
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.7)
    affinity = torch.randn(*shape, 6)
    before = affinity.clone()
    with torch.no_grad():
        assert_close(refined_features(network, affinity), network(affinity), rtol=1e-5, atol=1e-5)
    assert torch.equal(affinity, before)
