"""Texts of records that are rows of a table, as categories for table learners."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from polycli.xval.records.keypaths import TOP, child_path
from polycli.xval.records.values import Value

Codes = NDArray[np.int64]
#: Categories of a column, at most: what scikit-learn's trees take. Rarer texts are one category.
MOST_CATEGORIES = 254
#: A column of more different texts than this share of its rows has names, not classes.
_NAMES = 0.5
#: No text there.
ABSENT = -1


@dataclass(frozen=True)
class TextColumns:
    """Codes of texts, (rows, columns), -1 where a row has none: of the rows to learn from, and of those asked about."""

    training: Codes
    asked: Codes

    @classmethod
    def none(cls, training: int, asked: int) -> TextColumns:
        """Returns no columns, for so many rows."""
        return cls(np.empty((training, 0), np.int64), np.empty((asked, 0), np.int64))


def text_columns(training: Sequence[Value], asked: Sequence[Value]) -> TextColumns:
    """The columns of texts, true and false, of records that are objects without lists.

    A text that the training does not have, or seldom, is one category with all such texts.
    """
    rows, others = [_texts(value) for value in training], [_texts(value) for value in asked]
    paths = list(dict.fromkeys(path for row in rows for path in row))
    learned, found = [], []
    for path in paths:
        counts = Counter(row[path] for row in rows if path in row)
        if not 1 < len(counts) <= max(2.0, _NAMES * counts.total()):
            continue
        codes = {text: code for code, (text, _) in enumerate(counts.most_common(MOST_CATEGORIES - 1))}
        learned.append(_coded(rows, path, codes))
        found.append(_coded(others, path, codes))
    if not learned:
        return TextColumns.none(len(rows), len(others))
    return TextColumns(np.stack(learned, axis=1), np.stack(found, axis=1))


def _coded(rows: Sequence[Mapping[str, str]], path: str, codes: Mapping[str, int]) -> Codes:
    return np.array([codes.get(row[path], len(codes)) if path in row else ABSENT for row in rows], dtype=np.int64)


def _texts(value: Value, path: str = TOP) -> dict[str, str]:
    """Texts, true and false of a record, by key path; lists are not looked into."""
    if isinstance(value, Mapping):
        return {key: text for name, part in value.items() for key, text in _texts(part, child_path(path, name)).items()}
    return {path: str(value)} if isinstance(value, str | bool) else {}
