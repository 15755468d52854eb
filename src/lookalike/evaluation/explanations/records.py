"""What was measured, by model, method and pair; on disk too, so that a run can be interrupted."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias, final

from lookalike.errors import DatasetError, first_line, writing
from lookalike.evaluation.explanations.measures import PairScores, PairValue

RecordKey: TypeAlias = tuple[str, str, str]  # fingerprint of the model, key of the method, key of the pair

_SCORES, _SETTINGS = "scores.jsonl", "settings.json"


@dataclass
class PairRecord:
    """Measures of one pair under one method of one model."""

    values: dict[str, PairValue] = field(default_factory=dict)
    curves: dict[str, dict[str, list[float]]] = field(default_factory=dict)
    maps: tuple[list[list[float]], list[list[float]]] | None = None  # of query and match, of few pairs


@final
class PairRecords:
    """Records in memory and, with a folder, in a file that grows by a line per pair.

    Raises DatasetError for a folder of a run with other settings, and one that can't be read or written.
    """

    def __init__(self, folder: Path | None, settings: Mapping[str, Any]) -> None:
        self._records: dict[RecordKey, PairRecord] = {}
        self._file = None if folder is None else folder / _SCORES
        if folder is not None:
            _check_settings(folder, settings)
            self._read()

    def of(self, key: RecordKey) -> PairRecord:
        """What is known; an empty record if nothing is."""
        return self._records.get(key, PairRecord())

    def add(
        self,
        key: RecordKey,
        scores: PairScores,
        maps: tuple[list[list[float]], list[list[float]]] | None,
    ) -> None:
        """Add measures to those of a pair, and write them down at once."""
        line = {"key": key, "values": scores.values, "curves": scores.curves, "maps": maps}
        self._take(line)
        if self._file is not None:
            with writing(self._file, DatasetError), self._file.open("a", encoding="utf-8") as file:
                file.write(json.dumps(line) + "\n")
                file.flush()

    def _take(self, line: Mapping[str, Any]) -> None:
        model, method, pair = line["key"]
        record = self._records.setdefault((model, method, pair), PairRecord())
        record.values |= line["values"]
        record.curves |= line["curves"]
        if line["maps"] is not None:
            record.maps = line["maps"][0], line["maps"][1]

    def _read(self) -> None:
        """Read the file; a last line without an end was being written when the run was stopped."""
        assert self._file is not None
        if not self._file.exists():
            return
        try:
            text = self._file.read_text(encoding="utf-8")
        except (OSError, ValueError) as error:
            raise _unreadable(self._file, error) from error
        *lines, torn = text.split("\n")
        if torn:
            with writing(self._file, DatasetError):
                self._file.write_text(text[: len(text) - len(torn)], encoding="utf-8")
        for number, line in enumerate(lines, start=1):
            try:
                self._take(json.loads(line))
            except (ValueError, KeyError, TypeError, IndexError) as error:
                raise DatasetError(
                    f"line {number} of {self._file} is damaged; remove it and run again"
                ) from error


def _check_settings(folder: Path, settings: Mapping[str, Any]) -> None:
    """Write the settings of a new run; raise DatasetError where those of an old one differ."""
    file = folder / _SETTINGS
    if not file.exists():
        with writing(file, DatasetError):
            folder.mkdir(parents=True, exist_ok=True)
            file.write_text(json.dumps(settings, indent=2) + "\n", encoding="utf-8")
        return
    try:
        known = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise _unreadable(file, error) from error
    if not isinstance(known, dict):
        raise DatasetError(f"{file} holds no settings of a run; choose another folder for the run")
    differing = [
        f"{name} {known.get(name)!r} instead of {settings.get(name)!r}"
        for name in sorted({*known, *settings})
        if known.get(name) != settings.get(name)
    ]
    if differing:
        raise DatasetError(
            f"{folder} holds a run with {', '.join(differing)}; give the same settings or another folder"
        )


def _unreadable(file: Path, error: Exception) -> DatasetError:
    return DatasetError(f"{file} can't be read: {first_line(error)}; choose another folder for the run")
