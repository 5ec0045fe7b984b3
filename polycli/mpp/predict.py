"""`polycli predict mpp`: rollouts from the last frames known, where no truth is, to zarr or HDF5."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import islice

import numpy as np
import torch
from numpy.typing import NDArray

from polycli.console import counted, note, progress, rank, result, say, warn
from polycli.errors import SourceError, StoreError
from polycli.json_records import to_object
from polycli.mpp.model.loaded import LoadedNetwork, load_checkpoint
from polycli.mpp.predicting.band_facts import BandFacts, Horizon
from polycli.mpp.predicting.bands import BandFinder, Bands
from polycli.mpp.predicting.files import FORECASTS, ForecastArray, ForecastHeader, forecast_arrays
from polycli.mpp.predicting.inputs import ContextSource, Reach, open_contexts
from polycli.mpp.predicting.parameter_files import PARAMETERS
from polycli.mpp.predicting.untrained import check_source
from polycli.mpp.recipe.settings import PredictSettings
from polycli.mpp.scoring.bands.draws import as_array, rollout_with_spread
from polycli.mpp.scoring.parameters.predictions import predict_parameters
from polycli.mpp.scoring.rollout import Conditions, conditions
from polycli.mpp.scoring.told import say_told, told_of_source
from polycli.mpp.scoring.window_tables import parameters_of
from polycli.outputs import Output
from polycli.paths import expand_paths
from polycli.recipes import default_recipe
from polycli.requests import JsonDocument, PredictRequest


@dataclass(frozen=True)
class Plan:
    """One dataset to forecast: how the model reads it, and where its contexts lie."""

    source: ContextSource
    read: Conditions
    reach: Reach
    #: Bands around the forecasts, and what is said of them; None where the model is not calibrated for such data.
    bands: Bands | None
    facts: BandFacts | None


def run(request: PredictRequest) -> JsonDocument | None:
    """Write `steps` frames after the context of every trajectory of the data, or its parameters; needs no truth.

    Raises:
        UserError: checkpoint, data and settings do not fit each other, or the output exists; nothing was written.
    """
    settings = default_recipe("mpp", "predict", request.overrides, schema=PredictSettings)
    if rank() > 0:
        return None  # One process writes.
    inputs = (request.checkpoint, *request.data)
    kind = PARAMETERS if request.output.suffix in PARAMETERS.suffixes else FORECASTS
    output = Output(request.output, kind, settings.overwrite, inputs)
    output.refuse()
    loaded = load_checkpoint(request.checkpoint, settings.data, settings.model)
    model = loaded.parameter_model
    if (model is None) == (kind is PARAMETERS):
        # Says which endings the results of this checkpoint have.
        Output(request.output, FORECASTS if model is None else PARAMETERS, settings.overwrite, inputs).refuse()
    if model is not None:
        return predict_parameters(request, settings, loaded, model, output)
    sources = open_contexts(
        expand_paths(request.data),
        split=request.split,
        limit=request.limit,
        settings=settings,
        known_fields=loaded.section.fields,
    )
    finder = BandFinder(loaded, settings.bands)
    plans = [_plan(source, loaded, settings, finder) for source in sources]
    origin = to_object(loaded.provenance())
    headers = [_header(plan, settings.steps, origin) for plan in plans]
    document: JsonDocument = {"output": str(request.output), **origin, "datasets": {}}
    with output.writing() as unfinished, forecast_arrays(unfinished, headers) as arrays:
        for plan, array in zip(plans, arrays, strict=True):
            name, count = plan.source.name, len(plan.source.ids)
            finite = forecast(loaded, plan, settings, array)
            document["datasets"][name] = {
                "trajectories": count,
                "steps": settings.steps,
                "context_frames": [plan.reach.frames[0], plan.reach.frames[-1]],
                "finite": finite,
                **_said_of_bands(plan),
                **to_object(plan.source.origin),
            }
            if finite < count:
                warn(f"{name}: {count - finite} of {count} forecasts are not finite to the end")
    if not request.json:
        for plan in plans:
            name, frames = plan.source.name, counted(settings.steps, "frame", "frames")
            say(f"{name}: {frames} of {counted(len(plan.source.ids), 'trajectory', 'trajectories')}")
            if plan.facts is not None:
                say(f"{name}: {_validity_sentence(plan.facts.validity_horizon, settings.steps)}")
        result(str(request.output))
    return document


def forecast(loaded: LoadedNetwork, plan: Plan, settings: PredictSettings, array: ForecastArray) -> int:
    """Roll every trajectory of a dataset forward, a few at a time, and write its frames as they come.

    Returns how many forecasts are finite to their end.
    """
    finite = place = 0
    contexts = _finite_contexts(plan)
    with progress(len(plan.source.ids) * settings.steps, f"{plan.source.name}: forecast") as bar:
        while group := list(islice(contexts, settings.rollout_batch_size)):
            context = torch.from_numpy(np.stack(group))
            whole = torch.ones(len(group), dtype=torch.bool)
            read = plan.read.at(range(place, place + len(group)))
            draws = 1 if plan.bands is None else plan.bands.settings.draws
            frames = rollout_with_spread(loaded.model, context, read, settings.steps, draws=draws)
            for step, (frame, spread) in enumerate(frames):
                on_cpu = frame.cpu()
                whole &= torch.isfinite(on_cpu).all(dim=(1, 2, 3))
                array.write(place, step, on_cpu.numpy(), as_array(spread))
                bar.advance(len(group))
            finite += int(whole.sum())
            place += len(group)
    return finite


def _plan(source: ContextSource, loaded: LoadedNetwork, settings: PredictSettings, finder: BandFinder) -> Plan:
    """Decides how a dataset is forecast, after a check of everything that could stop it."""
    loaded.refuse_unless_it_forecasts()
    read = conditions(source.name, source.about, known=loaded.section.fields)
    check_source(source, loaded, settings, tells=True)
    told = told_of_source(source, loaded)
    say_told(source.name, told, loaded.model)
    read = replace(read, told=told)
    needed = (loaded.history - 1) * loaded.time_stride + 1
    frames = len(source.time)
    first = frames - needed if settings.from_frame is None else settings.from_frame
    if first < 0 or first + needed > frames:
        at = "" if settings.from_frame is None else f" from frame {settings.from_frame} on"
        raise StoreError(
            f"{source.name}: a trajectory has {frames} frames, history {loaded.history} at time_stride "
            f"{loaded.time_stride} needs {needed}{at}",
            hint="--set data.history=N, with fewer frames than the model was trained with, or longer trajectories",
        )
    reach, bands = (
        Reach(first, loaded.history, loaded.time_stride),
        finder.find(source.name, source.about, parameters_of(source)),
    )
    if bands is None:
        return Plan(source, read, reach, None, None)
    if first != bands.settings.from_frame:
        note(
            f"{source.name}: bands were made of forecasts from frame {bands.settings.from_frame} on, these begin at "
            f"frame {first}: they hold as far as the flow is as hard to forecast there"
        )
    if settings.steps > bands.steps:
        note(f"{source.name}: bands end after step {bands.steps} of {settings.steps}, as their calibration does")
    interval = source.about.dt * reach.stride
    facts = bands.facts(finder.validity(bands), interval=interval, fields=source.about.fields)
    return Plan(source, read, reach, bands, facts)


def _said_of_bands(plan: Plan) -> JsonDocument:
    return {} if plan.facts is None else to_object(plan.facts)


def _validity_sentence(validity: Horizon, steps: int) -> str:
    """Says for how long forecasts are valid, as people read it."""
    share, below = 100 * validity.share_of_trajectories, validity.vrmse_below
    if validity.steps == 0:
        return f"validity horizon: none; VRMSE is not below {below:g} at step 1 for {share:g} % of trajectories"
    until = min(validity.steps, steps)
    return f"validity horizon: VRMSE stays below {below:g} up to step {until} for {share:g} % of trajectories"


def _header(plan: Plan, steps: int, origin: JsonDocument) -> ForecastHeader:
    source, reach = plan.source, plan.reach
    interval = source.about.dt * reach.stride
    return ForecastHeader(
        name=source.name,
        about=source.about,
        trajectories=source.ids,
        time=source.time[reach.frames[-1]] + interval * np.arange(1, steps + 1, dtype=np.float64),
        interval=interval,
        provenance={**origin, **to_object(source.origin), "first_context_frame": reach.first, **_said_of_bands(plan)},
        bands=plan.bands,
    )


def _finite_contexts(plan: Plan) -> Iterator[NDArray[np.float32]]:
    """The contexts; the first that holds NaN or an infinity ends the command, and nothing is left behind."""
    source, reach = plan.source, plan.reach
    for name, context in zip(source.ids, source.contexts(reach), strict=True):
        if not np.isfinite(context).all():
            raise SourceError(
                f"{source.name}: trajectory {name} holds values that are not finite in its frames {reach.frames[0]} to "
                f"{reach.frames[-1]}",
                hint="leave it out, or start from other frames with --set from_frame=N",
            )
        yield context
