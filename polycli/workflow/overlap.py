"""Which rows that are scored were trained on: found by their content, whatever their store is called."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from polycli.console import note, warn
from polycli.errors import StoreError
from polycli.requests import JsonDocument, Split
from polycli.store.overlap import overlap
from polycli.store.reader import Store
from polycli.workflow.loaded import LoadedCheckpoint


@dataclass(frozen=True)
class ScoredRows:
    """The rows of one store that are scored."""

    store: Store
    rows: NDArray[np.int64]


@dataclass(frozen=True)
class Overlap:
    """How many scored rows were trained on; None where the checkpoint does not say what it was trained on."""

    count: int | None
    #: Whether `--allow-overlap` was given.
    allowed: bool

    def document(self, rows_are: str) -> JsonDocument:
        """Returns the overlap as scores.json has it; `rows_are` names the rows: trajectories, records or objects."""
        return {"checked": self.count is not None, rows_are: self.count, "allowed": self.allowed}


def check_overlap(scored: Sequence[ScoredRows], loaded: LoadedCheckpoint, *, rows_are: str, allow: bool) -> Overlap:
    """Count the scored rows that the checkpoint was trained on; `rows_are` is what sentences call them.

    Raises:
        StoreError: there are some, and `allow` is not set.
    """
    if not loaded.trained_on:
        note("the checkpoint does not say what it was trained on: an overlap with the data cannot be seen")
        return Overlap(None, allow)
    count, sentences = 0, []
    for subset in scored:
        trained = _trained(subset.store.row_hashes()[subset.rows], loaded)
        seen = np.flatnonzero(np.logical_or.reduce(list(trained.values())))
        if not len(seen):
            continue
        count += len(seen)
        first = int(seen[0])
        dataset = next(name for name, rows in trained.items() if rows[first])
        sentences.append(
            f"{subset.store.path}: the checkpoint was trained on {len(seen)} of the {len(subset.rows)} {rows_are} to "
            f"be scored, such as {subset.store.row_ids(subset.rows[[first]])[0]}, in {dataset}"
        )
    if sentences and not allow:
        raise StoreError(
            "; ".join(sentences),
            hint="choose data that was held back, or --allow-overlap, which scores.json then records",
        )
    for sentence in sentences:
        warn(sentence)
    return Overlap(count, allow)


def warn_of_shared_validation(
    scored: Sequence[ScoredRows], loaded: LoadedCheckpoint, split: Split, *, rows_are: str
) -> None:
    """Warn where the rows that test a checkpoint may have chosen it, which makes it look better than it is."""
    for subset in scored:
        if split != "test" or subset.store.manifest.splits.get("validation"):
            continue
        if any(rows.any() for rows in _trained(subset.store.row_hashes(), loaded).values()):
            warn(
                f"{subset.store.name}: so small that its test {rows_are} also validated the training, and may have "
                "chosen the checkpoint"
            )


def _trained(hashes: NDArray[np.uint8], loaded: LoadedCheckpoint) -> dict[str, NDArray[np.bool_]]:
    """Maps each training dataset to a mask of the rows, by these hashes, that it trained on."""
    found = {}
    for name, entry in loaded.trained_on.items():
        found[name] = np.zeros(len(hashes), np.bool_)
        found[name][overlap(entry.rows, hashes)] = True
    return found
