"""Records to a batch: encoded, masked, padded, with what the model is to say of what was hidden."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray

from polycli.engine.task import Batch
from polycli.xval.data.pool import Language
from polycli.xval.data.reading import Reading
from polycli.xval.numbers import Encoding, expand
from polycli.xval.numbers.scaling import Scaling
from polycli.xval.records.classes import Classes
from polycli.xval.records.key_order import KeyOrder
from polycli.xval.records.limits import keys_beside
from polycli.xval.records.records import Records
from polycli.xval.records.structure import END, MASK, NUM, PAD

#: Rows are padded to a multiple of this: kernels are quicker, and fewer shapes occur. Shorter rows to less, so that
#: padding stays below an eighth.
ALIGNMENT = 8


@dataclass(frozen=True)
class Tokenization:
    """The way in which records become tokens: the language, the encoding of numbers and their scaling."""

    language: Language
    encoding: Encoding
    scaling: Scaling
    context: int
    #: Whether records end with [END], which generation needs.
    ends: bool = False
    #: By pattern of key paths, where the data that trained said so.
    units: Mapping[str, str] = field(default_factory=dict)
    #: How the data that trained were read; None where that is not known.
    reading: Reading | None = None
    #: By key path: the values of columns of few different texts, which the model learned to fill in.
    classes: Classes = field(default_factory=dict)

    @property
    def key_order(self) -> KeyOrder:
        """The order of keys that the model learned, by path of the object; empty where it learned no one order."""
        return {} if self.reading is None else self.reading.key_order

    @cached_property
    def limit_keys(self) -> dict[str, str]:
        """Maps keys of the training's tables to those of their limits, `mass` to `mass_limit`, where it had some."""
        return {
            key: limit for key, (_, limit) in self._keys_beside.items() if limit in self.language.vocabulary.key_ids
        }

    @cached_property
    def error_keys(self) -> dict[str, str]:
        """Maps keys of the training's tables to those of their uncertainties, `mass` to `mass_error`.

        They were split off cells such as `1.2±0.1`, or are a column of that name.
        """
        known = self.language.vocabulary.key_ids
        own = {key: f"{key}_error" for key in self._keys_beside if f"{key}_error" in self._keys_beside}
        return own | {key: error for key, (error, _) in self._keys_beside.items() if error in known}

    @cached_property
    def _keys_beside(self) -> dict[str, tuple[str, str]]:
        if self.reading is None or self.reading.source != "table":
            return {}
        return keys_beside(list(self.reading.columns))

    @property
    def tokens(self) -> int:
        """The number of different tokens, which is the number of rows of the embedding."""
        return len(self.language.vocabulary) + len(self.encoding.vocabulary_tokens)

    def lengths(self, lengths: NDArray[np.int64], number_lengths: NDArray[np.int64]) -> NDArray[np.int64]:
        """Tokens of records as the model sees them, from their neutral lengths."""
        return lengths + number_lengths * (self.encoding.tokens_per_number - 1) + int(self.ends)


@dataclass(frozen=True)
class Sequences:
    """Rows of tokens as the model sees them, one behind the other, nothing hidden yet."""

    token_ids: NDArray[np.int64]
    offsets: NDArray[np.int64]
    #: The scaled number at every [NUM], 1 elsewhere; float64 where the encoding tells numbers of float64 apart.
    numbers: NDArray[np.float32] | NDArray[np.float64]
    #: The neutral token that each token is of; -1 for [END].
    source: NDArray[np.int64]
    #: For every token the number that it is or belongs to, in the order of the records; -1 where none.
    number_of: NDArray[np.int64]

    @property
    def lengths(self) -> NDArray[np.int64]:
        """The number of tokens of each row."""
        return np.diff(self.offsets)


def write(records: Records, tokenization: Tokenization) -> Sequences:
    """Encode the numbers of records.

    Raises:
        UserError: a number cannot be written in this encoding.
    """
    expanded = expand(records, tokenization.encoding, tokenization.scaling, tokenization.language.vocabulary)
    token_ids, source, numbers = expanded.token_ids.astype(np.int64), expanded.source, expanded.numbers
    is_number = records.token_ids == NUM
    owner = np.where(is_number, np.cumsum(is_number) - 1, -1)[source]
    offsets = expanded.offsets
    if tokenization.ends:
        ends = offsets[1:]
        token_ids, numbers = np.insert(token_ids, ends, END), np.insert(numbers, ends, 1.0)
        source, owner = np.insert(source, ends, -1), np.insert(owner, ends, -1)
        offsets = offsets + np.arange(len(offsets))
    kept = numbers if tokenization.encoding.double else numbers.astype(np.float32)
    return Sequences(token_ids, offsets, kept, source, owner)


def padded(values: NDArray[np.generic], offsets: NDArray[np.int64], width: int, fill: float) -> NDArray[np.generic]:
    """(rows, width) from rows one behind the other."""
    lengths = np.diff(offsets)
    result = np.full((len(lengths), width), fill, dtype=values.dtype)
    result[np.arange(width)[None, :] < lengths[:, None]] = values
    return result


def width_of(lengths: NDArray[np.int64], context: int) -> int:
    """The width of a batch of rows so long."""
    longest = int(lengths.max(initial=1))
    step = min(ALIGNMENT, 1 << max(0, longest.bit_length() - 4))
    return min(-(-longest // step) * step, context)


def collate_masked(
    records: Records, hidden: NDArray[np.bool_], tokenization: Tokenization
) -> tuple[Batch, NDArray[np.int64]]:
    """The batch in which the neutral tokens `hidden` are masked, and which numbers are its number targets.

    token_ids (B, L), numbers (B, L); at (N,) flat positions of what was hidden, target_ids (N,); number_at (M,) flat
    positions of hidden numbers, number_targets (M,) scaled, empty for text encodings, whose numbers are tokens.
    """
    rows = write(records, tokenization)
    masked = np.where(rows.source >= 0, hidden[rows.source], False)
    return _batch(
        rows,
        tokenization,
        inputs=np.where(masked, MASK, rows.token_ids),
        numbers=np.where(masked, np.float32(1), rows.numbers),
        places=np.flatnonzero(masked),
        targets=np.flatnonzero(masked),
    )


def collate_causal(records: Records, tokenization: Tokenization) -> tuple[Batch, NDArray[np.int64]]:
    """The batch in which every token predicts the next one, and its number; keys as in `collate_masked`."""
    rows = write(records, tokenization)
    last = np.zeros(len(rows.token_ids), dtype=np.bool_)
    last[rows.offsets[1:] - 1] = True
    places = np.flatnonzero(~last)
    return _batch(rows, tokenization, inputs=rows.token_ids, numbers=rows.numbers, places=places, targets=places + 1)


def _batch(
    rows: Sequences,
    tokenization: Tokenization,
    *,
    inputs: NDArray[np.int64],
    numbers: NDArray[np.float32] | NDArray[np.float64],
    places: NDArray[np.int64],
    targets: NDArray[np.int64],
) -> tuple[Batch, NDArray[np.int64]]:
    width = width_of(rows.lengths, tokenization.context)
    # Where each token stands in the flattened, padded batch.
    starts = np.arange(len(rows.lengths)) * width - rows.offsets[:-1]
    flat = np.arange(len(rows.token_ids)) + np.repeat(starts, rows.lengths)
    of_number = rows.token_ids[targets] == NUM
    batch = {
        "token_ids": padded(inputs, rows.offsets, width, PAD),
        "numbers": padded(numbers, rows.offsets, width, 1),
        "at": flat[places],
        "target_ids": rows.token_ids[targets],
        "number_at": flat[places[of_number]],
        "number_targets": rows.numbers[targets[of_number]],
    }
    return {name: torch.from_numpy(np.ascontiguousarray(v)) for name, v in batch.items()}, rows.number_of[
        targets[of_number]
    ]
