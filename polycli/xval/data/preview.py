"""`prepare xval --dry-run`: what there is to do, judged by the first block."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from polycli.console import counted
from polycli.workflow.prepared_stores import DraftedStore, DryRun
from polycli.xval.data.coverage import refuse_immense
from polycli.xval.data.source import Opened
from polycli.xval.data.staging import BlockWriter
from polycli.xval.numbers.statistics import NumberSums
from polycli.xval.recipe.training import PrepareRecipe


@dataclass(frozen=True, kw_only=True)
class KeyRange:
    """The numbers at one key path."""

    count: int
    min: float
    max: float


@dataclass(frozen=True, kw_only=True)
class FirstBlock:
    """The content of the first block, which alone was read."""

    records: int
    #: The names of the store's arrays.
    columns: Sequence[str]
    #: By key path.
    keys: Mapping[str, KeyRange]


@dataclass(frozen=True, kw_only=True)
class RecordFacts:
    """Facts that a dry run tells of records: counts of all of them, judged by the first block."""

    blocks: int
    numbers: int
    #: Tokens of the longest record, and how many records were left out, of the first block.
    longest: int
    rejected: int
    first_block: FirstBlock


def preview(path: Path, name: str, opened: Opened, recipe: PrepareRecipe) -> DraftedStore[RecordFacts]:
    """Read one block, and tell from it what all are like; writes nothing.

    Raises:
        SourceError: the first block is malformed, or has a number that nothing can be computed with.
    """
    first = opened.blocks[0]
    started = time.perf_counter()
    writer = BlockWriter(recipe, source=first.source)
    first.load(writer)
    columns, _, note = writer.staged()
    seconds = time.perf_counter() - started
    factor = sum(block.size for block in opened.blocks) / max(first.size, 1)
    records = writer.records()
    refuse_immense(records.numbers, records.number_keys, records.key_paths)
    sums = NumberSums()
    sums.update(records.numbers, records.number_keys)
    # Tokens and key paths take four bytes in the store, numbers eight.
    size = 4 * note["tokens"] + 12 * note["numbers"]
    keys = {
        path: KeyRange(count=known.count, min=known.min, max=known.max)
        for path, known in sums.statistics(records.key_paths).items()
    }
    return DraftedStore(
        path=path,
        name=name,
        rows=opened.records if opened.records is not None else round(note["records"] * factor),
        files=len(opened.files),
        bytes=round(size * factor),
        seconds=opened.seconds if opened.seconds is not None else seconds * factor,
        more=RecordFacts(
            blocks=len(opened.blocks),
            numbers=round(note["numbers"] * factor),
            longest=note["longest"],
            rejected=len(note["rejected"]),
            first_block=FirstBlock(records=note["records"], columns=sorted(columns), keys=keys),
        ),
    )


def as_text(dry_run: DryRun[RecordFacts]) -> str:
    """A preview as people read it."""
    store = dry_run.drafts[0]
    facts, first = store.more, store.more.first_block
    counts = f"{counted(store.files, 'file', 'files')}, {counted(facts.blocks, 'block', 'blocks')}"
    records = f"about {counted(store.rows, 'record', 'records')} with {counted(facts.numbers, 'number', 'numbers')}"
    processes = counted(dry_run.workers, "process", "processes")
    lines = [
        (
            f"{counts}, {records}, {store.bytes / 1e6:.1f} MB before compression, "
            f"{dry_run.minutes(store):.2f} minutes with {processes}"
        ),
        f"in the first block of {counted(first.records, 'record', 'records')}, at most {facts.longest} tokens each:",
    ]
    width = max((len(path) for path in first.keys), default=8)
    lines += [
        f"  {path:<{width}}  {known.count:>9} numbers from {known.min:g} to {known.max:g}"
        for path, known in first.keys.items()
    ]
    return "\n".join(lines)
