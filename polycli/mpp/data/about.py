"""The physics that a store of trajectories says it holds, checked where it is read."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from pydantic import ValidationError

from polycli.errors import StoreError, problems_of
from polycli.mpp.recipe.physics import PdeDescription
from polycli.store.manifest import AGAIN_HINT, Manifest

_STATISTICS = ("mean", "std", "rms", "min", "max", "mean_change", "std_change", "rms_change")


def physics_of(manifest: Manifest, path: Path) -> PdeDescription:
    """Read the `about` section of the manifest of the store at `path`.

    Raises:
        StoreError: it does not fit its schema, or the arrays of the store.
    """
    try:
        about = PdeDescription.model_validate(manifest.about)
    except ValidationError as error:
        reason = problems_of(error)
        raise StoreError(f"{path}: what it says of its physics is not sound: {reason}", hint=AGAIN_HINT) from error
    fields, expected = manifest.arrays.get("fields"), (len(about.fields), *about.grid)
    if fields is None or fields.shape[2:] != expected or len(about.units) != len(about.fields):
        found = "missing" if fields is None else str(fields.shape)
        raise StoreError(
            f"{path}: array 'fields' is {found}; of {len(about.fields)} fields in {len(about.units)} units, "
            f"(trajectory, time, *{expected}) was expected",
            hint=AGAIN_HINT,
        )
    return about


def statistics_of(manifest: Manifest, path: Path) -> Mapping[str, Mapping[str, float]]:
    """The statistics of each field, of the training trajectories, as the manifest of the store at `path` has them.

    Raises:
        StoreError: one is missing.
    """
    found = manifest.statistics.get("fields", {})
    for name, values in found.items():
        if missing := [key for key in _STATISTICS if key not in values]:
            raise StoreError(f"{path}: the statistics of {name!r} lack {', '.join(missing)}", hint=AGAIN_HINT)
    return found
