"""Draws what is hidden from the model, on the neutral tokens, so that it is the same under every encoding.

A draw is a pure function of the record's seed and of the place of the number, or of the other token, among its like. So
what is hidden can be counted from the lengths of records alone, before any of them is read.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from polycli.engine.batches.order import GOLDEN, keyed_words, mixed
from polycli.xval.recipe.model import ObjectiveSection
from polycli.xval.records.keypaths import KeyPatterns
from polycli.xval.records.records import Records
from polycli.xval.records.structure import COLON, FALSE, FIRST_BYTE, FIRST_KEY, NUM, TRUE

Words = NDArray[np.uint64]
#: What a draw is for.
_NUMBER, _TOKEN, _GROUP = (np.uint64(word) for word in keyed_words(3, "xval masking"))


@dataclass(frozen=True)
class MaskCount:
    """The number of hidden tokens of some records, and how many of them are numbers."""

    tokens: int
    #: Of the hidden tokens, how many are numbers.
    numbers: int


class Masking:
    """Chooses what to hide of records whose key paths are known."""

    def __init__(self, objective: ObjectiveSection, key_paths: Sequence[str]) -> None:
        self.probability, self.together = objective.mask_probability, objective.together
        patterns = KeyPatterns(objective.keys)
        #: By key path: the place of the first pattern that fits, -1 where none does.
        self.groups = np.array(
            [-1 if (found := patterns.first(path)) is None else objective.keys.index(found) for path in key_paths],
            dtype=np.int64,
        )
        self.everything = not objective.keys and objective.hide == "everything"
        self.values = not objective.keys and objective.hide == "values"

    def draw(self, records: Records, seeds: Words) -> NDArray[np.bool_]:
        """Draws which of `records.token_ids` are hidden; `seeds` has one word for each record (`record_seeds`)."""
        hidden = np.zeros(len(records.token_ids), dtype=np.bool_)
        is_number = records.token_ids == NUM
        hidden[is_number] = self._numbers(records, seeds)
        if self.everything:
            others = records.token_lengths - records.number_lengths
            hidden[~is_number] = _uniform(seeds, others, _TOKEN) < self.probability
        elif self.values:
            hidden |= self._texts(records, seeds)
        return hidden

    def count(self, lengths: NDArray[np.int64], number_lengths: NDArray[np.int64], seeds: Words) -> MaskCount:
        """Counts what `draw` hides of records with so many tokens, of which so many are numbers.

        Only where everything may be hidden: otherwise the key paths of the numbers count too.
        """
        numbers = int((_uniform(seeds, number_lengths, _NUMBER) < self.probability).sum())
        others = int((_uniform(seeds, lengths - number_lengths, _TOKEN) < self.probability).sum())
        return MaskCount(tokens=numbers + others, numbers=numbers)

    def _numbers(self, records: Records, seeds: Words) -> NDArray[np.bool_]:
        if not self.together or self.values:
            chosen = _uniform(seeds, records.number_lengths, _NUMBER) < self.probability
            return chosen if self.everything or self.values else chosen & (self.groups[records.number_keys] >= 0)
        # One draw for each pattern of each record.
        groups = self.groups[records.number_keys]
        owners = np.repeat(seeds, records.number_lengths)
        draws = _to_unit(mixed(mixed(owners + _GROUP) + groups.astype(np.uint64) * np.uint64(GOLDEN)))
        return (draws < self.probability) & (groups >= 0)

    def _texts(self, records: Records, seeds: Words) -> NDArray[np.bool_]:
        """Hides texts, true and false by chance; the bytes of a text have one draw."""
        ids = records.token_ids
        starts, stops = text_runs(ids)
        owners = np.searchsorted(records.token_offsets, starts, side="right") - 1
        counts = np.bincount(owners, minlength=len(records))
        chosen = _uniform(seeds, counts, _TOKEN) < self.probability
        change = np.zeros(len(ids) + 1, dtype=np.int64)
        change[starts[chosen]] += 1
        change[stops[chosen]] -= 1
        return np.cumsum(change[:-1]) > 0


def text_runs(ids: NDArray[np.int32]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Finds where texts begin and end among neutral tokens: runs of bytes, `true` and `false`, but no spelled keys."""
    is_byte = (ids >= FIRST_BYTE) & (ids < FIRST_KEY)
    edges = np.diff(np.concatenate([[False], is_byte, [False]]).astype(np.int8))
    starts, stops = np.flatnonzero(edges > 0), np.flatnonzero(edges < 0)
    # A spelled key is bytes, a quote and a colon.
    after = np.concatenate([ids, [0, 0]])[stops + 1]
    values = after != ord(COLON)
    alone = np.flatnonzero((ids == ord(TRUE)) | (ids == ord(FALSE)))
    starts, stops = np.concatenate([starts[values], alone]), np.concatenate([stops[values], alone + 1])
    order = np.argsort(starts, kind="stable")
    return starts[order], stops[order]


def record_seeds(
    seed: int, store: str, rows: NDArray[np.int64], passes: NDArray[np.int64] | int, *, purpose: str = "train"
) -> Words:
    """A word for every record: of the run's seed, of the store and row, and of how often the data were gone through."""
    key = keyed_words(1, "mask", purpose, seed, store)[0]
    rounds = np.broadcast_to(np.asarray(passes, dtype=np.uint64), rows.shape)
    return mixed(mixed(rows.astype(np.uint64) * np.uint64(GOLDEN) + key) + rounds * np.uint64(GOLDEN))


def _uniform(seeds: Words, lengths: NDArray[np.int64], purpose: np.uint64) -> NDArray[np.float64]:
    """One number in [0, 1) for each of `lengths` things of each record."""
    starts = np.cumsum(lengths) - lengths
    places = np.arange(int(lengths.sum()), dtype=np.int64) - np.repeat(starts, lengths)
    owners = np.repeat(mixed(seeds + purpose), lengths)
    return _to_unit(mixed(owners + places.astype(np.uint64) * np.uint64(GOLDEN)))


def _to_unit(words: Words) -> NDArray[np.float64]:
    return (words >> np.uint64(11)).astype(np.float64) * 2.0**-53
