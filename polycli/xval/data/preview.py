"""`prepare xval --dry-run`: what there is to do, judged by the first block."""

from __future__ import annotations

import time

from polycli import console
from polycli.requests import JsonDocument
from polycli.xval.data.coverage import refuse_immense
from polycli.xval.data.source import Opened
from polycli.xval.data.staging import BlockWriter
from polycli.xval.numbers.statistics import NumberSums
from polycli.xval.recipe.training import PrepareRecipe


def preview(opened: Opened, recipe: PrepareRecipe, workers: int, *, as_json: bool) -> JsonDocument:
    """Read one block, and tell from it what all are like; writes nothing.

    Raises:
        SourceError: the first block is malformed, or has a number that nothing can be computed with.
    """
    first = opened.blocks[0]
    started = time.perf_counter()
    writer = BlockWriter(recipe, source=first.source)
    first.load(writer)
    columns, note = writer.staged()
    seconds = time.perf_counter() - started
    factor = sum(block.size for block in opened.blocks) / max(first.size, 1)
    records = writer.records()
    refuse_immense(records.numbers, records.number_keys, records.key_paths)
    sums = NumberSums()
    sums.update(records.numbers, records.number_keys)
    # Tokens and key paths take four bytes in the store, numbers eight.
    size = 4 * note["tokens"] + 12 * note["numbers"]
    estimate = (opened.seconds if opened.seconds is not None else seconds * factor) / workers / 60
    keys = {
        path: {"count": known.count, "min": known.min, "max": known.max}
        for path, known in sums.statistics(records.key_paths).items()
    }
    result: JsonDocument = {
        "dry_run": True,
        "workers": workers,
        "files": len(opened.files),
        "blocks": len(opened.blocks),
        "records": opened.records if opened.records is not None else round(note["records"] * factor),
        "numbers": round(note["numbers"] * factor),
        "bytes": round(size * factor),
        "minutes": estimate,
        "longest": note["longest"],
        "rejected": len(note["rejected"]),
        "first_block": {"records": note["records"], "columns": sorted(columns), "keys": keys},
    }
    if not as_json:
        console.result(_table(result, keys))
    return result


def _table(result: JsonDocument, keys: dict[str, JsonDocument]) -> str:
    lines = [
        (
            f"{result['files']} files, {result['blocks']} blocks, about {result['records']} records with "
            f"{result['numbers']} numbers, {result['bytes'] / 1e6:.1f} MB before compression, "
            f"{result['minutes']:.2f} minutes with {result['workers']} processes"
        ),
        f"in the first block of {result['first_block']['records']} records, at most {result['longest']} tokens each:",
    ]
    width = max((len(path) for path in keys), default=8)
    lines += [
        f"  {path:<{width}}  {entry['count']:>9} numbers from {entry['min']:g} to {entry['max']:g}"
        for path, entry in keys.items()
    ]
    return "\n".join(lines)
