"""``evaluate_explanations``: many methods on many models over the same pairs."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from lookalike.datasets.pairs import ImagePair
from lookalike.errors import DatasetError, UnsupportedMethodError, check_name
from lookalike.evaluation.explanations.cases import ExplainedPair, PairCase, Roster
from lookalike.evaluation.explanations.faithful import HIDING_STEPS
from lookalike.evaluation.explanations.halves import PAIR_HALVES, half_of
from lookalike.evaluation.explanations.measures import chosen_measures, score_pair
from lookalike.evaluation.explanations.methods import AnyMethod, BoundMethod, MapMethod, make_method
from lookalike.evaluation.explanations.records import PairRecord, PairRecords, RecordKey
from lookalike.evaluation.explanations.results import ExplainedExample, ExplanationScores, Refusal
from lookalike.evaluation.explanations.scoring import MethodRecords, curves_of, differences_of, rows_of
from lookalike.evaluation.explanations.subjects import Subject
from lookalike.explainers import EmbedsImages
from lookalike.models.embedder import Embedder
from lookalike.types import Explanation, ImageMap, ProgressCallback, tracked

AnyModel = str | Path | Embedder | EmbedsImages

_REFERENCE = "shares"
_N_EXAMPLES = 8  # pairs whose maps are kept


def evaluate_explanations(
    pairs: Sequence[ImagePair],
    models: Sequence[AnyModel],
    methods: Sequence[AnyMethod],
    *,
    measures: Iterable[str] | None = None,
    reference: str = _REFERENCE,
    seed: int = 0,
    run: str | Path | None = None,
    half: str | None = None,
    recorded_only: bool = False,
    progress: ProgressCallback | None = None,
) -> ExplanationScores:
    """Judge the maps of several methods on several models: are they true?

    ``models`` are names as in ``Embedder.load``, ONNX files, or objects with ``name`` and ``embed``;
    ``methods`` are those of ``make_method``; ``measures`` are names of ``MEASURES``, all by default.
    A method that does not fit a model is listed in ``refusals``; so is one that refuses some pairs, whose
    rows rest on the others. Each other method is compared with
    ``reference`` pair by pair, if that takes part.

    With a folder ``run`` every pair is written down when it is done, and a later call goes on from
    there. The same seed gives the same rows, except for the cost. ``recorded_only`` measures nothing and
    gives the rows of what was written down. With ``half`` only the pairs of that half of ``half_of`` are
    measured and judged; the other pairs still lend their images, so both halves come from one run.

    Raises DatasetError for no pairs, also in the half, pairs of one key, and a folder with another run;
    UnknownNameError, also for a reference other than "shares" that takes no part; UnknownModelError and
    CheckpointError; LookalikeError and ValueError for a function of one's own that fails or returns no maps.
    """
    chosen = chosen_measures(measures)
    if half is not None:
        check_name("half", half, PAIR_HALVES)
    named = [make_method(method, seed=seed) for method in methods]
    _check(pairs, models, named)
    n_judged = sum(half in (None, half_of(pair)) for pair in pairs)
    if not n_judged and not recorded_only:
        raise DatasetError(f"none of the {len(pairs)} pairs is in the half {half!r}; take more pairs")
    if reference != _REFERENCE:  # which need not take part
        check_name("reference", reference, [method.name for method in named])
    settings: dict[str, Any] = {
        "seed": seed,
        "n_pairs": len(pairs),
        "pairs": _digest(pairs),
        "steps": HIDING_STEPS,
    }
    records = PairRecords(None if run is None else Path(run), settings)
    results: list[_ModelRun] = []
    for model in models:
        subject = Subject(model)
        if subject.name in [each.roster.subject.name for each in results]:
            raise ValueError(f"several models have the name {subject.name!r}; give each a name of its own")
        results.append(_ModelRun(Roster(subject, pairs, seed=seed), named, chosen, records, half))
        if not recorded_only:
            results[-1].measure(progress)
    judged = [each for result in results for each in result.judged()]
    return ExplanationScores(
        rows=tuple(row for each in judged for row in rows_of(each, chosen, seed=seed)),
        refusals=tuple(refusal for result in results for refusal in result.refusals.values()),
        differences=tuple(differences_of(judged, reference, chosen, seed=seed)),
        curves=tuple(curve for each in judged for curve in curves_of(each, chosen)),
        examples=tuple(example for result in results for example in result.examples()),
        settings={
            **settings,
            "n_pairs": n_judged,
            "half": half,
            "measures": list(chosen),
            "reference": reference,
            "models": [each.roster.subject.name for each in results],
        },
    )


class _ModelRun:
    """All methods on all pairs of one model."""

    def __init__(
        self,
        roster: Roster,
        methods: Sequence[MapMethod],
        measures: Sequence[str],
        records: PairRecords,
        half: str | None,
    ) -> None:
        self.roster, self._methods, self._measures, self._records = roster, methods, measures, records
        self._indices = [i for i, pair in enumerate(roster.pairs) if half in (None, half_of(pair))]
        self.refusals: dict[str, Refusal] = {}  # by name of the method
        self._given_up: set[str] = set()  # methods that are not asked about further pairs
        self._bound = {method.name: self._bind(method) for method in methods}

    def measure(self, progress: ProgressCallback | None) -> None:
        """Measure what is not recorded yet, pair by pair, so that methods share what they can."""
        work = ((PairCase(self.roster, i), method) for i in self._indices for method in self._methods)
        case = None
        total = len(self._indices) * len(self._methods)
        stage = f"explaining {self.roster.subject.name}"
        for current, method in tracked(work, stage, total, progress):
            case = current if case is None or case.index != current.index else case
            ready = self._bound[method.name]
            missing = [name for name in self._measures if name not in self._record(method, case.index).values]
            if ready is not None and missing and method.name not in self._given_up:
                self._score(ExplainedPair(case, method, ready), missing)

    def judged(self) -> list[MethodRecords]:
        """The records of the methods that fit the model, also of those that refused some pairs."""
        name = self.roster.subject.name
        found = []
        for method in self._methods:
            records = [self._record(method, i) for i in self._indices]
            if method.name not in self.refusals or any(record.values for record in records):
                found.append(MethodRecords(name, method.name, records))
        return found

    def examples(self) -> list[ExplainedExample]:
        """The first pairs under every method, on the grid where maps are compared."""
        found = []
        for i in self._indices[:_N_EXAMPLES]:
            case, pair = PairCase(self.roster, i), self.roster.pairs[i]
            for method in self._methods:
                maps = self._record(method, i).maps
                if maps is not None:
                    found.append(ExplainedExample(pair.key, method.name, _explanation(case, method, maps)))
        return found

    def _bind(self, method: MapMethod) -> BoundMethod | None:
        try:
            return method.bind(self.roster.subject)
        except UnsupportedMethodError as error:
            self._refuse(method, error)
            return None

    def _score(self, explained: ExplainedPair, measures: Sequence[str]) -> None:
        case, method = explained.case, explained.method
        try:
            scores = score_pair(explained, measures)
            is_kept = case.rank < _N_EXAMPLES and explained.bound.explain is not None
            maps = (_rounded(explained.maps[0]), _rounded(explained.maps[1])) if is_kept else None
        except UnsupportedMethodError as error:
            self._refuse(method, error)
            return
        self._records.add(self._key(method, case.index), scores, maps)

    def _refuse(self, method: MapMethod, error: UnsupportedMethodError) -> None:
        """Note why; a method that did no pair yet is given up, another only misses this pair."""
        self.refusals[method.name] = Refusal(self.roster.subject.name, method.name, str(error))
        if not any(self._record(method, i).values for i in self._indices):
            self._given_up.add(method.name)

    def _record(self, method: MapMethod, index: int) -> PairRecord:
        return self._records.of(self._key(method, index))

    def _key(self, method: MapMethod, index: int) -> RecordKey:
        return self.roster.subject.fingerprint, method.key, self.roster.pairs[index].key


def _explanation(
    case: PairCase, method: MapMethod, maps: tuple[list[list[float]], list[list[float]]]
) -> Explanation:
    query, match = (
        ImageMap(side.reading.picture, side.reading.geometry, np.asarray(values, np.float32))
        for side, values in zip(case.sides, maps, strict=True)
    )
    name = case.subject.name
    return Explanation(case.similarity, query, match, method.name, additive=False, model=name)


def _rounded(values: Tensor) -> list[list[float]]:
    """To four digits of the largest value."""
    size = float(values.abs().max()) or 1.0
    digits = 4 - int(np.ceil(np.log10(size)))
    return [[round(value, digits) for value in row] for row in values.double().tolist()]


def _check(pairs: Sequence[ImagePair], models: Sequence[AnyModel], methods: Sequence[MapMethod]) -> None:
    if not pairs or not models or not methods:
        raise DatasetError(
            "explanations are evaluated on at least one pair, model and method; got "
            f"{len(pairs)}, {len(models)} and {len(methods)}"
        )
    for kind, names in (("pairs", [p.key for p in pairs]), ("methods", [m.name for m in methods])):
        if repeated := sorted({name for name in names if names.count(name) > 1}):
            raise DatasetError(f"several {kind} are called {repeated[0]!r}; give each once")


def _digest(pairs: Sequence[ImagePair]) -> str:
    """Of the pairs in their order and of their images' content: a pair's measures depend on the others."""
    digest = hashlib.sha256()
    for pair in pairs:
        digest.update(pair.key.encode() + b"\n")
        for image in (pair.query, pair.match):
            try:
                digest.update(hashlib.sha256(image.path.read_bytes()).digest())
            except OSError as error:
                raise DatasetError(
                    f"{image.path} can't be read: {error.strerror}; check where the images lie"
                ) from error
    return digest.hexdigest()[:16]
