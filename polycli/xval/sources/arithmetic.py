"""`--source arithmetic`: exact sums, differences and products as records."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from polycli.xval.data.source import Opened, RecordWriter, SourceAbout
from polycli.xval.recipe.sources import ArithmeticSection
from polycli.xval.recipe.training import PrepareRecipe
from polycli.xval.sources.arithmetic_tasks import problem
from polycli.xval.sources.planets import refuse_inputs

BLOCK = 4096
_RECORDS_PER_SECOND = 30_000.0


@dataclass(frozen=True, kw_only=True)
class TaskAbout(SourceAbout):
    """Which task of arithmetic records are."""

    task: str


@dataclass(frozen=True)
class ArithmeticBlock:
    """A block of consecutive problems, made when it is read."""

    section: ArithmeticSection
    first: int
    size: int
    source: str = "arithmetic"

    @property
    def key(self) -> str:
        """A name for the block that is unique within the source."""
        return f"arithmetic-{self.first // BLOCK:06d}"

    def load(self, writer: RecordWriter) -> None:
        """Draw and write them; problems with the same operands share a group."""
        for index in range(self.first, self.first + self.size):
            drawn = problem(self.section, index)
            writer.add(drawn.record, id=f"{self.section.task}-{index:08d}", group=drawn.group)


class ArithmeticSource:
    """The source `arithmetic`, as its section of the recipe describes it."""

    def accepts(self, path: Path) -> bool:  # noqa: ARG002
        """Always False: a generator reads no files."""
        return False

    def open(self, inputs: Sequence[Path], recipe: PrepareRecipe, limit: int | None) -> Opened:
        """Blocks of problems to draw.

        Raises:
            SourceError: there are inputs, which nothing would read.
        """
        refuse_inputs("arithmetic", inputs)
        section = recipe.arithmetic
        count = section.records if limit is None else min(limit, section.records)
        blocks = tuple(ArithmeticBlock(section, first, min(BLOCK, count - first)) for first in range(0, count, BLOCK))
        return Opened(
            blocks=blocks,
            about=TaskAbout(task=section.task),
            options=section.model_dump(mode="json", exclude={"records"}),
            seconds=count / _RECORDS_PER_SECOND,
        )
