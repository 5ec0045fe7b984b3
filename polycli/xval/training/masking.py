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
from polycli.xval.records.structure import NUM

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
        self.everything = not objective.keys

    def draw(self, records: Records, seeds: Words) -> NDArray[np.bool_]:
        """Draws which of `records.token_ids` are hidden; `seeds` has one word for each record (`record_seeds`)."""
        hidden = np.zeros(len(records.token_ids), dtype=np.bool_)
        is_number = records.token_ids == NUM
        hidden[is_number] = self._numbers(records, seeds)
        if self.everything:
            others = records.token_lengths - records.number_lengths
            hidden[~is_number] = _uniform(seeds, others, _TOKEN) < self.probability
        return hidden

    def count(self, lengths: NDArray[np.int64], number_lengths: NDArray[np.int64], seeds: Words) -> MaskCount:
        """Counts what `draw` hides of records with so many tokens, of which so many are numbers.

        Only where everything may be hidden: otherwise the key paths of the numbers count too.
        """
        numbers = int((_uniform(seeds, number_lengths, _NUMBER) < self.probability).sum())
        others = int((_uniform(seeds, lengths - number_lengths, _TOKEN) < self.probability).sum())
        return MaskCount(tokens=numbers + others, numbers=numbers)

    def _numbers(self, records: Records, seeds: Words) -> NDArray[np.bool_]:
        if not self.together:
            chosen = _uniform(seeds, records.number_lengths, _NUMBER) < self.probability
            return chosen if self.everything else chosen & (self.groups[records.number_keys] >= 0)
        # One draw for each pattern of each record.
        groups = self.groups[records.number_keys]
        owners = np.repeat(seeds, records.number_lengths)
        draws = _to_unit(mixed(mixed(owners + _GROUP) + groups.astype(np.uint64) * np.uint64(GOLDEN)))
        return (draws < self.probability) & (groups >= 0)


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
