"""Reads objects that lie in several files, file by file, and puts them back into the order that was asked for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from polycli.astroclip.data.source import Payload

Kind = TypeVar("Kind", np.float32, np.float64, np.bool_)


def read_by_file(
    files: NDArray[np.int32], rows: NDArray[np.int64], read: Callable[[int, NDArray[np.int64]], Payload]
) -> Payload:
    """Images and spectra of the objects at row `rows[i]` of file `files[i]`; `read` returns some rows of one file."""
    numbers = np.unique(files).tolist()
    places = [np.flatnonzero(files == number) for number in numbers]
    parts = [read(number, rows[place]) for number, place in zip(numbers, places, strict=True)]
    if len(parts) == 1:
        return parts[0]
    order = np.argsort(np.concatenate(places))

    return Payload(
        image=_joined([part.image for part in parts], order),
        spectrum=_joined([part.spectrum for part in parts], order),
        ivar=_joined([part.ivar for part in parts], order),
        mask=_joined([part.mask for part in parts], order),
        wavelength=_joined([part.wavelength for part in parts], order),
    )


def _joined(values: Sequence[NDArray[Kind] | None], order: NDArray[np.int64]) -> NDArray[Kind] | None:
    there = [value for value in values if value is not None]
    return np.concatenate(there)[order] if there else None
