"""Vectors of the rows of a table in memory, each row a record whose keys are the columns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polycli.errors import StoreError
from polycli.workflow.embedding.partitions import Column, EmbedPartition
from polycli.xval.model.loaded import load_checkpoint
from polycli.xval.predicting.inputs import encode
from polycli.xval.recipe.settings import EmbedSettings
from polycli.xval.records.keypaths import TOP
from polycli.xval.records.values import Record
from polycli.xval.scoring.fill import Filler
from polycli.xval.scoring.pooling import vectors_of


def record_partition(
    checkpoint: str | Path,
    *,
    columns: Sequence[str] | Mapping[str, str],
    units: Mapping[str, str] | None = None,
    keep: Sequence[str] | None = None,
    allow_untrained: bool = False,
) -> EmbedPartition:
    """A function that adds `record_embedding` to tables, for `lsdb.Catalog.map_partitions` and its like.

    Args:
        checkpoint: a run, a checkpoint in it, or a file of weights.
        columns: those that make the record; or, by the model's key, the column that holds it.
        units: by key, the units of the table.
        keep: the columns that come out beside the vectors; all if absent.
        allow_untrained: whether other units than those of the training are warned of alone.

    Example:
        >>> embed = record_partition("star.safetensors", columns={"redshift": "Z", "mag_r": "MAG_R"})
        >>> embed.reads
        ('Z', 'MAG_R')
    """
    by_key = dict(columns) if isinstance(columns, Mapping) else {name: name for name in columns}
    settings = EmbedSettings(family="xval", verb="embed", allow_untrained=allow_untrained)
    opener = partial(_opened, Path(checkpoint).absolute(), by_key, dict(units or {}), settings)
    return EmbedPartition(opener, tuple(by_key.values()), None if keep is None else tuple(keep))


def _opened(
    checkpoint: Path, by_key: Mapping[str, str], units: Mapping[str, str], settings: EmbedSettings
) -> _RecordVectors:
    loaded = load_checkpoint(checkpoint)
    tokenization = loaded.tokenization
    known = [*tokenization.key_order.get(TOP, ())] or [*tokenization.language.vocabulary.key_ids]
    if strange := [key for key in by_key if key not in known]:
        raise StoreError(
            f"the model has never seen the key {strange[0]}; it knows {', '.join(known[:8])}",
            hint="name columns by the model's keys: columns={'KEY': 'COLUMN'}",
        )
    loaded.check_units(units, "the table", allow=settings.allow_untrained)
    return _RecordVectors(Filler(loaded.model, tokenization, settings.batch_tokens), by_key, settings.batch_records)


@dataclass(frozen=True)
class _RecordVectors:
    filler: Filler
    by_key: Mapping[str, str]
    batch: int

    def __call__(self, columns: Mapping[str, Column], rows: int) -> dict[str, NDArray[np.float32]]:
        """Returns a vector for each row."""
        values = {key: columns[name].objects() for key, name in self.by_key.items()}
        records = [Record(str(row), {key: found[row] for key, found in values.items()}) for row in range(rows)]
        made = [self._vectors(records[first : first + self.batch]) for first in range(0, rows, self.batch)]
        empty = np.empty((0, self.filler.model.section.embed_dim), np.float32)
        return {"record_embedding": np.concatenate([empty, *made])}

    def _vectors(self, records: Sequence[Record]) -> NDArray[Any]:
        return vectors_of(self.filler, encode(records, self.filler.tokenization), numbers=False).records
