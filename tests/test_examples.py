"""What lies in examples/, runs as docs/explanations.md says."""

import json
from pathlib import Path

import pytest
import torch
from torch import nn
from typer.testing import CliRunner

from lookalike.cli import app
from lookalike.evaluation.explanations import CONTROLS, MEASURES

ROOT = Path(__file__).parents[1]
METHOD = f"{ROOT / 'examples/pair_method.py'}:by_color"
TAKEN = "aid-mean,mask-auc,swap-error"


def rows_of(*args):
    command = ["evaluate", "explanations", "rooms", "--pairs", "2", "--measures", TAKEN, "--json"]
    result = CliRunner().invoke(app, [*command, *map(str, args)])
    assert result.exit_code == 0, result.output
    return {(row["model"], row["method"], row["measure"]): row for row in json.loads(result.stdout)["rows"]}


def test_a_strangers_method_stands_in_the_table_beside_ours():
    rows = rows_of("--methods", f"shares,{METHOD}")
    (model,) = {model for model, _, _ in rows}
    for measure in TAKEN.split(","):
        assert rows[model, METHOD, measure]["pairs"] == rows[model, "shares", measure]["pairs"] == 2
    assert rows[model, METHOD, "swap-error"]["value"] == pytest.approx(0, abs=1e-6)  # its maps are symmetric


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")
def test_a_strangers_onnx_model_goes_through_the_same_command(tmp_path):
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 5, 8, stride=8), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten())
    file = tmp_path / "theirs.onnx"
    torch.onnx.export(network.eval(), (torch.zeros(1, 3, 32, 48),), str(file), dynamo=False,
                      input_names=["images"], dynamic_axes={"images": {0: "n"}})  # fmt: skip
    rows = rows_of("--model", file, "--methods", f"occlusion:cells=2,{METHOD}")
    assert {(method, measure) for _, method, measure in rows} == {
        (method, measure) for method in ("occlusion:cells=2", METHOD) for measure in TAKEN.split(",")
    }


def test_the_page_shows_the_method_as_it_is():
    page = (ROOT / "docs/explanations.md").read_text(encoding="utf-8")
    _, _, code = (ROOT / "examples/pair_method.py").read_text(encoding="utf-8").partition("\n\n")
    assert f"```python\n{code}```" in page


def test_the_page_names_every_measure_and_control():
    page = (ROOT / "docs/explanations.md").read_text(encoding="utf-8")
    missing = [name for name in (*MEASURES, *CONTROLS) if f"`{name}`" not in page]
    assert not missing
