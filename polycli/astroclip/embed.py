"""`polycli embed astroclip`: objects of stores to vectors, with their ids and all columns of their catalogue."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from polycli.astroclip.data.store import ObjectStore, common_columns, open_objects, with_columns
from polycli.astroclip.model.loaded import LoadedAstroClip, load_checkpoint
from polycli.astroclip.recipe.settings import EmbedSettings
from polycli.astroclip.scoring.encode import Encoder, Modality, common_modalities
from polycli.astroclip.scoring.retrieval import unit
from polycli.console import counted, progress, result, say
from polycli.engine.ranks import on_rank_zero, wait_for_all
from polycli.errors import CheckpointError, StoreError
from polycli.launch import World, environment, join_process_group
from polycli.paths import expand_paths
from polycli.recipes import default_recipe
from polycli.requests import EmbedRequest, JsonDocument
from polycli.store.embeddings import EmbeddingsHeader, PartWriter, partial_folder, publish, refuse_target
from polycli.store.reader import find_stores

if TYPE_CHECKING:
    import pyarrow as pa

SUFFIX = "_embedding"


def run(request: EmbedRequest) -> JsonDocument | None:
    """Write one row for each object: its columns, and its vectors. Several processes share the objects.

    Raises:
        UserError: checkpoint, data and settings do not fit each other, or the output exists; nothing was written.
    """
    settings = default_recipe("astroclip", "embed", request.overrides, schema=EmbedSettings)
    refuse_target(request.output, overwrite=settings.overwrite)
    loaded = load_checkpoint(request.checkpoint, **settings.model.model_dump(exclude_none=True))
    stores = [open_objects(path, verify="auto") for path in find_stores(expand_paths(request.data), family="astroclip")]
    kinds = wanted_vectors(loaded, stores, settings)
    schema = common_columns(stores)
    world = join_process_group() if int(environment(os.environ)["WORLD_SIZE"]) > 1 else World()
    rows = [_rows(store, request) for store in stores]
    header = EmbeddingsHeader(
        family="astroclip",
        vectors={
            f"{kind}{SUFFIX}": (loaded.model.width("spectrum" if kind == "spectrum" else "image"), settings.dtype)
            for kind in kinds
        },
        provenance=loaded.provenance(),
        store_hash={store.name: store.manifest.store_hash for store in stores},
        options={"normalise": settings.normalise, "precision": settings.precision, "split": request.split},
    )
    partial = Path(on_rank_zero(world, lambda: str(partial_folder(request.output))))
    try:
        with PartWriter(partial, world.rank) as writer:
            for store, numbers in zip(stores, rows, strict=True):
                mine = np.array_split(numbers, world.size)[world.rank]
                write_store(loaded, store, mine, kinds=kinds, schema=schema, settings=settings, writer=writer)
        wait_for_all(world)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    count = on_rank_zero(world, lambda: publish(partial, request.output, header))
    if world.rank > 0:
        return None
    say(f"{counted(count, 'object', 'objects')}: {', '.join(f'{kind}{SUFFIX}' for kind in kinds)}")
    if not request.json:
        result(str(request.output))
    return {"output": str(request.output), **header.manifest(count, {})}


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
    aligned = len(modalities[0]) == 2 and loaded.model.section.heads is not None
    there: tuple[str, ...] = (*modalities[0], "fused") if aligned else modalities[0]
    for kind in settings.vectors:
        if kind == "fused" and kind not in there:
            raise CheckpointError(
                "fused vectors are the mean of aligned image and spectrum vectors, and model or data lack one of them",
                hint=f"--set 'vectors=[{', '.join(there)}]'",
            )
        if kind not in there:
            raise StoreError(
                f"{stores[0].path}: there are no {kind} vectors, only {', '.join(there)}",
                hint=f"--set 'vectors=[{', '.join(there)}]'",
            )
    return settings.vectors or there


def write_store(
    loaded: LoadedAstroClip,
    store: ObjectStore,
    rows: NDArray[np.int64],
    *,
    kinds: Sequence[str],
    schema: pa.Schema,
    settings: EmbedSettings,
    writer: PartWriter,
) -> None:
    """Embed some rows of a store, in parts that fit into memory, in order; `schema` has the columns of all stores."""
    encoder = Encoder(loaded.model, store, precision=settings.precision, batch_size=settings.batch_size)
    modalities: tuple[Modality, ...] = ("image", "spectrum")
    needed = [name for name in modalities if name in kinds or "fused" in kinds]
    size = settings.batch_size * 64
    with progress(len(rows) * len(needed), f"{store.name}: embedding") as bar:
        # A process without objects writes an empty table, so that its part has the others' columns.
        for start in range(0, max(1, len(rows)), size):
            part = rows[start : start + size]
            made: dict[str, NDArray[np.float32]] = {
                name: encoder.vectors(name, part, advance=bar.advance) for name in needed
            }
            if "fused" in kinds:
                made["fused"] = (unit(made["image"]) + unit(made["spectrum"])) / np.float32(2)
            vectors = {kind: unit(made[kind]) if settings.normalise else made[kind] for kind in kinds}
            columns = with_columns(store.table(part), schema)
            columns = columns.append_column("split", [_splits(store, part)])
            writer.write(
                columns, {f"{kind}{SUFFIX}": values.astype(settings.dtype) for kind, values in vectors.items()}
            )


def _rows(store: ObjectStore, request: EmbedRequest) -> NDArray[np.int64]:
    rows = store.rows(request.split)[: request.limit]
    if len(rows) == 0:
        raise StoreError(
            f"{store.path}: no object is in the split {request.split}; there are {dict(store.manifest.splits)}",
            hint="choose another --split",
        )
    return rows


def _splits(store: ObjectStore, rows: NDArray[np.int64]) -> list[str]:
    names = np.empty(store.manifest.rows, dtype=object)
    for split in store.manifest.splits:
        names[store.rows(split)] = split
    return list(names[rows])
