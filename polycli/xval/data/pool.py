"""Records of several stores as one sequence, in one vocabulary and with one list of key paths."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from polycli.errors import StoreError
from polycli.xval.data.store import RecordStore
from polycli.xval.records.records import Records
from polycli.xval.records.vocabulary import Vocabulary

Rows = NDArray[np.int64]


@dataclass(frozen=True)
class Language:
    """The meaning of token ids and key numbers, in a store or in a model."""

    vocabulary: Vocabulary
    key_paths: tuple[str, ...]

    def joined(self, others: Iterable[Language]) -> Language:
        """This one with what the others know besides, behind it, so that all ids stay."""
        vocabulary, paths = self.vocabulary, dict.fromkeys(self.key_paths)
        for other in others:
            vocabulary = vocabulary.extended(other.vocabulary.keys)
            paths.update(dict.fromkeys(other.key_paths))
        return Language(vocabulary, tuple(paths))

    def reader(self, store: Language) -> Callable[[Records], Records]:
        """Returns a function that renumbers a store's records into this language, matching tokens and keys by name.

        Raises:
            StoreError: a key of the store is not known here.
        """
        if missing := [key for key in store.vocabulary.keys if key not in self.vocabulary.key_ids]:
            raise StoreError(
                f"the model's vocabulary has no key {missing[0]!r}"
                + (f", nor {len(missing) - 1} others of the data" if len(missing) > 1 else ""),
                hint="finetune extends the vocabulary by the keys of the data",
            )
        known = {path: index for index, path in enumerate(self.key_paths)}
        tokens = np.array([self.vocabulary.id(name) for name in store.vocabulary.tokens], dtype=np.int32)
        keys = np.array([known[path] for path in store.key_paths], dtype=np.int32)
        same = np.array_equal(tokens, np.arange(len(tokens))) and np.array_equal(keys, np.arange(len(keys)))
        if same:
            return lambda records: replace(records, key_paths=self.key_paths)
        return lambda records: replace(
            records,
            token_ids=tokens[records.token_ids],
            number_keys=keys[records.number_keys],
            key_paths=self.key_paths,
        )


def language_of(store: RecordStore) -> Language:
    """Returns the language of a store."""
    return Language(store.vocabulary, store.key_paths)


class Pool(Protocol):
    """Records that can be read by number."""

    @property
    def stores(self) -> tuple[RecordStore, ...]:
        """The stores that the records come from."""
        ...

    @property
    def store_of(self) -> Rows:
        """The index of each record's store in `stores`."""
        ...

    @property
    def row_of(self) -> Rows:
        """The row of each record in its store."""
        ...

    @property
    def lengths(self) -> Rows:
        """The number of tokens of each record in the neutral form."""
        ...

    @property
    def number_lengths(self) -> Rows:
        """The number of tokens of each record that are numbers."""
        ...

    def __len__(self) -> int: ...

    def read(self, numbers: Rows) -> Records:
        """Records by their numbers in the pool, in that order."""
        ...

    def sample(self, number: int) -> str:
        """The name of a record: `store/row`."""
        ...


class RecordPool:
    """Some rows of some stores, numbered store after store."""

    def __init__(self, stores: Sequence[RecordStore], rows: Sequence[Rows], language: Language) -> None:
        self.stores: tuple[RecordStore, ...] = tuple(stores)
        self.language = language
        self._readers = [language.reader(language_of(store)) for store in stores]
        #: By record: its store's place, and its row there.
        self.store_of: Rows = np.repeat(np.arange(len(rows)), [len(part) for part in rows])
        self.row_of: Rows = np.concatenate([*rows, np.empty(0, dtype=np.int64)])
        #: Tokens of each record in the neutral form, and how many of them are numbers.
        self.lengths = self._column([store.lengths() for store in stores])
        self.number_lengths = self._column([store.number_counts() for store in stores])

    def __len__(self) -> int:
        return len(self.row_of)

    def where(self, chosen: NDArray[np.bool_]) -> RecordPool:
        """Returns a pool of the chosen records alone."""
        rows = [self.row_of[chosen & (self.store_of == index)] for index in range(len(self.stores))]
        return RecordPool(self.stores, rows, self.language)

    def read(self, numbers: Rows) -> Records:
        """Records by their numbers in the pool, in that order."""
        parts, places = [], []
        for index, store in enumerate(self.stores):
            mine = np.flatnonzero(self.store_of[numbers] == index)
            if len(mine):
                parts.append(self._readers[index](store.read(self.row_of[numbers[mine]])))
                places.append(mine)
        if len(parts) == 1:
            return parts[0]
        return Records.concatenate(parts).select(np.argsort(np.concatenate(places), kind="stable"))

    def sample(self, number: int) -> str:
        """The name of a record: `store/row`."""
        return f"{self.stores[self.store_of[number]].name}/{self.row_of[number]}"

    def _column(self, columns: Sequence[NDArray[np.int64]]) -> NDArray[np.int64]:
        """A value of every record, from columns that have one for every row of a store."""
        result = np.empty(len(self.row_of), dtype=np.int64)
        for index, column in enumerate(columns):
            mine = self.store_of == index
            result[mine] = column[self.row_of[mine]]
        return result
