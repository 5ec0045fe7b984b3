"""`polycli prepare astroclip`: images and spectra, however stored, to one store, with catalogues joined on."""

from __future__ import annotations

import importlib
import shutil
from math import prod
from pathlib import Path
from typing import cast

from polycli import console
from polycli.astroclip import FAMILY
from polycli.astroclip.data.publishing import Plan, publish, summarise
from polycli.astroclip.data.source import Listing, Source
from polycli.astroclip.data.staging import BLOCK, stage
from polycli.astroclip.data.survey import Survey, gather, inputs_of
from polycli.astroclip.recipe.preparing import PrepareRecipe
from polycli.errors import UserError
from polycli.paths import expand_paths, plain_path, refuse_unwritable
from polycli.recipes import default_recipe, load_recipe
from polycli.requests import JsonDocument, PrepareRequest
from polycli.store.blocks import BlockBuilder
from polycli.store.builder import is_published
from polycli.store.manifest import SourceFile, read_manifest
from polycli.store.parts import mine, note_part, refuse_missing
from polycli.store.processes import Workers, processor_count
from polycli.store.source_hashes import NOTES_NAME, hash_sources

#: By the name that --source takes: where the class is; imported when it is asked for.
SOURCES = FAMILY.sources
#: Between two sources whose objects are paired: --source legacysurvey+desi.
_AND = "+"
#: What one process stages, for estimates: reading, checks, hashing, writing and reading back.
BYTES_PER_SECOND = 40e6


def run(request: PrepareRequest) -> JsonDocument:
    """Prepare what is asked for; returns what was done, or with `dry_run` what would be.

    Raises:
        SourceError: an input is missing, damaged or of no known layout, nothing pairs, or all objects are rejected.
        StoreError: something else already lies where the store should go, or a part is missing at --finalize.
        UserError: the output cannot be written.
    """
    recipe = prepare_recipe(request)
    survey = _survey(request, recipe)
    blocks = -(-len(survey) // BLOCK)
    workers = max(1, min(processor_count() if request.workers is None else request.workers, blocks))
    if request.dry_run:
        return _dry_run(request, survey, workers)
    refuse_unwritable(request.output.parent, what="stores")
    with Workers(workers) as pool:
        plan = _plan(request, recipe, survey, pool)
        builder = BlockBuilder(plan.target, fingerprint=plan.fingerprint)
        new = not is_published(plan.target, plan.fingerprint)
        if request.part is not None:
            return _stage_part(plan, builder, request.part, pool, new=new)
        if new and request.finalize:
            refuse_missing(
                [builder.work],
                [int(key) for key in builder.missing(plan.keys)],
                len(plan.keys),
                output=plan.target,
                line=request.line,
            )
        elif new:
            _warn_of_full_disk(request.output, survey)
            _stage(plan, plan.keys, pool)
    if new:
        publish(plan)
    if request.finalize:
        shutil.rmtree(_notes(request), ignore_errors=True)
    return {"stores": [_described(plan, new=new)]}


def prepare_recipe(request: PrepareRequest) -> PrepareRecipe:
    """The recipe that was named, or the defaults, with `--set` applied."""
    if request.recipe is None:
        return default_recipe("astroclip", "prepare", request.overrides, schema=PrepareRecipe)
    return load_recipe(
        request.recipe, family="astroclip", verb="prepare", overrides=request.overrides, schema=PrepareRecipe
    )


def load_sources(names: str) -> list[Source]:
    """The one or two sources that --source names.

    Raises:
        UserError: there is none of that name, or there are more than two.
    """
    parts = names.split(_AND)
    for name in parts:
        if name not in SOURCES:
            raise UserError(
                f"--source {name}: astroclip has no such source",
                hint=f"it has {', '.join(SOURCES)}, and pairs such as legacysurvey{_AND}desi",
            )
    if len(parts) > 2 or len(set(parts)) < len(parts):
        raise UserError(f"--source {names}: one source was expected, or two different ones with {_AND} between them")
    sources = []
    for name in parts:
        module, attribute = SOURCES[name].split(":")
        sources.append(cast("Source", getattr(importlib.import_module(module), attribute)()))
    return sources


def _survey(request: PrepareRequest, recipe: PrepareRecipe) -> Survey:
    sources, names = load_sources(request.source), request.source.split(_AND)
    shares = inputs_of(sources, names, expand_paths(request.inputs))
    # A pair is cut after it is made, or little of it would be left.
    limit = request.limit if len(sources) == 1 else None
    listings: list[Listing] = [
        source.listing(share, recipe, limit) for source, share in zip(sources, shares, strict=True)
    ]
    name = request.output.name.removesuffix(".zarr")
    survey = gather(name, listings, recipe, request.limit)
    if survey.pairing is not None:
        console.say(
            f"{name}: {survey.pairing.pairs:,} pairs by {survey.pairing.by}; without a partner "
            f"{survey.pairing.images_left:,} images and {survey.pairing.spectra_left:,} spectra"
        )
        if survey.pairing.contested:
            console.warn(
                f"{name}: {survey.pairing.contested:,} further matches within {survey.pairing.radius_arcsec:g} arcsec; "
                "each object went to the nearest that was free, of equally near ones to the earlier in its file"
            )
    return survey


def _plan(request: PrepareRequest, recipe: PrepareRecipe, survey: Survey, pool: Workers) -> Plan:
    """Hash the source files: content alone decides whether a store is there already, or a killed prepare goes on."""
    files = [
        (path, name)
        for listing in survey.listings
        for path, name in zip(listing.files, listing.file_names, strict=True)
    ]
    files += [(plain_path(section.path), Path(section.path).name) for section in recipe.catalogues]
    notes = _notes(request) if request.part is not None or request.finalize else None
    hashes = hash_sources(list(dict.fromkeys(path for path, _ in files)), pool, notes=notes, part=request.part)
    sources = [SourceFile(name=name, size=path.stat().st_size, sha256=hashes[path]) for path, name in files]
    sections = {"select", "quality", "split", "pair", "resample"}
    sections |= {name for name in ("arrays", "mock") if name in request.source.split(_AND)}
    options = {
        "source": request.source,
        "limit": request.limit,
        **recipe.model_dump(mode="json", include=sections),
        "catalogues": [
            {**section.model_dump(mode="json"), "path": Path(section.path).name} for section in recipe.catalogues
        ],
    }
    return Plan.of(survey, request.output, recipe, sources, options)


def _notes(request: PrepareRequest) -> Path:
    return request.output.parent / NOTES_NAME


def _stage(plan: Plan, keys: list[str], pool: Workers) -> None:
    tasks = [plan.task(key) for key in keys]
    with console.progress(sum(len(task.survey) for task in tasks), "preparing objects") as bar:
        for task, _ in pool.unordered(stage, tasks):
            bar.advance(len(task.survey))


def _stage_part(plan: Plan, builder: BlockBuilder, part: tuple[int, int], pool: Workers, *, new: bool) -> JsonDocument:
    """Stage this part of the work; nothing is published."""
    keys = mine(plan.keys, part) if new else []
    if new:
        note_part(builder.work, part)
        _stage(plan, keys, pool)
    index, count = part
    objects = sum(len(plan.task(key).survey) for key in keys)
    console.say(
        f"part {index}/{count}: {console.counted(objects, 'object', 'objects')} staged; when every part is done, run "
        "the same line with --finalize in place of --part"
    )
    return {"part": [index, count], "objects": objects, "targets": [str(plan.target)]}


def _described(plan: Plan, *, new: bool) -> JsonDocument:
    """What is said of a store that is there now."""
    manifest = read_manifest(plan.target)
    counts = ", ".join(f"{count} {split}" for split, count in manifest.splits.items())
    state = "" if new else "already there, with equal content: "
    objects = console.counted(manifest.rows, "object", "objects")
    console.say(f"{plan.target}: {state}{objects} ({counts}), {len(manifest.rejected)} rejected")
    return {
        "path": str(plan.target),
        "name": manifest.name,
        "new": new,
        "objects": manifest.rows,
        "splits": manifest.splits,
        "rejected": len(manifest.rejected),
        "pairs": None if plan.survey.pairing is None else plan.survey.pairing.pairs,
        "store_hash": manifest.store_hash,
    }


def _dry_run(request: PrepareRequest, survey: Survey, workers: int) -> JsonDocument:
    summarise(survey.name, survey.rejected)
    size, seconds = _bytes(survey), _seconds(survey) / workers
    document: JsonDocument = {
        "dry_run": True,
        "workers": workers,
        "path": str(request.output),
        "objects": len(survey),
        "files": sum(len(listing.files) for listing in survey.listings),
        "bytes": size,
        "minutes": seconds / 60,
        "image": None if survey.image is None else survey.image.model_dump(mode="json"),
        "spectrum": None if survey.spectrum is None else survey.spectrum.model_dump(mode="json"),
        "properties": [column.name for column in (*survey.columns, *survey.promised)],
        "pairing": None if survey.pairing is None else survey.pairing.model_dump(mode="json"),
        "rejected": [left.model_dump() for left in survey.rejected],
    }
    if not request.json:
        lines = [
            f"store       {request.output}",
            f"objects     {len(survey):,}, and {len(survey.rejected):,} rejected before reading",
            f"images      {_image_sentence(survey)}",
            f"spectra     {_spectrum_sentence(survey)}",
            f"properties  {', '.join(document['properties']) or 'none'}",
            f"size        {_size(size)} before compression",
            f"time        {seconds / 60:.2f} minutes, {console.counted(workers, 'process', 'processes')}",
        ]
        console.result("\n".join(lines))
    return document


def _image_sentence(survey: Survey) -> str:
    if survey.image is None:
        return "none"
    height, width = survey.image.size
    return f"{', '.join(survey.image.bands)}; {height} x {width} pixels of {survey.image.pixel_scale_arcsec:g} arcsec"


def _spectrum_sentence(survey: Survey) -> str:
    if survey.spectrum is None:
        return "none"
    return f"{survey.spectrum.pixels:,} pixels, {survey.spectrum.first:g} to {survey.spectrum.last:g} A"


def _bytes(survey: Survey) -> int:
    """Size of the store before compression."""
    image = 0 if survey.image is None else 4 * len(survey.image.bands) * prod(survey.image.size)
    spectrum = 0 if survey.spectrum is None else 9 * survey.spectrum.pixels
    return len(survey) * (image + spectrum + 8 * (len(survey.columns) + len(survey.promised) + 7))


def _seconds(survey: Survey) -> float:
    """Seconds of work for one process."""
    known = [listing.seconds for listing in survey.listings if listing.seconds is not None]
    return len(survey) * sum(known) + _bytes(survey) / BYTES_PER_SECOND


def _size(count: int) -> str:
    return f"{count / 1e6:,.1f} MB" if count < 1e9 else f"{count / 1e9:,.1f} GB"


def _warn_of_full_disk(output: Path, survey: Survey) -> None:
    """Compression may yet make it fit, so this is no error. Blocks are staged before they are joined: twice as much."""
    needed = 2 * _bytes(survey)
    place = next(folder for folder in (output.absolute(), *output.absolute().parents) if folder.exists())
    free = shutil.disk_usage(place).free
    if needed > free:
        console.warn(f"{output}: {_size(needed)} are needed while it is made, {_size(free)} are free")
