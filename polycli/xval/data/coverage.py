"""Counts how much of the data arrived in the store, by key path, and refuses to publish where too much is lost.

Nothing is lost on the way: characters become bytes or structure, numbers float64 or text. What can go wrong is that
float32, in which the model computes, cannot hold a number, or that xVal cannot tell large numbers apart.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from polycli.errors import SourceError
from polycli.xval.data.description import CoverageReport, KeyReport
from polycli.xval.data.notes import BlockNote
from polycli.xval.numbers.scaling import Scaling
from polycli.xval.numbers.statistics import NumberSums, by_key
from polycli.xval.recipe.training import CoverageSection

_LARGEST = float(np.finfo(np.float32).max)
#: Sums of squares of larger numbers are beyond float64.
_IMMENSE = 1e150


def refuse_immense(values: NDArray[np.float64], keys: NDArray[np.int32], key_paths: Sequence[str]) -> None:
    """Return if means and standard deviations of these numbers can be computed.

    Raises:
        SourceError: a number is too large for that; its key path is named.
    """
    wrong = np.flatnonzero(np.abs(values) > _IMMENSE)
    if wrong.size:
        first, path = wrong[0], key_paths[keys[wrong[0]]]
        # A header in open quotes has lines, which are none of ours.
        shown = path if path.isprintable() else json.dumps(path, ensure_ascii=False)
        raise SourceError(
            f"{shown}: the number {float(values[first])!r} is beyond {_IMMENSE:g}, where float64 has "
            "no standard deviation any more",
            hint=f"make it text: --set 'text_keys=[{shown}]'",
        )


class KeyCoverage:
    """Measures how scaling changes the numbers of each key path."""

    def __init__(self, scaling: Scaling, key_paths: Sequence[str], section: CoverageSection) -> None:
        self._scaling = scaling
        self._paths = tuple(key_paths)
        self._section = section
        self.numbers: Counter[int] = Counter()
        self.saturated: Counter[int] = Counter()
        self.overflow: dict[int, list[float]] = {}
        self.underflow: dict[int, list[float]] = {}

    def update(self, values: NDArray[np.float64], keys: NDArray[np.int32]) -> None:
        """Counts more numbers by their keys."""
        for key, members in by_key(values, keys):
            places = np.full(len(members), key, dtype=np.int32)
            scaled = self._scaling.apply(members, places, self._paths)
            sizes = np.abs(scaled)
            self.numbers[key] += len(members)
            self.saturated[key] += int((sizes > self._section.saturation_limit).sum())
            _note(self.overflow, key, members[~(sizes <= _LARGEST)])
            with np.errstate(under="ignore", over="ignore"):
                _note(self.underflow, key, members[(scaled != 0) & (scaled.astype(np.float32) == 0)])

    def refuse(self) -> None:
        """Return if the model can compute with all numbers, to the recipe's liking.

        Raises:
            SourceError: numbers of a key path overflow, underflow or saturate; it says how many and what to do.
        """
        hint = "scale this key path (scaling.keys takes affine and asinh), or make it text (text_keys)"
        for key, examples in self.overflow.items():
            raise SourceError(
                f"{self._paths[key]}: {len(examples)} of {self.numbers[key]} numbers are beyond float32 after scaling, "
                f"such as {examples[0]!r}",
                hint=hint,
            )
        if self._section.underflow == "refuse":
            for key, examples in self.underflow.items():
                raise SourceError(
                    f"{self._paths[key]}: {len(examples)} of {self.numbers[key]} numbers are not zero, but are zero in "
                    f"float32 after scaling, such as {examples[0]!r}",
                    hint=f"{hint}, or count them only: --set coverage.underflow=count",
                )
        most = self._section.max_saturated
        for key, count in self.saturated.items():
            if most is not None and count > most * self.numbers[key]:
                raise SourceError(
                    f"{self._paths[key]}: {count / self.numbers[key]:.2%} of {self.numbers[key]} numbers are beyond "
                    f"{self._section.saturation_limit:g} after scaling, coverage.max_saturated is {most:.2%}",
                    hint=hint,
                )

    def report(self, sums: NumberSums) -> dict[str, KeyReport]:
        """Maps each key path to the count, range and decades of its raw numbers, and to their fate under scaling."""
        known = sums.statistics(self._paths)
        return {
            path: KeyReport(
                count=known[path].count,
                min=known[path].min,
                max=known[path].max,
                smallest=known[path].smallest,
                decades={str(power): count for power, count in sums.decades(key).items()},
                scaler=self._scaling.of(path).kind,
                saturated=self.saturated[key] / max(self.numbers[key], 1),
                underflow=len(self.underflow.get(key, ())),
            )
            for key, path in enumerate(self._paths)
            if path in known
        }


def _note(examples: dict[int, list[float]], key: int, members: NDArray[np.float64]) -> None:
    if members.size:
        examples.setdefault(key, []).extend(members.tolist())


def report_of(
    blocks: Sequence[BlockNote],
    *,
    records: int,
    keys: Mapping[str, KeyReport],
    rejected: int,
    duplicates: int,
    saturation: float,
) -> CoverageReport:
    """Counts the records and numbers of the store, and adds up the notes of all blocks on what was read."""
    notes: Counter[str] = Counter()
    for block in blocks:
        notes.update(block["notes"])
    return CoverageReport(
        records=records,
        numbers=sum(entry.count for entry in keys.values()),
        tokens=sum(block["tokens"] for block in blocks),
        characters=sum(block["characters"] for block in blocks),
        verified=sum(block["verified"] for block in blocks),
        longest=max((block["longest"] for block in blocks), default=0),
        notes=dict(sorted(notes.items())),
        rejected=rejected,
        duplicates=duplicates,
        saturation_limit=saturation,
        mixed_types=mixed_types(blocks, {path: entry.count for path, entry in keys.items()}),
        keys=dict(keys),
    )


def mixed_types(blocks: Iterable[BlockNote], number_paths: Mapping[str, int]) -> dict[str, dict[str, int]]:
    """Key paths where numbers stand in some records and texts in others, with how many of each."""
    texts: Counter[str] = Counter()
    for block in blocks:
        texts.update(block["texts"])
    return {
        path: {"numbers": number_paths[path], "texts": count}
        for path, count in sorted(texts.items())
        if number_paths.get(path)
    }
