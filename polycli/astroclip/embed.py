"""`polycli embed astroclip`: objects of stores to vectors, with their ids and all columns of their catalogue."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from polycli.astroclip.data.store import ObjectStore, common_columns, with_columns
from polycli.astroclip.model.loaded import LoadedAstroClip, load_for
from polycli.astroclip.predicting.inputs import chosen_rows, open_data
from polycli.astroclip.recipe.settings import EmbedSettings, ReadingSettings
from polycli.astroclip.scoring.encode import Encoder, common_modalities
from polycli.astroclip.scoring.kinds import (
    SUFFIX,
    alike_sentence,
    are_alike,
    encoded,
    encoded_for,
    kinds_of,
    vectors_of_kinds,
)
from polycli.astroclip.scoring.novelty.columns import novelty_columns, statistics_of
from polycli.astroclip.scoring.novelty.statistics import TrainingVectors
from polycli.astroclip.scoring.partition import object_partition
from polycli.console import counted, warn
from polycli.errors import StoreError
from polycli.json_records import to_object
from polycli.recipes import default_recipe
from polycli.requests import EmbedRequest, JsonDocument
from polycli.store.embeddings.manifest import ROWS, EmbeddingsHeader
from polycli.store.embeddings.parts import Tables, with_vectors
from polycli.store.embeddings.plan import data_identity
from polycli.workflow.embed import begin, embed
from polycli.workflow.embedding.rows import Advance, Opened, Rows, bytes_of
from polycli.workflow.stores import open_stores

#: What `polycli.embed_partition` returns for this family.
partition = object_partition


def run(request: EmbedRequest) -> JsonDocument | None:
    """Write one row for each object: its columns, and its vectors. Several processes share the objects.

    Raises:
        UserError: checkpoint, data and settings do not fit each other, or the output exists; nothing was written.
    """
    settings = default_recipe("astroclip", "embed", request.overrides, schema=EmbedSettings)
    opener = partial(open_rows, settings=settings)
    target = begin(request, settings, positions=True)
    return embed(target, opener(request), noun=("object", "objects"), opener=opener)


def open_rows(request: EmbedRequest, settings: EmbedSettings) -> Opened[NDArray[np.int64]]:
    """Open the checkpoint and the stores, and compare them.

    Raises:
        UserError: checkpoint, data and settings do not fit each other.
    """
    opened = open_stores(request.data, family="astroclip", verify="auto", by_name=False)
    return _opened(request, settings, [ObjectStore(store) for store in opened])


def open_files(request: EmbedRequest, settings: EmbedSettings, scratch: Path) -> Opened[NDArray[np.int64]]:
    """The same of files of every source too, which are prepared first, in `scratch`, and are gone with it.

    Raises:
        UserError: checkpoint, data and settings do not fit each other, or no source reads the files.
    """
    return _opened(request, settings, open_data(request, ReadingSettings(), scratch=scratch))


def _opened(request: EmbedRequest, settings: EmbedSettings, stores: Sequence[ObjectStore]) -> Opened[NDArray[np.int64]]:
    loaded = load_for(request.checkpoint, settings)
    kinds = wanted_vectors(loaded, stores, settings)
    novelty = statistics_of(loaded, settings.novelty, encoded_for(kinds))
    schema = common_columns(stores)
    header = EmbeddingsHeader(
        family="astroclip",
        provenance=to_object(loaded.provenance()),
        store_hash={store.name: store.manifest.store_hash for store in stores},
        options={
            "normalise": settings.normalise,
            "precision": settings.precision,
            "split": request.split,
            **({"novelty": sorted(novelty)} if novelty else {}),
        },
        data=[str(store.path) for store in stores],
    )
    rows = []
    for store in stores:
        encoder = Encoder.of(loaded, store, settings)
        rows.append(_rows(store, request, ObjectTables(encoder, store, kinds, schema, settings, novelty)))
    return Opened(header, rows)


def wanted_vectors(loaded: LoadedAstroClip, stores: Sequence[ObjectStore], settings: EmbedSettings) -> tuple[str, ...]:
    """The kinds of vectors that all stores and the model have, or those that were asked for.

    Raises:
        StoreError: the stores have different modalities, or not those that were asked for.
        CheckpointError: a fused vector was asked of a model that was not aligned.
    """
    modalities = [common_modalities(loaded, store) for store in stores]
    for store, found in zip(stores, modalities, strict=True):
        if found != modalities[0]:
            raise StoreError(
                f"{store.path}: has {' and '.join(found)}, and {stores[0].path} has {' and '.join(modalities[0])}",
                hint="embed them one by one",
            )
    return kinds_of(loaded, modalities[0], settings, what=str(stores[0].path))


@dataclass(frozen=True)
class ObjectTables:
    """Makes the rows of one store's objects: their columns, their split, and vectors of these kinds."""

    encoder: Encoder
    store: ObjectStore
    kinds: Sequence[str]
    #: The columns of all stores together.
    schema: pa.Schema
    settings: EmbedSettings
    #: By modality.
    novelty: Mapping[str, TrainingVectors] = field(default_factory=dict)
    #: Kinds of vectors of which it was said that they do not vary.
    said: set[str] = field(default_factory=set, compare=False)

    def __call__(self, batches: Sequence[NDArray[np.int64]], _: int, advance: Advance) -> Tables:
        """Returns a table with one row for each object."""
        rows = np.concatenate(batches)
        made = encoded(self.encoder, self.kinds, rows, advance=advance)
        vectors = vectors_of_kinds(made, self.kinds, self.settings)
        for kind, values in vectors.items():
            if kind not in self.said and are_alike(values):
                self.said.add(kind)
                warn(f"{self.store.name}: {alike_sentence(kind, len(rows))}")
        columns = with_columns(self.store.table(rows), self.schema)
        columns = columns.append_column("split", [self.store.store.split_names(rows)])
        for name, novel in novelty_columns(self.novelty, made).items():
            columns = columns.append_column(name, pa.array(novel))
        return {ROWS: with_vectors(columns, {f"{kind}{SUFFIX}": values for kind, values in vectors.items()})}


def _rows(store: ObjectStore, request: EmbedRequest, tables: ObjectTables) -> Rows[NDArray[np.int64]]:
    chosen = chosen_rows(store, request)
    if request.output.suffix == ".hats" and (unknown := int((store.column("healpix29", chosen) < 0).sum())):
        raise StoreError(
            f"{store.path}: {counted(unknown, 'object has', 'objects have')} no position, which HATS needs",
            hint=f"--output {request.output.with_suffix('.parquet')}",
        )
    return Rows(
        store.name,
        data_identity(store.manifest.store_hash, request.split, request.limit),
        tables.settings.batch_size,
        tables,
        ids=store.id_texts,
        count=len(chosen),
        bytes=bytes_of(store.store, len(chosen)),
        take=lambda first, end: chosen[first:end],
    )
