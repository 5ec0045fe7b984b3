"""`polycli prepare xval`: JSON, tables, text or simulations to one store of records."""

from __future__ import annotations

import importlib
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import cast

from polycli import console
from polycli.errors import SourceError, UserError
from polycli.paths import expand_paths, refuse_unwritable
from polycli.recipes import default_recipe, load_recipe
from polycli.requests import JsonDocument, PrepareRequest
from polycli.store.blocks import BlockBuilder
from polycli.store.builder import is_published
from polycli.store.manifest import SourceFile, read_manifest
from polycli.store.parts import mine, note_part, refuse_missing
from polycli.store.processes import Workers, processor_count
from polycli.store.source_hashes import NOTES_NAME, hash_sources
from polycli.xval import FAMILY
from polycli.xval.data.description import RecordsAbout
from polycli.xval.data.preview import preview
from polycli.xval.data.publishing import Plan, publish
from polycli.xval.data.source import Opened, Source
from polycli.xval.data.staging import StageTask, stage
from polycli.xval.recipe.training import PrepareRecipe

#: By the name that --source takes: where the class is; imported when it is asked for.
SOURCES = FAMILY.sources


def run(request: PrepareRequest) -> JsonDocument:
    """Prepare what is asked for; returns what was done, or with `dry_run` what would be.

    Raises:
        SourceError: an input is missing, empty or malformed, or its numbers are beyond what the model computes with.
        RecipeError: the recipe names a key that the data does not have.
        StoreError: something else already lies where the store should go, or a part is missing.
        UserError: the output cannot be written.
    """
    recipe = prepare_recipe(request)
    opened = load_source(request.source).open(expand_paths(request.inputs), recipe, request.limit)
    if not opened.blocks:
        raise SourceError(f"--source {request.source}: there are no records")
    workers = max(1, min(processor_count() if request.workers is None else request.workers, len(opened.blocks)))
    if request.dry_run:
        return preview(opened, recipe, workers, as_json=request.json)
    refuse_unwritable(request.output.absolute().parent, what="stores")
    notes = request.output.with_name(request.output.name + NOTES_NAME)
    with Workers(workers) as pool:
        plan = _plan(request, recipe, opened, pool, notes)
        builder = BlockBuilder(plan.target, fingerprint=plan.fingerprint)
        new = not is_published(plan.target, plan.fingerprint)
        if request.part is not None:
            return _stage_part(plan, builder, request.part, pool, new=new)
        if new:
            if request.finalize:
                tasks = plan.tasks()
                undone = [number for number, task in enumerate(tasks) if builder.record(task.block.key) is None]
                refuse_missing([builder.work], undone, len(tasks), output=request.output, line=request.line)
            _build(plan, builder, pool, keep=request.finalize)
    shutil.rmtree(notes, ignore_errors=True)
    return _described(plan, new=new)


def prepare_recipe(request: PrepareRequest) -> PrepareRecipe:
    """The recipe that was named, or the defaults, with `--set` applied."""
    if request.recipe is None:
        return default_recipe("xval", "prepare", request.overrides, schema=PrepareRecipe)
    return load_recipe(request.recipe, family="xval", verb="prepare", overrides=request.overrides, schema=PrepareRecipe)


def load_source(name: str) -> Source:
    """The source that --source names.

    Raises:
        UserError: there is none of that name.
    """
    if name not in SOURCES:
        raise UserError(f"--source {name}: xval has no such source", hint=f"it has {', '.join(SOURCES)}")
    module, attribute = SOURCES[name].split(":")
    return cast("Source", getattr(importlib.import_module(module), attribute)())


def _plan(request: PrepareRequest, recipe: PrepareRecipe, opened: Opened, pool: Workers, notes: Path) -> Plan:
    """Hash the source files: content alone decides whether a store is there already, or a killed prepare goes on."""
    shared = request.part is not None or request.finalize
    hashes = hash_sources(opened.files, pool, notes=notes if shared else None, part=request.part)
    names = opened.file_names or tuple(path.name for path in opened.files)
    sources = [
        SourceFile(name=name, size=path.stat().st_size, sha256=hashes[path])
        for path, name in zip(opened.files, names, strict=True)
    ]
    return Plan.of(request.output, opened, recipe, sources, source=request.source)


def _stage_part(plan: Plan, builder: BlockBuilder, part: tuple[int, int], pool: Workers, *, new: bool) -> JsonDocument:
    """Stage this part of the blocks; nothing is published. What a part is does not depend on what is there already."""
    index, count = part
    tasks = mine(plan.tasks(), part) if new else []
    if new:
        note_part(builder.work, part)
    _stage(tasks, pool)
    console.say(
        f"part {index}/{count}: {console.counted(len(tasks), 'block', 'blocks')} staged; when every part is done, run "
        "the same line with --finalize in place of --part"
    )
    return {"part": [index, count], "blocks": len(tasks), "target": str(plan.target)}


def _build(plan: Plan, builder: BlockBuilder, pool: Workers, *, keep: bool) -> None:
    """Stage what is not staged, and publish."""
    try:
        _stage(plan.tasks(), pool)
        publish(plan)
    except UserError:
        # What is wrong is the input or the recipe: mended, it is another build, which does not go on from here.
        if not keep:
            shutil.rmtree(builder.work, ignore_errors=True)
        raise


def _stage(tasks: Sequence[StageTask], pool: Workers) -> None:
    with console.progress(sum(task.block.size for task in tasks), "reading records") as bar:
        for task, _ in pool.unordered(stage, tasks):
            bar.advance(task.block.size)


def _described(plan: Plan, *, new: bool) -> JsonDocument:
    """What is said of a store that is there now."""
    manifest = read_manifest(plan.target)
    about = RecordsAbout.model_validate(manifest.about)
    coverage = about.coverage
    counts = ", ".join(f"{count} {split}" for split, count in manifest.splits.items())
    state = "" if new else "already there, with equal content: "
    records = console.counted(manifest.rows, "record", "records")
    console.say(f"{plan.target}: {state}{records} ({counts}), {coverage['numbers']} numbers")
    characters = f"{coverage['characters']} characters read, " if coverage["characters"] else ""
    verified = console.counted(coverage["verified"], "record", "records")
    console.say(f"{characters}none lost: {verified} decoded again; the longest has {coverage['longest']} tokens")
    for rule, count in about.held_out.items():
        console.say(f"held out of training: {console.counted(count, 'record', 'records')} with {rule}")
    for what, count in coverage["notes"].items():
        console.say(f"{what}: {count}")
    saturated = {path: entry for path, entry in coverage["keys"].items() if entry["saturated"]}
    for path, entry in saturated.items():
        console.warn(
            f"{path}: {entry['saturated']:.2%} of the numbers are beyond {coverage['saturation_limit']:g} after "
            f"scaling ({entry['scaler']}), where plain xVal hardly tells numbers apart"
        )
    if any(entry["scaler"] == "none" for entry in saturated.values()):
        console.note("--set scaling.default=affine scales numbers; asinh is for those of many decades")
    return {
        "path": str(plan.target),
        "name": manifest.name,
        "new": new,
        "records": manifest.rows,
        "numbers": coverage["numbers"],
        "splits": manifest.splits,
        "held_out": about.held_out,
        "rejected": len(manifest.rejected),
        "coverage": coverage,
        "store_hash": manifest.store_hash,
    }
