"""Rows, differences and curves of the leaderboard from what was measured on each pair."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from lookalike.evaluation.explanations.measures import PairValue
from lookalike.evaluation.explanations.records import PairRecord
from lookalike.evaluation.explanations.results import ExplanationRow, HidingCurve, MethodDifference
from lookalike.ops.resampling import bootstrap_intervals, sign_flip_p_values
from lookalike.ops.weighted_auc import weighted_auc

_N_RESAMPLES = 2000
_N_FLIPS = 10_000


@dataclass(frozen=True)
class MethodRecords:
    """What one method did on one model, pair by pair in the order of the run."""

    model: str
    method: str
    records: Sequence[PairRecord]

    def values(self, measure: str) -> dict[int, PairValue]:
        """Of the pairs that the measure could be taken on, by position."""
        found = ((i, record.values.get(measure)) for i, record in enumerate(self.records))
        return {i: value for i, value in found if value is not None}

    def measures(self, chosen: Sequence[str]) -> list[str]:
        """The chosen ones, and after ``residual`` its kinds."""
        names = {name for record in self.records for name in record.values}
        kinds = sorted(name for name in names if name.startswith("residual-"))
        return [each for name in chosen for each in ([name, *kinds] if name == "residual" else [name])]


def rows_of(method: MethodRecords, chosen: Sequence[str], *, seed: int) -> list[ExplanationRow]:
    """Mean or AUC of each measure over pairs, with a bootstrap interval over pairs."""
    rows = []
    for measure in method.measures(chosen):
        values = list(method.values(measure).values())
        if not values:
            continue
        generator = torch.Generator().manual_seed(seed)
        if isinstance(values[0], list):
            value, low, high = _auc(torch.tensor(values, dtype=torch.float64), generator)
        else:
            column = torch.tensor(values, dtype=torch.float64)[:, None]
            ends = bootstrap_intervals(column, generator=generator, n_resamples=_N_RESAMPLES)[0]
            value, low, high = float(column.mean()), float(ends[0]), float(ends[1])
        rows.append(ExplanationRow(method.model, method.method, measure, value, low, high, len(values)))
    return rows


def differences_of(
    methods: Sequence[MethodRecords], reference: str, chosen: Sequence[str], *, seed: int
) -> list[MethodDifference]:
    """Of each method from the reference on the same model, over the pairs that both have."""
    found = []
    for base in (method for method in methods if method.method == reference):
        others = [each for each in methods if each.model == base.model and each is not base]
        for other in others:
            for measure in other.measures(chosen):
                difference = _difference(other, base, measure, seed)
                found += [] if difference is None else [difference]
    return found


def curves_of(method: MethodRecords, chosen: Sequence[str]) -> list[HidingCurve]:
    """Mean curves over the pairs that have them."""
    found = []
    for measure in chosen:
        curves = [record.curves[measure] for record in method.records if measure in record.curves]
        if curves:
            insertion, deletion = (_mean_curve(curves, name) for name in ("insertion", "deletion"))
            found.append(HidingCurve(method.model, method.method, measure, insertion, deletion))
    return found


def _difference(
    other: MethodRecords, base: MethodRecords, measure: str, seed: int
) -> MethodDifference | None:
    """None for an AUC, which has no value per pair, and without two common pairs."""
    mine, theirs = other.values(measure), base.values(measure)
    gaps = []
    for i in sorted(set(mine) & set(theirs)):
        a, b = mine[i], theirs[i]
        if isinstance(a, float | int) and isinstance(b, float | int):
            gaps.append(float(a) - float(b))
    if len(gaps) < 2:
        return None
    column = torch.tensor(gaps, dtype=torch.float64)[:, None]
    generator = torch.Generator().manual_seed(seed)
    ends = bootstrap_intervals(column, generator=generator, n_resamples=_N_RESAMPLES)[0]
    p_value = float(sign_flip_p_values(column, generator=generator, n_resamples=_N_FLIPS)[0])
    return MethodDifference(
        model=other.model, method=other.method, reference=base.method, measure=measure,
        value=float(column.mean()), low=float(ends[0]), high=float(ends[1]), p_value=p_value, pairs=len(gaps),
    )  # fmt: skip


def _auc(values: Tensor, generator: torch.Generator) -> tuple[float, float, float]:
    """AUC of the first of two columns (P, 2) over the second, and the ends of its bootstrap interval."""
    n = len(values)
    both = values.T.flatten()  # right values, then wrong ones
    zeros = torch.zeros(n, dtype=torch.float64)

    def auc(counts: Tensor) -> float:
        return weighted_auc(both, torch.cat([counts, zeros]), torch.cat([zeros, counts]))

    draws = torch.randint(n, (_N_RESAMPLES, n), generator=generator)
    aucs = torch.tensor([auc(torch.bincount(draw, minlength=n).double()) for draw in draws])
    low, high = aucs.double().quantile(torch.tensor([0.025, 0.975], dtype=torch.float64)).tolist()
    return auc(torch.ones(n, dtype=torch.float64)), low, high


def _mean_curve(curves: Sequence[Mapping[str, list[float]]], name: str) -> tuple[float, ...]:
    return tuple(torch.tensor([curve[name] for curve in curves], dtype=torch.float64).mean(0).tolist())
