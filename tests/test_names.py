"""One word, one meaning: no public name stands in two modules, but for the few that are meant to."""

import ast
from collections import defaultdict
from pathlib import Path

SOURCE = Path(__file__).parents[1] / "src" / "lookalike"

LAYOUT = {"NAME", "EXPECTED", "matches", "build"}  # what every checkpoint layout has


def public_names(path):
    """Functions, classes and constants that a module defines, without those that begin with _."""
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names = [node.name]
        elif isinstance(node, ast.Assign):
            names = [target.id for target in node.targets if isinstance(target, ast.Name)]
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            names = [node.target.id]
        else:
            names = []
        yield from (name for name in names if not name.startswith("_"))


def is_meant(name, module):
    """Commands and routes are called like the function that they call; layouts share a protocol."""
    is_door = module.startswith("cli/") or module == "web/routes.py" or module == "web/serving.py"
    return is_door or (module.startswith("models/checkpoints/") and name in LAYOUT)


def test_public_names_are_defined_once():
    homes = defaultdict(list)
    for path in sorted(SOURCE.rglob("*.py")):
        module = path.relative_to(SOURCE).as_posix()
        for name in public_names(path):
            if not is_meant(name, module):
                homes[name].append(module)
    assert {name: modules for name, modules in homes.items() if len(modules) > 1} == {}
