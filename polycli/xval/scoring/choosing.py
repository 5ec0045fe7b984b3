"""Chooses the records of a store that eval scores or calibrate learns from, after a check of what could stop them."""

from __future__ import annotations

import numpy as np

from polycli.console import warn
from polycli.errors import StoreError
from polycli.requests import Split
from polycli.xval.data.store import RecordStore
from polycli.xval.model.loaded import LoadedNumformer
from polycli.xval.scoring.hidden_numbers import Subset


def choose_records(
    store: RecordStore, loaded: LoadedNumformer, *, split: Split, most: int | None, allow_untrained: bool
) -> Subset:
    """Chooses at most so many records of a split, evenly spread, that the model can read.

    Raises:
        SourceError: numbers are in other units than the model learned.
        StoreError: the split has no records, none with numbers, or none that fits the model's context.
    """
    loaded.check_units(store.units, str(store.path), allow=allow_untrained)
    rows = store.rows(split)
    if len(rows) == 0:
        raise StoreError(
            f"{store.path}: no record is in the split {split}; there are {dict(store.store.manifest.splits)}",
            hint="choose another --split, or prepare the store from more records",
        )
    count = min(len(rows) if most is None else most, len(rows))
    # Evenly spread, so that held-out records are among them as often as among all.
    chosen = rows[(np.arange(count, dtype=np.int64) * 2 + 1) * len(rows) // (2 * count)]
    if loaded.judge is None and not store.number_counts()[chosen].any():
        raise StoreError(
            f"{store.path}: there is no number in the {len(chosen)} records of the split {split}, so nothing to score",
            hint="prepare the data again so that its numbers are read, or choose another --split",
        )
    tokenization = loaded.tokenization
    lengths = tokenization.lengths(store.lengths()[chosen], store.number_counts()[chosen])
    fits = lengths <= tokenization.context
    if not fits.all():
        warn(
            f"{store.name}: {int((~fits).sum())} of {len(chosen)} records are longer than the model's context of "
            f"{tokenization.context} tokens (up to {int(lengths.max())}) and are left out"
        )
    if not fits.any():
        raise StoreError(
            f"{store.path}: no record fits the model's context of {tokenization.context} tokens",
            hint="prepare again with longer_than_context=split",
        )
    return Subset(store, chosen[fits], len(rows))
