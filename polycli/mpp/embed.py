"""`polycli embed mpp`: windows of trajectories to vectors, with ids, times and the parameters of the physics."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from polycli.json_records import to_object
from polycli.mpp.model.loaded import load_checkpoint
from polycli.mpp.predicting.inputs import open_contexts
from polycli.mpp.predicting.untrained import check_source
from polycli.mpp.predicting.windows import WindowBatch, window_starts
from polycli.mpp.recipe.settings import EmbedSettings
from polycli.mpp.scoring.rollout import conditions
from polycli.mpp.scoring.window_tables import TOKENS, WindowTables, parameter_columns, parameters_of, window_rows
from polycli.paths import expand_paths
from polycli.recipes import default_recipe
from polycli.requests import EmbedRequest, JsonDocument
from polycli.store.embeddings.manifest import EmbeddingsHeader
from polycli.workflow.embed import begin, embed
from polycli.workflow.embedding.rows import Opened


def run(request: EmbedRequest) -> JsonDocument | None:
    """Write one row for each window: its trajectory, its parameters, and its vector. Several processes share them.

    Raises:
        UserError: checkpoint, data and settings do not fit each other, or the output exists; nothing was written.
    """
    settings = default_recipe("mpp", "embed", request.overrides, schema=EmbedSettings)
    opener = partial(open_rows, settings=settings)
    target = begin(request, settings, tables={TOKENS: "row"})
    return embed(target, opener(request), noun=("window", "windows"), opener=opener)


def open_rows(request: EmbedRequest, settings: EmbedSettings) -> Opened[WindowBatch]:
    """Open the checkpoint and the data, and compare them.

    Raises:
        UserError: checkpoint, data and settings do not fit each other.
    """
    loaded = load_checkpoint(request.checkpoint, settings.data, settings.model)
    sources = open_contexts(
        expand_paths(request.data),
        split=request.split,
        limit=request.limit,
        settings=settings,
        known_fields=loaded.section.fields,
    )
    header = EmbeddingsHeader(
        family="mpp",
        provenance=to_object(loaded.provenance()),
        store_hash={source.name: known for source in sources if (known := source.origin.store_hash) is not None},
        options={
            "kind": settings.kind,
            "windows": settings.windows,
            "stride": settings.stride,
            "pooling": "mean over the tokens of the last frame",
            "split": request.split,
        },
        data=[source.origin.data for source in sources],
    )
    for source in sources:
        check_source(source, loaded, settings)
    columns, frames = parameter_columns(sources), {"history": loaded.history, "time_stride": loaded.time_stride}
    rows = []
    for source in sources:
        tables = WindowTables(
            loaded,
            source,
            conditions(source.name, source.about, known=loaded.section.fields),
            columns,
            parameters_of(source),
            tokens=settings.kind == "tokens",
        )
        starts = window_starts(source, **frames, every=settings.stride if settings.windows == "all" else None)
        rows.append(window_rows(source, starts, tables, **frames, size=settings.batch_size))
    return Opened(header, rows)


def open_files(request: EmbedRequest, settings: EmbedSettings, scratch: Path) -> Opened[WindowBatch]:  # noqa: ARG001
    """The same, of files alone, which are read as they are.

    Raises:
        UserError: checkpoint, data and settings do not fit each other.
    """
    return open_rows(request, settings)
