"""Methods of the leaderboard: ours with options, controls, and anybody's function of two pictures."""

from __future__ import annotations

import hashlib
import importlib.util
import inspect
import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import Tensor

from lookalike.errors import LookalikeError, UnknownNameError, check_name, first_line
from lookalike.evaluation.explanations.controls import (
    PairExplainer,
    center_maps,
    feature_norms,
    heat_maps,
    last_features,
    random_maps,
    random_numbers,
)
from lookalike.evaluation.explanations.subjects import Subject
from lookalike.explainers import EXPLAINERS, Explainer, SharesExplainer, make_explainer, shares_at
from lookalike.models.embedder import Embedder
from lookalike.ops.similarity import cosine_similarity
from lookalike.types import Explanation, FloatArray, Reading

AnyMethod: TypeAlias = "str | MapMethod | Callable[..., Any]"

_SLOW = frozenset({"integrated-gradients", "leave-one-out", "leave-tokens-out", "occlusion", "rise"})


@dataclass(frozen=True, eq=False)
class CellCosines:
    """How alike each cell of one image is to each of another."""

    values: Tensor  # (Nq, Nm), higher is closer
    query_grid: tuple[int, int]
    match_grid: tuple[int, int]


@dataclass(frozen=True, eq=False)
class BoundMethod:
    """A method ready for pairs of one model."""

    explain: PairExplainer | None  # None for a method that only matches cells
    cell_similarity: Callable[[Reading, Reading], CellCosines] | None = None
    of_hits: Callable[[Reading, Tensor], Any] | None = None  # all hits of a query, from their units (K, D)
    uses_model: bool = True  # whether it would notice that the weights have changed
    is_slow: bool = False  # takes tens of forward passes for a pair; measured again on fewer pairs


@dataclass(frozen=True, eq=False)
class MapMethod:
    """A way to explain a pair."""

    name: str  # in the rows
    key: str  # in the records of a run: the name, and a hash of the file that a function comes from
    bind: Callable[[Subject], BoundMethod]  # raises UnsupportedMethodError for a model that does not fit


def make_method(given: AnyMethod, *, seed: int = 0) -> MapMethod:
    """A method from a name of ``EXPLAINERS`` or ``CONTROLS``, ``file.py:function``, or a function.

    Names take options, ``shares:layer=3,reference=both``. A function takes the pictures of query and
    match as the network sees them, and the model too if it has a third parameter without a default; it
    returns two arrays (h, w) over the whole of them, higher is more important. Values below zero count as
    zero for ``mass``, ``drop`` and ``right-wrong-auc``. In the folder of a run a file is known by its
    content, a function given as such by its name alone: rename it when it changes.

    Raises UnknownNameError for a name that is none of these, ValueError for a function of other
    parameters, and LookalikeError for a file that can't be run.
    """
    if isinstance(given, MapMethod):
        return given
    if not isinstance(given, str):
        name = getattr(given, "__name__", type(given).__name__)
        return MapMethod(name, name, lambda subject: _of_function(subject, given, name))
    if ".py:" in given:
        return _of_file(given)
    name, _, options = given.partition(":")
    check_name("method", name, [*EXPLAINERS, *CONTROLS])
    if name in CONTROLS:
        if options:
            raise UnknownNameError(f"method {name!r} takes no options, got {options!r}; leave them out")
        return MapMethod(given, given, lambda subject: CONTROLS[name](subject, seed))
    parsed = _options(given, options)
    return MapMethod(given, given, lambda subject: _of_explainer(subject, name, parsed))


def split_methods(text: str) -> list[str]:
    """Split ``shares:layer=3,reference=both,occlusion`` at the commas that do not separate options.

    >>> split_methods("shares:layer=3,reference=both,occlusion,mine.py:explain")
    ['shares:layer=3,reference=both', 'occlusion', 'mine.py:explain']
    """
    methods: list[str] = []
    for part in filter(None, (piece.strip() for piece in text.split(","))):
        if "=" in part and ":" not in part.partition("=")[0] and methods:
            methods[-1] += f",{part}"
        else:
            methods.append(part)
    return methods


def _options(given: str, text: str) -> dict[str, Any]:
    options: dict[str, Any] = {}
    for part in filter(None, text.split(",")):
        name, equals, value = part.partition("=")
        if not equals:
            raise UnknownNameError(f"options of a method are name=value, got {part!r} in {given!r}")
        try:
            options[name] = json.loads(value)
        except json.JSONDecodeError:
            options[name] = value
    return options


# --- ours -----------------------------------------------------------------------------------------


def _of_explainer(subject: Subject, name: str, options: dict[str, Any]) -> BoundMethod:
    try:
        explainer: Explainer = make_explainer(subject.model, name, **options)
    except TypeError as error:  # a text in place of a number
        raise UnknownNameError(
            f"method {name!r} can't take {options}: {first_line(error)}; give values of the right kind"
        ) from error
    cell_similarity = None
    if isinstance(explainer, SharesExplainer):
        form = explainer.form
        cell_similarity = _share_cosines(explainer.embedder, "last" if form.has_reference else form.layer)
    return BoundMethod(
        explain=explainer,
        cell_similarity=cell_similarity,
        of_hits=getattr(explainer, "of_hits", None),
        is_slow=name in _SLOW,
    )


def _share_cosines(embedder: Embedder, layer: int | str) -> Callable[[Reading, Reading], CellCosines]:
    """By the cosine of the cells' shares, as ``place_matches``."""

    def similarity(query: Reading, match: Reading) -> CellCosines:
        a, b = (shares_at(embedder, reading, layer) for reading in (query, match))
        return CellCosines(cosine_similarity(a.values.double(), b.values.double()), a.grid, b.grid)

    return similarity


def _random(subject: Subject, seed: int) -> BoundMethod:
    def similarity(query: Reading, match: Reading) -> CellCosines:
        grids = [subject.grid((r.pixels.shape[0], r.pixels.shape[1])) for r in (query, match)]
        sizes = [h * w for h, w in grids]
        numbers = random_numbers(query, match, seed).random(sizes)
        return CellCosines(torch.from_numpy(numbers), grids[0], grids[1])

    return BoundMethod(random_maps(subject, seed=seed), similarity, uses_model=False)


def _feature_cosine(subject: Subject, _seed: int) -> BoundMethod:
    """Cells matched by the cosine of their features in the last layer; it draws no map."""

    def similarity(query: Reading, match: Reading) -> CellCosines:
        a, b = (last_features(subject, reading, "feature-cosine") for reading in (query, match))
        return CellCosines(cosine_similarity(a.cells[0].double(), b.cells[0].double()).cpu(), a.grid, b.grid)

    return BoundMethod(None, similarity)


CONTROLS: dict[str, Callable[[Subject, int], BoundMethod]] = {
    "random": _random,
    "center": lambda subject, _seed: BoundMethod(center_maps(subject), uses_model=False),
    "feature-norm": lambda subject, _seed: BoundMethod(feature_norms(subject)),
    "feature-cosine": _feature_cosine,
}


# --- anybody's ------------------------------------------------------------------------------------


def _of_file(given: str) -> MapMethod:
    path_text, _, function_name = given.rpartition(":")
    path = Path(path_text)
    if not path.is_file():
        raise UnknownNameError(f"a method of one's own is FILE.py:FUNCTION, and there is no file {path}")
    spec = importlib.util.spec_from_file_location(f"method_{path.stem}", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except Exception as error:  # anything may go wrong in a file from outside
        raise LookalikeError(f"{path} can't be run: {first_line(error)}") from error
    check_name(f"function in {path}", function_name, _functions_of(vars(module)))
    digest = hashlib.sha256(path.read_bytes()).hexdigest()[:12]
    function = getattr(module, function_name)
    return MapMethod(given, f"{given}@{digest}", lambda subject: _of_function(subject, function, given))


def _functions_of(names: dict[str, Any]) -> Iterable[str]:
    return [name for name, value in names.items() if callable(value) and not name.startswith("_")]


def _of_function(subject: Subject, function: Callable[..., Any], name: str) -> BoundMethod:
    takes_model = _n_parameters(function, name) == 3

    def explain(query: Reading, match: Reading) -> Explanation:
        pictures = (query.picture.image, match.picture.image)
        try:
            found = function(*pictures, subject.model) if takes_model else function(*pictures)
        except LookalikeError:
            raise
        except Exception as error:  # anything may go wrong in a function from outside
            raise LookalikeError(
                f"{name} failed on {query.picture.name} and {match.picture.name}: "
                f"{type(error).__name__}: {first_line(error)}; repair it and run again"
            ) from error
        return heat_maps(subject, (query, match), _two_maps(found, name), name)

    return BoundMethod(explain, uses_model=takes_model)


def _n_parameters(function: Callable[..., Any], name: str) -> int:
    """How many must be given by position; those with a default keep it."""
    required = [
        parameter
        for parameter in inspect.signature(function).parameters.values()
        if parameter.kind in (parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD)
        and parameter.default is parameter.empty
    ]
    if len(required) not in (2, 3):
        raise ValueError(
            f"{name} should take (query, match) or (query, match, model); it takes {len(required)}"
        )
    return len(required)


def _two_maps(found: Any, name: str) -> tuple[FloatArray, FloatArray]:
    expected = f"{name} should return two finite arrays (h, w), one for each picture; got"
    try:
        maps = [np.asarray(each, np.float32) for each in found]
    except (TypeError, ValueError) as error:
        raise ValueError(f"{expected} {type(found).__name__}: {first_line(error)}") from error
    if len(maps) != 2 or any(each.ndim != 2 or not each.size for each in maps):
        raise ValueError(
            f"{expected} {len(maps)} of shapes {', '.join(str(each.shape) for each in maps[:3])}"
        )
    if n_bad := sum(int((~np.isfinite(each)).sum()) for each in maps):
        raise ValueError(f"{expected} {n_bad} cells that are NaN or infinite")
    return maps[0], maps[1]
