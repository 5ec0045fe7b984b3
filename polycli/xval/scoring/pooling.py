"""Records to vectors: the mean over each record's tokens, and the first token of each number."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from polycli.xval.records.keypaths import KeyPatterns
from polycli.xval.records.records import Records
from polycli.xval.scoring.fill import Filler


@dataclass(frozen=True)
class Vectors:
    """The vectors of some records, and of their numbers."""

    #: (records, dimension)
    records: NDArray[np.float32]
    #: (numbers, dimension); none where they are not wanted.
    numbers: NDArray[np.float32]
    #: For each number the index of its record and of its key path among these, and its value.
    number_record: NDArray[np.int64]
    number_key: NDArray[np.int32]
    number_value: NDArray[np.float64]


def vectors_of(filler: Filler, records: Records, *, numbers: bool, keys: Sequence[str] = ()) -> Vectors:
    """Pooled vectors, the mean over a record's tokens, and those of the first token of each number."""
    dimension = filler.model.section.embed_dim
    patterns = KeyPatterns(keys)
    fits = np.array([not keys or patterns.match(path) for path in records.key_paths], dtype=np.bool_)
    wanted = np.flatnonzero(fits[records.number_keys]) if numbers and len(fits) else np.empty(0, dtype=np.int64)
    pooled = np.empty((len(records), dimension), dtype=np.float32)
    own = np.empty((len(wanted), dimension), dtype=np.float32)
    owner = np.repeat(np.arange(len(records)), records.number_lengths)
    for chosen, hidden, rows, flat in filler.vectors(records):
        vectors = hidden.flatten(0, 1).float()
        for row in chosen:
            tokens = flat[rows.offsets[row] : rows.offsets[row + 1]]
            pooled[row] = vectors[torch.from_numpy(tokens).to(vectors.device)].mean(dim=0).cpu().numpy()
        mine = np.flatnonzero(np.isin(owner[wanted], chosen))
        slots = filler.slots(rows, len(owner))[wanted[mine], 0]
        own[mine] = vectors[torch.from_numpy(flat[slots]).to(vectors.device)].cpu().numpy()
    return Vectors(
        records=pooled,
        numbers=own,
        number_record=owner[wanted].astype(np.int64),
        number_key=records.number_keys[wanted],
        number_value=records.numbers[wanted],
    )
