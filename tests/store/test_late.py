"""Packages that run when they are asked for something: the same names, later."""

import importlib
import subprocess
import sys

import pytest

from lookalike.store.late import import_late


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A package of two modules; its name, and a function that tells whether its __init__ has run."""
    folder = tmp_path / "made_late"
    folder.mkdir()
    log = tmp_path / "log"
    (folder / "__init__.py").write_text(
        "from pathlib import Path\nfrom made_late.inside import VALUE\n__version__ = '3'\n"
        f"log = Path({str(log)!r})\nlog.write_text('run ' + (log.read_text() if log.exists() else ''))\n"
    )
    (folder / "inside.py").write_text("import made_late\nVALUE = 7\n")
    (folder / "other.py").write_text("WORD = 'x'\n")
    monkeypatch.syspath_prepend(tmp_path)
    yield "made_late", lambda: log.read_text() if log.exists() else ""
    for name in [each for each in sys.modules if each.partition(".")[0] == "made_late"]:
        del sys.modules[name]


def test_a_module_inside_is_imported_without_the_package(package):
    name, ran = package
    import_late(name)
    assert importlib.import_module(f"{name}.other").WORD == "x"
    assert ran() == ""


def test_the_package_runs_once_when_a_name_is_asked_for(package):
    name, ran = package
    import_late(name)
    module = importlib.import_module(name)
    assert (module.VALUE, module.__version__) == (7, "3")
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = module.nothing
    assert ran() == "run "


def test_a_package_that_is_imported_already_or_missing_stays_as_it_is(package):
    name, ran = package
    before = importlib.import_module(name)
    import_late(name)
    import_late("made_nowhere")
    assert sys.modules[name] is before and "made_nowhere" not in sys.modules and ran() == "run "


def test_galleries_load_no_client_of_catalog_servers_and_leave_it_whole():
    code = (
        "import sys, lookalike.store.lance; name = 'lance_namespace_urllib3_client'; "
        "print(f'{name}.api' in sys.modules, __import__(name).ApiClient.__name__)"
    )
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout.split() == ["False", "ApiClient"]
