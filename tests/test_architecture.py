"""The rooms of the package: imports only go down, heavy libraries have one owner, no cycles."""

import ast
from functools import cache
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "src" / "lookalike"

# The rooms, from the ground up: a room imports only what stands above it in this list.
FLOORS = (
    "types", "errors", "ops",                                           # mathematics
    "images", "models", "datasets", "store", "distributed",             # images, models, data
    "rerankers", "explainers", "training", "gallery", "evaluation",     # the verbs
    "render", "reports", "scenes", "plugs", "demo", "web", "cli", "__main__",    # pictures and doors
)  # fmt: skip
FLOOR_OF = {room: floor for floor, room in enumerate(FLOORS)}

# Who may import a heavy library, as packages or modules inside lookalike.
OWNERS = {
    "timm": {"models.backbones"},
    "lancedb": {"store.lance_imports", "plugs.lancedb_registry"},
    "pyarrow": {"images.object_store", "store", "gallery", "datasets", "distributed", "plugs.tables"},
    "ray": {"distributed"},
    "faiss": {"store.faiss_indices"},
    "onnxruntime": {"models.onnx", "models.exporting", "models.runtimes"},
    "huggingface_hub": {"models.hub"},
    "safetensors": {"models", "datasets.arrays"},
    "jinja2": {"reports.page"},
    "typer": {"cli"},
    "rich": {"cli"},
    "fastapi": {"web"},
    "starlette": {"web"},
    "uvicorn": {"web"},
    "prometheus_client": {"web.metrics"},
    "lightning": {"training"},
    "matplotlib": {"reports.plots", "plugs.similarity_map_display"},
    "pytorch_metric_learning": {"training"},
    "cv2": {"rerankers"},
    "open_clip": {"models"},
    "transformers": {"models"},
    "umap": {"gallery"},
    "scipy": {"datasets", "evaluation"},
    "sklearn": {"evaluation", "plugs", "gallery.mapping"},
    "mcp": {"plugs.mcp_server"},
    "fiftyone": {"plugs.fiftyone_samples"},
    "sentence_transformers": {"plugs.sentence_transformer"},
}


def module_files():
    return sorted(path for path in SOURCE.rglob("*.py") if path != SOURCE / "__init__.py")


def top_module(path):
    return path.relative_to(SOURCE).parts[0].removesuffix(".py")


@cache
def import_statements(path):
    tree = ast.walk(ast.parse(path.read_text()))
    return [node for node in tree if isinstance(node, ast.Import | ast.ImportFrom)]


def imports_of(path):
    """Every module that a file imports, with names imported from the package root resolved."""
    for node in import_statements(path):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        else:
            assert node.level == 0, f"{path} imports relatively; write the full name"
            if node.module == "lookalike":
                yield from (f"lookalike.{alias.name}" for alias in node.names)
            else:
                yield node.module


def inner_imports(path):
    return {name.split(".")[1] for name in imports_of(path) if name.startswith("lookalike.")}


def module_name(path):
    return ".".join(path.relative_to(SOURCE).with_suffix("").parts).removesuffix(".__init__")


def test_every_top_level_name_is_a_room_of_the_plan():
    names = {p.name.removesuffix(".py") for p in SOURCE.iterdir() if p.suffix == ".py" or p.is_dir()}
    assert names - {"__init__", "__pycache__", "py.typed"} == set(FLOOR_OF)


@pytest.mark.parametrize("path", module_files(), ids=lambda p: str(p.relative_to(SOURCE)))
def test_imports_only_go_down(path):
    here = FLOOR_OF[top_module(path)]
    higher = {m for m in inner_imports(path) - {"__version__"} if FLOOR_OF[m] > here}
    assert not higher, f"{path.name} in {top_module(path)} imports {higher} from above"


@pytest.mark.parametrize("library", OWNERS)
def test_heavy_libraries_have_one_owner(library):
    users = {
        module_name(path)
        for path in module_files()
        if any(name.split(".")[0] == library for name in imports_of(path))
    }
    strangers = {
        user
        for user in users
        if not any(user == owner or user.startswith(f"{owner}.") for owner in OWNERS[library])
    }
    assert not strangers


def modules_needed(path, names):
    """Modules that a file imports; ``from package import module`` means the module, not the package."""
    for node in import_statements(path):
        if isinstance(node, ast.ImportFrom) and node.module.startswith("lookalike."):
            package = node.module.removeprefix("lookalike.")
            inside = {f"{package}.{alias.name}" for alias in node.names} & names
            yield from inside or {package}
        elif isinstance(node, ast.Import):
            yield from {alias.name.removeprefix("lookalike.") for alias in node.names} & names


def test_modules_do_not_import_each_other_in_a_circle():
    names = {module_name(path) for path in module_files()}
    graph = {module_name(path): set(modules_needed(path, names)) for path in module_files()}
    remaining = {m: needs - {m} for m, needs in graph.items()}
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
