"""``compare``: two models on the same images, from paired metrics to explained cases."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

from lookalike.evaluation import LabeledEmbeddings, Retrieved, retrieve
from lookalike.evaluation.comparison.explaining import explainers_of, map_agreement, true_pairs
from lookalike.evaluation.comparison.hiding import faithfulness
from lookalike.evaluation.comparison.paired_metrics import (
    check_same_images,
    list_agreement,
    outcomes,
    paired_metrics,
)
from lookalike.evaluation.comparison.results import (
    Case,
    Comparison,
    ExplainedHit,
    MapAgreement,
    MapFaithfulness,
)
from lookalike.evaluation.embedding_parts import AnyEmbedder
from lookalike.evaluation.summary import similarity_rule
from lookalike.explainers import Explainer
from lookalike.types import Explanation, ProgressCallback, tracked

_DEPTH = 50  # ranks of the lists that are compared
_JACCARD_KS = (1, 5, 10, 50)


@dataclass(frozen=True)
class ComparisonSettings:
    """Numbers of pairs, cases and resamples; the same seed draws the same."""

    ks: tuple[int, ...] = (1, 2, 4, 8)  # of recall
    n_pairs: int = 40  # pairs whose maps are compared
    n_cases: int = 4  # cases of each kind that are explained
    n_resamples: int = 10_000
    seed: int = 0


def compare(
    first: LabeledEmbeddings,
    second: LabeledEmbeddings,
    *,
    embedders: tuple[AnyEmbedder, AnyEmbedder] | None = None,
    settings: ComparisonSettings = ComparisonSettings(),
    progress: ProgressCallback | None = None,
) -> Comparison:
    """Compare two embeddings of the same images; each image queries all others.

    With the ``embedders`` that made them, their maps are compared too, and cases explained. Raises
    DatasetError for different images, or if nothing can be judged.
    """
    names = _names(first, second)
    check_same_images(first, second)
    a, b = (retrieve(side, ks=settings.ks, depth=_DEPTH, progress=progress) for side in (first, second))
    maps: tuple[MapAgreement, ...] = ()
    faithful: tuple[MapFaithfulness, ...] = ()
    cases: tuple[Case, ...] = ()
    pairs = true_pairs(a, b, settings.n_pairs, seed=settings.seed)
    if embedders is not None and first.paths is not None and len(pairs) > 1:
        files = [(first.paths[query], first.paths[match]) for query, match in pairs]
        explainers = [explainers_of(embedder, files[0]) for embedder in embedders]
        ways = [
            _ModelMethod(name, method, embedder, explainer)
            for name, embedder, methods in zip(names, embedders, explainers, strict=True)
            for method, explainer in methods.items()
        ]
        maps, faithful = _maps(ways, files, settings.seed, progress)
        cases = _cases((a, b), names, explainers, settings.n_cases, progress)
    return Comparison(
        first=names[0],
        second=names[1],
        source=first.source,
        n_queries=len(a.asked),
        n_without_match=a.n_without_match,
        n_gallery=len(first),
        n_classes=len(first.classes),
        metrics=paired_metrics(a, b, n_resamples=settings.n_resamples, seed=settings.seed),
        outcomes=outcomes(a, b),
        lists=list_agreement(a, b, _JACCARD_KS),
        n_pairs=len(pairs) if maps else 0,
        maps=maps,
        faithfulness=faithful,
        rules=(
            *_rules(a, settings, has_maps=bool(maps)),
            *(
                similarity_rule(side.gallery)
                for side in (a, b)
                if side.gallery.is_avsl or side.gallery.lacks_nodes
            ),
        ),
        cases=cases,
    )


def _names(first: LabeledEmbeddings, second: LabeledEmbeddings) -> tuple[str, str]:
    """The models' names, or the files that the embeddings came from."""
    names = (first.model or first.source, second.model or second.source)
    return names if names[0] != names[1] else (f"{names[0]} (1)", f"{names[1]} (2)")


@dataclass(frozen=True)
class _ModelMethod:
    """One model explained by one method."""

    model: str  # name in the comparison
    method: str
    embedder: AnyEmbedder
    explainer: Explainer

    @property
    def name(self) -> str:
        return f"{self.model}, {self.method}"


def _maps(
    ways: Sequence[_ModelMethod],
    files: Sequence[tuple[Path, Path]],
    seed: int,
    progress: ProgressCallback | None,
) -> tuple[tuple[MapAgreement, ...], tuple[MapFaithfulness, ...]]:
    """Agreement of the maps of every two models and methods, and faithfulness of each."""
    explained: list[list[Explanation]] = [[] for _ in ways]
    for i in tracked(range(len(files)), "explaining", len(files), progress):
        for found, way in zip(explained, ways, strict=True):
            found.append(way.explainer(*files[i]))
    agreements = [
        map_agreement(explained[i], explained[j], names=(ways[i].name, ways[j].name), seed=seed)
        for i, j in combinations(range(len(ways)), 2)
    ]
    faithful = [
        faithfulness(ways[i].embedder, explained[i], files, model=ways[i].model, seed=seed)
        for i in tracked(range(len(ways)), "hiding cells", len(ways), progress)
    ]
    return tuple(agreements), tuple(faithful)


def _cases(
    sides: tuple[Retrieved, Retrieved],
    names: tuple[str, str],
    explainers: Sequence[dict[str, Explainer]],
    n: int,
    progress: ProgressCallback | None,
) -> tuple[Case, ...]:
    """The n queries of each kind that one model finds and the other ranks last."""
    first, second = sides
    chosen = [(i, 0) for i in _won(first, second, n)] + [(i, 1) for i in _won(second, first, n)]
    labels, paths = first.queries.labels, first.queries.paths
    assert paths is not None
    cases = []
    for number in tracked(range(len(chosen)), "explaining cases", len(chosen), progress):
        i, right = chosen[number]
        winner, loser = sides[right], sides[1 - right]
        query = int(winner.asked[i])
        hits = [
            ExplainedHit(
                labels[row],
                str(paths[row]),
                *(tuple(way(paths[query], paths[row]) for way in ways.values()) for ways in explainers),
            )
            for row in (int(winner.nearest[i, 0]), int(loser.nearest[i, 0]))
        ]
        rank = int(loser.first_ranks[i])
        cases.append(Case(labels[query], str(paths[query]), names[right], rank, hits[0], hits[1]))
    return tuple(cases)


def _won(winner: Retrieved, loser: Retrieved, n: int) -> list[int]:
    """Positions, among the queries asked, of those that only the winner finds; one per class at most."""
    is_won = winner.is_right()[:, 0] & ~loser.is_right()[:, 0]
    chosen: dict[str, int] = {}
    for i in loser.first_ranks.argsort(descending=True, stable=True).tolist():
        if is_won[i] and len(chosen) < n:
            chosen.setdefault(winner.queries.labels[int(winner.asked[i])], i)
    return list(chosen.values())


def _rules(retrieved: Retrieved, settings: ComparisonSettings, *, has_maps: bool) -> list[str]:
    rules = [
        f"Each of {len(retrieved.gallery):,} images queries all others, the same queries for both models; "
        f"{retrieved.n_without_match:,} queries without a match are left out.",
        f"Differences: 95% paired bootstrap over queries; p-values: two-sided sign-flip test, "
        f"{settings.n_resamples:,} resamples each, seed {settings.seed}, not corrected for the number of "
        "metrics. They hold for other queries of these classes, not for other classes.",
    ]
    if has_maps:
        rules += [
            f"Maps: at most {settings.n_pairs} random queries, each with the image of its class nearest "
            "by the sum of both similarities; on the coarser of both grids, over the area that both "
            "models saw.",
            "By chance: the second's maps of another pair, on the same grid.",
            "Faithfulness: area between the curves of the cosine as eighths of the query are hidden, the "
            "least and the most important first, in units of the cosine; 0 is a random order.",
        ]
    return rules
