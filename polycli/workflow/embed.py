"""The flow of `polycli embed`: rows in units of work, shared among the processes, then joined and published.

A unit is a range of rows that depends on the data alone. Each is written by one process into a part of its own, and
the parts are joined in the order of the data, so any number of processes gives the same rows in the same order.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Sized
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import chain, count, islice
from pathlib import Path
from typing import Any, Generic, TypeVar

from polycli.console import counted, progress, result, say
from polycli.engine.ranks import on_rank_zero, together
from polycli.errors import SourceError
from polycli.launch import World, environment, join_process_group
from polycli.names import clean
from polycli.outputs import Output
from polycli.publishing import holding, publish, publish_parts, telling_refusals
from polycli.requests import EmbedRequest, JsonDocument
from polycli.store.embeddings.joining import join
from polycli.store.embeddings.kind import EMBEDDINGS
from polycli.store.embeddings.manifest import EmbeddingsHeader, table_file
from polycli.store.embeddings.parts import PartWriter, Tables

Batch = TypeVar("Batch", bound=Sized)
#: Told how many more rows have their vectors.
Advance = Callable[[int], None]
#: So many units of each size: few rows still keep several processes busy, and many make no great number of parts.
_UNITS_OF_A_SIZE = 64
_MOST_BATCHES = 1024
#: Batches whose vectors are in memory at a time.
_BATCHES_AT_ONCE = 64


@dataclass(frozen=True)
class Rows(Generic[Batch]):
    """The rows of one store, or of some files, and how their vectors are made."""

    name: str
    #: In order; a batch that another process embeds is asked for its length alone.
    batches: Iterable[Batch]
    #: Makes one row for each row of some batches, which follow each other, and what further tables there are. It is
    #: also given the index of their first row among the rows of all data.
    tables: Callable[[Sequence[Batch], int, Advance], Tables]
    #: How many rows there are, where that is known before reading.
    count: int | None = None


@dataclass(frozen=True)
class Target:
    """The destination of embeddings, and the processes that make them."""

    request: EmbedRequest
    world: World
    output: Output
    #: By name of a table that may stand beside the rows: where it goes in Parquet.
    further: Mapping[str, Output]


def begin(request: EmbedRequest, *, overwrite: bool, tables: Sequence[str] = ()) -> Target:
    """Look at the output before any work is done; every process calls this first.

    Args:
        request: what was asked for.
        overwrite: whether embeddings that are there may be replaced.
        tables: names of what may stand beside the rows.

    Raises:
        UserError: the embeddings could not or must not come there.
    """
    world = join_process_group() if int(environment(os.environ)["WORLD_SIZE"]) > 1 else World()
    inputs = (request.checkpoint, *request.data)
    output = Output(request.output, EMBEDDINGS, overwrite, inputs)
    beside = tables if request.output.suffix == ".parquet" else ()
    further = {name: Output(table_file(request.output, name), EMBEDDINGS, overwrite, inputs) for name in beside}

    def refuse() -> None:
        for each in (output, *further.values()):
            each.refuse()

    on_rank_zero(world, refuse)
    return Target(request, world, output, further)


def embed(
    target: Target, header: EmbeddingsHeader, data: Sequence[Rows[Batch]], *, noun: tuple[str, str]
) -> JsonDocument | None:
    """Write the embeddings of all rows of the data; every process calls this.

    Args:
        target: what `begin` returned.
        header: what the manifest says of the model and the data.
        data: the stores or files, in the order that their rows shall have.
        noun: one row and several, such as `("object", "objects")`.

    Returns:
        What was written, on the first process; None on the others.

    Raises:
        PolycliError: reading, embedding or writing failed on any process; nothing was published.
    """
    world, path, what = target.world, target.request.output, EMBEDDINGS.what
    with ExitStack() as stack:
        # The first process holds the place beside the target for all of them, and clears it when all have ended.
        work = on_rank_zero(world, lambda: stack.enter_context(holding(path, what=what)))
        folder = work / "parts"
        on_rank_zero(world, folder.mkdir)

        def write() -> None:
            with telling_refusals(path, work, what=what):
                write_parts(folder, data, world)

        together(world, write)
        manifest = on_rank_zero(world, lambda: _publish(folder, work, target, header))
    if world.rank > 0:
        return None
    for line in _written(manifest, noun):
        say(line)
    if not target.request.json:
        result(str(path))
    return {"output": str(path), **header.provenance, **manifest}


def write_parts(folder: Path, data: Sequence[Rows[Batch]], world: World) -> None:
    """Write the parts of this process: every n-th unit, of n processes."""
    number = first_row = 0
    for rows in data:
        with _counting(rows) as advance:
            for unit in _units(rows.batches):
                if number % world.size == world.rank:
                    with PartWriter(folder, number) as writer:
                        first_row = _write_part(writer, unit, rows, first_row, advance)
                else:
                    for batch in unit:
                        first_row += len(batch)
                        advance(len(batch))
                number += 1
    if first_row == 0:
        raise SourceError(f"{', '.join(clean(rows.name) for rows in data)}: there are no rows to embed")


def _write_part(writer: PartWriter, unit: Iterator[Batch], rows: Rows[Batch], first_row: int, advance: Advance) -> int:
    """Embed one unit, a few batches at a time; returns the index of the row behind its last one."""
    while batches := list(islice(unit, _BATCHES_AT_ONCE)):
        writer.write(rows.tables(batches, first_row, advance))
        first_row += sum(map(len, batches))
    return first_row


def _units(batches: Iterable[Batch]) -> Iterator[Iterator[Batch]]:
    """The batches in units, each to be read to its end before the next; units grow with their number."""
    rest = iter(batches)
    for number in count():
        first = next(rest, None)
        if first is None:
            return
        size = min(1 + number // _UNITS_OF_A_SIZE, _MOST_BATCHES)
        yield chain([first], islice(rest, size - 1))


def _publish(folder: Path, work: Path, target: Target, header: EmbeddingsHeader) -> JsonDocument:
    """Join the parts and give what they make its name; returns the manifest."""
    path = target.request.output
    new = work / "new" / path.name
    new.parent.mkdir()
    manifest = join(folder, new, header)
    for output in (target.output, *target.further.values()):
        output.refuse_what_is_there()
    if target.further:
        names = [output.path.name for output in target.further.values()]
        publish_parts(new.parent, path.parent, [*names, path.name], work)
    else:
        publish(new, path, work)
    return manifest


def _written(manifest: Mapping[str, Any], noun: tuple[str, str]) -> Iterator[str]:
    """A line for each table: its rows, and its vectors with their width and type."""
    for title, table in ((counted(manifest["rows"], *noun), manifest), *_further(manifest)):
        vectors = [f"{name} {entry['width']} {entry['dtype']}" for name, entry in table["vectors"].items()]
        yield f"{title}: {', '.join(vectors)}"


def _further(manifest: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for name, table in manifest["tables"].items():
        yield f"{table['rows']:,} {name}", table


@contextmanager
def _counting(rows: Rows[Batch]) -> Iterator[Advance]:
    """A report of progress where the number of rows is known; of streams, nobody knows how many rows will come."""
    if rows.count is None:
        yield lambda _: None
    else:
        with progress(rows.count, f"{rows.name}: embedding") as bar:
            yield bar.advance
