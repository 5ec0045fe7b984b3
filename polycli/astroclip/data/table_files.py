"""Endings of tables' files, and the nearest names to one that is not there."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from pathlib import Path

from polycli.errors import SourceError

FITS_SUFFIXES = (".fits", ".fit", ".fits.gz", ".fits.fz")
HDF5_SUFFIXES = (".h5", ".hdf5", ".hdf")
PARQUET_SUFFIXES = (".parquet", ".pq")
VOTABLE_SUFFIXES = (".vot", ".votable", ".xml")
TEXT_SUFFIXES = (".csv", ".csv.gz", ".tsv", ".tsv.gz", ".ecsv", ".ecsv.gz")


def find_name(names: Sequence[str], wanted: Iterable[str], *, path: Path, what: str) -> str:
    """The first of the wanted names that is there.

    Raises:
        SourceError: none is; the nearest names are in the sentence.
    """
    asked = list(wanted)
    for name in asked:
        if name in names:
            return name
    raise SourceError(f"{path}: has no column {' or '.join(asked)} ({what})", hint=nearest_names(asked[0], names))


def nearest_names(wanted: str, names: Sequence[str], then: str = "") -> str:
    """Suggests names that may have been meant by `wanted`; `then` is a sentence that follows.

    >>> nearest_names("masss", ["mass"]), nearest_names("mag_r", ["id", "mass"], "Names are set in arrays.")
    ('did you mean mass?', 'it has id, mass. Names are set in arrays.')
    """
    lower = {name.lower(): name for name in reversed(names)}
    near = [lower[name] for name in difflib.get_close_matches(wanted.lower(), lower, n=3, cutoff=0.5)]
    inside = [name for name in names if wanted.lower() in name.lower() and name not in near][:2]
    if near or inside:
        return f"did you mean {' or '.join([*near, *inside][:3])}?{' ' if then else ''}{then}"
    shown = ", ".join(names[:12])
    return f"it has {shown}{' and others' if len(names) > 12 else ''}{'. ' if then else ''}{then}"
