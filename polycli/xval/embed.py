"""`polycli embed xval`: records to one vector each, and one for every number, with ids and key paths."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa

from polycli.json_records import to_object
from polycli.paths import expand_paths
from polycli.recipes import default_recipe
from polycli.requests import EmbedRequest, JsonDocument
from polycli.store.embeddings.manifest import ROWS, EmbeddingsHeader
from polycli.store.embeddings.parts import Tables, with_vectors
from polycli.store.embeddings.plan import data_identity
from polycli.workflow.embed import begin, embed
from polycli.workflow.embedding.rows import Advance, Opened, Rows, marks_of
from polycli.xval.model.loaded import load_checkpoint
from polycli.xval.predicting.inputs import encode, ids_of, open_inputs
from polycli.xval.recipe.settings import EmbedSettings
from polycli.xval.records.keypaths import refuse_unknown
from polycli.xval.records.records import Records
from polycli.xval.records.values import Record
from polycli.xval.scoring.fill import Filler
from polycli.xval.scoring.partition import record_partition
from polycli.xval.scoring.pooling import vectors_of

#: The table with a row for each number of the records.
NUMBERS = "numbers"
#: What `polycli.embed_partition` returns for this family.
partition = record_partition


def run(request: EmbedRequest) -> JsonDocument | None:
    """Write one row for each record, and one for each of their numbers. Several processes share the records.

    Raises:
        UserError: checkpoint, data and settings do not fit each other, or the output exists; nothing was written.
    """
    settings = default_recipe("xval", "embed", request.overrides, schema=EmbedSettings)
    opener = partial(open_rows, settings=settings)
    target = begin(request, settings, tables={NUMBERS: "record"})
    document = embed(target, opener(request), noun=("record", "records"), opener=opener)
    if document is None or "tables" not in document:
        return document
    numbers = document["tables"].get(NUMBERS, {"rows": 0})["rows"]
    dimension = document["vectors"]["record_embedding"]["width"]
    return {**document, "records": document["rows"], "numbers": numbers, "dimension": dimension}


def open_rows(request: EmbedRequest, settings: EmbedSettings) -> Opened[Sequence[Record]]:
    """Open the checkpoint and the records, and compare them.

    Raises:
        UserError: checkpoint, data and settings do not fit each other.
    """
    loaded = load_checkpoint(request.checkpoint)
    refuse_unknown(settings.keys, loaded.tokenization.language.key_paths, where="keys")
    paths = expand_paths(request.data)
    data = open_inputs(
        paths,
        reading=settings,
        tokenization=loaded.tokenization,
        split=request.split,
        limit=request.limit,
        batch_records=settings.batch_records,
    )
    loaded.check_units(data.units, str(request.data[0]), allow=settings.allow_untrained)
    header = EmbeddingsHeader(
        family="xval",
        provenance=to_object(loaded.provenance()),
        store_hash=data.store_hash,
        options={"pooling": "mean over tokens", "keys": settings.keys, "split": request.split},
        data=[str(path) for path in request.data],
    )
    tables = RecordTables(Filler(loaded.model, loaded.tokenization, settings.batch_tokens), settings)
    marks = list(data.store_hash.values()) or marks_of(paths)
    rows = Rows(
        next(iter(data.store_hash), paths[0].name),
        data_identity(marks, request.split, request.limit),
        settings.batch_records,
        tables,
        ids=ids_of,
        count=data.count,
        bytes=data.bytes,
        take=data.take,
        stream=() if data.take else data.batches,
    )
    return Opened(header, [rows])


def open_files(request: EmbedRequest, settings: EmbedSettings, scratch: Path) -> Opened[Sequence[Record]]:  # noqa: ARG001
    """The same, of files alone, which are read as they are.

    Raises:
        UserError: checkpoint, data and settings do not fit each other.
    """
    return open_rows(request, settings)


@dataclass(frozen=True)
class RecordTables:
    """Makes the rows of records and of their numbers."""

    filler: Filler
    settings: EmbedSettings

    def __call__(self, batches: Sequence[Sequence[Record]], first_row: int, advance: Advance) -> Tables:
        """One row for each record, whose first has the index `first_row`, and one for each of their numbers."""
        made: list[dict[str, pa.Table]] = []
        for batch in batches:
            made.append(self._tables(encode(batch, self.filler.tokenization), first_row))
            first_row += len(batch)
            advance(len(batch))
        return {name: pa.concat_tables([tables[name] for tables in made]) for name in made[0]}

    def _tables(self, records: Records, first_row: int) -> dict[str, pa.Table]:
        """Returns the tables of one batch, whose first record is row `first_row` of all."""
        vectors = vectors_of(self.filler, records, numbers=self.settings.numbers, keys=self.settings.keys)
        ids = pa.array(records.ids, pa.string())
        tables = {ROWS: with_vectors(pa.table({"record_id": ids}), {"record_embedding": vectors.records})}
        if self.settings.numbers:
            key_paths = pa.array(records.key_paths, pa.string())
            numbers = pa.table(
                {
                    "record": pa.array(vectors.number_record + first_row),
                    "record_id": ids.take(pa.array(vectors.number_record)),
                    "key_path": key_paths.take(pa.array(vectors.number_key.astype(np.int64))).dictionary_encode(),
                    "value": pa.array(vectors.number_value),
                }
            )
            tables[NUMBERS] = with_vectors(numbers, {"number_embedding": vectors.numbers})
        return tables
