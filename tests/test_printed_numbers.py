"""Numbers that round to zero are printed without a sign."""

import ast
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lookalike import render
from lookalike.cli.explaining import _print_explanation
from lookalike.explainers.base import to_array
from lookalike.reports.page import ReportedMatch, pair_report
from lookalike.types import Explanation, Geometry, ImageMap, Picture

SOURCE = Path(__file__).parents[1] / "src" / "lookalike"


def almost_exact():
    """An explanation whose similarity is -1e-6 and whose residuals are -3e-6."""
    picture = Picture(Image.new("RGB", (30, 20)), (20, 30), "a.png")
    geometry = Geometry((20, 30), (224, 224), (0.0, 0.0, 20.0, 30.0))
    side = ImageMap(picture, geometry, np.array([[1.0, -1.0 + 2e-6]], np.float32))
    return Explanation(-1e-6, side, side, "shares", True, "mini")


def test_explain_prints_no_negative_zero(capsys):
    _print_explanation(almost_exact(), [])
    assert capsys.readouterr().out == "similarity 0.0000 by shares of mini, residual +0.0000\n"


def test_results_and_reports_show_no_negative_zero():
    explanation = almost_exact()
    report = pair_report([ReportedMatch(explanation)], title="t", facts={})
    for text in (repr(explanation), explanation._repr_html_(), report):
        assert "-0.00" not in text


def test_pictures_of_a_negative_and_a_positive_zero_are_the_same():
    below = almost_exact()
    above = replace(below, similarity=1e-6)
    assert render.side_by_side(below).tobytes() == render.side_by_side(above).tobytes()


def test_zeros_of_maps_have_no_sign():
    import torch

    assert not np.signbit(to_array(torch.tensor([0.0, -0.0]), (1, 2))).any()


@pytest.mark.parametrize("path", sorted(SOURCE.rglob("*.py")), ids=lambda path: str(path.relative_to(SOURCE)))
def test_every_signed_format_with_fixed_decimals_says_z(path):
    specs = (
        part.value
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FormattedValue) and node.format_spec is not None
        for part in node.format_spec.values
        if isinstance(part, ast.Constant)
    )
    without = [spec for spec in specs if spec.startswith("+") and spec.endswith("f") and "z" not in spec]
    assert not without, f"{without} may print -0.0; write +z instead of +"
