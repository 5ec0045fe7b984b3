"""`polycli prepare mpp`: source files or simulations to one store for each dataset that is found in them."""

from __future__ import annotations

import importlib
import re
import shutil
from collections import Counter
from collections.abc import Sequence
from math import prod
from pathlib import Path
from typing import cast

from polycli import console
from polycli.errors import SourceError, UserError
from polycli.mpp import FAMILY
from polycli.mpp.data.publishing import Plan, publish, summarise
from polycli.mpp.data.source import Dataset, Source
from polycli.mpp.data.staging import is_staged, stage
from polycli.mpp.recipe.training import PrepareRecipe
from polycli.paths import expand_paths, refuse_unwritable
from polycli.recipes import default_recipe, load_recipe
from polycli.requests import JsonDocument, PrepareRequest
from polycli.store.builder import StoreBuilder, is_published
from polycli.store.manifest import SourceFile, read_manifest
from polycli.store.parts import mine, note_part, refuse_missing
from polycli.store.processes import Workers, processor_count
from polycli.store.source_hashes import NOTES_NAME, hash_sources

#: By the name that --source takes: where the class is; imported when it is asked for.
SOURCES = FAMILY.sources
_PLAIN_NAME = re.compile(r"[A-Za-z0-9][\w.+-]*")
#: What one process stages, for estimates: reading, statistics in float64, hashing, compression, reading back.
BYTES_PER_SECOND = 40e6


def run(request: PrepareRequest) -> JsonDocument:
    """Prepare what is asked for; returns what was done, or with `dry_run` what would be.

    Raises:
        SourceError: an input is missing, damaged or of no known layout, or a dataset has nothing but rejected rows.
        StoreError: something else already lies where a store should go.
        UserError: the output cannot be written.
    """
    recipe = prepare_recipe(request)
    source = load_source(request.source)
    datasets = source.datasets(expand_paths(request.inputs), recipe, request.limit)
    _check_names(datasets)
    workers = _worker_count(request, datasets)
    if request.dry_run:
        return _dry_run(request, datasets, workers)
    refuse_unwritable(request.output, what="stores")
    with Workers(workers) as pool:
        plans = _plans(request, recipe, datasets, pool)
        waiting = [plan for plan in plans if not _is_there(plan)]
        if request.part is not None:
            return _stage_part(plans, waiting, request.part, pool)
        if request.finalize:
            _refuse_missing(plans, waiting, request)
        else:
            _warn_of_full_disk(request.output, [plan.dataset for plan in waiting])
        _build(waiting, pool)
    shutil.rmtree(request.output / NOTES_NAME, ignore_errors=True)
    new = {plan.target for plan in waiting}
    return {"stores": [_described(plan, new=plan.target in new) for plan in plans]}


def prepare_recipe(request: PrepareRequest) -> PrepareRecipe:
    """The recipe that was named, or the defaults, with `--set` applied."""
    if request.recipe is None:
        return default_recipe("mpp", "prepare", request.overrides, schema=PrepareRecipe)
    return load_recipe(request.recipe, family="mpp", verb="prepare", overrides=request.overrides, schema=PrepareRecipe)


def load_source(name: str) -> Source:
    """The source that --source names.

    Raises:
        UserError: there is none of that name.
    """
    if name not in SOURCES:
        raise UserError(f"--source {name}: mpp has no such source", hint=f"it has {', '.join(SOURCES)}")
    module, attribute = SOURCES[name].split(":")
    return cast("Source", getattr(importlib.import_module(module), attribute)())


def _check_names(datasets: Sequence[Dataset]) -> None:
    """A recipe names its simulations freely, and the name becomes a folder."""
    for dataset in datasets:
        if not _PLAIN_NAME.fullmatch(dataset.name):
            raise UserError(
                f"dataset {dataset.name!r} cannot name a store: letters, digits, '_', '-', '+' and '.' were expected"
            )


def _worker_count(request: PrepareRequest, datasets: Sequence[Dataset]) -> int:
    asked = processor_count() if request.workers is None else request.workers
    return max(1, min(asked, sum(len(dataset.jobs) for dataset in datasets)))


def _plans(request: PrepareRequest, recipe: PrepareRecipe, datasets: Sequence[Dataset], pool: Workers) -> list[Plan]:
    """Hash the source files: content alone decides whether a store is there already, or a killed prepare goes on."""
    paths = list(dict.fromkeys(path for dataset in datasets for path in dataset.files))
    notes = request.output / NOTES_NAME if request.part is not None or request.finalize else None
    hashes = hash_sources(paths, pool, notes=notes, part=request.part)
    plans = []
    for dataset in datasets:
        names = dataset.file_names or tuple(path.name for path in dataset.files)
        sources = [
            SourceFile(name=name, size=path.stat().st_size, sha256=hashes[path])
            for path, name in zip(dataset.files, names, strict=True)
        ]
        options = {
            "source": request.source,
            "limit": request.limit,
            "select": recipe.select.model_dump(mode="json"),
            "split": recipe.split.model_dump(mode="json"),
        }
        if dataset.name in recipe.simulate:
            options["simulate"] = recipe.simulate[dataset.name].model_dump(mode="json")
        plans.append(Plan.of(dataset, request.output, sources, options, recipe.split))
    return plans


def _is_there(plan: Plan) -> bool:
    """Whether the store was published before; every target is asked before the first is written.

    Raises:
        StoreError: something else stands there (the builder refuses it).
    """
    StoreBuilder(plan.target, fingerprint=plan.fingerprint)
    return is_published(plan.target, plan.fingerprint)


def _stage_part(plans: Sequence[Plan], waiting: Sequence[Plan], part: tuple[int, int], pool: Workers) -> JsonDocument:
    """Stage this part of the work; nothing is published. What a part is does not depend on what is there already."""
    targets = {plan.target for plan in waiting}
    tasks = [task for task in mine([task for plan in plans for task in plan.tasks()], part) if task.target in targets]
    for plan in waiting:
        note_part(StoreBuilder(plan.target, fingerprint=plan.fingerprint).work, part)
    trajectories = sum(len(task.keys) for task in tasks)
    with console.progress(trajectories, "preparing trajectories") as bar:
        for task, _ in pool.unordered(stage, tasks):
            bar.advance(len(task.keys))
    index, count = part
    console.say(
        f"part {index}/{count}: {console.counted(trajectories, 'trajectory', 'trajectories')} staged; when every part "
        "is done, run the same line with --finalize in place of --part"
    )
    return {"part": [index, count], "trajectories": trajectories, "targets": [str(plan.target) for plan in plans]}


def _refuse_missing(plans: Sequence[Plan], waiting: Sequence[Plan], request: PrepareRequest) -> None:
    """Before anything is joined: every piece of every store is there.

    Raises:
        StoreError: a part has not run, or not to its end; the line that makes it is named.
    """
    targets = {plan.target for plan in waiting}
    tasks = [task for plan in plans for task in plan.tasks()]
    undone = [number for number, task in enumerate(tasks) if task.target in targets and not is_staged(task)]
    works = [StoreBuilder(plan.target, fingerprint=plan.fingerprint).work for plan in waiting]
    refuse_missing(works, undone, len(tasks), output=request.output, line=request.line)


def _build(plans: Sequence[Plan], pool: Workers) -> None:
    """Stage all rows of all plans, and publish each store as soon as its rows are there."""
    if not plans:
        return
    owners: dict[Path, Plan] = {plan.target: plan for plan in plans}
    tasks = [task for plan in plans for task in plan.tasks()]
    open_tasks = Counter(task.target for task in tasks)
    failures: list[SourceError] = []
    with console.progress(sum(len(task.keys) for task in tasks), "preparing trajectories") as bar:
        for task, _ in pool.unordered(stage, tasks):
            bar.advance(len(task.keys))
            open_tasks[task.target] -= 1
            if open_tasks[task.target] == 0:
                try:
                    publish(owners[task.target])
                except SourceError as error:
                    # The other datasets are finished first, so that none of their work is lost.
                    failures.append(error)
    if failures:
        raise failures[0]


def _described(plan: Plan, *, new: bool) -> JsonDocument:
    """What is said of a store that is there now."""
    manifest = read_manifest(plan.target)
    counts = ", ".join(f"{count} {split}" for split, count in manifest.splits.items())
    left = f", {len(manifest.rejected)} rejected, {len(manifest.flagged)} flagged"
    trajectories = console.counted(manifest.rows, "trajectory", "trajectories")
    state = "" if new else "already there, with equal content: "
    console.say(f"{plan.target}: {state}{trajectories} ({counts}){left}")
    return {
        "path": str(plan.target),
        "name": manifest.name,
        "new": new,
        "trajectories": manifest.rows,
        "splits": manifest.splits,
        "rejected": len(manifest.rejected),
        "flagged": len(manifest.flagged),
        "store_hash": manifest.store_hash,
    }


def _dry_run(request: PrepareRequest, datasets: Sequence[Dataset], workers: int) -> JsonDocument:
    entries: list[JsonDocument] = [
        {
            "name": dataset.name,
            "path": str(request.output / f"{dataset.name}.zarr"),
            "trajectories": _trajectories(dataset),
            "frames": int(dataset.time.size),
            "fields": list(dataset.about.fields),
            "grid": list(dataset.about.grid),
            "dt": dataset.about.dt,
            "files": len(dataset.files),
            "bytes": _bytes(dataset),
            "minutes": _seconds(dataset) / workers / 60,
            "rejected": [left.model_dump() for left in dataset.rejected],
        }
        for dataset in datasets
    ]
    totals = {key: sum(entry[key] for entry in entries) for key in ("trajectories", "files", "bytes", "minutes")}
    for dataset in datasets:
        summarise(dataset.name, "rejected", dataset.rejected)
        summarise(dataset.name, "flagged", dataset.flagged)
    if not request.json:
        console.result(
            _table([*entries, {"name": f"in all, {console.counted(workers, 'process', 'processes')}", **totals}])
        )
    return {"dry_run": True, "workers": workers, "datasets": entries, **totals}


def _table(entries: Sequence[JsonDocument]) -> str:
    width = max(len(entry["name"]) for entry in entries)
    lines = [f"{'dataset':<{width}}  trajectories  files        size     time"]
    for entry in entries:
        numbers = f"{entry['trajectories']:>12}  {entry['files']:>5}  {_size(entry['bytes']):>10}"
        lines.append(f"{entry['name']:<{width}}  {numbers}  {_duration(entry['minutes']):>7}")
    return "\n".join(lines)


def _size(count: int) -> str:
    return f"{count / 1e6:,.1f} MB" if count < 1e9 else f"{count / 1e9:,.1f} GB"


def _duration(minutes: float) -> str:
    """`3 s`, `12 min` or `4.5 h`; an estimate deserves no more digits."""
    if minutes < 1:
        return f"{max(1, round(60 * minutes))} s"
    return f"{minutes:.0f} min" if minutes < 100 else f"{minutes / 60:.1f} h"


def _trajectories(dataset: Dataset) -> int:
    return sum(len(job.ids) for job in dataset.jobs)


def _bytes(dataset: Dataset) -> int:
    """Size of the store before compression."""
    return 4 * _trajectories(dataset) * int(dataset.time.size) * len(dataset.about.fields) * prod(dataset.about.grid)


def _seconds(dataset: Dataset) -> float:
    """Seconds of work for one process."""
    return _bytes(dataset) / BYTES_PER_SECOND if dataset.seconds is None else dataset.seconds


def _warn_of_full_disk(output: Path, datasets: Sequence[Dataset]) -> None:
    """Compression may yet make it fit, so this is no error."""
    needed = sum(_bytes(dataset) for dataset in datasets)
    place = next(folder for folder in (output.absolute(), *output.absolute().parents) if folder.exists())
    free = shutil.disk_usage(place).free
    if needed > free:
        console.warn(f"{output}: {_size(needed)} are needed before compression, {_size(free)} are free")
