"""Finds out of which order the cells of folders named `healpix=NUMBER` are, from the positions of what lies in them."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from polycli.astroclip.data.healpix import nested_pixels
from polycli.console import warn
from polycli.errors import SourceError

_FOLDER = re.compile(r"healpix=(\d+)")
#: Orders that are tried: nside 1 to 4096.
_ORDERS = range(13)


def cell_of(path: Path) -> int | None:
    """The number in the name of the innermost folder `healpix=NUMBER` that a file lies in; None where there is none.

    >>> cell_of(Path("desi/healpix=583/001-of-001.hdf5"))
    583
    """
    numbers = [found.group(1) for part in path.parts[:-1] if (found := _FOLDER.fullmatch(part))]
    return int(numbers[-1]) if numbers else None


def orders_of(cell: int, ra: NDArray[np.float64], dec: NDArray[np.float64]) -> frozenset[int]:
    """The orders of the nested scheme at which all positions lie in the cell of that number.

    >>> sorted(orders_of(3, np.array([45.0]), np.array([85.0])))
    [1]
    """
    return frozenset(order for order in _ORDERS if (nested_pixels(ra, dec, order) == cell).all())


def refuse_mixed_orders(files: Iterable[tuple[Path, NDArray[np.float64], NDArray[np.float64]]]) -> None:
    """Make sure that the folders `healpix=NUMBER` of some files can all be cells of one order.

    Args:
        files: each with the right ascensions and declinations, in degrees, of the objects in it.

    Raises:
        SourceError: two files are in cells of different orders, as where two releases were put together.
    """
    common: frozenset[int] = frozenset(_ORDERS)
    example: tuple[Path, frozenset[int]] | None = None
    for path, ra, dec in files:
        cell, known = cell_of(path), np.isfinite(ra) & np.isfinite(dec)
        if cell is None or not known.any():
            continue
        orders = orders_of(cell, ra[known], dec[known])
        if not orders:
            warn(f"{path}: the objects in it do not lie in healpix cell {cell}, of whatever order")
            continue
        if not orders & common and example is not None:
            raise SourceError(
                f"healpix orders are mixed: {path} is a cell of order {_shown(orders)}, {example[0]} one of order "
                f"{_shown(example[1])}",
                hint="folders of two orders cover the same sky twice: give those of one release",
            )
        if example is None or len(orders & common) < len(common):
            example = (path, orders)
        common &= orders


def _shown(orders: frozenset[int]) -> str:
    return " or ".join(str(order) for order in sorted(orders))
