"""Several processes learn what one process with the joined batch learns."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch
import two_processes

from lookalike.training.log import CsvLog


def steps_of(folder, loss):
    """How far each parameter went in one step of plain gradient descent: its gradient times the rate."""
    model, objective = two_processes.start(4, loss)
    before = {f"model.{name}": value for name, value in model.named_parameters()}
    before |= {f"objective.{name}": value for name, value in objective.named_parameters()}
    after = torch.load(folder / loss / "checkpoint.ckpt", weights_only=True)["state_dict"]
    return {name: after[name] - value.detach() for name, value in before.items()}


@pytest.mark.slow
def test_two_processes_have_the_gradient_of_one_with_the_joined_batch(tmp_path, colored):
    two_processes.train(colored, tmp_path / "one", 1)
    script = Path(two_processes.__file__)
    command = [sys.executable, str(script), str(colored), str(tmp_path / "two"), "2"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=500)
    assert done.returncode == 0, done.stderr
    for loss in two_processes.LOSSES:
        (one,), (two,) = (CsvLog(tmp_path / n / loss / "log.csv").rows() for n in ("one", "two"))
        assert two["loss"] == pytest.approx(one["loss"], rel=1e-5)
        expected, found = (steps_of(tmp_path / n, loss) for n in ("one", "two"))
        for name, step in expected.items():
            # sums in another order; ten layers of ReLU6 make a thousandth of it
            assert float((found[name] - step).norm()) <= 2e-3 * float(step.norm()), name
        assert any(float(step.norm()) > 1e-4 for name, step in expected.items() if "objective" in name)
