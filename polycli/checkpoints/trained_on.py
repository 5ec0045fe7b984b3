"""The rows of a dataset that a checkpoint has met, by their content hashes: light, for whoever only reads documents."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class TrainedOn(BaseModel):
    """One dataset of the training: its store and the content hashes of the rows that trained."""

    model_config = ConfigDict(frozen=True)

    store_hash: str
    #: Hex digits of each hash, or, of stores of many small rows, all of them packed (`polycli.store.overlap`).
    rows: str | tuple[str, ...]
    #: By part of the rows (image, spectrum, frames): their hashes, packed. Schema 1 has none.
    parts: dict[str, str] = {}
    #: Hashes of the ids that the user gave to the rows, packed; None where there are none.
    ids: str | None = None
