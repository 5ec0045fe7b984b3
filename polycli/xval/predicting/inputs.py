"""Records for predict and embed, from files of every source and from stores; a block at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from pathlib import Path
from typing import overload

import numpy as np
from numpy.typing import NDArray

from polycli.console import note, progress, warn
from polycli.errors import SourceError
from polycli.files.streams import suffix_of
from polycli.requests import Split
from polycli.store.manifest import MANIFEST_NAME
from polycli.workflow.embedding.rows import bytes_of
from polycli.workflow.sources import find_source, load_source
from polycli.xval.data.collate import Tokenization
from polycli.xval.data.reading import Reading
from polycli.xval.data.source import Block, Opened, SourceAbout, TableAbout
from polycli.xval.data.store import RecordStore, open_records
from polycli.xval.predicting.reread import (
    NumbersTurnedText,
    json_settings,
    keys_split_off,
    refuse_other_kinds,
    say_lacking_keys,
    settings_for,
    with_keys_split_off,
)
from polycli.xval.predicting.unknown_keys import UnknownKeys, known_keys, settle_unknown_keys
from polycli.xval.recipe.settings import ReadingSettings, UnknownKeysChoice
from polycli.xval.records.cells import split_header
from polycli.xval.records.decode import decode_records
from polycli.xval.records.encode import encode_records
from polycli.xval.records.key_order import in_order, with_keys
from polycli.xval.records.keypaths import TOP
from polycli.xval.records.records import Records
from polycli.xval.records.values import Record, RecordError, Value

#: Endings of files that may be tables as much as text.
_TEXT_OR_TABLE = (".txt", ".text", ".dat", ".csv", ".tsv")


@dataclass(frozen=True)
class Input:
    """The records of one file or store."""

    #: Of files, batch by batch.
    batches: Iterator[Sequence[Record]]
    #: By key path, where the data says so.
    units: Mapping[str, str]
    #: How many records there are, where that is known before reading.
    count: int | None = None
    #: By name the hash of the store; none where the records are in files.
    store_hash: Mapping[str, str] = field(default_factory=dict)
    #: Of a store: its records from one number to another, which are read when they are needed.
    take: Callable[[int, int], Sequence[Record]] | None = None
    #: Of a store: about how many bytes they are on disk.
    bytes: int | None = None
    #: Of a table, by key: the header as it came, where it states a unit.
    headers: Mapping[str, str] = field(default_factory=dict)


class _Stored(Sequence[Record]):
    """Records of a store, read when the first of them is asked for: another process may be the one that needs them."""

    def __init__(self, store: RecordStore, rows: NDArray[np.int64], beside: Mapping[str, Sequence[str]]) -> None:
        """`beside`: keys that the model learned beside others, and that these records get where they lack them."""
        self._store, self._rows, self._beside = store, rows, beside

    def __len__(self) -> int:
        return len(self._rows)

    @overload
    def __getitem__(self, index: int) -> Record: ...

    @overload
    def __getitem__(self, index: slice) -> Sequence[Record]: ...

    def __getitem__(self, index: int | slice) -> Record | Sequence[Record]:
        # Of some records alone no others are read: one of them may be damaged.
        if isinstance(index, slice):
            return _Stored(self._store, self._rows[index], self._beside)
        return self._records[index]

    def __iter__(self) -> Iterator[Record]:
        return iter(self._records)

    @property
    def ids(self) -> list[str]:
        """The ids of the records, without the records."""
        return self._store.row_ids(self._rows)

    @cached_property
    def _records(self) -> list[Record]:
        records = self._store.read(self._rows)
        values = decode_records(records, self._store.vocabulary)
        complete = [with_keys_split_off(value, self._beside) for value in values]
        return [Record(name, value) for name, value in zip(records.ids, complete, strict=True)]


@dataclass
class _Collector:
    """A RecordWriter that keeps records until they are asked for."""

    records: list[Record] = field(default_factory=list)
    rejected: int = 0

    def add(self, value: Value, *, id: str, group: str | None = None) -> None:  # noqa: A002
        self.records.append(Record(id, value, group))

    def reject(self, *, id: str, reason: str) -> None:  # noqa: A002
        warn(f"{id}: left out: it {reason}" if not reason.startswith(id) else f"left out: {reason}")
        self.rejected += 1

    def count(self, what: str, n: int = 1) -> None:
        """Coverage is of no interest here."""

    def characters(self, n: int) -> None:
        """Ignores the count of characters, which prepare alone needs."""


def open_inputs(
    paths: Sequence[Path],
    *,
    reading: ReadingSettings,
    tokenization: Tokenization,
    split: Split | None,
    limit: int | None,
    batch_records: int,
) -> Input:
    """The records of files that one source reads, or of one store; files are read as the data of the training were.

    Raises:
        SourceError: they are of no kind that is read here, of two, or malformed.
        StoreError: a store is damaged.
    """
    stores = [path for path in paths if (path / MANIFEST_NAME).is_file()]
    if stores:
        if len(paths) > 1:
            raise SourceError(f"{len(paths)} inputs, of which {stores[0]} is a store: one store alone, or files")
        store = open_records(stores[0])
        settle_unknown_keys(store, tokenization, reading.unknown_keys)
        rows = store.rows(split)[:limit]
        beside = keys_beside_learned(tokenization)
        everything = _Stored(store, rows, beside)
        batches = (everything[start : start + batch_records] for start in range(0, len(rows), batch_records))
        return Input(
            batches,
            store.units,
            len(rows),
            {store.name: store.store.manifest.store_hash},
            take=lambda first, end: everything[first:end],
            bytes=bytes_of(store.store, len(rows)),
        )
    if split is not None:
        raise SourceError(
            f"--split {split}: {paths[0]} is not a store, and files have no splits", hint="leave --split out"
        )
    opened = _open_files(paths, reading, tokenization.reading, limit)
    records = _noticed(_block_records(opened.blocks), tokenization, reading.unknown_keys)
    return Input(_rebatched(records, batch_records), opened.about.stated_units(), headers=_headers(opened.about))


def _headers(about: SourceAbout) -> dict[str, str]:
    """Maps keys to the headers of a table that state units, as they came: `length [cm]`."""
    columns = about.columns if isinstance(about, TableAbout) else None
    return {column.key: header for header, column in (columns or {}).items() if split_header(header)[1] is not None}


def ids_of(records: Sequence[Record]) -> list[str]:
    """The ids of some records, also of those of a store that cannot be read."""
    return records.ids if isinstance(records, _Stored) else [record.id for record in records]


@dataclass(frozen=True)
class Wanted:
    """The values that are to be filled in of records."""

    #: Patterns of key paths at which null is a number that is asked for.
    nulls: tuple[str, ...] = ()
    #: By key path, what is written for a null that is a class that is asked for.
    blanks: Mapping[str, str] = field(default_factory=dict)
    #: The mark in free text that stands for a number that is asked for.
    gap: str | None = None


NOTHING_WANTED = Wanted()


def encode(records: Sequence[Record], tokenization: Tokenization, wanted: Wanted = NOTHING_WANTED) -> Records:
    """Records in the vocabulary of a model, and with their keys in the order that it learned.

    Numbers where it learned none are text to it, as identifiers are.

    Raises:
        SourceError: a record is longer than the model's context, or its value is nothing that JSON has.
    """
    found = _encoded(records, tokenization, wanted)
    lengths = tokenization.lengths(found.token_lengths, found.number_lengths)
    if (lengths > tokenization.context).any():
        longest = int(lengths.argmax())
        raise SourceError(
            f"{found.ids[longest]}: a record of {int(lengths[longest])} tokens, the model reads {tokenization.context}",
            hint="split it into smaller records",
        )
    return found


def _encoded(records: Sequence[Record], tokenization: Tokenization, wanted: Wanted) -> Records:
    """Records as `encode` gives them, whatever their length."""
    vocabulary, known = tokenization.language.vocabulary, set(tokenization.language.key_paths)
    records = [replace(record, value=as_learned(record.value, tokenization)) for record in records]
    try:
        encode = partial(encode_records, records, vocabulary, nulls=wanted.nulls, blanks=wanted.blanks, gap=wanted.gap)
        found = encode()
        strange = [path for path in found.key_paths if path not in known]
        if strange:
            found = encode(text_keys=strange)
    except RecordError as error:
        raise SourceError(str(error)) from error
    return found


def fitting(batch: Sequence[Record], tokenization: Tokenization, wanted: Wanted) -> tuple[list[Record], Records]:
    """The records that the model's context can hold, and their tokens; the others are named, each with its length."""
    records = _encoded(batch, tokenization, wanted)
    lengths = tokenization.lengths(records.token_lengths, records.number_lengths)
    fits = lengths <= tokenization.context
    for row in np.flatnonzero(~fits).tolist():
        warn(f"{batch[row].id}: left out: {lengths[row]} tokens, and the model reads {tokenization.context}")
    if fits.all():
        return list(batch), records
    return [record for record, fit in zip(batch, fits, strict=True) if fit], records.select(fits)


def as_learned(value: Value, tokenization: Tokenization) -> Value:
    """A record as the model reads it: without keys that it has never seen, the others in the order that it learned.

    A model that does not say how its data were read sees records as they come.
    """
    if tokenization.reading is None:
        return value
    complete = with_keys_split_off(value, keys_beside_learned(tokenization))
    return in_order(with_keys(complete, known_keys(tokenization)), tokenization.key_order)


def keys_beside_learned(tokenization: Tokenization) -> dict[str, tuple[str, ...]]:
    """Maps keys of columns to the keys of limits and uncertainties that the model learned beside them."""
    return keys_split_off(tokenization.reading, tokenization.language.vocabulary.key_ids)


@contextmanager
def counting(total: int | None, what: str) -> Iterator[Callable[[int], None]]:
    """A report of progress where the number of records is known; where they stream, nobody knows how many will come."""
    if total is None:
        yield lambda _: None
    else:
        with progress(total, what) as bar:
            yield bar.advance


def _open_files(paths: Sequence[Path], settings: ReadingSettings, learned: Reading | None, limit: int | None) -> Opened:
    name, recipe = settings.source or _source_of(paths, learned), settings.recipe
    if name == "table" and learned is None:
        note("the checkpoint does not say how its data were read: tables are read with the settings of --set table.*")
    elif name == "json" and learned is not None and learned.source == "json":
        recipe = recipe.model_copy(update={"json_lines": json_settings(recipe.json_lines, learned)})
    elif name == "table" and learned is not None:
        recipe = recipe.model_copy(update={"table": settings_for(paths, recipe.table, learned)})
    opened: Opened = load_source("xval", name).open(paths, recipe, limit)
    if learned is not None:
        refuse_other_kinds(opened.about, learned)
    return opened


def _source_of(paths: Sequence[Path], learned: Reading | None) -> str:
    """The source that reads these files; text files are tables where the training was from a table."""
    tables = learned is not None and learned.source == "table"
    if tables and all(suffix_of(path) in _TEXT_OR_TABLE for path in paths):
        return "table"
    return find_source("xval", paths)


def _noticed(
    records: Iterator[Record], tokenization: Tokenization, unknown_keys: UnknownKeysChoice
) -> Iterator[Record]:
    """The records, with all keys that rows of the training had.

    It is said which of their keys are not those of the training, and at which numbers became text.
    """
    known = tokenization.key_order.get(TOP)
    learned = {} if tokenization.reading is None else tokenization.reading.columns
    texts = NumbersTurnedText(key for key, kind in learned.items() if kind == "number")
    unknown = UnknownKeys(tokenization, unknown_keys)
    beside = keys_beside_learned(tokenization)
    for number, given in enumerate(records):
        record = replace(given, value=with_keys_split_off(given.value, beside))
        if isinstance(record.value, Mapping):
            if number == 0 and known:
                say_lacking_keys(list(record.value), known)
            texts.count(record.value)
        unknown.meet(record)
        yield record
    texts.say()
    unknown.say()


def _block_records(blocks: Iterable[Block]) -> Iterator[Record]:
    for block in blocks:
        collector = _Collector()
        block.load(collector)
        yield from collector.records


def _rebatched(records: Iterator[Record], size: int) -> Iterator[list[Record]]:
    batch: list[Record] = []
    for record in records:
        batch.append(record)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch
