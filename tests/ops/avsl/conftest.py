"""The published code's metrics, and a made-up graph."""

import numpy as np
import pytest
import torch
from made_nodes import make_graph


@pytest.fixture
def graph():
    return make_graph()


@pytest.fixture(scope="session")
def golden(goldens):
    """The metrics of the published code as tensors."""
    with np.load(goldens / "avsl.npz") as file:
        return {key: torch.tensor(file[key]) for key in file.files if key != "config"}
