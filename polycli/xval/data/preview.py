"""`prepare xval --dry-run`: what there is to do, judged by the first block."""

from __future__ import annotations

import time
from pathlib import Path

from polycli.requests import JsonDocument
from polycli.workflow.prepared_stores import DraftedStore
from polycli.xval.data.coverage import refuse_immense
from polycli.xval.data.source import Opened
from polycli.xval.data.staging import BlockWriter
from polycli.xval.numbers.statistics import NumberSums
from polycli.xval.recipe.training import PrepareRecipe


def preview(path: Path, name: str, opened: Opened, recipe: PrepareRecipe) -> DraftedStore:
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
    keys = {
        path: {"count": known.count, "min": known.min, "max": known.max}
        for path, known in sums.statistics(records.key_paths).items()
    }
    return DraftedStore(
        path=path,
        name=name,
        rows=opened.records if opened.records is not None else round(note["records"] * factor),
        files=len(opened.files),
        bytes=round(size * factor),
        seconds=opened.seconds if opened.seconds is not None else seconds * factor,
        more={
            "blocks": len(opened.blocks),
            "numbers": round(note["numbers"] * factor),
            "longest": note["longest"],
            "rejected": len(note["rejected"]),
            "first_block": {"records": note["records"], "columns": sorted(columns), "keys": keys},
        },
    )


def as_text(store: JsonDocument, workers: int) -> str:
    """A preview as people read it."""
    first = store["first_block"]
    lines = [
        (
            f"{store['files']} files, {store['blocks']} blocks, about {store['records']} records with "
            f"{store['numbers']} numbers, {store['bytes'] / 1e6:.1f} MB before compression, "
            f"{store['minutes']:.2f} minutes with {workers} processes"
        ),
        f"in the first block of {first['records']} records, at most {store['longest']} tokens each:",
    ]
    width = max((len(path) for path in first["keys"]), default=8)
    lines += [
        f"  {path:<{width}}  {entry['count']:>9} numbers from {entry['min']:g} to {entry['max']:g}"
        for path, entry in first["keys"].items()
    ]
    return "\n".join(lines)
