"""Records with a question: the value at one key path taken out, to be predicted from the rest."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from polycli.console import warn
from polycli.engine.task import Batch
from polycli.errors import StoreError
from polycli.xval.data.collate import Tokenization, padded, width_of, write
from polycli.xval.data.pool import RecordPool, Rows
from polycli.xval.data.store import RecordStore
from polycli.xval.model.heads import HeadDescription
from polycli.xval.records.decode import decode_records
from polycli.xval.records.encode import encode_records
from polycli.xval.records.keypaths import TOP, child_path, last_key, refuse_unknown
from polycli.xval.records.records import Records
from polycli.xval.records.structure import PAD
from polycli.xval.records.values import Record, Value
from polycli.xval.training.masking import MaskCount, Words

#: Records are taken apart and put together again so many at a time.
_AT_A_TIME = 2048
_ABSENT = object()


class LabelledPool:
    """Records without the value at `target`, and those values. All in memory: finetuning data are small."""

    def __init__(self, pool: RecordPool, target: str) -> None:
        parts: list[Records] = []
        values: list[Any] = []
        for start in range(0, len(pool), _AT_A_TIME):
            numbers = np.arange(start, min(start + _AT_A_TIME, len(pool)), dtype=np.int64)
            records, found = without_value(pool.read(numbers), pool, target)
            parts.append(records)
            values += found
        known = np.array([value is not _ABSENT and value is not None for value in values], dtype=np.bool_)
        self.values = [value for value, good in zip(values, known, strict=True) if good]
        self.missing = int((~known).sum())
        self.stores, self.language = pool.stores, pool.language
        self.store_of, self.row_of = pool.store_of[known], pool.row_of[known]
        self.records = Records.concatenate(parts).select(known) if parts else None
        empty = np.empty(0, dtype=np.int64)
        self.lengths: Rows = empty if self.records is None else self.records.token_lengths
        self.number_lengths: Rows = empty if self.records is None else self.records.number_lengths

    def __len__(self) -> int:
        return len(self.row_of)

    def leave_out(self, wrong: Sequence[bool]) -> None:
        """Drops the records that are marked as wrong."""
        kept = ~np.array(wrong, dtype=np.bool_)
        self.values = [value for value, good in zip(self.values, kept, strict=True) if good]
        self.store_of, self.row_of = self.store_of[kept], self.row_of[kept]
        self.lengths, self.number_lengths = self.lengths[kept], self.number_lengths[kept]
        if self.records is not None:
            self.records = self.records.select(kept)

    def read(self, numbers: Rows) -> Records:
        """Records by their numbers in the pool, in that order."""
        if self.records is None:
            raise IndexError("an empty pool was read")
        return self.records.select(numbers)

    def sample(self, number: int) -> str:
        """The name of a record: `store/row`."""
        return f"{self.stores[self.store_of[number]].name}/{self.row_of[number]}"


@dataclass(frozen=True)
class LabelledReader:
    """Reads records with the label of each."""

    pool: LabelledPool
    tokenization: Tokenization
    #: By record: class, or scaled value.
    labels: NDArray[np.float64]

    def read(self, numbers: Rows, seeds: Words) -> Batch:  # noqa: ARG002  # nothing is random here
        """token_ids, numbers (B, L), labels (B,)."""
        rows = write(self.pool.read(numbers), self.tokenization)
        width = width_of(rows.lengths, self.tokenization.context)
        batch = {
            "token_ids": padded(rows.token_ids, rows.offsets, width, PAD),
            "numbers": padded(rows.numbers, rows.offsets, width, 1),
            "labels": self.labels[numbers].astype(np.float32),
        }
        return {name: torch.from_numpy(values) for name, values in batch.items()}

    def count(self, numbers: Rows, seeds: Words) -> MaskCount:  # noqa: ARG002
        """Counts one question for each record."""
        return MaskCount(len(numbers), 0)


def without_value(records: Records, pool: RecordPool, target: str) -> tuple[Records, list[Any]]:
    """The same records with null at `target`, and what stood there."""
    found, changed = [], []
    text_keys = tuple({pattern for store in pool.stores for pattern in store.about.text_keys})
    for index, value in enumerate(decode_records(records, pool.language.vocabulary)):
        rest, taken = take(value, target)
        found.append(taken)
        changed.append(Record(records.ids[index] if records.ids else str(index), rest))
    encoded = encode_records(changed, pool.language.vocabulary, text_keys=text_keys)
    return _with_paths(encoded, pool.language.key_paths), found


def take(value: Value, wanted: str, path: str = TOP) -> tuple[Value, Any]:
    """A value with null at the key path `wanted`, added where it is absent, and what stood there."""
    if not isinstance(value, Mapping):
        return value, _ABSENT
    for key, member in value.items():
        below = child_path(path, key)
        if below == wanted:
            return {**value, key: None}, member
        if wanted.startswith(f"{below}."):
            inner, found = take(member, wanted, below)
            return {**value, key: inner}, found
    key = last_key(wanted)
    return ({**value, key: None} if child_path(path, key) == wanted else value), _ABSENT


def describe_head(pool: LabelledPool, kind: str, target: str) -> HeadDescription:
    """The classes, or the scale of the values, of the training records.

    Raises:
        StoreError: the values are none that this kind of head can give.
    """
    where = ", ".join(store.name for store in pool.stores)
    if not pool.values:
        raise StoreError(f"{where}: no training record has a value at {target!r}", hint="check head.target")
    if pool.missing:
        warn(f"{where}: {pool.missing} training records have no value at {target!r}; they are left out")
    if kind == "regression":
        refuse_text(pool, target)
        values = np.array(pool.values, dtype=np.float64)
        return HeadDescription("regression", target, (), float(values.mean()), float(values.std()) or 1.0)
    found = {_class_of(value, where, target) for value in pool.values}
    classes = sorted(found, key=lambda value: (isinstance(value, str), value))
    if len(classes) < 2:
        raise StoreError(f"{where}: {target!r} is {classes[0]!r} in every training record, so there is nothing to tell")
    if len(classes) > len(pool.values) / 2:
        raise StoreError(
            f"{where}: {target!r} has {len(classes)} different values in {len(pool.values)} records",
            hint="head.kind=regression is for values that are measured",
        )
    return HeadDescription("classification", target, tuple(classes))


def refuse_text(pool: LabelledPool, target: str) -> None:
    """Return if all values are numbers.

    Raises:
        StoreError: one is text, true or false, a list, or beyond float64.
    """
    for value in pool.values:
        if not is_measured(value):
            where = ", ".join(store.name for store in pool.stores)
            raise StoreError(f"{where}: {target!r} is {value!r} in a record, a number was expected for regression")


def labels_of(pool: LabelledPool, head: HeadDescription) -> NDArray[np.float64]:
    """Class numbers, or scaled values. Records of classes that did not train are left out of the pool, with a warning.

    Raises:
        StoreError: a value is no number, and a number is asked for.
    """
    if head.kind == "regression":
        refuse_text(pool, head.target)
        return (np.array(pool.values, dtype=np.float64) - head.shift) / head.scale
    unknown = [not is_class(value, head.classes) for value in pool.values]
    if any(unknown):
        example = pool.values[unknown.index(True)]
        warn(
            f"{head.target!r} is {example!r} in a validation record, and in no training record: {sum(unknown)} such "
            "records do not validate"
        )
        pool.leave_out(unknown)
    places = {value: index for index, value in enumerate(head.classes)}
    return np.array([places[value] for value in pool.values], dtype=np.float64)


def check_target(stores: Sequence[RecordStore], target: str) -> None:
    """Refuse a target that is a pattern or that names nothing; a value of text has no number, so nearest names help."""
    if not target or "*" in target:
        raise StoreError(f"head.target is {target!r}, the key path of one value was expected, such as galaxy.redshift")
    keys = {key for store in stores for key in store.vocabulary.keys}
    if last_key(target) not in keys:
        refuse_unknown([target], sorted({path for store in stores for path in store.key_paths}), where="head.target")


def _class_of(value: Any, where: str, target: str) -> str | int | bool:  # noqa: ANN401  # whatever JSON has
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, str | int):
        return value
    raise StoreError(f"{where}: {target!r} is {value!r} in a record, a text, an integer or true or false was expected")


def is_measured(value: Any) -> bool:  # noqa: ANN401  # whatever JSON has
    """Whether it is a number that float64 holds."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    try:
        return math.isfinite(float(value))
    except OverflowError:
        return False


def is_class(value: Any, classes: Sequence[Any]) -> bool:  # noqa: ANN401  # whatever JSON has
    """Whether it is one of the classes."""
    return isinstance(value, str | int | float) and value in classes


def _with_paths(records: Records, paths: tuple[str, ...]) -> Records:
    """The same records with key numbers of another list of paths that has them all."""
    places = {path: index for index, path in enumerate(paths)}
    numbers = np.array([places[path] for path in records.key_paths], dtype=np.int32)
    keys = numbers[records.number_keys] if len(numbers) else records.number_keys
    return replace(records, number_keys=keys, key_paths=paths)
