"""The partitions of a HATS collection on the sky: which one a position lies in, and which ones lie near others."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from polycli.store.embeddings.hats_layout import Pixel

#: Pixels of this order are 51 arcsec wide: what is nearer than that lies in a neighbour.
_WIDE_ORDER, _WIDE_ARCSEC = 12, 51.0


class Sky:
    """Partitions that do not overlap, in the order of the sky."""

    def __init__(self, pixels: Sequence[Pixel]) -> None:
        self.pixels = list(pixels)
        self._starts = np.array([pixel.first for pixel in pixels], np.int64)
        self._ends = np.array([pixel.end for pixel in pixels], np.int64)

    def partition_of(self, healpix: NDArray[np.int64]) -> NDArray[np.int64]:
        """The index of the partition that each pixel of order 29 lies in; -1 where there is none."""
        if not self.pixels:
            return np.full(len(healpix), -1, np.int64)
        index = np.searchsorted(self._starts, healpix, side="right") - 1
        return np.where((index >= 0) & (healpix < self._ends[index]), index, -1)

    def columns_of(self, healpix: NDArray[np.int64]) -> dict[str, NDArray[np.int64]]:
        """Norder, Dir and Npix of the partitions that pixels of order 29 lie in."""
        index = self.partition_of(healpix)
        orders = np.array([pixel.order for pixel in self.pixels], np.int64)[index]
        numbers = np.array([pixel.number for pixel in self.pixels], np.int64)[index]
        return {"Norder": orders, "Dir": numbers // 10_000 * 10_000, "Npix": numbers}

    def around(self, indices: Iterable[int], *, below: float) -> set[int]:
        """The partitions of which a point may lie less than `below` arcsec from one of these, themselves among them.

        Raises:
            ValueError: `below` is wider than the pixels that are looked at.
        """
        from astropy_healpix import HEALPix

        if below > _WIDE_ARCSEC:
            raise ValueError(f"{below} arcsec is more than the {_WIDE_ARCSEC} of a pixel of order {_WIDE_ORDER}")
        found: set[int] = set()
        for index in indices:
            pixel = self.pixels[index]
            order = min(pixel.order, _WIDE_ORDER)
            number = pixel.number >> (2 * (pixel.order - order))
            grid = HEALPix(nside=2**order, order="nested")
            with np.errstate(invalid="ignore"):  # At its corners a pixel has no neighbour, which is told as -1.
                neighbours = grid.neighbours(np.array([number])).ravel().tolist()
            near = {number, *neighbours} - {-1}
            for pixel in (Pixel(order, each) for each in near):
                first = np.searchsorted(self._ends, pixel.first, side="right")
                end = np.searchsorted(self._starts, pixel.end, side="left")
                found.update(range(int(first), int(end)))
        return found


def circle_pixels(ra: NDArray[np.float64], dec: NDArray[np.float64], arcsec: float, points: int) -> NDArray[np.int64]:
    """(n, points) pixels at order 29 of a circle of this radius around each position."""
    from astropy import units
    from astropy_healpix.core import lonlat_to_healpix

    radius = np.radians(arcsec / 3600)
    angle = 2 * np.pi * np.arange(points) / points
    longitude, latitude = np.radians(ra)[:, None], np.radians(dec)[:, None]
    # The sphere's own trigonometry, so that poles need no care.
    sine = np.sin(latitude) * np.cos(radius) + np.cos(latitude) * np.sin(radius) * np.cos(angle)
    around = np.arcsin(np.clip(sine, -1, 1))
    turned = longitude + np.arctan2(
        np.sin(angle) * np.sin(radius) * np.cos(latitude), np.cos(radius) - np.sin(latitude) * sine
    )
    found = lonlat_to_healpix(turned * units.rad, around * units.rad, nside=2**29, order="nested")
    return np.asarray(found, np.int64)
