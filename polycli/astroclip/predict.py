"""`polycli predict astroclip`: properties of objects without labels, with quantiles, to a catalogue keyed by id."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from polycli.astroclip.data.columns import one_unit
from polycli.astroclip.data.store import ObjectStore, common_columns
from polycli.astroclip.model.loaded import LoadedAstroClip, load_for
from polycli.astroclip.predicting.catalogue import CATALOGUES, write_catalogue
from polycli.astroclip.predicting.inputs import chosen_rows, open_data
from polycli.astroclip.recipe.model import MODALITIES, Modality
from polycli.astroclip.recipe.settings import PredictSettings
from polycli.astroclip.scoring.encode import Encoder, common_modalities
from polycli.astroclip.scoring.neighbours import Neighbours, side_by_side
from polycli.astroclip.scoring.novelty.columns import novelty_of_rows, statistics_of
from polycli.astroclip.scoring.posteriors.calibrated import CalibratedIntervals, catalogue_magnitudes, intervals_of
from polycli.astroclip.scoring.posteriors.columns import HeadColumns, quantile_name, refuse_what_heads_alone_have
from polycli.console import counted, note, progress, rank, result, say
from polycli.errors import StoreError, UserError
from polycli.json_records import to_object
from polycli.names import free_names
from polycli.outputs import Output
from polycli.paths import plain_path
from polycli.recipes import default_recipe
from polycli.requests import JsonDocument, PredictRequest
from polycli.workflow.identity import Identities, KnownRows
from polycli.workflow.run_stores import stores_of_run
from polycli.workflow.stores import open_stores

if TYPE_CHECKING:
    import pyarrow as pa

Columns = dict[str, NDArray[Any]]
#: By modality.
Vectors = dict[str, NDArray[np.float32]]
#: Columns of the store that stand before the predicted ones.
_KEPT_COLUMNS = ["object_id", "ra", "dec"]


def run(request: PredictRequest) -> JsonDocument | None:
    """Write id, position and predicted properties of every object: by the model's own head, else by neighbours.

    Raises:
        UserError: checkpoint, data and settings do not fit each other, or the output exists; nothing was written.
    """
    settings = default_recipe("astroclip", "predict", request.overrides, schema=PredictSettings)
    if rank() > 0:
        return None  # One process writes.
    references = [plain_path(path) for path in settings.reference]
    inputs = (request.checkpoint, *request.data, *references)
    output = Output(request.output, CATALOGUES, settings.overwrite, inputs)
    output.refuse()
    loaded = load_for(request.checkpoint, settings)
    with output.writing() as unfinished:
        stores = open_data(request, settings, scratch=unfinished.parent / "prepared")
        common_columns(stores, ["object_id"])
        rows = [chosen_rows(store, request) for store in stores]
        intervals: CalibratedIntervals | None = None
        shared = [common_modalities(loaded, store) for store in stores]
        novelty = statistics_of(loaded, settings.novelty, dict.fromkeys(name for found in shared for name in found))
        # Vectors that predictions were made of: objects are not embedded again for their novelty.
        made: list[Vectors] = [{} for _ in stores]
        if loaded.model.properties is not None:
            intervals = intervals_of(loaded, settings.bands)
            if intervals is not None and intervals.by_magnitude:
                for store in stores:
                    catalogue_magnitudes(store, store.rows()[:0])  # Refused before any object is predicted.
            head = HeadColumns(loaded, settings, intervals)
            units = head.units
            tables = [
                head.of(store, some, vectors if novelty else None)
                for store, some, vectors in zip(stores, rows, made, strict=True)
            ]
            how = "the model's head"
        else:
            refuse_what_heads_alone_have(settings, loaded)
            tables, how, made, units = _by_neighbours(loaded, stores, rows, settings, shared)
        tables = [
            table | novelty_of_rows(loaded, novelty, store, some, settings=settings, made=vectors)
            for table, store, some, vectors in zip(tables, stores, rows, made, strict=True)
        ]
        # A store without images has no novelty of them: not all tables have all columns.
        made_columns = list(dict.fromkeys(name for table in tables for name in table))
        free = free_names(made_columns, taken=_KEPT_COLUMNS, prefix="predicted_")
        names = dict(zip(made_columns, free, strict=True))
        units = {new: units[name] for name, new in names.items() if name in units}
        count = sum(map(len, rows))
        document: JsonDocument = {
            "output": str(request.output),
            **to_object(loaded.provenance()),
            "by": how,
            "objects": count,
            "columns": list(names.values()),
            "units": units,
            "calibration": None if intervals is None else str(intervals.file),
            "store_hash": {store.name: store.manifest.store_hash for store in stores},
        }
        write_catalogue(unfinished, _joined(stores, rows, tables, names), document)
    say(f"{counted(count, 'object', 'objects')}: {', '.join(names.values())}, by {how}")
    if not request.json:
        result(str(request.output))
    return document


def _by_neighbours(
    loaded: LoadedAstroClip,
    stores: Sequence[ObjectStore],
    rows: Sequence[NDArray[np.int64]],
    settings: PredictSettings,
    shared: Sequence[tuple[Modality, ...]],
) -> tuple[list[Columns], str, list[Vectors], dict[str, str]]:
    """Predicts from the labelled objects with the nearest vectors.

    Returns the columns of each store's objects, how they were made, the objects' vectors, and the units of columns.
    """
    references = _references(loaded, settings)
    found = [*shared, *(common_modalities(loaded, store) for store in references)]
    modalities = _modalities(found, str(stores[0].path), settings)
    known = [store.rows("train") for store in references]
    units: dict[str, str] = {}
    for name in settings.properties:
        if unit_of := one_unit(name, {str(store.path): store.unit(name) for store in references}):
            units |= dict.fromkeys((name, *(quantile_name(name, q) for q in settings.quantiles)), unit_of)
    targets = {
        name: np.concatenate([store.target(name, some) for store, some in zip(references, known, strict=True)])
        for name in settings.properties
    }
    total = sum(map(len, [*known, *rows])) * len(modalities)
    with progress(total, "embedding the labelled objects and the others") as bar:

        def vectors(store: ObjectStore, some: NDArray[np.int64]) -> Vectors:
            encoder = Encoder.of(loaded, store, settings)
            return {name: encoder.vectors(name, some, advance=bar.advance) for name in modalities}

        labelled = np.concatenate(
            [side_by_side([*vectors(store, some).values()]) for store, some in zip(references, known, strict=True)]
        )
        asked = [vectors(store, some) for store, some in zip(stores, rows, strict=True)]
    # An object without a value answers nothing, so it gets nothing of its own back.
    answering = np.any([np.isfinite(values) for values in targets.values()], axis=0)
    parts = np.split(answering, np.cumsum([len(some) for some in known])[:-1])
    _note_labelled(references, [some[part] for some, part in zip(known, parts, strict=True)], stores, rows)
    tables: list[Columns] = [{} for _ in stores]
    predicted = [name if q is None else quantile_name(name, q) for name in targets for q in (None, *settings.quantiles)]
    # One similarity for all columns, unless these are known of different objects, which have neighbours of their own.
    there_of = {name: np.isfinite(values) for name, values in targets.items()}
    alike = len({there.tobytes() for there in there_of.values()}) == 1
    wanted = ["similarity"] if alike else [f"{name}_similarity" for name in targets]
    free = free_names(wanted, taken=predicted, prefix="neighbour_")
    similarity = dict(zip(targets, free * len(targets) if alike else free, strict=True))
    counts = []
    for name, values in targets.items():
        there = there_of[name]
        if not there.any():
            raise StoreError(f"{references[0].path}: {name} is unknown for all objects of the split train")
        neighbours = Neighbours(labelled[there], settings.neighbours)
        counts.append(neighbours.count)
        for table, seen in zip(tables, asked, strict=True):
            answer = neighbours.answer(side_by_side([*seen.values()]), values[there], settings.quantiles)
            table[name] = answer.mean
            table |= {quantile_name(name, q): answer.quantiles[:, place] for place, q in enumerate(settings.quantiles)}
            table[similarity[name]] = answer.similarity
    names = ", ".join(store.name for store in references)
    used = " to ".join(f"{count}" for count in sorted({min(counts), max(counts)}))
    return tables, f"{used} neighbours by {' and '.join(modalities)} in {names}", asked, units


def _note_labelled(
    references: Sequence[ObjectStore],
    known: Sequence[NDArray[np.int64]],
    stores: Sequence[ObjectStore],
    rows: Sequence[NDArray[np.int64]],
) -> None:
    """Say where objects are among those that answer: their own values come back, which says nothing of others.

    They are known again by image, spectrum or the id that their user gave, in stores of other modalities too.
    """
    labelled = KnownRows.of(Identities.of(store.store, some) for store, some in zip(references, known, strict=True))
    asked = [Identities.of(store.store, some) for store, some in zip(stores, rows, strict=True)]
    themselves = sum(int((labelled.content_of(found) | labelled.ids_of(found)).sum()) for found in asked)
    if themselves:
        note(
            f"{themselves:,} of {sum(map(len, rows)):,} objects are among the labelled ones, and get back what they "
            "have; --split test leaves them out"
        )


def _references(loaded: LoadedAstroClip, settings: PredictSettings) -> list[ObjectStore]:
    paths: Sequence[str | Path] = settings.reference
    if not paths:
        known = stores_of_run(loaded.run)
        paths = [entry.path for entry in known.values() if Path(entry.path).exists()]
    if not paths:
        raise UserError(
            "the model has no property head, and there are no labelled objects to search among",
            hint="--set 'reference=[STORE]', or polycli finetune astroclip adds a head",
        )
    return [ObjectStore(store) for store in open_stores(paths, family="astroclip", by_name=False)]


def _modalities(found: Sequence[tuple[Modality, ...]], what: str, settings: PredictSettings) -> tuple[Modality, ...]:
    """Chooses the modalities that were asked for, or all that the model and every store have; `what` names the data."""
    shared = tuple(name for name in found[0] if all(name in some for some in found))
    wanted: tuple[Modality, ...] = shared
    if settings.modality is not None:
        wanted = MODALITIES if settings.modality == "both" else (settings.modality,)
    if not wanted or any(name not in shared for name in wanted):
        raise StoreError(
            f"{what} and the labelled objects share {' and '.join(shared) or 'nothing'}, "
            f"{' and '.join(wanted) or 'a modality'} was needed",
            hint="--set modality=image or spectrum, or another --set 'reference=[STORE]'",
        )
    return wanted


def _joined(
    stores: Sequence[ObjectStore],
    rows: Sequence[NDArray[np.int64]],
    tables: Sequence[Columns],
    names: Mapping[str, str],
) -> pa.Table:
    """Id, position and predictions of all stores, one below the other, gaps where a store has no such column.

    `names`: what the columns of `tables` are called in the catalogue, none as the id or the position.
    """
    import pyarrow as pa

    parts = []
    for store, some, table in zip(stores, rows, tables, strict=True):
        part = store.table(some).select(_KEPT_COLUMNS)
        for name, values in table.items():
            column = (
                pa.array(values)
                if values.ndim == 1
                else pa.FixedSizeListArray.from_arrays(
                    pa.array(np.ascontiguousarray(values).reshape(-1)), values.shape[1]
                )
            )
            part = part.append_column(names[name], column)
        parts.append(part)
    return pa.concat_tables(parts, promote_options="permissive")
