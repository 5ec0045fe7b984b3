"""Hides the sign of a limit with its number: who sees `<` where a number is hidden knows the number nearly."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from polycli.xval.records.keypaths import TOP, child_path
from polycli.xval.records.records import Records
from polycli.xval.records.structure import NULL, QUOTE

Marks = NDArray[np.bool_]
_NULL, _QUOTE = ord(NULL), ord(QUOTE)


def keys_beside(keys: Sequence[str]) -> dict[str, tuple[str, str]]:
    """Names the keys of uncertainties and limits by key of a column, longer where another column has such a name.

    >>> keys_beside(["x", "x_limit"])["x"]
    ('x_error', 'x_limit_')
    """
    used = set(keys)
    return {key: (_unused(f"{key}_error", used), _unused(f"{key}_limit", used)) for key in keys}


def _unused(name: str, used: set[str]) -> str:
    """The name, longer where a column has it already."""
    while name in used:
        name += "_"
    used.add(name)
    return name


def without_limits(
    records: Records, hidden: Marks, limits: Mapping[str, str], key_ids: Mapping[str, int]
) -> tuple[Records, Marks, Marks]:
    """Makes null of the limits of hidden numbers, as they are in rows whose number is to be filled in.

    Args:
        records: of tables, a record for each row.
        hidden: which of their numbers are hidden.
        limits: by key of a column, the key of its limits.
        key_ids: the tokens of keys.

    Returns:
        The records, which of the tokens that were given are still there, and which of these became null.
    """
    ids, kept = records.token_ids.copy(), np.ones(len(records.token_ids), dtype=np.bool_)
    nulls = np.zeros(len(ids), dtype=np.bool_)
    owners = np.repeat(np.arange(len(records)), records.number_lengths)
    places = {path: place for place, path in enumerate(records.key_paths)}
    for key, name in limits.items():
        asked = np.zeros(len(records), dtype=np.bool_)
        asked[owners[hidden & (records.number_keys == places.get(child_path(TOP, key), -1))]] = True
        signs = np.flatnonzero(ids[:-1] == key_ids[name]) + 1
        signs = signs[(ids[signs] == _QUOTE) & asked[np.searchsorted(records.token_offsets, signs, side="right") - 1]]
        for start in signs.tolist():
            end = start + 1 + int(np.argmax(ids[start + 1 :] == _QUOTE))
            kept[start + 1 : end + 1] = False
        ids[signs], nulls[signs] = _NULL, True
    starts = np.concatenate([[0], np.cumsum(kept)])
    return replace(records, token_ids=ids[kept], token_offsets=starts[records.token_offsets]), kept, nulls[kept]
