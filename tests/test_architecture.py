"""The floors of the house: imports only go down, heavy libraries have one owner, no cycles."""

import ast
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "src" / "lookalike"

FLOORS = {
    0: {"types", "errors"},
    1: {"ops"},
    2: {
        "images", "backbones", "heads", "poolings", "network", "saved", "checkpoints", "loading",
        "embedder", "onnx_embedder", "scenes", "vectors", "datasets", "networks", "avsl",
    },
    3: {
        "accelerator", "explainers", "gallery", "rerankers", "store", "survey", "training", "evaluation",
        "comparison",
    },
    4: {
        "comparison_report", "evaluation_report", "figures", "render", "report", "search_report", "writing",
    },
    5: {"demo", "cli", "web"},
}  # fmt: skip
FLOOR_OF = {module: floor for floor, modules in FLOORS.items() for module in modules}

OWNERS = {
    "timm": "backbones",
    "lancedb": "store",
    "pyarrow": {"store", "gallery", "datasets"},
    "faiss": "accelerator",
    "onnxruntime": "onnx_embedder",
    "huggingface_hub": "loading",
    "safetensors": {"saved", "checkpoints", "vectors"},
    "jinja2": "report",
    "typer": "cli",
    "rich": "cli",
    "fastapi": "web",
    "starlette": "web",
    "uvicorn": "web",
    "lightning": "training",
    "matplotlib": "figures",
    "pytorch_metric_learning": "training",
    "scipy": {"datasets", "evaluation"},
    "sklearn": "evaluation",
}


def module_files():
    return sorted(path for path in SOURCE.rglob("*.py") if path != SOURCE / "__init__.py")


def top_module(path):
    return path.relative_to(SOURCE).parts[0].removesuffix(".py")


def imports_of(path):
    """Every module that a file imports, with names imported from the package root resolved."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} imports relatively; write the full name"
            if node.module == "lookalike":
                yield from (f"lookalike.{alias.name}" for alias in node.names)
            else:
                yield node.module


def inner_imports(path):
    return {name.split(".")[1] for name in imports_of(path) if name.startswith("lookalike.")}


def test_every_module_has_a_floor():
    assert {top_module(path) for path in module_files()} <= set(FLOOR_OF)


@pytest.mark.parametrize("path", module_files(), ids=lambda p: str(p.relative_to(SOURCE)))
def test_imports_only_go_down(path):
    here = FLOOR_OF[top_module(path)]
    allowed_names = {"__version__"}
    higher = {m for m in inner_imports(path) - allowed_names if FLOOR_OF[m] > here}
    assert not higher, f"{path.name} on floor {here} imports {higher} from above"


@pytest.mark.parametrize("library", OWNERS)
def test_heavy_libraries_have_one_owner(library):
    owners = OWNERS[library]
    allowed = owners if isinstance(owners, set) else {owners}
    users = {
        top_module(path)
        for path in module_files()
        if any(name.split(".")[0] == library for name in imports_of(path))
    }
    assert users <= allowed


def test_modules_do_not_import_each_other_in_a_circle():
    graph = {m: set() for m in FLOOR_OF}
    for path in module_files():
        graph[top_module(path)] |= (inner_imports(path) & set(FLOOR_OF)) - {top_module(path)}
    remaining = dict(graph)
    while remaining:
        leaves = {m for m, needs in remaining.items() if not needs & set(remaining)}
        assert leaves, f"a cycle among {sorted(remaining)}"
        remaining = {m: needs for m, needs in remaining.items() if m not in leaves}


def test_ops_know_neither_files_nor_pictures():
    for path in (SOURCE / "ops").rglob("*.py"):
        outside = {name.split(".")[0] for name in imports_of(path)}
        assert outside <= {
            "__future__", "torch", "jaxtyping", "math", "collections", "dataclasses", "typing", "lookalike",
        }  # fmt: skip
