"""The public names, and that reaching for the package is quick."""

import inspect
import subprocess
import sys

import pytest

import lookalike

PUBLIC = {
    "CellMatch",
    "CellSimilarity",
    "CheckpointError",
    "DatasetError",
    "Difference",
    "Embedder",
    "Evaluation",
    "Explanation",
    "FilterError",
    "Gallery",
    "GalleryError",
    "GeometricMatch",
    "Geometry",
    "GraphExplanation",
    "Hit",
    "ImageMap",
    "LookalikeError",
    "ModelMismatchError",
    "ModelOutputError",
    "OnnxEmbedder",
    "Picture",
    "Progress",
    "Ranking",
    "Reading",
    "SearchResult",
    "Shares",
    "TrainingError",
    "TrainingResult",
    "UnknownModelError",
    "UnknownNameError",
    "UnreadableImageError",
    "UnsupportedMethodError",
    "__version__",
    "difference",
    "evaluate",
    "explain",
    "fit",
    "list_models",
    "place_matches",
    "render",
    "rerank",
    "scenes",
    "verify",
}


def test_public_names_are_exactly_these():
    assert set(lookalike.__all__) == set(dir(lookalike)) == PUBLIC


@pytest.mark.parametrize("name", sorted(PUBLIC))
def test_public_names_exist(name):
    assert getattr(lookalike, name) is not None


def test_public_functions_and_classes_say_what_they_are_for():
    silent = [
        n for n in PUBLIC - {"__version__"} if not (inspect.getdoc(getattr(lookalike, n)) or "").strip()
    ]
    assert not silent


def test_unknown_names_are_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        lookalike.nothing  # noqa: B018


def test_explain_keeps_its_contract():
    parameters = inspect.signature(lookalike.explain).parameters
    assert list(parameters)[:2] == ["query", "match"]
    assert parameters["model"].default == "mini"
    assert parameters["method"].default == "shares"


def loaded_by(statement):
    code = f"import sys; {statement}; print(*sorted({{m.split('.')[0] for m in sys.modules}}))"
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(answer.stdout.split())


@pytest.mark.parametrize(
    "statement", ["import lookalike", "import lookalike.cli", "from lookalike import scenes"]
)
def test_importing_does_not_load_torch(statement):
    assert not loaded_by(statement) & {"torch", "timm", "torchvision", "onnxruntime"}


def test_help_loads_neither_torch_nor_rich():
    statement = "from lookalike.cli import app; app(['--help'], standalone_mode=False)"
    assert not loaded_by(statement) & {"torch", "rich"}
