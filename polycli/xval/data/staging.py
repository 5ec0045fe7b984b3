"""Stages one block: its records in the neutral form, checked, with hashes that are the same in all blocks.

Blocks do not know of each other, so the id of a key is its place among the keys of its block, which the block's note
lists; the same goes for key paths. A record is hashed with its keys by their names, so that equal records have equal
hashes in all blocks.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polycli.errors import PolycliError, SourceError
from polycli.requests import JsonDocument
from polycli.store.blocks import BlockBuilder, Column, Ragged
from polycli.store.columns import offsets_of
from polycli.xval.data.flat_rows import FlatRows
from polycli.xval.data.notes import BlockNote
from polycli.xval.data.source import Block, FlatBlock
from polycli.xval.recipe.training import PrepareRecipe
from polycli.xval.records.cutting import pieces_of
from polycli.xval.records.decode import UndecodableError, decode_record
from polycli.xval.records.encode import RecordEncoder
from polycli.xval.records.equality import alike
from polycli.xval.records.keypaths import KeyPatterns, printable
from polycli.xval.records.lookup import text_at
from polycli.xval.records.places import TokenRules
from polycli.xval.records.records import Records
from polycli.xval.records.structure import FIRST_KEY
from polycli.xval.records.texts import bytes_of
from polycli.xval.records.values import Value
from polycli.xval.records.vocabulary import Vocabulary

#: The columns of a staged block whose bytes make a record's hash.
CONTENT = ("token_ids", "numbers")


@dataclass(frozen=True)
class StageTask:
    """One block on its way into a store that is being built."""

    target: Path
    fingerprint: str
    block: Block
    recipe: PrepareRecipe


def stage(task: StageTask) -> None:
    """Read, walk, check and write one block, unless it is there already.

    Raises:
        SourceError: the input is malformed, or a record is too long; file and place are named.
        PolycliError: a record does not come back as it was read, or the disk is full.
    """
    builder = BlockBuilder(task.target, fingerprint=task.fingerprint)
    if builder.record(staged_key(task.block)) is not None:
        return
    writer = BlockWriter(task.recipe, source=task.block.source)
    flat = task.block.flat() if isinstance(task.block, FlatBlock) and writer.takes_rows else None
    if flat is None or not writer.add_rows(*flat):
        task.block.load(writer)
    columns, hashed, record = writer.staged()
    ids = writer.ids
    builder.stage(
        staged_key(task.block),
        columns if len(ids) else {},
        dict(record),
        ids=ids,
        content=CONTENT if len(ids) else (),
        source=task.block.source,
        hashed=hashed,
    )


def staged_key(block: Block) -> str:
    """The name of a staged block; versions that staged ids in another form gave other names, and are not read."""
    return f"own ids: {block.key}"


class BlockWriter:
    """Takes the records of one block: see `sources.base.RecordWriter`."""

    def __init__(self, recipe: PrepareRecipe, *, source: str) -> None:
        self._recipe = recipe
        self._source = source
        rules = TokenRules(text_keys=recipe.text_keys, spell_keys=recipe.vocabulary.spell_keys)
        self._encoder = RecordEncoder(rules=rules)
        #: What knows of the records: the encoder, or rows that came all at once.
        self._met_by: RecordEncoder | FlatRows = self._encoder
        self._groups: list[str] = []
        self._rejected: list[JsonDocument] = []
        self._notes: Counter[str] = Counter()
        self._characters = 0
        self._checked: dict[int, Value] = {}
        self._met = 0

    @property
    def ids(self) -> Sequence[str] | Ragged:
        """Names of the records that were taken."""
        ids = self._met_by.ids
        if isinstance(ids, list):
            return ids
        lengths, data = bytes_of(ids)
        return Ragged(data, offsets_of(lengths))

    def add(self, value: Value, *, id: str, group: str | None = None) -> None:  # noqa: A002  # the field's word
        """One record, or more where it is longer than the recipe's context and may be split.

        Raises:
            RecordError: the value is nothing that JSON has, or is nested too deeply.
            SourceError: it is longer than the context, and may not be split.
        """
        if group is None and self._recipe.group_by is not None:
            group = text_at(value, self._recipe.group_by)
        id, group = printable(id), None if group is None else printable(group)  # noqa: A001
        before = len(self._encoder)
        self._encoder.add(value, id=id)
        length = self._encoder.last_length
        context = self._recipe.context
        if context is not None and length > context:
            self._encoder.remove_last()
            self._add_pieces(value, id, length, context)
            # The pieces repeat each other: in different splits, one would tell of the other.
            group = group or id
        else:
            self._check_later(value)
        self._groups.extend([group or ""] * (len(self._encoder) - before))

    @property
    def takes_rows(self) -> bool:
        """Whether rows need not be walked one by one, as a limit on their length asks for."""
        return self._recipe.context is None

    def add_rows(self, rows: FlatRows, value_of: Callable[[int], Value]) -> bool:
        """All rows of the block at once; False, and nothing is taken, where their keys are none that have tokens.

        `value_of` gives a row as it is read alone, for the comparison with what comes back from its tokens.
        """
        plain = all(printable(key) == key for key in rows.keys) and len(set(rows.keys)) == len(rows.keys) > 0
        rules = KeyPatterns([*self._recipe.text_keys, *self._recipe.vocabulary.spell_keys])
        if not plain or any(rules.match(path) for path in rows.all_paths):
            return False
        if self._recipe.group_by is not None:
            groups = (text_at(value_of(row), self._recipe.group_by) for row in range(len(rows)))
            self._groups = ["" if group is None else printable(group) for group in groups]
        self._met_by = rows
        self._checked = {row: value_of(row) for row in range(0, len(rows), self._recipe.coverage.verify_every)}
        return True

    def reject(self, *, id: str, reason: str) -> None:  # noqa: A002
        """A record that is left out."""
        self._rejected.append({"source": self._source, "id": printable(id), "reason": printable(reason)})

    def count(self, what: str, n: int = 1) -> None:
        """A note for the coverage report."""
        if n:
            self._notes[what] += n

    def characters(self, n: int) -> None:
        """Counts input characters that were read."""
        self._characters += n

    def records(self) -> Records:
        """Returns the records that were taken, in the block's own vocabulary."""
        return self._met_by.records()

    def staged(self) -> tuple[dict[str, Column], dict[str, Column], BlockNote]:
        """The columns of the block, those in whose place others are hashed, and what is noted about the block.

        Keys and key paths are staged by their places in the block's note. They are hashed by their names.

        Raises:
            PolycliError: a record does not come back from its tokens as it was read.
        """
        records = self.records()
        self._verify(records)
        tokens, codes = records.token_ids, (records.number_keys << 1) | records.number_integers
        columns: dict[str, Column] = {
            "token_ids": Ragged(_small(tokens, FIRST_KEY + len(self._met_by.keys)), records.token_offsets),
            "numbers": Ragged(records.numbers, records.number_offsets),
            "number_keys": Ragged(_small(codes, 2 * len(records.key_paths)), records.number_offsets),
            "group": Ragged.of_strings(self._groups) if any(self._groups) else _nothing(len(records)),
        }
        hashed: dict[str, Column] = {
            "token_ids": Ragged(shared_tokens(tokens, self._met_by.keys), records.token_offsets)
        }
        return (
            columns,
            hashed,
            BlockNote(
                keys=list(self._met_by.keys),
                key_paths=list(records.key_paths),
                all_paths=list(self._met_by.all_paths),
                texts=self._met_by.texts(),
                rejected=self._rejected,
                notes=dict(self._notes + self._met_by.notes),
                characters=self._characters,
                records=len(records),
                numbers=len(records.numbers),
                tokens=len(records.token_ids),
                longest=int(records.token_lengths.max(initial=0)),
                verified=len(self._checked),
            ),
        )

    def _name_of(self, row: int) -> str:
        return str(self._met_by.ids[row])

    def _add_pieces(self, value: Value, name: str, length: int, context: int) -> None:
        if self._recipe.longer_than_context == "refuse":
            raise SourceError(
                f"{self._source}: record {name} has {length} tokens, the recipe's context is {context}",
                hint="--set longer_than_context=split cuts its longest list into records, or give a longer context",
            )
        pieces = pieces_of(value, context, self._encoder.length_of)
        if pieces is None:
            self.reject(id=name, reason=f"{length} tokens, more than {context}, with no list that could be cut")
            return
        for number, piece in enumerate(pieces):
            self._encoder.add(piece, id=f"{name}#{number}")
            self._check_later(piece)
        self.count("records longer than the context, split")

    def _check_later(self, value: Value) -> None:
        if self._met % self._recipe.coverage.verify_every == 0:
            self._checked[len(self._encoder) - 1] = value
        self._met += 1

    def _verify(self, records: Records) -> None:
        """Decode every n-th record again: nothing may be lost on the way into tokens."""
        vocabulary = Vocabulary(self._met_by.keys)
        for row, value in self._checked.items():
            try:
                same = alike(decode_record(records, row, vocabulary), value)
            except UndecodableError:
                same = False
            if not same:
                raise PolycliError(
                    f"{self._source}: record {self._name_of(row)} does not come back from its tokens as it was read",
                    hint="please report this record: it is a defect of polycli",
                )


def _small(values: NDArray[np.int32], bound: int) -> NDArray[Any]:
    """The values in two bytes each, where all are below a bound that lets them."""
    return values.astype(np.uint16) if bound <= 2**16 else values


def _nothing(rows: int) -> Ragged:
    """A column of empty texts, one for each row."""
    return Ragged(np.empty(0, dtype=np.uint8), np.zeros(rows + 1, dtype=np.int64))


def shared_tokens(token_ids: NDArray[np.int32], keys: Sequence[str]) -> NDArray[np.int64]:
    """Ids in which keys are named by their hashes: the same in all blocks."""
    table = np.concatenate([np.arange(FIRST_KEY, dtype=np.int64), shared_ids(keys)])
    return table[token_ids]


def shared_ids(names: Iterable[str]) -> NDArray[np.int64]:
    """A number for each name, from 2^40 to 2^61, which is never that of another token."""
    digests = [hashlib.blake2b(name.encode("utf-8", "surrogatepass"), digest_size=8).digest() for name in names]
    values = np.array([int.from_bytes(digest, "big") >> 3 for digest in digests], dtype=np.int64)
    return np.asarray(values | (1 << 40), dtype=np.int64)
