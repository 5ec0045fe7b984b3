"""The `simulate` source: the recipe's simulations as datasets, made in blocks of trajectories that advance together."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from polycli.errors import SourceError
from polycli.mpp.data.source import Dataset, Trajectory
from polycli.mpp.recipe.training import PrepareRecipe, SelectionSection, SimulationSection
from polycli.mpp.sources.simulate.compressible_ns import CompressibleNs
from polycli.mpp.sources.simulate.diffusion_reaction import DiffusionReaction
from polycli.mpp.sources.simulate.incompressible_ns import IncompressibleNs
from polycli.mpp.sources.simulate.random_fields import generator
from polycli.mpp.sources.simulate.shallow_water import ShallowWater
from polycli.mpp.sources.simulate.system import Batch, System

SYSTEMS: dict[str, Callable[[str, SimulationSection], System]] = {
    "shallow_water": ShallowWater,
    "diffusion_reaction": DiffusionReaction,
    "incompressible_ns": IncompressibleNs,
    "compressible_ns": CompressibleNs,
}
#: Cells that advance together: enough to hide what a call of an operation costs, few enough for the second-level cache.
BLOCK_CELLS = 32_768
LARGEST_BLOCK = 16
#: Frames of a trajectory that are handed over at once.
FRAMES_AT_ONCE = 32


@dataclass(frozen=True)
class SimulationJob:
    """One block of trajectories. The whole block advances together, whatever is wanted of it."""

    source: str
    ids: tuple[str, ...]
    section: SimulationSection
    select: SelectionSection
    first_index: int

    def trajectories(self, wanted: Sequence[str]) -> Iterator[Trajectory]:
        """Yields those of `ids` that are wanted, in order."""
        places = [place for place, name in enumerate(self.ids) if name in wanted]
        if not places:
            return
        size = block_size(self.section.grid)
        system = build(self.source, self.section)
        generators = [generator(self.section, self.first_index + place) for place in range(size)]
        with one_thread():
            batch = system.start(generators)
        frames = self._frames(system, batch)
        # A block of one can be as large as memory, so it is handed on while it advances.
        parts = [frames] if size == 1 else list(np.concatenate(list(frames), axis=1)[:, None])
        for place in places:
            blocks = (part[0] for part in parts[0]) if size == 1 else iter(parts[place])
            yield Trajectory(self.ids[place], tuple(map(float, batch.parameters[place])), blocks)

    def _frames(self, system: System, batch: Batch) -> Iterator[NDArray[np.float32]]:
        """The selected frames of the block, as (trajectory, time, field, x, y) of a few frames each."""
        step = self.select.space_stride
        kept = set(kept_frames(self.section, self.select))
        held: list[Tensor] = []
        for number in range(self.section.frames):
            with one_thread():
                duration = system.about.dt if number else system.first_time
                if duration > 0:
                    batch.advance(duration)
                if number in kept:
                    held.append(batch.fields()[:, :, ::step, ::step].float().clone())
            if len(held) == FRAMES_AT_ONCE:
                yield torch.stack(held, dim=1).numpy()
                held = []
        if held:
            yield torch.stack(held, dim=1).numpy()


class SimulateSource:
    """Datasets of `recipe.simulate`, one for each entry."""

    def accepts(self, path: Path) -> bool:  # noqa: ARG002
        """Always False: a simulation reads no files."""
        return False

    def open(self, inputs: Sequence[Path], recipe: PrepareRecipe, limit: int | None) -> list[Dataset]:
        """Returns the datasets that the recipe says to simulate.
        `limit` keeps at most that many trajectories of each dataset.

        Raises:
            SourceError: there are inputs, nothing to simulate, or an entry asks for what its system lacks.
        """
        if inputs:
            raise SourceError(
                f"the simulate source reads no files, but {inputs[0]} was given as input", hint="leave --input out"
            )
        if not recipe.simulate:
            raise SourceError(
                "the recipe names nothing to simulate, an entry under 'simulate' was expected",
                hint="try --recipe mpp_demo_data",
            )
        return [_dataset(name, section, recipe.select, limit) for name, section in recipe.simulate.items()]


def build(dataset: str, section: SimulationSection) -> System:
    """The system that a section asks for."""
    return SYSTEMS[section.system](dataset, section)


def block_size(grid: int) -> int:
    """Returns the number of trajectories that advance together.
    It follows from the grid alone, so their last bits depend on no more.
    """
    return max(1, min(LARGEST_BLOCK, BLOCK_CELLS // grid**2))


def kept_frames(section: SimulationSection, select: SelectionSection) -> range:
    """Numbers of the frames that the selection keeps."""
    return range(select.first_frame, section.frames, select.time_stride)


@contextmanager
def one_thread() -> Iterator[None]:
    """One thread for torch, and afterwards as many as before: jobs run beside each other, one process each."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _dataset(name: str, section: SimulationSection, select: SelectionSection, limit: int | None) -> Dataset:
    system = build(name, section)
    numbers = kept_frames(section, select)
    if not numbers:
        raise SourceError(
            f"select.first_frame is {select.first_frame}, but simulate.{name} makes only {section.frames} frames"
        )
    count = section.trajectories if limit is None else min(limit, section.trajectories)
    size = block_size(section.grid)
    jobs = tuple(
        SimulationJob(
            source=name,
            ids=tuple(f"{index:05d}" for index in range(first, min(first + size, count))),
            section=section,
            select=select,
            first_index=first,
        )
        for first in range(0, count, size)
    )
    cells = len(range(0, section.grid, select.space_stride))
    about = system.about.model_copy(update={"dt": system.about.dt * select.time_stride, "grid": (cells, cells)})
    time = system.first_time + system.about.dt * np.array(numbers, dtype=np.float64)
    # Whole blocks advance, also where only some of their trajectories are asked for.
    duration = system.first_time + system.about.dt * (section.frames - 1)
    seconds = len(jobs) * size * system.work.of(duration, section.grid)
    return Dataset(name=name, about=about, time=time, jobs=jobs, files=(), seconds=seconds)
