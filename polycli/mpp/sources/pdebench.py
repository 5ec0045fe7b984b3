"""The source `pdebench`: PDEBench's 2-D HDF5 files, and any in their layout, to datasets of equal physics and grid."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from polycli.console import note, warn
from polycli.errors import SourceError
from polycli.mpp.data.source import Dataset
from polycli.mpp.recipe.physics import PUBLISHED_FIELDS, Boundary, PdeDescription
from polycli.mpp.recipe.training import PrepareRecipe, SelectionSection
from polycli.mpp.sources.frames import UNEVEN, Frames, job_size, unevenness
from polycli.mpp.sources.pdebench_layouts import (
    PARAMETERS,
    Member,
    Survey,
    looks_like_pdebench,
    survey_file,
)
from polycli.mpp.sources.pdebench_read import ForeignFileError, PdebenchJob
from polycli.store.manifest import LeftOut

SUFFIXES = (".h5", ".hdf5")
_PREFIXES = {
    "shallow_water": "swe",
    "diffusion_reaction": "diffre2d",
    "incompressible_ns": "incompNS",
    "compressible_ns": "compNS",
}
#: The dam break lets waves leave, diffusion-reaction has no flux, the smoke box stands still at its walls.
_BOUNDARIES: dict[str, Boundary] = {
    "shallow_water": "open",
    "diffusion_reaction": "wall",
    "incompressible_ns": "wall",
    "compressible_ns": "periodic",
}


class PdebenchSource:
    """Finds out what files are by looking into them; their names and folders decide nothing."""

    def accepts(self, path: Path) -> bool:
        """HDF5 files that look like PDEBench's, or cannot be looked at, of which `open` then says what is wrong."""
        if path.suffix.lower() not in SUFFIXES or not path.is_file():
            return False
        try:
            return looks_like_pdebench(path)
        except SourceError:
            return True

    def open(self, inputs: Sequence[Path], recipe: PrepareRecipe, limit: int | None) -> list[Dataset]:
        """Surveys the input files and returns their datasets; see `Source.open`."""
        surveys = _survey(inputs)
        if recipe.pdebench.boundary is not None:
            for survey in surveys:
                survey.boundary = recipe.pdebench.boundary
        for survey in surveys:
            if _boundary(survey) != _BOUNDARIES[survey.physics]:
                says = "its name says" if recipe.pdebench.boundary is None else "pdebench.boundary says"
                note(f"{survey.path}: boundaries are {survey.boundary}, as {says}")
        groups: dict[tuple[object, ...], _Group] = {}
        for survey in surveys:
            _sort_into(groups, survey, recipe.select)
        names = _names(list(groups.values()))
        datasets = [group.dataset(name, limit) for name, group in zip(names, groups.values(), strict=True)]
        return sorted(datasets, key=lambda dataset: dataset.name)


def files_below(folder: Path) -> Iterator[Path]:
    """The files in a folder and below it, sorted; links are followed, and each folder is entered once."""
    found: list[Path] = []
    entered: set[Path] = set()
    for place, inside, names in os.walk(folder, followlinks=True):
        real = Path(place).resolve()
        if real in entered:
            inside.clear()
            continue
        entered.add(real)
        found += [path for name in names if (path := Path(place, name)).is_file()]
    yield from sorted(found)


def _boundary(survey: Survey) -> Boundary:
    return survey.boundary or _BOUNDARIES[survey.physics]


def find_files(inputs: Iterable[Path]) -> list[tuple[Path, str, bool]]:
    """The HDF5 files of the inputs in order, each once: path, name relative to its input, whether it was named itself.

    Raises:
        SourceError: an input does not exist, or a folder holds no HDF5 file.
    """
    found: dict[Path, tuple[Path, str, bool]] = {}
    for entry in inputs:
        if entry.is_dir():
            files = [path for path in files_below(entry) if path.suffix.lower() in SUFFIXES]
            if not files:
                raise SourceError(f"{entry}: no file with the ending {' or '.join(SUFFIXES)} in this folder")
            for path in files:
                found.setdefault(path.resolve(), (path, path.relative_to(entry).as_posix(), False))
        elif entry.exists():
            found[entry.resolve()] = (entry, entry.name, True)
        else:
            raise SourceError(f"{entry}: no such file or folder")
    counts: dict[str, int] = {}
    for _, name, _ in found.values():
        counts[name] = counts.get(name, 0) + 1
    # Two inputs may hold files of one name; then the whole path tells them apart.
    return [(path, name if counts[name] == 1 else path.as_posix(), named) for path, name, named in found.values()]


def _survey(inputs: Sequence[Path]) -> list[Survey]:
    if not inputs:
        raise SourceError("the source pdebench needs input files", hint="name them with --input FILE or FOLDER")
    surveys: list[Survey] = []
    foreign: list[ForeignFileError] = []
    for path, name, named in find_files(inputs):
        try:
            surveys.extend(survey_file(path, name))
        except ForeignFileError as error:
            if named:
                raise
            foreign.append(error)
    if not surveys:
        raise SourceError(
            f"no file that can be read as PDEBench's among {len(foreign)}: {foreign[0].message}", hint=foreign[0].hint
        )
    for stranger in foreign:
        warn(f"left out: {stranger.message}")
    return surveys


class _Group:
    """Trajectories that can share a store, while they are being collected."""

    def __init__(self, survey: Survey, member: Member, frames: Frames, time: NDArray[np.float64]) -> None:
        self.physics = survey.physics
        self.label = survey.label
        self.constants = dict(member.constants)
        self.boundary = _boundary(survey)
        self.extent = frames.extent(survey.extent, survey.grid)
        self.grid = frames.grid(survey.grid)
        self.frames = frames
        self.time = time
        self.dt = _time_step(time)
        self.members: list[tuple[Survey, Member]] = []
        self.rejected: list[LeftOut] = []

    def dataset(self, name: str, limit: int | None) -> Dataset:
        members = self.members[:limit]
        usual = PARAMETERS.get(self.physics, ())
        known = {key for _, member in members for key in member.parameters}
        parameter_names = (*(key for key in usual if key in known), *sorted(known.difference(usual)))
        fields = tuple(field for field in PUBLISHED_FIELDS if field.startswith(f"{self.physics}."))
        files = dict.fromkeys((survey.path, survey.source) for survey, _ in members)
        kept = {(survey.source, member.id) for survey, member in members}
        return Dataset(
            name=name,
            about=PdeDescription(
                physics=self.physics,
                fields=fields,
                units=("1",) * len(fields),
                dt=self.dt,
                grid=self.grid,
                extent=self.extent,
                boundary_conditions={"x": self.boundary, "y": self.boundary},
                parameter_names=parameter_names,
                constants=self.constants,
            ),
            time=self.time,
            jobs=tuple(self._jobs(members, parameter_names)),
            files=tuple(path for path, _ in files),
            file_names=tuple(source for _, source in files),
            rejected=tuple(self.rejected),
            flagged=tuple(left for left in self._strange() if (left.source, left.id) in kept),
        )

    def _jobs(self, members: list[tuple[Survey, Member]], parameter_names: tuple[str, ...]) -> Iterable[PdebenchJob]:
        start = 0
        while start < len(members):
            survey = members[start][0]
            row_bytes = max(1, survey.frame_bytes * self.frames.count)
            size, together = job_size(row_bytes, survey.at_once)
            batch = [member for other, member in members[start : start + size] if other is survey]
            start += len(batch)
            yield PdebenchJob(
                path=survey.path,
                source=survey.source,
                layout=survey.layout,
                ids=tuple(member.id for member in batch),
                items=tuple(member.item for member in batch),
                parameters=tuple(
                    tuple(member.parameters.get(key, float("nan")) for key in parameter_names) for member in batch
                ),
                frames=self.frames,
                together=together and survey.layout != "grouped",
            )

    def _strange(self) -> Iterable[LeftOut]:
        for survey, member in self.members:
            for reason in survey.strange:
                yield LeftOut(source=survey.source, id=member.id, reason=reason)
            time = member.time[self.frames.start : self.frames.stop : self.frames.step]
            if unevenness(time) > UNEVEN:
                steps = np.diff(time)
                reason = f"uneven time step: {steps.min():.4g} to {steps.max():.4g}"
                yield LeftOut(source=survey.source, id=member.id, reason=reason)


def _sort_into(groups: dict[tuple[object, ...], _Group], survey: Survey, select: SelectionSection) -> None:
    home: _Group | None = None
    for member in survey.members:
        frames = Frames(select.first_frame, member.time.size, select.time_stride, select.space_stride)
        if frames.count < 2:
            raise SourceError(
                f"{survey.path}: {member.time.size} frames, of which select.first_frame {select.first_frame} and "
                f"select.time_stride {select.time_stride} leave {frames.count}, at least 2 were expected"
            )
        if min(survey.grid) // frames.space < 2:
            raise SourceError(f"{survey.path}: select.space_stride {frames.space} leaves no grid of {survey.grid}")
        time = member.time[frames.start : frames.stop : frames.step]
        key = (
            survey.physics, survey.label, survey.grid, survey.extent, member.time.size,
            f"{_time_step(time):.4g}", tuple(sorted(member.constants.items())), _boundary(survey),
        )  # fmt: skip
        if key not in groups:
            groups[key] = _Group(survey, member, frames, time)
        home = home or groups[key]
        groups[key].members.append((survey, member))
    if home is not None:
        home.rejected.extend(survey.rejected)


def _time_step(time: NDArray[np.float64]) -> float:
    """Mean step, in which the rounding of float32 times cancels; where steps differ, the median; six digits."""
    steps = np.diff(time)
    step = np.median(steps) if unevenness(time) > UNEVEN else (time[-1] - time[0]) / steps.size
    return float(f"{step:.6g}")


def _names(groups: list[_Group]) -> list[str]:
    """A name for each group: physics, kind, constants that are usual in it, grid; and what else tells it apart."""
    plain = [_plain_name(group) for group in groups]
    names = []
    for group, name in zip(groups, plain, strict=True):
        rivals = [other for other, same in zip(groups, plain, strict=True) if same == name and other is not group]
        parts = [name]
        if any(other.dt != group.dt for other in rivals):
            parts.append(f"dt{group.dt:g}")
        if any(other.time.size != group.time.size for other in rivals):
            parts.append(f"{group.time.size}frames")
        if any(other.extent != group.extent for other in rivals):
            parts.append(f"from{group.extent[0][0]:g}to{group.extent[0][1]:g}")
        differing = {
            key
            for other in rivals
            for key in group.constants.keys() | other.constants.keys()
            if other.constants.get(key) != group.constants.get(key)
        }
        parts.extend(f"{key}{group.constants[key]!r}" for key in sorted(differing) if key in group.constants)
        names.append("_".join(parts))
    return names if len(set(names)) == len(names) else [f"{name}_{place}" for place, name in enumerate(names)]


def _plain_name(group: _Group) -> str:
    parts = [_PREFIXES[group.physics]]
    if group.label:
        parts.append(group.label)
    if group.boundary != _BOUNDARIES[group.physics]:
        parts.append(group.boundary)
    if group.physics == "compressible_ns":
        parts.extend(f"{key}{group.constants[key]!r}" for key in ("M", "eta", "zeta") if key in group.constants)
    x, y = group.grid
    parts.append(str(x) if x == y else f"{x}x{y}")
    return "_".join(parts)
