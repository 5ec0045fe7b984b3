"""Which physics a model was trained on, and in what data differ from it: fields, time between frames, units, sides."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from polycli.console import note, warn
from polycli.errors import CheckpointError, StoreError, problems_of
from polycli.mpp.data.about import physics_of
from polycli.mpp.recipe.physics import Boundary, PdeDescription
from polycli.store.manifest import read_manifest
from polycli.store.reader import Store
from polycli.workflow.loaded import LoadedCheckpoint
from polycli.workflow.run_stores import stores_of_run
from polycli.workflow.untrained import Difference, refuse_untrained

#: Two times between frames are one where they differ by less than this share: simulations write rounded times.
_SAME_TIME = 1e-3


class TrainedPhysics(BaseModel):
    """One dataset of the training, as model.json has it under `trained`."""

    model_config = ConfigDict(frozen=True)

    fields: tuple[str, ...]
    units: tuple[str, ...]
    #: Time between the frames that the model saw, the stride in it.
    dt: float
    boundary_conditions: dict[Literal["x", "y"], Boundary]
    grid: tuple[int, int]

    @classmethod
    def of_store(cls, store: Store, *, time_stride: int) -> TrainedPhysics:
        """Describes the physics that a training on every `time_stride`-th frame of a store has seen."""
        return cls.of(physics_of(store.manifest, store.path), time_stride=time_stride)

    @classmethod
    def of(cls, about: PdeDescription, *, time_stride: int) -> TrainedPhysics:
        """Describes the physics that a training on every `time_stride`-th frame of such a store has seen."""
        return cls(
            fields=about.fields,
            units=about.units,
            dt=about.dt * time_stride,
            boundary_conditions=about.boundary_conditions,
            grid=about.grid,
        )


def trained_physics(loaded: LoadedCheckpoint) -> dict[str, TrainedPhysics]:
    """Maps each training dataset to its physics; runs of earlier versions are read from their stores, if all are there.

    Raises:
        CheckpointError: what the checkpoint says of its training is not sound.
    """
    said = loaded.described("trained")
    if said is None:
        return _of_stores(loaded)
    try:
        return {str(name): TrainedPhysics.model_validate(entry) for name, entry in dict(said).items()}
    except (ValidationError, TypeError, ValueError) as error:
        reason = problems_of(error) if isinstance(error, ValidationError) else error
        raise CheckpointError(f"{loaded.model_file}: what it says of its training is not sound: {reason}") from error


def check_trained(
    trained: Mapping[str, TrainedPhysics],
    name: str,
    about: PdeDescription,
    *,
    time_stride: int,
    allow: bool,
    dt_known: bool = True,
    dt_told: bool = False,
) -> None:
    """Compare the data called `name`, every `time_stride`-th frame of them, with what a model was trained on.

    Other fields, times between frames and units are refused unless `allow`; boundary conditions that the model has not
    met with these fields are warned of, because it is told them. Where `dt_known` is false, nobody has said the time;
    where `dt_told` is true, the model is told it, so that another one is no reason to refuse.
    Where nothing is known of the training, nothing is compared.

    Raises:
        StoreError: something differs, and it is not allowed.
    """
    if trained:
        found = _differences(name, about, trained, stride=time_stride, dt_known=dt_known, dt_told=dt_told)
        refuse_untrained(found, allow=allow)


def say_other_physics(
    trained: Mapping[str, TrainedPhysics], name: str, about: PdeDescription, *, time_stride: int
) -> None:
    """Say in what the data called `name`, on which a model is trained further, differ from what it was trained on.

    Nothing is refused: learning another time step or other sides is a purpose of finetuning. Where no training has met
    the data's fields, or nothing is known of it, there is nothing to compare.
    """
    like = _nearest(about, trained)
    if not like:
        return
    interval, times = about.dt * time_stride, sorted({part.dt for part in like})
    if not any(math.isclose(interval, time, rel_tol=_SAME_TIME) for time in times):
        note(
            f"{name}: its frames are {interval:g} apart, the checkpoint was trained on frames {_listed(times)} apart; "
            f"the finetuned model steps by {interval:g}"
        )
    if not any(part.boundary_conditions == about.boundary_conditions for part in like):
        met = dict.fromkeys(_sides(part.boundary_conditions) for part in like)
        note(f"{name}: its sides are {_sides(about.boundary_conditions)}, the checkpoint has met {' and '.join(met)}")


def _differences(
    name: str,
    about: PdeDescription,
    trained: Mapping[str, TrainedPhysics],
    *,
    stride: int,
    dt_known: bool,
    dt_told: bool,
) -> list[Difference]:
    known = {field: unit for part in trained.values() for field, unit in zip(part.fields, part.units, strict=True)}
    new = [field for field in about.fields if field not in known]
    if new:
        return [
            Difference(
                f"{name}: the model was never trained on {', '.join(new)}; it was trained on {', '.join(known)}",
                "use a checkpoint that was trained on these fields, or train this one on them",
            )
        ]
    found = []
    for field, unit in zip(about.fields, about.units, strict=True):
        if unit and known[field] and unit != known[field]:
            found.append(Difference(f"{name}: {field} is in {unit}, the model was trained on it in {known[field]}"))
    like = _nearest(about, trained)
    times = sorted({part.dt for part in like})
    interval = about.dt * stride
    if not dt_known:
        note(
            f"{name}: nothing says the time between its frames; the model was trained on frames {_listed(times)} apart"
        )
    elif not dt_told and not any(math.isclose(interval, time, rel_tol=_SAME_TIME) for time in times):
        found.append(
            Difference(
                f"{name}: its frames are {interval:g} apart, the model was trained on frames {_listed(times)} apart",
                _stride_hint(about.dt, times),
            )
        )
    sides = about.boundary_conditions
    if not any(part.boundary_conditions == sides for part in like):
        met = dict.fromkeys(_sides(part.boundary_conditions) for part in like)
        warn(f"{name}: its sides are {_sides(sides)}, the model was trained on these fields with {' and '.join(met)}")
    return found


def _nearest(about: PdeDescription, trained: Mapping[str, TrainedPhysics]) -> list[TrainedPhysics]:
    """The datasets of the training that have all fields of the data or, where there is none, some of them."""
    whole = [part for part in trained.values() if set(about.fields) <= set(part.fields)]
    return whole or [part for part in trained.values() if set(about.fields) & set(part.fields)]


def _stride_hint(dt: float, times: Sequence[float]) -> str | None:
    """The stride with which frames would be as far apart as those of the training, if there is one."""
    strides = [round(time / dt) for time in times]
    fitting = [
        n for n, time in zip(strides, times, strict=True) if n > 0 and math.isclose(n * dt, time, rel_tol=_SAME_TIME)
    ]
    return f"--set data.time_stride={fitting[0]}" if fitting else None


def _listed(times: Sequence[float]) -> str:
    return " or ".join(f"{time:g}" for time in times)


def _sides(boundary: Mapping[Literal["x", "y"], Boundary]) -> str:
    return ", ".join(f"{axis} {kind}" for axis, kind in sorted(boundary.items()))


def _of_stores(loaded: LoadedCheckpoint) -> dict[str, TrainedPhysics]:
    """Reads the physics from the stores that a run of an earlier version names, if they are there and unchanged."""
    known = stores_of_run(loaded.run)
    said = loaded.recipe_section("data").get("time_stride", 1)
    stride = said if isinstance(said, int) else 1
    found = {}
    for name, entry in known.items():
        try:
            manifest = read_manifest(Path(entry.path))
        except StoreError:
            return {}  # Of a part of the training alone, differences would be said that are none.
        if manifest.store_hash != entry.store_hash:
            return {}
        found[name] = TrainedPhysics.of(physics_of(manifest, Path(entry.path)), time_stride=stride)
    return found
