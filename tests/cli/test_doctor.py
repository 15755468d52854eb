"""The doctor tells what a report of a fault needs, and fails where the main job does."""

import importlib
import json
import tomllib
from pathlib import Path

from typer.testing import CliRunner

from lookalike import __version__
from lookalike.cli import app

doctor = importlib.import_module("lookalike.cli.doctor")  # the package's name of it is the command


def test_it_names_versions_extras_and_models_and_passes():
    result = CliRunner().invoke(app, ["doctor", "--json"])
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert found["lookalike"].startswith(__version__) and "train" in found["extras"]
    assert "mini" in found["recommended models at hand"] and found["self_test"]["passed"]
    assert set(found["recommended models at hand"]).isdisjoint(found["recommended models to fetch"])


def test_a_missing_extra_is_named_with_what_to_do(monkeypatch):
    monkeypatch.setitem(doctor._EXTRAS, "web", ("no_such_module",))
    monkeypatch.setattr(doctor, "_self_test", lambda: {"passed": False, "similarity": 0.1, "error": 1.0,
                                                       "load_s": 1.0, "pair_s": 1.0})  # fmt: skip
    result = CliRunner().invoke(app, ["doctor"])
    assert "web (pip install 'lookalike[web]')" in result.stdout
    assert result.exit_code == 1 and "self-test FAILED" in result.stdout


def test_every_extra_of_the_package_is_looked_for():
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text(encoding="utf-8"))
    assert set(doctor._EXTRAS) == set(project["project"]["optional-dependencies"])
