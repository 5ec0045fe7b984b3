"""Keeps with the model how its training data were read, so that other files are read the same way.

Settings of tables, the key that names records, and the order of keys are part of what a model learned. A file that is
read otherwise gives numbers that look like answers and are none.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, ValidationError

from polycli.console import note, warn
from polycli.errors import CheckpointError, StoreError, problems_of
from polycli.xval.data.digits import Digits, digits_of
from polycli.xval.data.store import RecordStore
from polycli.xval.recipe.sources import TableSection
from polycli.xval.records.decode import decode_records
from polycli.xval.records.key_order import KeyOrder, in_another_order, observed_order

#: Records of each store that are looked at for the order of their keys, spread evenly.
_LOOKED_AT = 512
#: Settings of a table that change no value of a record, or are of one file alone.
_OF_ONE_FILE = frozenset({"encoding", "delimiter", "comment", "skip", "units_row"})


class Reading(BaseModel):
    """The section `reading` of model.json."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    #: What the stores were prepared from: `table`, `json` and the like; None where that differs, or is not known.
    source: str | None = None
    #: The source's section of the recipe, where all stores agree.
    options: dict[str, object] = {}
    #: Of tables, by key: whether the column was read as numbers or as text.
    columns: dict[str, Literal["number", "text"]] = {}
    #: Patterns of key paths whose keys are spelled, so that any key may stand there.
    spell_keys: tuple[str, ...] = ()
    #: By path of an object, the order of its keys, where training saw one order alone.
    key_order: dict[str, tuple[str, ...]] = {}
    #: How numbers are written there, so that answers can be.
    digits: Digits = Digits()

    @property
    def table(self) -> TableSection:
        """The settings for tables that were trained on; the defaults where it was something else."""
        known = set(TableSection.model_fields)
        said = self.options if self.source == "table" else {}
        return TableSection.model_validate({key: value for key, value in said.items() if key in known})

    @property
    def id_key(self) -> str | None:
        """The key path whose value names a record of JSON."""
        found = self.options.get("id_key") if self.source == "json" else None
        return None if found is None else str(found)


class _SpelledKeys(BaseModel):
    spell_keys: tuple[str, ...] = ()


class _Asked(BaseModel):
    """The part of a store's options that a reading is made of."""

    source: str | None = None
    of_source: dict[str, object] = {}
    vocabulary: _SpelledKeys = _SpelledKeys()

    @classmethod
    def of(cls, store: RecordStore) -> _Asked:
        try:
            return cls.model_validate(store.store.manifest.options)
        except ValidationError as error:
            raise StoreError(f"{store.path}: its options do not fit their schema: {problems_of(error)}") from error


def reading_of(stores: Sequence[RecordStore]) -> Reading:
    """Describes how the data of some stores were read, as far as the stores agree."""
    asked = [_Asked.of(store) for store in stores]
    sources = {str(options.source) for options in asked}
    options = [options.of_source for options in asked]
    columns: dict[str, Literal["number", "text"]] = {}
    for store in stores:
        for column in store.about.source.get("columns", {}).values():
            columns.setdefault(str(column["key"]), column["read_as"])
    return Reading(
        source=sources.pop() if len(sources) == 1 else None,
        options=options[0] if all(other == options[0] for other in options) else {},
        columns=columns,
        spell_keys=tuple({pattern for each in asked for pattern in each.vocabulary.spell_keys}),
        key_order=order_of_keys(stores),
        digits=digits_of(stores),
    )


def order_of_keys(stores: Sequence[RecordStore]) -> dict[str, tuple[str, ...]]:
    """The order of the keys in the records of some stores, where there is one; from some hundreds of each."""
    values = []
    for store in stores:
        rows = np.unique(np.linspace(0, store.store.manifest.rows - 1, _LOOKED_AT).round().astype(np.int64))
        values += decode_records(store.read(rows), store.vocabulary)
    return observed_order(values)


def warn_of_another_order(store: RecordStore, known: KeyOrder) -> None:
    """Say that a store has its keys in another order than a model learned, which may cost much of its accuracy."""
    paths = in_another_order(order_of_keys([store]), known) if known else []
    if paths:
        warn(
            f"{store.path}: keys stand in another order than in the data that the model learned from (in the object "
            f"{paths[0]}): its errors may be larger for that alone; prepare the data again with the order "
            f"{', '.join(known[paths[0]][:8])}"
        )


def read_reading(document: Mapping[str, Any], *, source: str) -> Reading | None:
    """The section `reading` of a model.json; None where there is none, as before it was written.

    Raises:
        CheckpointError: it is no such section.
    """
    if document.get("reading") is None:
        return None
    try:
        return Reading.model_validate(document["reading"])
    except ValidationError as error:
        raise CheckpointError(f"{source}: its section `reading` is not sound: {problems_of(error)}") from error


def table_settings(given: TableSection, reading: Reading | None) -> TableSection:
    """The settings for the tables of predict and embed: those of the training, but what `--set` says holds.

    What differs from the training is said by name.
    """
    if reading is None:
        return given
    trained = reading.table
    said = given.model_fields_set
    for name in sorted(said - _OF_ONE_FILE):
        here, there = getattr(given, name), getattr(trained, name)
        if here != there:
            note(f"table.{name} is {here!r} here; the model's data were read with {there!r}")
    kept = {name: getattr(trained, name) for name in TableSection.model_fields if name not in said | _OF_ONE_FILE}
    return given.model_copy(update=kept)
