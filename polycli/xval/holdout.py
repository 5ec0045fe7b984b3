"""Hold-outs by rule: records with a number of a key path in an interval are kept out of training and validation.

A held-out record belongs to the split `test` and is marked. Where records are grouped, the whole group tests, so that no
repeat of a held-out sample trains; only the members inside an interval are marked.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from polycli.requests import Split
from polycli.xval.keypaths import pattern_of


@dataclass(frozen=True)
class HoldOutRule:
    """Numbers of the key paths that fit `pattern` in [low, high], both ends included."""

    pattern: str
    low: float
    high: float

    @property
    def name(self) -> str:
        """`description.planet*.a in [1.9, 2.1]`."""
        return f"{self.pattern} in [{self.low:g}, {self.high:g}]"


def rules_of(hold_out: Mapping[str, tuple[float, float]]) -> tuple[HoldOutRule, ...]:
    """The rules of a recipe."""
    return tuple(HoldOutRule(pattern, low, high) for pattern, (low, high) in hold_out.items())


def held_out(
    rules: Sequence[HoldOutRule],
    key_paths: Sequence[str],
    numbers: NDArray[np.float64],
    number_keys: NDArray[np.int64],
    offsets: NDArray[np.int64],
) -> NDArray[np.bool_]:
    """(records, rules): which records each rule holds out; `offsets` say where each record's numbers start."""
    marks = np.zeros((len(offsets) - 1, len(rules)), dtype=np.bool_)
    owner = np.repeat(np.arange(len(offsets) - 1), np.diff(offsets))
    for column, rule in enumerate(rules):
        expression = pattern_of(rule.pattern)
        chosen = np.array([expression.fullmatch(path) is not None for path in key_paths], dtype=np.bool_)
        inside = chosen[number_keys] & (numbers >= rule.low) & (numbers <= rule.high)
        marks[owner[inside], column] = True
    return marks


def apply_to_splits(splits: Sequence[Split], marks: NDArray[np.bool_], groups: Sequence[str] | None) -> list[Split]:
    """The splits with all held-out records, and their groups, in `test`."""
    held = marks.any(axis=1) if marks.size else np.zeros(len(splits), dtype=np.bool_)
    moved = _groups_of(held, groups) if groups is not None else set()
    tests = [bool(out) or (groups is not None and groups[row] in moved) for row, out in enumerate(held.tolist())]
    return ["test" if moves else split for split, moves in zip(splits, tests, strict=True)]


def _groups_of(held: NDArray[np.bool_], groups: Iterable[str]) -> set[str]:
    return {group for group, out in zip(groups, held.tolist(), strict=True) if out and group}
