"""The parameters that a regression learns: their training values, scales and ranges, and windows that ask for them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from polycli.console import counted, note, warn
from polycli.errors import StoreError
from polycli.mpp.data.parameters import parameters_of_rows, targets_of_rows
from polycli.mpp.data.windows import Windows, find_windows, split_rows
from polycli.mpp.model.regression import HeadDescription, Target, standardised
from polycli.mpp.recipe.regression import HeadSection
from polycli.mpp.recipe.training import DataSection, PretrainRecipe
from polycli.mpp.training.batches import WindowFinder
from polycli.store.reader import Store

Floats = NDArray[np.float64]
#: Positive values of which the largest is so many times the smallest are learnt as logarithms, unless told otherwise.
WIDE_RANGE = 30.0
#: Stores whose largest values of a parameter are further apart than this factor may have it in different units.
OTHER_UNITS = 10.0
#: Values that differ by less than this share of their size are one value.
_ONE_VALUE = 1e-9


def describe_head(stores: Sequence[Store], section: HeadSection, data: DataSection) -> HeadDescription:
    """The head that a recipe asks for, with the scales of its targets over the training trajectories of all stores.

    Raises:
        StoreError: a store lacks a target, or a target is the same in all training trajectories, or not known.
    """
    rows = [split_rows(store, "train", data) for store in stores]
    parts = [
        targets_of_rows(store, chosen, section.targets, hint="name others: --set 'head.targets=[NAME]'")
        for store, chosen in zip(stores, rows, strict=True)
    ]
    values = np.concatenate(parts)
    for index, name in enumerate(section.targets):
        _warn_of_other_units(name, {store.name: part[:, index] for store, part in zip(stores, parts, strict=True)})
    _say_left_out(stores, rows, section.targets)
    known = values[np.isfinite(values).all(axis=1)]
    where = ", ".join(store.name for store in stores)
    if len(known) < 2:
        raise StoreError(
            f"{where}: {counted(len(known), 'training trajectory has', 'training trajectories have')} a value of "
            f"{' and '.join(section.targets)}, at least 2 are needed"
        )
    targets = []
    for name, column in zip(section.targets, known.T, strict=True):
        if not varies(column):
            varying = _varying(stores, rows)
            raise StoreError(
                f"{where}: {name} is {float(column[0]):g} in all {len(known)} training trajectories, so there is "
                "nothing to learn",
                hint=f"these vary: {', '.join(varying)}" if varying else "no parameter of these stores varies",
            )
        targets.append(_target(name, column, section))
    return HeadDescription(targets=tuple(targets), hidden=section.hidden, statistics=section.statistics)


def labelled_windows(head: HeadDescription) -> WindowFinder:
    """Finds windows with the standardised targets of their trajectories; those without a target are left out."""

    def find(store: Store, split: Literal["train", "validation"], recipe: PretrainRecipe) -> Windows:
        windows = find_windows(store, split, recipe, after=0)
        values = standardised(targets_of_rows(store, windows.rows, head.names), head)
        known = np.flatnonzero(np.isfinite(values).all(axis=1))
        if split == "train" and len(known) == 0:
            raise StoreError(
                f"{store.path}: none of the {len(values)} training trajectories has a value of "
                f"{' and '.join(head.names)}",
                hint="leave this store out of --data",
            )
        # A head is told nothing; what stands in `told` would be that of other rows.
        return replace(windows, rows=windows.rows[known], targets=values[known].astype(np.float32), told=None)

    return find


def _target(name: str, values: Floats, section: HeadSection) -> Target:
    if section.logarithm != "auto":
        return target_of(name, values, logarithm=name in section.logarithm)
    target = target_of(name, values)
    if target.logarithm:
        note(
            f"{name} reaches from {target.low:g} to {target.high:g} in training: its log10 is learnt; "
            "--set 'head.logarithm=[]' learns the values themselves"
        )
    return target


def varies(values: Floats) -> bool:
    """Whether finite values are more than one."""
    low, high = float(values.min()), float(values.max())
    return high - low > _ONE_VALUE * max(abs(low), abs(high))


def target_of(name: str, values: Floats, *, logarithm: bool | None = None) -> Target:
    """A parameter with its scale and range in training; as log10 where its range is wide, unless that is said.

    Raises:
        StoreError: it is to be a logarithm, and is not above zero everywhere.
    """
    low, high = float(values.min()), float(values.max())
    if logarithm is None:
        logarithm = low > 0 and high >= WIDE_RANGE * low
    if logarithm and low <= 0:
        raise StoreError(
            f"{name} is {low:g} in a training trajectory, which has no logarithm",
            hint="leave it out of head.logarithm",
        )
    learnt = np.log10(values) if logarithm else values
    return Target(
        name=name,
        logarithm=logarithm,
        centre=float(learnt.mean()),
        scale=float(learnt.std()),
        low=low,
        high=high,
    )


def _warn_of_other_units(name: str, by_store: Mapping[str, Floats]) -> None:
    """Warn where the largest sizes of a parameter in two stores are far apart: stores do not keep parameters' units."""
    known = {store: values[np.isfinite(values)] for store, values in by_store.items()}
    sizes = {store: float(np.abs(values).max()) for store, values in known.items() if np.any(values)}
    if not sizes:
        return
    least, most = min(sizes, key=sizes.__getitem__), max(sizes, key=sizes.__getitem__)
    if sizes[most] > OTHER_UNITS * sizes[least]:
        low, high = (f"{known[store].min():g} to {known[store].max():g} in {store}" for store in (least, most))
        warn(
            f"{name} is {low} and {high}: one head learns both as the same quantity, which is wrong if their units "
            "differ; prepare one of them again in the units of the other, or leave it out of --data"
        )


def _say_left_out(stores: Sequence[Store], rows: Sequence[NDArray[np.int64]], targets: Sequence[str]) -> None:
    for store, chosen in zip(stores, rows, strict=True):
        unknown = int((~np.isfinite(targets_of_rows(store, chosen, targets))).any(axis=1).sum())
        if unknown:
            note(
                f"{store.name}: {unknown} of {len(chosen)} training trajectories lack {' or '.join(targets)}; they are "
                "left out"
            )


def _varying(stores: Sequence[Store], rows: Sequence[NDArray[np.int64]]) -> list[str]:
    """The parameters that all stores have, and that differ between training trajectories."""
    found = [parameters_of_rows(store, chosen) for store, chosen in zip(stores, rows, strict=True)]
    shared = [name for name in found[0] if all(name in other for other in found)]
    joined = {name: np.concatenate([values[name] for values in found]) for name in shared}
    return [name for name, values in joined.items() if len(np.unique(values[np.isfinite(values)])) > 1]
