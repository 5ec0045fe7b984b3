"""`--source planets`: simulated planetary systems as records, in blocks that do not depend on each other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from polycli.errors import SourceError
from polycli.xval.data.source import Opened, RecordWriter, SourceAbout
from polycli.xval.recipe.sources import PlanetScale, PlanetsSection
from polycli.xval.recipe.training import PrepareRecipe
from polycli.xval.sources.planetary import records

#: Systems that advance together: enough to hide what a call of an operation costs.
BLOCK = 1024
#: What one process makes at eight substeps, for estimates.
_SYSTEMS_PER_SECOND = 300.0


@dataclass(frozen=True, kw_only=True)
class PlanetsAbout(SourceAbout):
    """Facts about simulated planets."""

    simulation: str
    #: By what numbers are multiplied, by key.
    scale: PlanetScale
    units: Mapping[str, str]

    def stated_units(self) -> Mapping[str, str]:
        """The unit of masses."""
        return self.units


@dataclass(frozen=True)
class PlanetsBlock:
    """A block of consecutive systems, simulated when it is read."""

    section: PlanetsSection
    first: int
    size: int
    source: str = "planets"

    @property
    def key(self) -> str:
        """A name for the block that is unique within the source."""
        return f"planets-{self.first // BLOCK:06d}"

    def load(self, writer: RecordWriter) -> None:
        """Simulates the systems and writes each as a record."""
        indices = range(self.first, self.first + self.size)
        for index, record in zip(indices, records(self.section, indices), strict=True):
            name = f"planets-{index:08d}"
            if record is None:
                writer.reject(id=name, reason="two bodies met so closely that their motion cannot be followed")
            else:
                writer.add(record, id=name)


class PlanetsSource:
    """The source `planets`, as its section of the recipe describes it."""

    def accepts(self, path: Path) -> bool:  # noqa: ARG002
        """Always False: a simulation reads no files."""
        return False

    def open(self, inputs: Sequence[Path], recipe: PrepareRecipe, limit: int | None) -> Opened:
        """Blocks of systems to simulate.

        Raises:
            SourceError: there are inputs, which a simulation does not read.
        """
        refuse_inputs("planets", inputs)
        section = recipe.planets
        count = section.systems if limit is None else min(limit, section.systems)
        blocks = tuple(PlanetsBlock(section, first, min(BLOCK, count - first)) for first in range(0, count, BLOCK))
        scale = section.scale
        return Opened(
            blocks=blocks,
            about=PlanetsAbout(
                simulation="planetary systems, Yoshida 6, G = 1, star of mass 1, Jacobi elements",
                scale=scale,
                units={"description.planet*.m": f"{1 / scale.m:g} star masses"},
            ),
            options=section.model_dump(mode="json", exclude={"systems"}),
            seconds=count / _SYSTEMS_PER_SECOND * section.substeps / 8,
        )


def refuse_inputs(source: str, inputs: Sequence[Path]) -> None:
    """A source that makes its records reads no files.

    Raises:
        SourceError: some are given.
    """
    if inputs:
        raise SourceError(
            f"the {source} source reads no files, but {inputs[0]} was given as input", hint="leave --input out"
        )
