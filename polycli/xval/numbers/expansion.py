"""Neutral records to the tokens of a model: every [NUM] becomes what the encoding writes, and nothing else changes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from polycli.errors import UserError
from polycli.xval.numbers.base import Encoding, NumberRangeError
from polycli.xval.numbers.scaling import Scaling
from polycli.xval.records.records import Records
from polycli.xval.records.structure import NUM
from polycli.xval.records.vocabulary import Vocabulary


@dataclass(frozen=True)
class Expanded:
    """Records as a model sees them, nothing masked.

    What is drawn on the neutral tokens, such as a mask, is carried over by `drawn[source]`, so that all encodings have
    the same numbers and tokens masked.
    """

    token_ids: NDArray[np.int32]
    #: (records + 1,) where each record's tokens start.
    offsets: NDArray[np.int64]
    #: The scaled number at every [NUM] of a continuous encoding, 1 elsewhere.
    numbers: NDArray[np.float64]
    #: For every token the place in `Records.token_ids` that it comes from.
    source: NDArray[np.int64]
    #: For every number the place of its first token.
    number_slots: NDArray[np.int64]
    #: For every number its scaled value, unrounded; NaN where a null is to be filled in.
    targets: NDArray[np.float64]


def expand(records: Records, encoding: Encoding, scaling: Scaling, vocabulary: Vocabulary) -> Expanded:
    """Scale and write the numbers of records.

    Raises:
        UserError: a number is outside what the encoding, or float32, can hold; record and key path are named.
    """
    scaled = scaling.apply(records.numbers, records.number_keys, records.key_paths)
    _refuse_overflow(records, scaled)
    width = encoding.tokens_per_number
    is_number = records.token_ids == NUM
    lengths = np.where(is_number, width, 1)
    starts = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    source = np.repeat(np.arange(len(lengths), dtype=np.int64), lengths)
    token_ids = records.token_ids[source]
    slots = starts[:-1][is_number]
    known = np.nan_to_num(scaled, nan=0.0, posinf=0.0, neginf=0.0)
    numbers = np.ones(len(token_ids), dtype=np.float64)
    try:
        ids = encoding.encode(known)
    except NumberRangeError as error:
        raise UserError(
            f"{_place(records, error.position)}: the scaled number {error}",
            hint="the range is the checkpoint's: leave this record out, or train with wider model.exponents",
        ) from error
    if encoding.continuous:
        numbers[slots] = known
    else:
        token_ids[slots[:, None] + np.arange(width)] = ids + len(vocabulary)
    return Expanded(token_ids, starts[records.token_offsets], numbers, source, slots, scaled)


def token_names(vocabulary: Vocabulary, encoding: Encoding) -> tuple[str, ...]:
    """Names of all rows of a model's embedding, by id: the vocabulary's, then `number:` and the encoding's."""
    return (*vocabulary.tokens, *(f"number:{token}" for token in encoding.vocabulary_tokens))


def _refuse_overflow(records: Records, scaled: NDArray[np.float64]) -> None:
    beyond = np.abs(scaled) > np.finfo(np.float32).max
    if beyond.any():
        position = int(np.flatnonzero(beyond)[0])
        raise UserError(
            f"{_place(records, position)}: {float(records.numbers[position])!r}, scaled {float(scaled[position])!r}, "
            "is beyond float32, in which the model computes",
            hint="scale this key path in training: scaling.keys takes affine and asinh",
        )


def _place(records: Records, position: int) -> str:
    """Record and key path of a number."""
    row = int(np.searchsorted(records.number_offsets, position, side="right")) - 1
    name = records.ids[row] if records.ids else f"record {row}"
    return f"{name}, {records.key_paths[records.number_keys[position]]}"
