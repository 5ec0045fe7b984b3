"""`polycli predict mpp` of a checkpoint that predicts parameters: a row for each trajectory, no truth needed."""

from __future__ import annotations

import numpy as np

from polycli.console import counted, note, progress, result, say
from polycli.json_records import to_object
from polycli.mpp.model.loaded import LoadedNetwork
from polycli.mpp.model.regression import ParameterAViT, original
from polycli.mpp.predicting.inputs import ContextSource, StoreContexts, open_contexts
from polycli.mpp.predicting.parameter_files import ParameterRow, write_parameters
from polycli.mpp.predicting.untrained import check_source
from polycli.mpp.predicting.windows import even_starts
from polycli.mpp.recipe.settings import PredictSettings
from polycli.mpp.scoring.parameters.trajectories import trajectory_means
from polycli.mpp.scoring.rollout import conditions, window_answers
from polycli.outputs import Output
from polycli.paths import expand_paths
from polycli.requests import JsonDocument, PredictRequest

#: Windows per forward pass.
_BATCH = 8


def predict_parameters(
    request: PredictRequest, settings: PredictSettings, loaded: LoadedNetwork, model: ParameterAViT, output: Output
) -> JsonDocument:
    """Write the parameters of every trajectory of the data.

    Raises:
        UserError: checkpoint, data and settings do not fit each other; nothing was written.
    """
    sources = open_contexts(
        expand_paths(request.data),
        split=request.split,
        limit=request.limit,
        settings=settings,
        known_fields=loaded.section.fields,
    )
    frames = {"history": loaded.history, "time_stride": loaded.time_stride}
    starts = []
    for source in sources:
        conditions(source.name, source.about, known=loaded.section.fields)
        check_source(source, loaded, settings)
        starts.append(even_starts(source, **frames, count=settings.windows_per_trajectory))
    document: JsonDocument = {"output": str(request.output), **to_object(loaded.provenance()), "datasets": {}}
    rows: list[ParameterRow] = []
    for source, chosen in zip(sources, starts, strict=True):
        found = _rows(source, chosen, loaded, model)
        outside = sum(bool(row.outside) for row in found)
        if outside:
            note(
                f"{source.name}: {outside} of {len(found)} trajectories have an answer outside of the values that "
                "trained, as the column outside_training says"
            )
        document["datasets"][source.name] = {
            "trajectories": len(found),
            "windows_per_trajectory": len(chosen),
            "outside_training": outside,
            **to_object(source.origin),
        }
        rows += found
    document["parameters"] = [target.model_dump(mode="json") for target in model.head.targets]
    with output.writing() as unfinished:
        write_parameters(unfinished, rows, model.head.names, document)
    if not request.json:
        say(f"{counted(len(rows), 'trajectory', 'trajectories')}: {', '.join(model.head.names)}")
        result(str(request.output))
    return document


def _rows(source: ContextSource, starts: list[int], loaded: LoadedNetwork, model: ParameterAViT) -> list[ParameterRow]:
    read = conditions(source.name, source.about, known=loaded.section.fields)
    with progress(len(source.ids) * len(starts), f"{source.name}: parameters") as bar:
        standard = trajectory_means(
            source,
            starts,
            lambda window: window_answers(model, window, read),
            history=loaded.history,
            time_stride=loaded.time_stride,
            batch_size=_BATCH,
            advance=bar.advance,
        )
    values = original(standard, model.head)
    splits = source.store.split_names(source.rows) if isinstance(source, StoreContexts) else [None] * len(source.ids)
    low, high = (np.array([getattr(target, key) for target in model.head.targets]) for key in ("low", "high"))
    beyond = (values < low) | (values > high)
    names = model.head.names
    return [
        ParameterRow(
            trajectory=name,
            dataset=source.name,
            split=split,
            windows=len(starts),
            values=dict(zip(names, numbers.tolist(), strict=True)),
            outside=tuple(target for target, strange in zip(names, far, strict=True) if strange),
        )
        for name, split, numbers, far in zip(source.ids, splits, values, beyond, strict=True)
    ]
