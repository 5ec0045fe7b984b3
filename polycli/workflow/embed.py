"""The flow of `polycli embed`: rows in units of work, each finished by itself, then joined and published.

    begin --> plan --> units, by any number of processes, parts and starts --> publication

A unit is a range of rows that the plan fixes at the first start. What a killed start has finished is kept beside the
target, so the same line goes on; the published bytes do not depend on who embedded which unit.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from polycli.console import counted, result, say, warn
from polycli.engine.ranks import largest, on_rank_zero, together
from polycli.engine.signals import StopRequest
from polycli.errors import BusyError, PolycliError, PreemptedError, UserError
from polycli.launch import World, environment, join_process_group
from polycli.outputs import Output
from polycli.publishing import missing_parents, remove_empty, telling_refusals
from polycli.requests import EmbedRequest, JsonDocument
from polycli.sections import UnitSettings
from polycli.store.embeddings.claims import claims_in
from polycli.store.embeddings.growing import schemas_of
from polycli.store.embeddings.kind import EMBEDDINGS, read_manifest
from polycli.store.embeddings.manifest import table_file
from polycli.store.embeddings.plan import Plan
from polycli.store.embeddings.units import UnitPlace
from polycli.store.parts import note_part, refuse_missing
from polycli.workflow.embedding.dry_run import dry_run
from polycli.workflow.embedding.on_dask import Opener, embed_on_dask
from polycli.workflow.embedding.planning import plan_for, refuse_other_plan
from polycli.workflow.embedding.publication import UNITS_ARE_KEPT, Publication
from polycli.workflow.embedding.quarantine import QUARANTINED
from polycli.workflow.embedding.rows import Batch, Opened, Rows
from polycli.workflow.embedding.work import Share, Worker

#: Finished units of so many seconds of work are kept after an error of the input, too.
_WORTH_KEEPING_SECONDS = 60.0


@dataclass(frozen=True)
class Target:
    """The destination of embeddings, and the processes that make them."""

    request: EmbedRequest
    settings: UnitSettings
    world: World
    output: Output
    #: By name of a table that may stand beside the rows: where it goes in Parquet.
    further: Mapping[str, Output]
    #: By name of such a table its column with the index of a row.
    row_columns: Mapping[str, str]

    @property
    def place(self) -> UnitPlace:
        """The folder beside the target in which units gather."""
        return UnitPlace(self.output.path)


def begin(
    request: EmbedRequest,
    settings: UnitSettings,
    *,
    tables: Mapping[str, str] | None = None,
    positions: bool = False,
) -> Target:
    """Look at the output before any work is done; every process calls this first.

    Args:
        request: what was asked for.
        settings: whether what is there may be replaced, and how the work is cut.
        tables: by name of what may stand beside the rows, its column with the index of a row.
        positions: whether rows have positions on the sky, which HATS needs.

    Raises:
        UserError: the embeddings could not or must not come there.
    """
    world = join_process_group() if int(environment(os.environ)["WORLD_SIZE"]) > 1 else World()
    inputs = (request.checkpoint, *request.data)
    row_columns = dict(tables or {})
    # What stands there may be what this line has made or adds to, which is known once the plan is.
    known = bool(read_manifest(request.output).get("plan"))
    replace = settings.overwrite or request.append or known
    output = Output(request.output, EMBEDDINGS, replace, inputs)
    beside = [*row_columns, QUARANTINED] if request.output.suffix == ".parquet" else []
    further = {name: Output(table_file(request.output, name), EMBEDDINGS, replace, inputs) for name in beside}

    def refuse() -> None:
        if request.output.suffix == ".hats" and not positions:
            raise UserError(
                f"{request.output}: HATS catalogues are of objects on the sky, and these rows have no positions",
                hint=f"--output {request.output.with_suffix('.parquet')}",
            )
        for each in (output, *further.values()):
            each.refuse()
        # With --dask it is a folder of the workers' machines.
        local = request.scratch if request.dask is None else None
        if local is not None and not os.access(local, os.W_OK | os.X_OK):
            raise UserError(
                f"--scratch {local}: is no folder that can be written to",
                hint='--scratch "$SLURM_TMPDIR", or any folder of the machine\'s own disk',
            )

    on_rank_zero(world, refuse)
    return Target(request, settings, world, output, further, row_columns)


def embed(
    target: Target, opened: Opened[Batch], *, noun: tuple[str, str], opener: Opener[Batch] | None = None
) -> JsonDocument | None:
    """Write the embeddings of all rows of the data, or of one part of them; every process calls this.

    Args:
        target: what `begin` returned.
        opened: the model and the data.
        noun: one row and several, such as `("object", "objects")`.
        opener: opens them again, in the workers of a Dask cluster.

    Returns:
        What was written, on the first process; None on the others.

    Raises:
        PreemptedError: a signal asked for a stop; finished units are kept.
        PolycliError: reading, embedding or writing failed on any process; nothing was published.
    """
    request, world = target.request, target.world
    plan, data = plan_for(request, target.settings, opened)
    if request.dry_run:
        return dry_run(plan, data, noun, request) if world.rank == 0 else None
    missing_folders = missing_parents(target.output.path)
    ready = on_rank_zero(world, lambda: _make_ready(target, plan))
    publication = Publication(
        target.place,
        ready.plan,
        target.output,
        target.further,
        target.row_columns,
        most_quarantined=target.settings.max_quarantined,
    )
    if ready.manifest is None and not request.finalize:
        with StopRequest() as stop:
            try:
                together(world, lambda: _work(target, ready, data, stop, opener))
            except BaseException as error:
                if world.rank == 0:
                    _after_failure(target, error, missing_folders)
                raise
            if largest(world, stop.signal_number):
                done = len(target.place.done())
                raise PreemptedError(
                    f"{target.output.path}: stopped by a signal with {counted(done, 'unit', 'units')} finished",
                    hint="run the same line again",
                )
    document = on_rank_zero(world, lambda: _end(target, publication, ready))
    return _report(target, document, noun) if world.rank == 0 else None


@dataclass(frozen=True)
class _Ready:
    """The state of the work before this start does anything."""

    plan: Plan
    done: frozenset[int] = frozenset()
    #: Of embeddings that are complete already.
    manifest: JsonDocument | None = None


def _make_ready(target: Target, plan: Plan) -> _Ready:
    """Make or find the place of the units.

    Raises:
        UserError: other embeddings stand at the target, or units of others beside it.
        PolycliError: the disk is full or refuses a write.
    """
    place, path, settings, request = target.place, target.output.path, target.settings, target.request
    manifest = read_manifest(path)
    # Of the tasks of an array that shall replace something, the late ones must not replace what the others have made.
    again = settings.overwrite and request.part is None and not request.finalize
    if manifest and manifest.get("plan") == plan.fingerprint and not again:
        place.clear()
        place.sweep()
        return _Ready(plan, manifest=manifest)
    if manifest and not (settings.overwrite or request.append):
        refuse_other_plan(path, manifest, plan)
    found = place.plan()
    if found is not None and (differing := found.other(plan)) is not None:
        if any(claim.is_live for claim in claims_in(place.claims)):
            raise BusyError(f"{path}: another process embeds there now, of {differing}", hint="wait for it")
        if not settings.overwrite:
            raise UserError(
                f"{path}: units of an embed that did not finish lie beside it, of {differing}",
                hint="run that line again, or discard them: --set overwrite=true",
            )
        place.clear()
    if request.finalize:
        if found is None:
            refuse_missing([], [0], 1, output=path, line=request.line)
        return _Ready(found or plan, frozenset(place.done()))
    with telling_refusals(path, place.work, what=EMBEDDINGS.what):
        try:
            plan = place.begin(plan)
            place.sweep()
            if request.part is not None:
                note_part(place.work, request.part)
            place.note_error(_part_name(request), None)
        except BaseException:
            if not place.done():
                place.clear()
            raise
    return _Ready(plan, frozenset(place.done()))


def _work(
    target: Target, ready: _Ready, data: Sequence[Rows[Batch]], stop: StopRequest, opener: Opener[Batch] | None
) -> None:
    place, request, most = target.place, target.request, target.settings.max_quarantined
    share = Share(target.world, request.part, ready.done)
    schemas = schemas_of(target.output.path) if ready.plan.kept else {}
    worker = Worker(
        place,
        ready.plan,
        data,
        share,
        stop=stop,
        most_quarantined=most,
        schemas=schemas,
        scratch=request.scratch,
    )
    try:
        with telling_refusals(target.output.path, place.work, what=EMBEDDINGS.what, hint=UNITS_ARE_KEPT):
            if request.dask is not None and opener is not None:
                embed_on_dask(request, opener, ready.plan, data, stop=stop, most_quarantined=most)
            else:
                worker.run()
    except PolycliError as error:
        place.note_error(_part_name(request), error.message)
        raise


def _after_failure(target: Target, error: BaseException, missing_folders: Sequence[Path]) -> None:
    """Clear what a failed start has left, unless others work there, or finished units are worth keeping.

    An error of the input leaves nothing, as everywhere, but for what took long to make.
    """
    place = target.place
    if target.request.part is not None or any(claim.is_live for claim in claims_in(place.claims)):
        return
    done = place.done()
    seconds = sum(place.note(unit).seconds for unit in done) if isinstance(error, UserError) else 0.0
    is_mendable = isinstance(error, UserError) and seconds < _WORTH_KEEPING_SECONDS
    if is_mendable or not done:
        place.clear()
        remove_empty(missing_folders)
    else:
        say(f"{target.output.path}: {counted(len(done), 'unit', 'units')} finished; the same line goes on from there")


def _end(target: Target, publication: Publication, ready: _Ready) -> JsonDocument:
    """Publish, if all units are there; returns the manifest, or what this part has done."""
    request, place, path = target.request, target.place, target.output.path
    if ready.manifest is not None or publication.is_done:
        say(f"{path}: already there, complete")
        return ready.manifest or read_manifest(path)
    if not place.work.is_dir():
        raise PolycliError(f"{path}: its units were removed while this process worked", hint="run the same line again")
    missing = publication.missing()
    if not missing and missing is not None:
        return publication.run()
    total = publication.units
    if request.part is None:
        refuse_missing([place.work], missing or [0], total or 1, output=path, line=request.line)
    index, count = request.part or (0, 1)
    left = "some" if missing is None else f"{len(missing):,} of {total:,}"
    say(f"part {index}/{count}: done; {left} units of other parts are missing, and the last part publishes")
    return {
        "part": [index, count],
        "units": {"done": len(place.done()), "missing": None if missing is None else len(missing)},
    }


def _part_name(request: EmbedRequest) -> str:
    return "all" if request.part is None else "{}/{}".format(*request.part)


def _report(target: Target, document: JsonDocument, noun: tuple[str, str]) -> JsonDocument:
    path = target.output.path
    if "part" in document:
        return {"output": str(path), **document}
    for line in _written(document, noun):
        say(line)
    if count := document.get("quarantined"):
        warn(f"{counted(count, *noun)} could not be embedded: the table {QUARANTINED} says which and why")
    if not target.request.json:
        result(str(path))
    return {"output": str(path), **document["provenance"], **document}


def _written(manifest: Mapping[str, Any], noun: tuple[str, str]) -> Iterator[str]:
    """A line for each table: its rows, and its vectors with their width and type."""
    tables = {name: table for name, table in manifest["tables"].items() if table["vectors"]}
    titles = [counted(manifest["rows"], *noun), *(f"{table['rows']:,} {name}" for name, table in tables.items())]
    for title, table in zip(titles, (manifest, *tables.values()), strict=True):
        vectors = [f"{name} {entry['width']} {entry['dtype']}" for name, entry in table["vectors"].items()]
        yield f"{title}: {', '.join(vectors)}"
