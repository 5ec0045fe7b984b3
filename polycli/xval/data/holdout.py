"""Hold-outs by rule: records with a number of a key path in an interval are kept out of training and validation.

A held-out record belongs to the split `test` and is marked. Where records are grouped, the whole group tests, so that
no repeat of a held-out sample trains; only the members inside an interval are marked.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from polycli.xval.records.keypaths import pattern_of


@dataclass(frozen=True)
class HoldOutRule:
    """Numbers of the key paths that fit `pattern` in [low, high], both ends included."""

    pattern: str
    low: float
    high: float

    @property
    def name(self) -> str:
        """The rule as text: `description.planet*.a in [1.9, 2.1]`."""
        return f"{self.pattern} in [{self.low:g}, {self.high:g}]"


def rules_of(hold_out: Mapping[str, tuple[float, float]]) -> tuple[HoldOutRule, ...]:
    """Returns the rules of a recipe's `hold_out`."""
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
        chosen = np.array([expression.fullmatch(path) for path in key_paths], dtype=np.bool_)
        inside = chosen[number_keys] & (numbers >= rule.low) & (numbers <= rule.high)
        marks[owner[inside], column] = True
    return marks


def kept_out(marks: NDArray[np.bool_], groups: Sequence[str] | None) -> list[bool]:
    """Marks the records that must not train: those marked already, and the other members of their groups."""
    held: list[bool] = [bool(row.any()) for row in marks]
    if groups is None:
        return held
    moved = {name for name, out in zip(groups, held, strict=True) if out and name}
    return [out or name in moved for out, name in zip(held, groups, strict=True)]
