"""Public names are unique: a name means one thing in the whole package, with the exceptions below."""

import ast
from collections import defaultdict
from pathlib import Path

SOURCE = Path(__file__).parents[1] / "src" / "lookalike"

# Commands and HTTP routes are named after the library function they call; only their functions may repeat.
DOORS = ("cli.", "web.routes")
# Every checkpoint layout is a module with the same interface.
LAYOUTS = "models.checkpoints."
LAYOUT_NAMES = {"NAME", "EXPECTED", "matches", "build"}


def module_name(path):
    return ".".join(path.relative_to(SOURCE).with_suffix("").parts).removesuffix(".__init__")


def public_names(path):
    """Names that a module defines at its top level and that must be unique."""
    module = module_name(path)
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            names = [] if module.startswith(DOORS) else [node.name]
        elif isinstance(node, ast.ClassDef):
            names = [node.name]
        elif isinstance(node, ast.Assign):
            leaves = [leaf for target in node.targets for leaf in ast.walk(target)]  # of tuples, too
            names = [leaf.id for leaf in leaves if isinstance(leaf, ast.Name)]
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            names = [node.target.id]
        else:
            names = []
        allowed = LAYOUT_NAMES if module.startswith(LAYOUTS) else set()
        yield from (name for name in names if not name.startswith("_") and name not in allowed)


def repeated_names():
    modules_of = defaultdict(list)
    for path in SOURCE.rglob("*.py"):
        for name in set(public_names(path)):
            modules_of[name].append(module_name(path))
    return {name: sorted(modules) for name, modules in modules_of.items() if len(modules) > 1}


def test_no_two_modules_define_the_same_public_name():
    assert repeated_names() == {}
