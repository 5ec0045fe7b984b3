"""Predicts hidden numbers in their own units: many numbers of many records in each forward pass.

Encodings of one [NUM] for each number answer in one pass. Text encodings write their tokens one after the other, each
seeing those before it, because tokens chosen at once need not fit each other.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from polycli.xval.data.collate import Sequences, Tokenization, padded, width_of, write
from polycli.xval.model.numformer import Numformer
from polycli.xval.records.limits import without_limits
from polycli.xval.records.records import Records
from polycli.xval.records.structure import MASK, PAD

Floats = NDArray[np.float64]
Rows = NDArray[np.int64]
#: `free`: whatever token is likeliest, number or not; `valid`: the likeliest that may stand there.
Decoding = Literal["free", "valid"]
#: Records of one call are written together; memory does not grow with their number.
_CHUNK = 1024


@dataclass(frozen=True)
class Answers:
    """One for each number of the records; NaN where none was asked for, or where the answer is no number."""

    values: Floats
    #: (numbers, levels), rising; no levels where the model has none.
    quantiles: Floats


@dataclass(frozen=True)
class Filler:
    """A model and how it reads records."""

    model: Numformer
    tokenization: Tokenization
    #: Tokens of a batch, padding included.
    batch_tokens: int = 16_384
    decoding: Decoding = "free"

    def once(self, records: Records, turn_of: Rows, progress: Callable[[int], None] | None = None) -> Answers:
        """Hide the numbers of each record in turns, each with the sign of its limit, and answer for each once.

        Args:
            records: in the model's language.
            turn_of: for each number in which turn of its record it is hidden; below 0: never.
            progress: told how many numbers were answered.
        """
        numbers = np.flatnonzero(turn_of >= 0)
        owners = np.repeat(np.arange(len(records)), records.number_lengths)
        turns = np.unique(np.stack([owners[numbers], turn_of[numbers]], axis=1), axis=0)
        # Longest first: rows of one batch are then of like length, and too much for the memory shows at once.
        turns = turns[np.argsort(-records.token_lengths[turns[:, 0]], kind="stable")]
        values = np.full(len(turn_of), np.nan)
        quantiles = np.full((len(turn_of), len(self.model.section.quantiles)), np.nan)
        for start in range(0, len(turns), _CHUNK):
            chosen, turn = turns[start : start + _CHUNK].T
            # Where the numbers of each chosen record stand among all numbers.
            lengths = records.number_lengths[chosen]
            places = np.repeat(records.number_offsets[chosen] - (np.cumsum(lengths) - lengths), lengths)
            places = places + np.arange(int(lengths.sum()))
            hidden = turn_of[places] == np.repeat(turn, lengths)
            asked = records.select(chosen)
            if limits := self.tokenization.limit_keys:
                asked, _, _ = without_limits(asked, hidden, limits, self.tokenization.language.vocabulary.key_ids)
            filled = self.fill(asked, hidden)
            values[places[hidden]] = filled.values[hidden]
            quantiles[places[hidden]] = filled.quantiles[hidden]
            if progress is not None:
                progress(int(hidden.sum()))
        return Answers(values, quantiles)

    def fill(self, records: Records, hidden: NDArray[np.bool_]) -> Answers:
        """Answer for the numbers that are `hidden`, which all their record's answers do without.

        A causal model answers for a number from what stands before it, hidden or not. Where its numbers are text, only
        one of a record may be hidden at a time: what it writes for one stands before the next.
        """
        rows = write(records, self.tokenization)
        encoding, levels = self.tokenization.encoding, len(self.model.section.quantiles)
        scaled = np.full(len(hidden), np.nan)
        quantiles = np.full((len(hidden), levels), np.nan)
        slots = self.slots(rows, len(hidden))
        owners = np.repeat(np.arange(len(records)), records.number_lengths)
        for batch in self._batches(rows, hidden):
            numbers = np.flatnonzero(hidden & batch.is_in[owners])
            if encoding.continuous:
                codes, bands = self._continuous(batch, slots[numbers, 0])
                scaled[numbers] = codes
                quantiles[numbers] = bands
            else:
                tokens = self._text(batch, slots[numbers])
                scaled[numbers] = encoding.decode(tokens - len(self.tokenization.language.vocabulary))
        keys, paths = records.number_keys, records.key_paths
        values = self.tokenization.scaling.invert(scaled, keys, paths)
        bounds = [self.tokenization.scaling.invert(quantiles[:, level], keys, paths) for level in range(levels)]
        return Answers(values, np.stack(bounds, axis=1) if levels else quantiles)

    def vectors(self, records: Records) -> Iterator[tuple[Rows, Tensor, Sequences, Rows]]:
        """The vector of every token, batch by batch: which records, (B, L, d), the rows, where each token stands."""
        rows = write(records, self.tokenization)
        for batch in self._batches(rows, np.zeros(len(records.numbers), dtype=np.bool_)):
            yield batch.records, self._encode(batch), rows, batch.flat

    def token_logits(self, records: Records, hidden: NDArray[np.bool_], places: Rows) -> Floats:
        """(places, tokens): the model's log-odds of every token at some places of `records.token_ids`.

        `hidden` numbers are masked; what else is to be masked stands as [MASK] in the records.
        """
        rows = write(records, self.tokenization)
        owners = np.searchsorted(records.token_offsets, places, side="right") - 1
        at = np.searchsorted(rows.source, places)  # The first token of each, and blanks have one.
        found = np.empty((len(places), self.tokenization.tokens))
        for batch in self._batches(rows, hidden):
            mine = np.flatnonzero(batch.is_in[owners])
            vectors = self._encode(batch).flatten(0, 1)[self._at(batch, at[mine])]
            with torch.no_grad():
                found[mine] = self.model.logits(vectors).double().cpu().numpy()
        return found

    def slots(self, rows: Sequences, numbers: int) -> Rows:
        """(numbers, tokens of a number): where each number's tokens stand in the rows."""
        # Numbers and their tokens come in order, so their places do too.
        return np.flatnonzero(rows.number_of >= 0).reshape(numbers, self.tokenization.encoding.tokens_per_number)

    def _continuous(self, batch: _Batch, places: Rows) -> tuple[Floats, Floats]:
        at = self._at(batch, places)
        hidden = self._encode(batch).flatten(0, 1)[at]
        with torch.no_grad():
            codes = self.model.readout.numbers(self.model.number_codes(hidden)).double().cpu().numpy()
            if self.model.quantile_head is None:
                return codes, np.empty((len(codes), 0))
            quantiles = self.model.number_space.decode(self.model.quantile_codes(hidden)).double().cpu().numpy()
            section = self.model.section
            return quantiles[:, section.quantiles.index(0.5)] if section.answer == "median" else codes, quantiles

    def _text(self, batch: _Batch, slots: Rows) -> NDArray[np.int32]:
        """Token ids (numbers, tokens), each chosen when those before it stand."""
        ids = np.empty(slots.shape, dtype=np.int64)
        first = len(self.tokenization.language.vocabulary)
        for index, (low, high) in enumerate(self.tokenization.encoding.slots):
            at = self._at(batch, slots[:, index])
            with torch.no_grad():
                logits = self.model.logits(self._encode(batch).flatten(0, 1)[at]).float()
            if self.decoding == "valid":
                chosen = logits[:, first + low : first + high].argmax(dim=-1) + first + low
            else:
                chosen = logits.argmax(dim=-1)
            ids[:, index] = chosen.cpu().numpy()
            batch.token_ids.view(-1)[torch.from_numpy(batch.flat[slots[:, index]]).to(chosen.device)] = chosen
        return ids.astype(np.int32)

    def _at(self, batch: _Batch, places: Rows) -> Tensor:
        """Indices in the flattened batch at which the model predicts the tokens at `places`."""
        # A causal model says it one token earlier. Nothing stands before a record's first token, so that says itself.
        before = 1 if self.model.section.causal else 0
        flat = batch.flat[places]
        first = flat % batch.token_ids.shape[1] == 0
        return torch.from_numpy(np.where(first, flat, flat - before)).to(batch.token_ids.device)

    @torch.no_grad()
    def _encode(self, batch: _Batch) -> Tensor:
        return self.model.encode(batch.token_ids, batch.numbers)

    def _batches(self, rows: Sequences, hidden: NDArray[np.bool_]) -> Iterator[_Batch]:
        """Rows of like length together, hidden numbers masked; a causal model hides by order, and sees its own text."""
        masked = np.where(rows.number_of >= 0, np.append(hidden, [False])[rows.number_of], False)
        inputs = np.where(masked, MASK, rows.token_ids)
        numbers = np.where(masked, np.float32(1), rows.numbers)
        if self.model.section.causal:
            inputs, numbers = rows.token_ids, rows.numbers
        order = np.argsort(-rows.lengths, kind="stable")
        device = next(self.model.parameters()).device
        start = 0
        while start < len(order):
            width = width_of(rows.lengths[order[start : start + 1]], self.tokenization.context)
            chosen = np.sort(order[start : start + max(1, self.batch_tokens // width)])
            start += len(chosen)
            yield _batch(rows, chosen, width, inputs=inputs, numbers=numbers, device=device)


@dataclass(frozen=True)
class _Batch:
    records: Rows
    #: By record of the call: whether it is here.
    is_in: NDArray[np.bool_]
    token_ids: Tensor
    numbers: Tensor
    #: For each token of the rows its place in the flattened batch; of no meaning for records that are not here.
    flat: Rows


def _batch(
    rows: Sequences,
    chosen: Rows,
    width: int,
    *,
    inputs: NDArray[np.int64],
    numbers: NDArray[np.float32] | NDArray[np.float64],
    device: torch.device,
) -> _Batch:
    lengths = rows.lengths
    is_in = np.zeros(len(lengths), dtype=np.bool_)
    is_in[chosen] = True
    tokens = np.repeat(is_in, lengths)
    offsets = np.concatenate([[0], np.cumsum(lengths[chosen])]).astype(np.int64)
    line = np.zeros(len(lengths), dtype=np.int64)
    line[chosen] = np.arange(len(chosen))
    flat = np.arange(len(tokens)) + np.repeat(line * width - rows.offsets[:-1], lengths)
    return _Batch(
        records=chosen,
        is_in=is_in,
        token_ids=torch.from_numpy(padded(inputs[tokens], offsets, width, PAD)).to(device),
        numbers=torch.from_numpy(padded(numbers[tokens], offsets, width, 1)).to(device),
        flat=flat,
    )
