"""Groups the trajectories of HDF5 files that hold each field in one array into datasets, and names these.

`well` and `pdearena` describe their files in these words; what is read, how it is grouped and named is the same.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from polycli.console import counted, note, warn
from polycli.errors import SourceError
from polycli.mpp.data.source import Dataset
from polycli.mpp.recipe.arrays import Extent
from polycli.mpp.recipe.physics import Boundary, PdeDescription
from polycli.mpp.recipe.training import PrepareRecipe
from polycli.mpp.sources.frames import Frames, job_size
from polycli.mpp.sources.hdf5_read import Column, Hdf5Job
from polycli.requests import Split
from polycli.store.manifest import LeftOut


@dataclass(frozen=True)
class Member:
    """One trajectory of a file."""

    item: int
    start: float
    dt: float
    parameters: Mapping[str, float] = field(default_factory=dict)

    @property
    def id(self) -> str:
        """Its place, in four digits."""
        return f"{self.item:04d}"


@dataclass(frozen=True, kw_only=True)
class Found:
    """Everything about one file but its numbers."""

    path: Path
    source: str
    #: What the store is called, as far as the file tells.
    label: str
    columns: tuple[Column, ...]
    fields: tuple[str, ...]
    units: tuple[str, ...]
    frames: int
    grid: tuple[int, int]
    extent: Extent
    boundary: tuple[Boundary, Boundary]
    members: tuple[Member, ...]
    split: Split | None = None
    #: How many trajectories lie in the same chunks.
    at_once: int = 1
    #: Flagged for each of its trajectories.
    strange: tuple[str, ...] = ()
    #: Said once for all files of which they are true: what one should look at, and what one may want to know.
    remarks: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def say_remarks(found: Sequence[Found]) -> None:
    """Say what readers had to remark on the files; what is true of many once."""
    _say(warn, [(file.path, remark) for file in found for remark in file.remarks])
    _say(note, [(file.path, text) for file in found for text in file.notes])


def _say(show: Callable[[str], None], remarks: Sequence[tuple[Path, str]]) -> None:
    first: dict[str, Path] = {}
    for path, remark in remarks:
        first.setdefault(remark, path)
    for remark, count in Counter(remark for _, remark in remarks).items():
        more = f" (and {counted(count - 1, 'file', 'files')} more)" if count > 1 else ""
        show(f"{first[remark]}{more}: {remark}")


def datasets_of(found: Sequence[Found], recipe: PrepareRecipe, limit: int | None) -> list[Dataset]:
    """One dataset for each label, grid, number of frames, time step, domain and boundaries.

    Raises:
        SourceError: files of one label differ in their fields or units, some of them say their split and others do
            not, or too few frames or points are left.
    """
    splits = {file.split for file in found}
    if None in splits and len(splits) > 1:
        with_split = next(file for file in found if file.split is not None)
        without = next(file for file in found if file.split is None)
        raise SourceError(
            f"{without.path}: says nothing of its split, and {with_split.path} is in {with_split.split}",
            hint="give them to two commands",
        )
    groups: dict[tuple[object, ...], list[tuple[Found, Member]]] = {}
    for file in found:
        _refuse_other_fields(next(other for other in found if other.label == file.label), file)
        for member in file.members:
            key = (file.label, file.grid, file.frames, f"{member.dt:.4g}", file.extent, file.boundary)
            groups.setdefault(key, []).append((file, member))
    names = _names([group[0] for group in groups.values()])
    datasets = [_dataset(name, group, recipe, limit) for name, group in zip(names, groups.values(), strict=True)]
    return sorted(datasets, key=lambda dataset: dataset.name)


def _dataset(name: str, members: Sequence[tuple[Found, Member]], recipe: PrepareRecipe, limit: int | None) -> Dataset:
    first, leader = members[0]
    select = recipe.select
    frames = Frames(select.first_frame, first.frames, select.time_stride, select.space_stride)
    if frames.count < 2:
        raise SourceError(
            f"{first.path}: {first.frames} frames, of which select.first_frame {frames.start} and select.time_stride "
            f"{frames.step} leave {frames.count}, at least 2 were expected"
        )
    if min(first.grid) // frames.space < 2:
        raise SourceError(f"{first.path}: select.space_stride {frames.space} leaves no grid of {first.grid}")
    if limit is not None:
        members = _some(members, limit)
    times = leader.start + leader.dt * np.arange(first.frames, dtype=np.float64)
    parameters = tuple(dict.fromkeys(name for _, member in members for name in member.parameters))
    files = list(dict.fromkeys((file.path, file.source) for file, _ in members))
    given = {(file.source, member.id): file.split for file, member in members if file.split is not None}
    return Dataset(
        name=name,
        about=PdeDescription(
            physics=_physics(first.fields),
            fields=first.fields,
            units=first.units,
            dt=float(f"{leader.dt * frames.step:.6g}"),
            grid=frames.grid(first.grid),
            extent=frames.extent(first.extent, first.grid),
            boundary_conditions={"x": first.boundary[0], "y": first.boundary[1]},
            parameter_names=parameters,
            constants={},
        ),
        time=times[frames.start : frames.stop : frames.step],
        jobs=tuple(_jobs(members, parameters, frames)),
        files=tuple(path for path, _ in files),
        file_names=tuple(source for _, source in files),
        flagged=tuple(
            LeftOut(source=file.source, id=member.id, reason=reason)
            for file, member in members
            for reason in file.strange
        ),
        splits=given or None,
    )


def _physics(fields: Sequence[str]) -> str:
    prefixes = {name.partition(".")[0] for name in fields}
    return prefixes.pop() if len(prefixes) == 1 else "mixed"


def _some(members: Sequence[tuple[Found, Member]], limit: int) -> list[tuple[Found, Member]]:
    """The first `limit` trajectories; where files say the splits, of each split its share, and one if there is room."""
    by_split: dict[Split | None, list[int]] = {}
    for place, (file, _) in enumerate(members):
        by_split.setdefault(file.split, []).append(place)
    if limit < len(by_split):
        by_split = {"train": by_split["train"]} if "train" in by_split else {None: list(range(len(members)))}
    # Fairly, one after another: the next is of the split of which the smallest part has been taken.
    taken = dict.fromkeys(by_split, 0)
    for _ in range(min(limit, sum(map(len, by_split.values())))):
        taken[min(taken, key=lambda split: taken[split] / len(by_split[split]))] += 1
    kept = sorted(place for split, count in taken.items() for place in by_split[split][:count])
    return [members[place] for place in kept]


def _jobs(members: Sequence[tuple[Found, Member]], parameters: Sequence[str], frames: Frames) -> Iterator[Hdf5Job]:
    start = 0
    while start < len(members):
        file = members[start][0]
        row_bytes = 4 * frames.count * len(file.fields) * file.grid[0] * file.grid[1]
        size, together = job_size(row_bytes, file.at_once)
        batch = [member for other, member in members[start : start + size] if other is file]
        start += len(batch)
        yield Hdf5Job(
            path=file.path,
            source=file.source,
            columns=file.columns,
            shape=(len(file.fields), *file.grid),
            ids=tuple(member.id for member in batch),
            items=tuple(member.item for member in batch),
            parameters=tuple(
                tuple(member.parameters.get(name, float("nan")) for name in parameters) for member in batch
            ),
            frames=frames,
            together=together,
        )


def _refuse_other_fields(first: Found, other: Found) -> None:
    if other.fields != first.fields:
        raise SourceError(
            f"{other.path}: fields {', '.join(other.fields)}; {', '.join(first.fields)} were expected, as in "
            f"{first.path}",
            hint="prepare the two into two stores",
        )
    for name, unit, expected in zip(other.fields, other.units, first.units, strict=True):
        if unit != expected:
            raise SourceError(
                f"{other.path}: {name} is in {unit or 'no unit'}, {expected or 'no unit'} was expected, as in "
                f"{first.path}",
                hint="bring the files to one unit, or prepare the two into two stores",
            )


#: What may tell two datasets of one label apart, and how names say it.
_TELLING: tuple[Callable[[Found, Member], str], ...] = (
    lambda file, _: "x".join(map(str, file.grid)),
    lambda file, _: f"{file.frames}frames",
    lambda _, member: f"dt{member.dt:g}",
    lambda file, _: "-".join(file.boundary),
)


def _names(leaders: Sequence[tuple[Found, Member]]) -> list[str]:
    """The label of each dataset, and what tells it apart from others of that label."""
    names = []
    for leader in leaders:
        rivals = [other for other in leaders if other[0].label == leader[0].label]
        telling = [tell(*leader) for tell in _TELLING if len({tell(*rival) for rival in rivals}) > 1]
        names.append("_".join([leader[0].label, *telling]))
    return names if len(set(names)) == len(names) else [f"{name}_{place}" for place, name in enumerate(names)]
