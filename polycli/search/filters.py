"""Restricts a search to some rows: a cone or a box on the sky, certain rows, a mask, or several of these together."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from polycli.errors import UserError
from polycli.store.embeddings.hats_layout import FINE_ORDER, HEALPIX, STORED_HEALPIX
from polycli.store.embeddings.partitions import Partition
from polycli.store.where.conditions import Condition, parse_condition

if TYPE_CHECKING:
    import pyarrow as pa

#: Under these names catalogues have the pixel at order 29, by which those in HATS are sorted.
_HEALPIX_NAMES = (HEALPIX, STORED_HEALPIX)
#: A cone is covered by about so many pixels.
_COVER_PIXELS = 4096
#: Degrees from the equator beyond which a cone may hold a pole, and so every right ascension.
_NEARLY_POLE = 89.9


class RowFilter(Protocol):
    """Decides which rows of embeddings a search may find."""

    @property
    def columns(self) -> frozenset[str]:
        """The columns that it must see."""
        ...

    def touches(self, partition: Partition) -> bool:
        """Whether a partition may have such rows; it is not read where not."""
        ...

    def mask(self, partition: Partition, table: pa.Table) -> NDArray[np.bool_]:
        """(rows,) which rows of a partition it lets through; `table` has the columns."""
        ...


@dataclass(frozen=True)
class AllOf:
    """Lets through what every one of some filters lets through."""

    filters: tuple[RowFilter, ...]

    @property
    def columns(self) -> frozenset[str]:
        """The columns of all filters."""
        return frozenset().union(*(each.columns for each in self.filters))

    def touches(self, partition: Partition) -> bool:
        """Whether none of them rules the partition out."""
        return all(each.touches(partition) for each in self.filters)

    def mask(self, partition: Partition, table: pa.Table) -> NDArray[np.bool_]:
        """Which rows all of them let through."""
        found = np.ones(partition.rows, np.bool_)
        for each in self.filters:
            found &= each.mask(partition, table)
        return found


@dataclass(frozen=True)
class CertainRows:
    """Lets certain rows through, such as those that were marked on a map."""

    #: (n,) indices of rows, rising.
    rows: NDArray[np.int64] = field(repr=False)

    @classmethod
    def of(cls, rows: Iterable[int]) -> CertainRows:
        """Make the filter of indices in any order."""
        return cls(np.unique(np.fromiter(rows, np.int64)))

    @property
    def columns(self) -> frozenset[str]:
        """None: rows are known by their index."""
        return frozenset()

    def touches(self, partition: Partition) -> bool:
        """Whether one of them lies in the partition."""
        begin, end = np.searchsorted(self.rows, (partition.first, partition.first + partition.rows))
        return bool(end > begin)

    def mask(self, partition: Partition, table: pa.Table) -> NDArray[np.bool_]:  # noqa: ARG002
        """Which rows of the partition are among them."""
        begin, end = np.searchsorted(self.rows, (partition.first, partition.first + partition.rows))
        found = np.zeros(partition.rows, np.bool_)
        found[self.rows[begin:end] - partition.first] = True
        return found


@dataclass(frozen=True)
class Cone:
    """Lets objects through that lie within a radius around a position on the sky."""

    #: Degrees.
    ra: float
    dec: float
    radius: float
    #: The columns of right ascension and declination.
    position: tuple[str, str] = ("ra", "dec")

    def __post_init__(self) -> None:
        """Refuse what is no cone."""
        if not (np.isfinite(self.ra) and -90 <= self.dec <= 90 and 0 < self.radius <= 180):
            raise UserError(
                f"cone {self.ra}, {self.dec}, radius {self.radius * 3600:g} arcsec: the declination is between -90 and "
                "90 degrees, and the radius above 0 and at most 180 degrees"
            )

    @property
    def columns(self) -> frozenset[str]:
        """The columns of the position."""
        return frozenset(self.position)

    def touches(self, partition: Partition) -> bool:
        """Whether the pixels of the partition's objects come near those of the cone."""
        name = next((name for name in _HEALPIX_NAMES if partition.range_of(name) is not None), None)
        found = None if name is None else partition.range_of(name)
        if found is None:
            return _may_be_within(
                partition.range_of(self.position[1]), (self.dec - self.radius, self.dec + self.radius)
            )
        starts, ends = self.pixel_ranges
        # The first range that ends behind the partition's first pixel must begin before its last one.
        place = int(np.searchsorted(ends, found[0], side="right"))
        return place < len(starts) and bool(starts[place] <= found[1])

    def mask(self, partition: Partition, table: pa.Table) -> NDArray[np.bool_]:  # noqa: ARG002
        """Which objects lie within the radius; those without a position do not."""
        ra, dec = (table[name].to_numpy().astype(np.float64, copy=False) for name in self.position)
        # Most are too far north or south, or too far around, which costs no sine; a little more is looked at than
        # rounding could hide.
        reach = self.radius * (1 + 1e-9) + 1e-9
        near = np.flatnonzero((dec >= self.dec - reach) & (dec <= self.dec + reach))
        ra, dec = ra[near], dec[near]
        if abs(self.dec) + reach < _NEARLY_POLE:
            # The meridians that touch the cone.
            around = np.degrees(np.arcsin(np.sin(np.radians(reach)) / np.cos(np.radians(self.dec)))) + 1e-9
            apart = ra - self.ra
            inside = np.flatnonzero(np.abs(apart - 360 * np.rint(apart / 360)) <= around)
            near, ra, dec = near[inside], ra[inside], dec[inside]
        found = np.zeros(len(table), np.bool_)
        found[near] = self._separation(ra, dec) <= self.radius
        return found

    def separation(self, table: pa.Table) -> NDArray[np.float64]:
        """(n,) degrees from the middle to the objects of a table; NaN where there is no position."""
        return self._separation(*(table[name].to_numpy().astype(np.float64) for name in self.position))

    def _separation(self, ra: NDArray[np.float64], dec: NDArray[np.float64]) -> NDArray[np.float64]:
        ra, dec = np.radians(ra), np.radians(dec)
        ra0, dec0 = np.radians(self.ra), np.radians(self.dec)
        # Haversine, which loses nothing at small angles.
        half = np.sin((dec - dec0) / 2) ** 2 + np.cos(dec) * np.cos(dec0) * np.sin((ra - ra0) / 2) ** 2
        return np.asarray(np.degrees(2 * np.arcsin(np.sqrt(np.clip(half, 0, 1)))), np.float64)

    @cached_property
    def pixel_ranges(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """First pixels of ranges at order 29 that cover the cone, and the pixels behind their last ones, rising."""
        from astropy import units
        from astropy_healpix import HEALPix

        # A pixel at order k is about 58.6 degrees / 2^k wide.
        area = 2 * np.pi * (1 - np.cos(np.radians(self.radius)))
        order = int(np.clip(np.floor(np.log2(_COVER_PIXELS * 4 * np.pi / 12 / area) / 2), 0, 20))
        healpix = HEALPix(nside=2**order, order="nested")
        # Twice a pixel's width more, for astropy's search goes by their middles.
        wider = min(self.radius + 120 / 2**order, 180)
        pixels = np.sort(
            healpix.cone_search_lonlat(self.ra * units.deg, self.dec * units.deg, wider * units.deg).astype(np.int64)
        )
        breaks = np.flatnonzero(np.diff(pixels) > 1)
        firsts, lasts = pixels[np.r_[0, breaks + 1]], pixels[np.r_[breaks, len(pixels) - 1]]
        shift = 2 * (FINE_ORDER - order)
        return firsts << shift, (lasts + 1) << shift


@dataclass(frozen=True)
class Box:
    """Lets objects through whose right ascension and declination lie between bounds; RA may go through 0."""

    #: Degrees, bounds included. Where the first right ascension is the larger one, the box goes through RA 0.
    ra: tuple[float, float]
    dec: tuple[float, float]
    position: tuple[str, str] = ("ra", "dec")

    def __post_init__(self) -> None:
        """Refuse what is no box."""
        if not (np.isfinite(self.ra).all() and -90 <= self.dec[0] <= self.dec[1] <= 90):
            raise UserError(
                f"box of right ascension {self.ra} and declination {self.dec}: declinations rise between -90 and 90"
            )

    @property
    def columns(self) -> frozenset[str]:
        """The columns of the position."""
        return frozenset(self.position)

    def touches(self, partition: Partition) -> bool:
        """Whether the partition's declinations come near."""
        return _may_be_within(partition.range_of(self.position[1]), self.dec)

    def mask(self, partition: Partition, table: pa.Table) -> NDArray[np.bool_]:  # noqa: ARG002
        """Which objects lie inside; those without a position do not."""
        ra, dec = (table[name].to_numpy().astype(np.float64) for name in self.position)
        low, high = self.ra
        whole_circle = high - low >= 360
        ra, low, high = ra % 360, low % 360, high % 360
        between = (low <= ra) & (ra <= high) if low <= high else (low <= ra) | (ra <= high)
        inside = np.isfinite(ra) & (between | whole_circle)
        return np.asarray(inside & (self.dec[0] <= dec) & (dec <= self.dec[1]), np.bool_)


@dataclass(frozen=True)
class Where:
    """Lets rows through whose columns fulfil a condition, such as `redshift < 0.1 and mag_r < 19`."""

    condition: Condition

    @classmethod
    def of(cls, text: str) -> Where:
        """Read the condition; `polycli.store.where` has the grammar.

        Raises:
            UserError: it is none.
        """
        return cls(parse_condition(text))

    @property
    def columns(self) -> frozenset[str]:
        """The columns that the condition names."""
        return self.condition.columns

    def touches(self, partition: Partition) -> bool:  # noqa: ARG002
        """Always True: which rows fulfil it is not known before."""
        return True

    def mask(self, partition: Partition, table: pa.Table) -> NDArray[np.bool_]:
        """Which rows fulfil it; those for which that is not known do not."""
        # A condition without columns is the same for every row, and asks for one that it does not look at.
        columns = {name: table[name] for name in self.columns} or {"": np.zeros(partition.rows)}
        return self.condition.rows(columns)


def both(filters: Sequence[RowFilter]) -> RowFilter | None:
    """One filter for several; None for none."""
    if len(filters) < 2:
        return filters[0] if filters else None
    return AllOf(tuple(filters))


def _may_be_within(found: tuple[float, float] | None, bounds: tuple[float, float]) -> bool:
    return found is None or (found[0] <= bounds[1] and found[1] >= bounds[0])
