"""`embed --dry-run`: what would be read and written, how long it takes here, and how large a job array should be.

A few batches are embedded to measure this device; nothing is written.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from itertools import islice
from math import ceil

from polycli.console import counted, result, say
from polycli.requests import EmbedRequest, JsonDocument
from polycli.store.embeddings.plan import Plan
from polycli.workflow.embedding.rows import Batch, Rows
from polycli.workflow.embedding.sbatch import array_script

#: Of each of the first data so many batches are embedded, the first one to warm up.
_BATCHES, _SOURCES = 4, 4
#: After so many seconds no further data are looked at.
_SECONDS = 20.0
#: Hours that users like to ask a queue for.
_HOURS = (1, 4, 12)


def dry_run(plan: Plan, data: Sequence[Rows[Batch]], noun: tuple[str, str], request: EmbedRequest) -> JsonDocument:
    """Measure and describe the embedding of these data; a script for Slurm, if one is wanted, has stdout for itself."""
    rows, seconds, size = _measured(plan, data)
    rate = rows / seconds if seconds else None
    units = [plan.sources[index].units for index in range(plan.kept, len(plan.sources))]
    total, count = plan.rows, None if None in units else sum(unit for unit in units if unit is not None)
    hours = None if rate is None or total is None else total / rate / 3600
    sizes = [each.bytes for each in data]
    document: JsonDocument = {
        "rows": total,
        "units": count,
        "unit_rows": [source.unit_rows for source in plan.sources[plan.kept :]],
        "rows_per_second": rate,
        "seconds_per_unit": None if rate is None else max(source.unit_rows for source in plan.sources) / rate,
        "bytes_in": None if None in sizes else sum(each for each in sizes if each is not None),
        "bytes_out": None if total is None or not rows else round(size / rows * total),
        "hours": hours,
        "array": {}
        if hours is None or count is None
        else {str(wanted): min(count, ceil(hours / wanted)) for wanted in _HOURS},
    }
    if request.sbatch:
        threads, has_gpu = _device()
        script = array_script(request.line, document, hours=request.hours, threads=threads, has_gpu=has_gpu, noun=noun)
        document["sbatch"] = script
        if not request.json:
            say(_shown(document, noun))
            result(script.rstrip("\n"))
    elif not request.json:
        result(_shown(document, noun))
    return document


def _device() -> tuple[int, bool]:
    """The threads that this process computes with, and whether a GPU does the work."""
    import torch

    return torch.get_num_threads(), torch.cuda.is_available()


def _measured(plan: Plan, data: Sequence[Rows[Batch]]) -> tuple[int, float, int]:
    """Rows that were embedded, the seconds that they took, and the bytes of their tables."""
    rows, seconds, size = 0, 0.0, 0
    for source, each in enumerate(data[:_SOURCES], start=plan.kept):
        for _, batches in islice(each.units(plan, source), 1):
            # The first batch is slower than all others, and counts only where there is no other.
            measured = [_of_batch(each, batch) for batch in islice(batches, _BATCHES)]
            for count, took, written in measured[1:] or measured:
                rows, seconds, size = rows + count, seconds + took, size + written
        if seconds > _SECONDS:
            break
    return rows, seconds, size


def _of_batch(rows: Rows[Batch], batch: Batch) -> tuple[int, float, int]:
    begun = time.monotonic()
    tables = rows.tables([batch], 0, lambda _: None)
    return len(batch), time.monotonic() - begun, sum(table.nbytes for table in tables.values())


def _shown(document: JsonDocument, noun: tuple[str, str]) -> str:
    """The document as people read it."""

    def known(value: float | None, text: str) -> str:
        return "not known before they are read" if value is None else text.format(value)

    gib = 2**30
    lines = [
        f"{noun[1]}: {known(document['rows'], '{:,}')}",
        f"units: {known(document['units'], '{:,}')} of up to {max(document['unit_rows'], default=0):,} {noun[1]}"
        + known(document["seconds_per_unit"], ", {:.3g} s each"),
        f"speed here: {known(document['rows_per_second'], '{:,.4g} ' + noun[1] + '/s')}",
        f"reads: {known(document['bytes_in'] and document['bytes_in'] / gib, '{:,.3g} GiB')}",
        f"writes: {known(document['bytes_out'] and document['bytes_out'] / gib, 'about {:,.3g} GiB')}",
        f"hours on this device: {known(document['hours'], '{:.3g}')}",
    ]
    lines += [
        f"array for {counted(int(hours), 'hour', 'hours')}: {tasks} (--array=0-{tasks - 1}, --part auto)"
        for hours, tasks in document["array"].items()
    ]
    return "\n".join(lines)
