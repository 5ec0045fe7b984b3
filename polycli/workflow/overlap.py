"""Finds the scored rows that were trained on, by their content, whatever their store is called."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from polycli.checkpoints.exported import MODEL_SCHEMA_VERSION
from polycli.checkpoints.trained_on import TrainedOn
from polycli.console import note, warn
from polycli.errors import PolycliError, StoreError, UserError
from polycli.report.scores import BaselineOrigin, OverlapDocument
from polycli.requests import Split
from polycli.store.hashing import hex_of
from polycli.store.manifest import SCHEMA_VERSION
from polycli.store.overlap import pack_hashes
from polycli.store.reader import Store
from polycli.workflow.identity import Identities, KnownRows
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
    #: How many others have an id, given by the user, that rows of other content had in the training.
    same_id: int
    #: Whether `--allow-overlap` was given.
    allowed: bool

    def document(self, rows_are: str) -> OverlapDocument:
        """Returns the overlap as scores.json has it; `rows_are` names the rows: trajectories, records or objects."""
        return OverlapDocument(
            checked=self.count is not None,
            trained={rows_are: self.count},
            same_id=self.same_id or None,
            allowed=self.allowed,
        )


def trained_entry(store: Store, rows: NDArray[np.int64], *, listed: bool = False) -> TrainedOn:
    """Returns what model.json says of rows that train: hashes of each, of its parts, and of ids that users gave.

    With `listed`, whole hashes as a list, for stores of few large rows; else all of them packed.
    """
    hashes = store.row_hashes()[rows]
    identities = Identities.of(store, rows)
    return TrainedOn(
        store_hash=store.manifest.store_hash,
        rows=tuple(hex_of(hashes)) if listed else pack_hashes(hashes),
        parts=identities.packed_parts(),
        ids=identities.packed_ids(),
    )


def check_overlap(scored: Sequence[ScoredRows], loaded: LoadedCheckpoint, *, rows_are: str, allow: bool) -> Overlap:
    """Count the scored rows that the checkpoint was trained on; `rows_are` is what sentences call them.

    Raises:
        StoreError: there are some, and `allow` is not set.
    """
    if not loaded.trained_on:
        note("the checkpoint does not say what it was trained on: an overlap with the data cannot be seen")
        return Overlap(None, 0, allow)
    _note_earlier_versions(scored, loaded)
    known = _known(loaded)
    count, same_id, sentences = 0, 0, list[str]()
    for subset in scored:
        identities = Identities.of(subset.store, subset.rows)
        trained = {name: rows.content_of(identities) for name, rows in known.items()}
        seen = np.logical_or.reduce(list(trained.values()))
        others = np.logical_or.reduce([rows.ids_of(identities) for rows in known.values()]) & ~seen
        count, same_id = count + int(seen.sum()), same_id + int(others.sum())
        of_all = f"of the {len(subset.rows)} {rows_are} to be scored"
        if others.any():
            warn(
                f"{subset.store.path}: {int(others.sum())} {of_all} have an id that the training had with other "
                f"content, such as {_first_name(subset, others)}; the model may know them"
            )
        if seen.any():
            dataset = next(name for name, rows in trained.items() if rows[np.flatnonzero(seen)[0]])
            sentences.append(
                f"{subset.store.path}: the checkpoint was trained on {int(seen.sum())} {of_all}, such as "
                f"{_first_name(subset, seen)}, in {dataset}"
            )
    if sentences and not allow:
        raise StoreError(
            "; ".join(sentences),
            hint="choose data that was held back, or --allow-overlap, which scores.json then records",
        )
    for sentence in sentences:
        warn(sentence)
    return Overlap(count, same_id, allow)


def baseline_origins(
    baselines: Mapping[str, tuple[LoadedCheckpoint, Sequence[ScoredRows]]],
    datasets: Sequence[str],
    *,
    rows_are: str,
    allow: bool,
) -> dict[str, BaselineOrigin]:
    """Returns where checkpoints of `--baseline` come from, after a check that none was trained on what is scored.

    Args:
        baselines: by label in tables, the checkpoint and what of the datasets it is scored on.
        datasets: the names of all datasets.
        rows_are: what messages call the rows.
        allow: whether rows that were trained on are warned of alone.

    Raises:
        StoreError: one was trained on what is scored, and `allow` is not set.
        UserError: one is scored on none of the datasets.
    """
    found: dict[str, BaselineOrigin] = {}
    for label, (loaded, scored) in baselines.items():
        if not scored:
            raise UserError(
                f"baseline {label} can be scored on none of the datasets {', '.join(datasets)}",
                hint="the notes above say why; give --data of its own, or leave it out",
            )
        try:
            seen = check_overlap(scored, loaded, rows_are=rows_are, allow=allow)
        except PolycliError as error:
            raise type(error)(f"baseline {label}: {error.message}", hint=error.hint) from error
        found[label] = BaselineOrigin(provenance=loaded.provenance(), overlap=seen.document(rows_are))
    return found


def warn_of_shared_validation(
    scored: Sequence[ScoredRows], loaded: LoadedCheckpoint, split: Split, *, rows_are: str
) -> None:
    """Warn where the rows that test a checkpoint may have chosen it, which makes it look better than it is."""
    known = _known(loaded).values()
    for subset in scored:
        if split != "test" or subset.store.manifest.splits.get("validation"):
            continue
        identities = Identities.of(subset.store, subset.store.rows())
        if any(rows.content_of(identities).any() for rows in known):
            warn(
                f"{subset.store.name}: so small that its test {rows_are} also validated the training, and may have "
                "chosen the checkpoint"
            )


def _known(loaded: LoadedCheckpoint) -> dict[str, KnownRows]:
    """Maps each training dataset to the rows of it that trained."""
    return {
        name: KnownRows.of_training(entry.rows, entry.parts, entry.ids) for name, entry in loaded.trained_on.items()
    }


def _first_name(subset: ScoredRows, chosen: NDArray[np.bool_]) -> str:
    """Returns the id of the first row that is chosen."""
    return subset.store.row_ids(subset.rows[np.flatnonzero(chosen)[:1]])[0]


def _note_earlier_versions(scored: Sequence[ScoredRows], loaded: LoadedCheckpoint) -> None:
    """Says once where earlier versions wrote what is compared: they kept hashes of whole rows alone."""
    earlier = [str(subset.store.path) for subset in scored if subset.store.manifest.schema_version < SCHEMA_VERSION]
    if loaded.description is not None and loaded.description.schema_version < MODEL_SCHEMA_VERSION:
        earlier.insert(0, str(loaded.model_file))
    if earlier:
        note(
            f"{', '.join(earlier)}: of an earlier version, which keeps hashes of whole rows alone: what was trained on "
            "in a store of other modalities or strides is not seen"
        )
