"""One number of each record and key path, drawn at random and answered for: cases that do not depend on each other.

Where records were grouped, one of each group counts, because repeats of a sample are as one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from polycli.console import progress
from polycli.xval.model.loaded import LoadedNumformer
from polycli.xval.records.records import Records
from polycli.xval.scoring.fill import Answers, Filler
from polycli.xval.scoring.hidden_numbers import Subset, read_records
from polycli.xval.scoring.turns import turns_of
from polycli.xval.training.masking import record_seeds

Rows = NDArray[np.int64]


@dataclass(frozen=True)
class OneEach:
    """Some records with answers for the numbers that were drawn."""

    records: Records
    #: Which of the numbers were drawn, key path after key path.
    drawn: Rows
    #: For every number; of meaning for those that were drawn.
    answers: Answers


def answer_one_each(
    loaded: LoadedNumformer, subset: Subset, *, share: float | None, seed: int, batch_tokens: int
) -> OneEach:
    """Draw one number of each unit and key path, and answer for it.

    Args:
        loaded: the model.
        subset: the records; of a store with groups, a group is the unit, else a record.
        share: of a record, hidden at once; None hides a drawn number alone.
        seed: of the draw, and of the turns in which numbers are hidden.
        batch_tokens: tokens of a forward pass.
    """
    store = subset.store
    records = read_records(store, subset.rows, loaded)
    seeds = record_seeds(seed, store.name, subset.rows, 0, purpose="eval")
    turn_of = turns_of(records, seeds, groups=(), share=share, errors=loaded.tokenization.error_keys)
    drawn = _drawn(records, units_of(subset), seed)
    if share is None:
        # Each is hidden alone or with its uncertainty, so turns without a drawn number need no answer.
        owners = np.repeat(np.arange(len(records)), records.number_lengths)
        turns = owners * (turn_of.max(initial=0) + 1) + turn_of
        turn_of = np.where(np.isin(turns, turns[drawn]), turn_of, -1)
    filler = Filler(loaded.model, loaded.tokenization, batch_tokens)
    with progress(int((turn_of >= 0).sum()), f"{store.name}: numbers") as bar:
        answers = filler.once(records, turn_of, bar.advance)
    return OneEach(records, drawn, answers)


def units_of(subset: Subset) -> Rows:
    """Returns the number of each record's unit: its group, where it has one, else itself."""
    groups: Sequence[str] = subset.store.groups(subset.rows) or [""] * len(subset.rows)
    known: dict[str, int] = {}
    found = [known.setdefault(name, place) if name else place for place, name in enumerate(groups)]
    return np.array(found, dtype=np.int64)


def _drawn(records: Records, units: Rows, seed: int) -> Rows:
    owners = units[np.repeat(np.arange(len(records)), records.number_lengths)]
    shuffled = np.random.default_rng(seed).permutation(len(owners))
    found = [np.empty(0, dtype=np.int64)]
    for key in range(len(records.key_paths)):
        mine = shuffled[records.number_keys[shuffled] == key]
        _, first = np.unique(owners[mine], return_index=True)
        found.append(mine[first])
    return np.concatenate(found)
