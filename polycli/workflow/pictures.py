"""Pictures of rows: the data behind embeddings, as images and curves, found again by the columns of a row.

A family says how its stores are shown by naming a class in its `FAMILY` (`pictures`), which is called with an opened
store and is a `Pictures`. `PictureBook` asks the stores one after the other.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from polycli.errors import UserError
from polycli.families import find_family
from polycli.references import resolve
from polycli.workflow.stores import open_stores

#: The columns of one row of embeddings, by name.
Columns = Mapping[str, Any]


@dataclass(frozen=True)
class Curve:
    """A curve that belongs to a row, such as a spectrum."""

    x: NDArray[np.float64]
    #: As long as `x`; NaN where nothing is known.
    y: NDArray[np.float64]
    x_label: str
    y_label: str

    def shortened(self, points: int) -> Curve:
        """The curve with at most so many points, each the mean of its neighbours that are known.

        >>> Curve(np.arange(4.0), np.array([1.0, 3.0, np.nan, 5.0]), "x", "y").shortened(2).y.tolist()
        [2.0, 5.0]
        """
        if len(self.x) <= points:
            return self
        width = -(-len(self.x) // points)
        missing = -len(self.x) % width
        x = np.pad(self.x, (0, missing), mode="edge").reshape(-1, width).mean(axis=1)
        y = np.pad(self.y, (0, missing), constant_values=np.nan).reshape(-1, width)
        known = np.isfinite(y)
        count = known.sum(axis=1)
        total = np.where(known, y, 0).sum(axis=1)
        mean = np.divide(total, count, out=np.full(len(y), np.nan), where=count > 0)
        return Curve(x, mean, self.x_label, self.y_label)


class Pictures(Protocol):
    """The images and curves of one store, as its family shows them."""

    has_images: bool
    has_curves: bool

    def find(self, columns: Columns) -> int | None:
        """The place in the store of the row of embeddings with these columns; None where it is not of this store."""
        ...

    def image(self, place: int) -> NDArray[np.uint8]:
        """Returns (height, width, 3) red, green and blue; the first line is the upper one."""
        ...

    def curve(self, place: int) -> Curve:
        """The curve that belongs to a place."""
        ...


class PictureBook:
    """The pictures of several stores of one family, found by the columns of a row of embeddings."""

    def __init__(self, stores: Sequence[Pictures] = ()) -> None:
        self._stores = tuple(stores)

    @property
    def has_images(self) -> bool:
        """Whether any store has images."""
        return any(store.has_images for store in self._stores)

    @property
    def has_curves(self) -> bool:
        """Whether any store has curves."""
        return any(store.has_curves for store in self._stores)

    def image(self, columns: Columns) -> NDArray[np.uint8] | None:
        """(height, width, 3) the image of a row, from the first store that has one; None where none does.

        Raises:
            StoreError: what is stored is damaged.
        """
        for store in self._stores:
            if store.has_images and (place := store.find(columns)) is not None:
                return store.image(place)
        return None

    def curve(self, columns: Columns) -> Curve | None:
        """The curve of a row, from the first store that has one; None where none does.

        Raises:
            StoreError: what is stored is damaged.
        """
        for store in self._stores:
            if store.has_curves and (place := store.find(columns)) is not None:
                return store.curve(place)
        return None


def open_pictures(paths: Sequence[str | Path], *, family: str) -> PictureBook:
    """Open the stores that `paths` name, to show what they hold.

    Raises:
        UserError: a path is no store of this family, or the family shows no pictures.
        StoreError: a store is incomplete or damaged.
    """
    if not paths:
        return PictureBook()
    reference = find_family(family).pictures
    if reference is None:
        raise UserError(f"the family {family} has no pictures of its rows", hint="leave --data out")
    make = resolve(reference)
    return PictureBook([make(store) for store in open_stores(paths, family=family, by_name=False)])
