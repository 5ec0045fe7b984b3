"""Parameters of trajectories by name: those that differ between the rows of a store, and its constants."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from difflib import get_close_matches

import numpy as np
from numpy.typing import NDArray

from polycli.errors import StoreError
from polycli.mpp.data.about import physics_of
from polycli.mpp.recipe.physics import PdeDescription
from polycli.store.reader import Store

Floats = NDArray[np.float64]
Told = NDArray[np.float32]


def parameter_names(about: PdeDescription) -> tuple[str, ...]:
    """The names of all parameters and constants, each once; those of the rows come first."""
    return tuple(dict.fromkeys((*about.parameter_names, *about.constants)))


def parameters_of_rows(store: Store, rows: NDArray[np.int64]) -> dict[str, Floats]:
    """Maps each parameter of a store to its value in some rows; constants have the same value in all of them."""
    about = physics_of(store.manifest, store.path)
    found: dict[str, Floats] = {}
    if about.parameter_names:
        values = store.read_rows("params", rows)
        found = {name: values[:, index].astype(np.float64) for index, name in enumerate(about.parameter_names)}
    constants = {name: np.full(len(rows), value, dtype=np.float64) for name, value in about.constants.items()}
    return {**found, **{name: values for name, values in constants.items() if name not in found}}


def told_of(parameters: Mapping[str, Floats], names: Sequence[str], *, interval: float, count: int) -> Told | None:
    """The numbers that a network is told of `count` trajectories, (row, number); None where `names` is empty.

    Args:
        parameters: by name the value of each trajectory.
        names: in the order of the numbers; `dt` is the time between frames, the others are parameters, NaN where one is
            not known.
        interval: the time between the frames that the network sees.
        count: the number of trajectories.
    """
    if not names:
        return None
    columns = [
        np.full(count, interval) if name == "dt" else parameters.get(name, np.full(count, np.nan)) for name in names
    ]
    return np.stack(columns, axis=1).astype(np.float32)


def told_of_rows(store: Store, rows: NDArray[np.int64], names: Sequence[str], *, interval: float) -> Told | None:
    """The numbers that a network is told of some rows of a store, as `told_of` has them."""
    if not names:
        return None
    return told_of(parameters_of_rows(store, rows), names, interval=interval, count=len(rows))


def targets_of_rows(
    store: Store, rows: NDArray[np.int64], targets: Sequence[str], *, hint: str | None = None
) -> Floats:
    """The values of `targets` in some rows of a store, (row, target); NaN where a row does not have one.

    Raises:
        StoreError: the store has no parameter of a name; the message lists the nearest ones, and `hint` the way out.
    """
    about = physics_of(store.manifest, store.path)
    known = parameter_names(about)
    missing = [name for name in targets if name not in known]
    if missing:
        near = {name: get_close_matches(name, known, n=2, cutoff=0.5) for name in missing}
        described = ", ".join(
            f"'{name}'" + (f" (nearest: {', '.join(near[name])})" if near[name] else "") for name in missing
        )
        raise StoreError(
            f"{store.path}: has no parameter {described}; it has {', '.join(known) or 'none'}",
            hint=hint,
        )
    values = parameters_of_rows(store, rows)
    chosen = np.stack([values[name] for name in targets], axis=1)
    return np.where(np.isfinite(chosen), chosen, np.nan)
