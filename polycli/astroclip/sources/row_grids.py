"""Wavelengths that each object brings along: whether all share a grid, and how their spectra come onto one.

Cases are told apart. All objects have the same grid, as DESI's: it is the store's. Where they differ and the recipe
says `resample.own`, each keeps its own. All lie on SDSS's lattice 10**(i / 10,000), each on a stretch of its own: the
store's grid is what any covers. Else the recipe must name a grid, to which each spectrum is resampled. Entries that are
not finite and positive are padding.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from polycli.astroclip.data.description import SpectrumDescription
from polycli.astroclip.data.resampling import describe_grid, recipe_grid, refuse_without_overlap, resample_spectra
from polycli.astroclip.recipe.preparing import ResampleSection
from polycli.astroclip.sources.sdss_files import PER_DECADE, wavelengths
from polycli.errors import SourceError

#: Angstrom that one and the same grid may differ by: wavelengths in float32 are good to 0.001.
_SAME = 0.01
#: Angstrom that a wavelength of visible light loses at most when it is written in float32 and rounded to three digits.
_ROUNDING = 0.0011
#: How far, in pixels, a wavelength may lie off SDSS's lattice.
_OFF_LATTICE = 0.05

Floats = NDArray[np.float64]


class Placed(NamedTuple):
    """Spectra on the wavelengths of a store, (n, pixels of the store)."""

    flux: NDArray[np.float32]
    ivar: NDArray[np.float32]
    mask: NDArray[np.bool_]
    #: 0 in padding; None where all spectra are on one grid.
    wavelength: Floats | None = None


@dataclass(frozen=True)
class SourceSpectra:
    """Spectra of some objects with their own wavelengths, all (n, pixels)."""

    wavelength: Floats
    flux: NDArray[np.float32]
    ivar: NDArray[np.float32]
    mask: NDArray[np.bool_]


@dataclass
class GridScan:
    """Summary of the wavelengths of a file's objects, gathered block by block."""

    #: The first object's, without padding.
    first: Floats | None = None
    #: Whether all objects that were looked at have this grid, and whether all lie on SDSS's lattice.
    same: bool = True
    lattice: bool = True
    low: float = field(default=np.inf)
    high: float = field(default=-np.inf)
    #: Pixels of the longest spectrum.
    longest: int = 0

    def add(self, wavelength: NDArray[np.float32] | Floats) -> None:
        """Look at the wavelengths of some objects, (n, pixels); objects with fewer than two have no spectrum."""
        exact = wavelength.astype(np.float64)
        valid = np.isfinite(exact) & (exact > 0)
        there = valid.sum(axis=1) > 1
        exact, valid = exact[there], valid[there]
        if not len(exact):
            return
        if self.first is None:
            self.first = exact[0][valid[0]]
        whole = bool(valid.all()) and exact.shape[1] == self.first.size
        self.same &= whole and bool(np.abs(exact - self.first).max() < _SAME)
        self.lattice &= _first_places(exact, valid) is not None
        self.longest = max(self.longest, int(valid.sum(axis=1).max()))
        self.low = min(self.low, float(exact[valid].min()))
        self.high = max(self.high, float(exact[valid].max()))


@dataclass(frozen=True)
class RowGrid:
    """The wavelengths of a store, and how objects with grids of their own come onto them."""

    kind: Literal["same", "lattice", "resampled", "own"]
    #: The store's; of spectra on grids of their own the first and the last of all.
    wavelength: Floats
    #: Pixels of the longest spectrum, where each has its own grid.
    longest: int = 0

    @property
    def axis(self) -> Floats | None:
        """The wavelengths that all spectra of the store share; None where each has its own."""
        return None if self.kind == "own" else self.wavelength

    def describe(self, *, what: str) -> SpectrumDescription:
        """Describes the wavelengths as a store does; `what` names the file.

        Raises:
            SourceError: they do not rise.
        """
        if self.kind != "own":
            return describe_grid(self.wavelength, what=what)
        first, last = self.wavelength.tolist()
        return SpectrumDescription(pixels=self.longest, first=first, last=last, step=None, own=True)

    def place(self, spectra: SourceSpectra, *, what: str) -> Placed:
        """Flux, inverse variance and mask on the store's wavelengths, (n, pixels of the store).

        Raises:
            SourceError: an object's wavelengths are not as those that were looked at; `what` names the file.
        """
        valid = np.isfinite(spectra.wavelength) & (spectra.wavelength > 0)
        there = valid.sum(axis=1) > 1
        if self.kind == "same" and there.all():
            self._check_same(spectra.wavelength, what)
            return Placed(spectra.flux, spectra.ivar, spectra.mask)
        if self.kind == "own":
            return self._padded(spectra, valid, what)
        shape = (len(spectra.flux), self.wavelength.size)
        flux, ivar, mask = np.zeros(shape, np.float32), np.zeros(shape, np.float32), np.ones(shape, np.bool_)
        if not there.all():
            # Objects without a spectrum stay masked as a whole, and are rejected for that.
            if there.any():
                flux[there], ivar[there], mask[there] = self.place(_some(spectra, there), what=what)[:3]
            return Placed(flux, ivar, mask)
        if self.kind == "lattice":
            places = _first_places(spectra.wavelength, valid)
            if places is None:
                raise SourceError(f"{what}: wavelengths are not on the other objects' lattice, 10**(i / 10,000) A")
            start = places - round(float(np.log10(self.wavelength[0])) * PER_DECADE)
            rows, columns = np.nonzero(valid)
            there = start[rows] + columns
            flux[rows, there], ivar[rows, there] = spectra.flux[valid], spectra.ivar[valid]
            mask[rows, there] = spectra.mask[valid]
            return Placed(flux, ivar, mask)
        for row in range(len(flux)):
            use = valid[row]
            own = spectra.wavelength[row][use]
            _refuse_unless_rising(own, what)
            bad = spectra.mask[row][use] | ~np.isfinite(spectra.flux[row][use]) | ~np.isfinite(spectra.ivar[row][use])
            parts = (spectra.flux[row][use][None], spectra.ivar[row][use][None], bad[None])
            flux[row], ivar[row], mask[row] = (part[0] for part in resample_spectra(*parts, own, self.wavelength))
        return Placed(flux, ivar, mask)

    def _padded(self, spectra: SourceSpectra, valid: NDArray[np.bool_], what: str) -> Placed:
        """Each spectrum as it is, with masked pixels of no wavelength behind it."""
        shape = (len(spectra.flux), self.longest)
        flux, ivar, mask = np.zeros(shape, np.float32), np.zeros(shape, np.float32), np.ones(shape, np.bool_)
        wavelength = np.zeros(shape)
        for row, use in enumerate(valid):
            here = slice(0, int(use.sum()))
            wavelength[row, here], flux[row, here] = spectra.wavelength[row][use], spectra.flux[row][use]
            ivar[row, here], mask[row, here] = spectra.ivar[row][use], spectra.mask[row][use]
            _refuse_unless_rising(wavelength[row, here], what)
        return Placed(flux, ivar, mask | ~np.isfinite(flux) | ~np.isfinite(ivar), wavelength)

    def _check_same(self, wavelength: Floats, what: str) -> None:
        if wavelength.shape[1] == self.wavelength.size:
            off = np.abs(wavelength - self.wavelength).max(axis=1)
            if (off < _SAME).all():
                return
        raise SourceError(
            f"{what}: the wavelengths of an object differ from those of the file's first: {wavelength.shape[1]} from "
            f"{wavelength[0, 0]:g} A, {self.wavelength.size} from {self.wavelength[0]:g} A were expected",
            hint="set resample.first, resample.last and resample.step in the recipe to bring all to one grid",
        )


def _refuse_unless_rising(wavelength: Floats, what: str) -> None:
    """Raise SourceError where arms overlap or wavelengths fall: their pixels have no edges to share flux out by."""
    if (np.diff(wavelength) <= 0).any():
        raise SourceError(f"{what}: the wavelengths of an object do not rise from pixel to pixel")


def plan_grid(scans: list[tuple[str, GridScan]], section: ResampleSection) -> RowGrid:
    """The grid for objects of files that were looked at, each with its name.

    Raises:
        SourceError: grids differ and the recipe names none, or its grid is not reached.
    """
    example, first = next(((name, scan.first) for name, scan in scans if scan.first is not None), ("", None))
    if first is None:
        raise SourceError(f"{scans[0][0]}: no object has two wavelengths above 0")
    scans = [(name, scan) for name, scan in scans if scan.first is not None]
    same = all(
        scan.same
        and scan.first is not None
        and scan.first.size == first.size
        and bool(np.abs(scan.first - first).max() < _SAME)
        for _, scan in scans
    )
    if same:
        return RowGrid("same", rounded_grid(first))
    low, high = min(scan.low for _, scan in scans), max(scan.high for _, scan in scans)
    if section.own:
        return RowGrid("own", np.array([low, high]), max(scan.longest for _, scan in scans))
    if all(scan.lattice for _, scan in scans):
        start, stop = (round(float(np.log10(value)) * PER_DECADE) for value in (low, high))
        return RowGrid("lattice", wavelengths(start, stop - start + 1))
    wanted = recipe_grid(section)
    if wanted is None:
        raise SourceError(
            f"{example}: objects have different wavelengths, {low:g} to {high:g} A in all, which are on no common grid",
            hint="set resample.first, resample.last and resample.step in the recipe to bring all to one grid, or "
            "resample.own=true to keep each on its own, for models with model.spectrum.grid: native",
        )
    refuse_without_overlap(np.array([low, high]), wanted, what=example)
    return RowGrid("resampled", wanted)


def _some(spectra: SourceSpectra, rows: NDArray[np.bool_]) -> SourceSpectra:
    return SourceSpectra(spectra.wavelength[rows], spectra.flux[rows], spectra.ivar[rows], spectra.mask[rows])


def rounded_grid(wavelength: Floats) -> Floats:
    """An even grid without the rounding of float32, so that one grid of different files is the same to the digit.

    >>> rounded_grid(np.array([3600.0, 3600.8, 3601.6], np.float32).astype(np.float64)).tolist()
    [3600.0, 3600.8, 3601.6]
    """
    last = wavelength.size - 1
    first, step = round(float(wavelength[0]), 3), round(float(wavelength[-1] - wavelength[0]) / last, 4)
    even = first + step * np.arange(wavelength.size, dtype=np.float64)
    return even if np.abs(even - wavelength).max() < _ROUNDING else wavelength


def _first_places(wavelength: Floats, valid: NDArray[np.bool_]) -> NDArray[np.int64] | None:
    """Pixel of SDSS's lattice on which column 0 of each object lies; None where an object is not on the lattice."""
    exact = np.log10(np.where(valid, wavelength, 1.0)) * PER_DECADE
    places = np.round(exact)
    if np.abs(exact - places)[valid].max() > _OFF_LATTICE:
        return None
    starts = places - np.arange(wavelength.shape[1])
    first = starts[np.arange(len(starts)), valid.argmax(axis=1)]
    if not (np.where(valid, starts, first[:, None]) == first[:, None]).all():
        return None
    found: NDArray[np.int64] = first.astype(np.int64)
    return found
