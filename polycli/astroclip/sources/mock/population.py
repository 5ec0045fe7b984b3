"""Galaxies of the nearby universe: masses, star formation, ages, metals, shapes, sizes, down to a magnitude limit.

Redshifts follow the comoving volume and masses the double Schechter function of Baldry et al. 2012; the other laws are
plain scaling relations with scatter, chosen so that redshift, mass and star formation are as hard to infer as they are
in the Legacy Surveys and DESI.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from polycli.astroclip.sources.mock import continuum, cosmology

#: Galaxies are drawn in blocks of this many, each from its own seed, so that a galaxy depends on its number alone.
BLOCK = 64
#: About one in fifty is bright enough at r < 19.5, so that one batch is mostly enough for a block.
_CANDIDATES = 3600
_BRIGHTEST = 14.5
_SOLAR_R = 4.65
_LARGEST_REDSHIFT = 0.6
_REDSHIFTS = np.linspace(0.005, _LARGEST_REDSHIFT, 600)
_MASSES = np.linspace(8.3, 12.0, 400)


@dataclass(frozen=True)
class Galaxies:
    """One array entry for each galaxy."""

    redshift: NDArray[np.float64]
    #: log10 of solar masses.
    mass: NDArray[np.float64]
    #: log10 of 1/yr.
    ssfr: NDArray[np.float64]
    #: Gyr.
    age: NDArray[np.float64]
    #: log10 of solar.
    metallicity: NDArray[np.float64]
    bulge_fraction: NDArray[np.float64]
    #: Of the disk as it is seen.
    axis_ratio: NDArray[np.float64]
    #: Attenuation in V, magnitudes.
    dust: NDArray[np.float64]
    #: Half-light radius, kpc.
    radius: NDArray[np.float64]
    quiescent: NDArray[np.bool_]
    #: (n, wavelength) erg/s/A on `continuum.WAVELENGTH`, dust included.
    luminosity: NDArray[np.float64]
    #: (n, 3) nanomaggies in g, r, z.
    flux: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.redshift)

    def where(self, chosen: NDArray[np.bool_] | slice) -> Galaxies:
        """Returns the chosen galaxies alone."""
        return Galaxies(**{part.name: getattr(self, part.name)[chosen] for part in fields(self)})


def block_of_galaxies(seed: int, block: int, magnitude_limit: float) -> Galaxies:
    """The galaxies `block * BLOCK` to `(block + 1) * BLOCK - 1` of a survey with this seed and limit in r."""
    generator = np.random.default_rng([seed, 0, block])
    found: list[Galaxies] = []
    while sum(map(len, found)) < BLOCK:
        found.append(_visible(generator, magnitude_limit))
    parts = {part.name: np.concatenate([getattr(item, part.name) for item in found]) for part in fields(Galaxies)}
    return Galaxies(**parts).where(slice(BLOCK))


def _visible(generator: np.random.Generator, magnitude_limit: float) -> Galaxies:
    """Draws some thousand candidates and returns those that are bright enough."""
    count = _CANDIDATES
    redshift = _drawn(generator, _REDSHIFTS, cosmology.volume_density(_REDSHIFTS), count)
    ratio = 10 ** (_MASSES - 10.66)
    mass = _drawn(generator, _MASSES, np.exp(-ratio) * (3.96 * ratio**0.65 + 0.79 * ratio**-0.47), count)
    quiescent = generator.random(count) < 1 / (1 + np.exp(-(mass - 10.55) / 0.25))
    passive = -11.9 + 0.35 * generator.standard_normal(count)
    forming = -9.85 - 0.2 * (mass - 10) + 2.5 * np.log10(1 + redshift) + 0.3 * generator.standard_normal(count)
    ssfr = np.where(quiescent, passive, forming)
    distance = cosmology.luminosity_distance(redshift)
    # Mass to light follows colour, of which the star formation is the driver (as Bell et al. 2003).
    ratio_to_light = np.interp(ssfr, [-12, -10.6, -10, -9], [0.42, 0.22, 0.02, -0.35])
    absolute = _SOLAR_R - 2.5 * (mass - ratio_to_light - 0.08 * generator.standard_normal(count))
    dust = 0.6 * np.clip(np.where(quiescent, 0.1, 0.35 + 0.4 * (mass - 10)), 0, 3)
    # Far fewer than one in a hundred is seen, so the rest is left early; exact magnitudes decide below.
    guess = absolute + 5 * np.log10(distance * 1e5) + 1.2 * redshift + 0.8 * dust
    near = guess < magnitude_limit + 0.8
    galaxies = _with_shapes(
        generator,
        redshift=redshift[near],
        mass=mass[near],
        ssfr=ssfr[near],
        quiescent=quiescent[near],
        absolute=absolute[near],
    )
    magnitude = 22.5 - 2.5 * np.log10(galaxies.flux[:, 1])
    return galaxies.where((magnitude < magnitude_limit) & (magnitude > _BRIGHTEST))


def _with_shapes(
    generator: np.random.Generator,
    *,
    redshift: NDArray[np.float64],
    mass: NDArray[np.float64],
    ssfr: NDArray[np.float64],
    quiescent: NDArray[np.bool_],
    absolute: NDArray[np.float64],
) -> Galaxies:
    count = len(redshift)

    def scatter(width: float) -> NDArray[np.float64]:
        return width * generator.standard_normal(count)

    stellar_age = np.clip(8.0 - 1.84 * (ssfr + 11.5) + scatter(0.8), 0.8, 0.9 * cosmology.age(redshift))
    metallicity = np.clip(-0.1 + 0.35 * (mass - 10.5) + scatter(0.12), -1.5, 0.4)
    bulge = np.clip(np.where(quiescent, 0.75, 0.12 + 0.12 * (mass - 10)) + scatter(0.13), 0.01, 0.98)
    # Disks a fifth as thick as wide, seen from everywhere alike.
    axis_ratio = np.sqrt(generator.random(count) ** 2 * (1 - 0.2**2) + 0.2**2)
    law = np.where(quiescent, 0.1, 0.35 + 0.4 * (mass - 10) - 0.3 * np.log(axis_ratio) * (1 - bulge))
    dust = np.clip(law + scatter(0.15), 0, 3)
    size = np.where(quiescent, 0.75 + 0.7 * (mass - 11), 0.72 + 0.25 * (mass - 10.5))
    radius = 10 ** (size + scatter(0.17))
    shape = continuum.shapes(ssfr, stellar_age, metallicity)
    at_r = np.array([np.interp(6200.0, continuum.WAVELENGTH, row) for row in shape]).reshape(count)
    # erg/s/A at 6200 A of an absolute AB magnitude in r, before dust.
    bright = 10 ** (-0.4 * (absolute + 48.6)) * 4 * np.pi * 3.0856775814913673e19**2 * 2.99792458e18 / 6200.0**2
    luminosity = continuum.reddened(shape * (bright / at_r)[:, None], dust)
    flux = continuum.observed_flux(luminosity, redshift, cosmology.luminosity_distance(redshift))
    return Galaxies(
        redshift, mass, ssfr, stellar_age, metallicity, bulge, axis_ratio, dust, radius, quiescent, luminosity, flux
    )


def _drawn(
    generator: np.random.Generator, grid: NDArray[np.float64], density: NDArray[np.float64], count: int
) -> NDArray[np.float64]:
    """`count` values with this density, by inverting the cumulative distribution."""
    steps = 0.5 * (density[1:] + density[:-1]) * np.diff(grid)
    cumulative = np.concatenate([[0.0], np.cumsum(steps)])
    values: NDArray[np.float64] = np.interp(generator.random(count) * cumulative[-1], cumulative, grid)
    return values
