"""Decides which numbers are hidden together when a model is examined: each number is hidden once, in one of some turns.

`share`: a record's numbers in random turns, each hiding so large a share of them as training does. `single`: one at a
time. And, before either, groups: numbers that give each other away, such as the evenly spaced axes of the planets, are
hidden all at once in a turn of their own. Uncertainties that cells had, as in `1.2±0.1`, go with their numbers.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from polycli.engine.batches.order import GOLDEN, mixed
from polycli.xval.records.keypaths import TOP, KeyPatterns, child_path, refuse_unknown
from polycli.xval.records.records import Records
from polycli.xval.training.masking import Words

Rows = NDArray[np.int64]


def turns_of(
    records: Records,
    seeds: Words,
    *,
    groups: Sequence[Sequence[str]],
    share: float | None,
    keys: Sequence[str] = (),
    errors: Mapping[str, str] | None = None,
) -> Rows:
    """Returns, for each number, the turn of its record in which it is hidden; -1 if in none.

    Args:
        records: with key paths.
        seeds: a word for each record.
        groups: patterns of key paths; the numbers that fit a group are hidden together, the first group counts.
        share: of the other numbers, hidden at once; None: one at a time.
        keys: patterns of the key paths that are hidden at all; all if empty. Groups are hidden in any case.
        errors: by key of a column, the key of the uncertainties that were split off its cells: each is hidden in the
            turn of its number, as it is unknown where that is.

    Raises:
        RecipeError: a pattern fits no key path.
    """
    refuse_unknown((pattern for group in groups for pattern in group), records.key_paths, where="groups")
    refuse_unknown(keys, records.key_paths, where="keys")
    of_path = np.full(len(records.key_paths), -1, dtype=np.int64)
    wanted = KeyPatterns(keys)
    free = np.array([not keys or wanted.match(path) for path in records.key_paths], dtype=np.bool_)
    for place, group in reversed(list(enumerate(groups))):
        fits = KeyPatterns(group)
        of_path[[fits.match(path) for path in records.key_paths]] = place
    turn_of = of_path[records.number_keys] if len(of_path) else np.empty(0, dtype=np.int64)
    rest = (turn_of < 0) & (free[records.number_keys] if len(free) else np.empty(0, dtype=np.bool_))
    turn_of[rest] = len(groups) + _turns(records, seeds, rest, share)
    return _with_errors(turn_of, records, errors or {})


def _with_errors(turn_of: Rows, records: Records, errors: Mapping[str, str]) -> Rows:
    """The turns, those of uncertainties made those of their numbers where these are hidden."""
    owners = np.repeat(np.arange(len(records)), records.number_lengths)
    places = {path: place for place, path in enumerate(records.key_paths)}
    found = turn_of.copy()
    for key, error in errors.items():
        at_key, at_error = (records.number_keys == places.get(child_path(TOP, name), -1) for name in (key, error))
        of_record = np.full(len(records), -1, dtype=np.int64)
        of_record[owners[at_key]] = turn_of[at_key]
        turns = of_record[owners[at_error]]
        found[at_error] = np.where(turns >= 0, turns, turn_of[at_error])
    return found


def _turns(records: Records, seeds: Words, rest: NDArray[np.bool_], share: float | None) -> Rows:
    """Turns of the numbers `rest`: their random order within the record, dealt out one after the other."""
    owners = np.repeat(np.arange(len(records)), records.number_lengths)
    places = np.arange(len(owners)) - np.repeat(records.number_offsets[:-1], records.number_lengths)
    words = mixed(seeds[owners] + places.astype(np.uint64) * np.uint64(GOLDEN))
    owners, words = owners[rest], words[rest]
    order = np.lexsort((words, owners))
    counts = np.bincount(owners, minlength=len(records))
    rank = np.empty(len(order), dtype=np.int64)
    rank[order] = np.arange(len(order)) - np.repeat(np.cumsum(counts) - counts, counts)
    return rank if share is None else rank % max(1, math.ceil(1 / share))
