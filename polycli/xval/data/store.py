"""Stores of records: the neutral form in zarr, one ragged array each for tokens, numbers and the numbers' key paths.

token_ids    int32    neutral tokens; ids as in the manifest's vocabulary
numbers      float64  raw, one for each [NUM]
number_keys  int32    2 * (place of the key path in the manifest) + (1 where it was written as an integer)
group        uint8    name of the group, UTF-8, where records were grouped
held_out     uint8    (record, rule): 1 where the rule holds the record out of training
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from polycli.errors import CheckpointError, StoreError, problems_of
from polycli.requests import Split
from polycli.store.manifest import AGAIN_HINT
from polycli.store.reader import Store, Verify, open_store
from polycli.xval.data.description import RecordsAbout
from polycli.xval.data.holdout import HoldOutRule
from polycli.xval.numbers.statistics import NumberStatistics
from polycli.xval.recipe.training import ScalingSection
from polycli.xval.records.records import Records
from polycli.xval.records.vocabulary import Vocabulary

Rows = NDArray[np.int64]


class RecordStore:
    """An opened store of records. Thread-safe and picklable, as the `Store` that it reads."""

    def __init__(self, store: Store) -> None:
        """Check what the manifest says of records.

        Raises:
            StoreError: it is from another version, or altered.
        """
        self.store = store
        try:
            self.about = RecordsAbout.model_validate(store.manifest.about)
            self.vocabulary = Vocabulary.from_json(self.about.vocabulary)
        except ValidationError as error:
            raise StoreError(f"{store.path}: the manifest does not fit its schema: {problems_of(error)}") from error
        except CheckpointError as error:
            raise StoreError(f"{store.path}: {error.message}", hint=error.hint) from error
        self.key_paths: tuple[str, ...] = self.about.key_paths
        #: Which numbers the data has been kept clear of, in training and validation.
        self.hold_out: tuple[HoldOutRule, ...] = tuple(HoldOutRule(**rule) for rule in self.about.hold_out)

    @property
    def path(self) -> Path:
        """The path of the store on disk."""
        return self.store.path

    @property
    def name(self) -> str:
        """The name of the dataset."""
        return self.store.name

    @property
    def scaling(self) -> ScalingSection:
        """The scaling that prepare was told to recommend."""
        return self.about.scaling

    @property
    def units(self) -> dict[str, str]:
        """Maps patterns of key paths to their units, where the source stated them."""
        return {str(path): str(unit) for path, unit in self.about.source.get("units", {}).items()}

    @cached_property
    def statistics(self) -> dict[str, NumberStatistics]:
        """Maps each key path to statistics of its raw numbers in the training split."""
        found = self.store.manifest.statistics.get("numbers", {})
        try:
            return {path: NumberStatistics.from_dict(values) for path, values in found.items()}
        except (AttributeError, KeyError, OverflowError, TypeError, ValueError) as error:
            reason = f"the statistics of its numbers are not sound ({type(error).__name__})"
            raise StoreError(f"{self.store.path}: {reason}", hint=AGAIN_HINT) from error

    def rows(self, split: Split | None = None) -> Rows:
        """Numbers of all rows or of a split's. The split `test` has the held-out rows too: see `held_out`.

        Where validation has no rows of its own, it borrows test rows, but none that are held out.
        """
        rows = self.store.rows(split)
        if split == "validation" and not self.store.manifest.splits.get("validation"):
            rows = rows[~self.held_out(rows).any(axis=1)]
        return rows

    def read(self, rows: Rows | Sequence[int]) -> Records:
        """Records by row number, in the order asked for; every array with one read for each run of rows."""
        wanted = np.asarray(rows, dtype=np.int64)
        tokens = self.store.read_ragged("token_ids", wanted)
        numbers = self.store.read_ragged("numbers", wanted)
        kinds = self.store.read_ragged("number_keys", wanted).values
        return Records(
            token_ids=tokens.values,
            token_offsets=tokens.offsets,
            numbers=numbers.values,
            number_offsets=numbers.offsets,
            number_keys=kinds >> 1,
            number_integers=(kinds & 1).astype(np.bool_),
            key_paths=self.key_paths,
            ids=tuple(self.store.row_ids(wanted)),
        )

    def lengths(self) -> Rows:
        """Tokens of every record in the neutral form."""
        return np.diff(self._whole["token_ids_offsets"])

    def number_counts(self) -> Rows:
        """Returns how many numbers every record has."""
        return np.diff(self._whole["numbers_offsets"])

    def held_out(self, rows: Rows | Sequence[int] | None = None) -> NDArray[np.bool_]:
        """(rows, rules): which of the rules in `hold_out` hold a record out."""
        marks = self._whole["held_out"].astype(np.bool_)
        return marks if rows is None else marks[np.asarray(rows, dtype=np.int64)]

    def row_ids(self, rows: Rows | Sequence[int] | None = None) -> list[str]:
        """Returns the names of the given records, or of all."""
        return self.store.row_ids(rows)

    def row_hashes(self) -> NDArray[np.uint8]:
        """Content hashes of all records, (rows, 16) bytes."""
        return self.store.row_hashes()

    def groups(self, rows: Rows | Sequence[int] | None = None) -> list[str] | None:
        """Names of the records' groups; None where records were not grouped."""
        return self.store.read_strings("group", rows) if "group" in self.store.manifest.arrays else None

    def __getstate__(self) -> Store:
        return self.store

    def __setstate__(self, store: Store) -> None:
        self.__init__(store)  # type: ignore[misc]  # a fresh one, unopened

    @cached_property
    def _whole(self) -> dict[str, NDArray[np.int64]]:
        """Arrays with a value for every row: 8 bytes a row each."""
        return {
            name: self.store.read(name)
            for name in ("token_ids_offsets", "numbers_offsets", "held_out")
            if name in self.store.manifest.arrays
        }


def open_records(path: str | Path, *, verify: Verify = "sizes") -> RecordStore:
    """Open a store that `prepare xval` made; see `polycli.store.reader.open_store` for `verify`.

    Raises:
        StoreError: not a store, of another family, damaged, or from another version.

    Example:
        >>> from polycli.xval import open_records
        >>> from polycli.xval.records.decode import decode_records
        >>> store = open_records("systems.zarr")
        >>> store.key_paths
        ('star.mass', 'planets.a', 'planets.e')
        >>> records = store.read([0, 1])
        >>> records.numbers.tolist()
        [1.05, 0.39, 0.2, 0.8, 1.5, 0.0]
        >>> decode_records(records, store.vocabulary)[0]
        {'star': {'mass': 1.05}, 'planets': [{'a': 0.39, 'e': 0.2}]}
    """
    return RecordStore(open_store(Path(path), family="xval", verify=verify))
