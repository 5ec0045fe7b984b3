"""Spectra of mock galaxies on DESI's grid: continuum, absorption by stars, emission by gas, sky noise, bad pixels.

Vacuum wavelengths in Angstrom; fluxes in 1e-17 erg/s/cm2/A.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from polycli.astroclip.sources.mock import continuum
from polycli.astroclip.sources.mock.cosmology import CM_PER_MPC, LIGHT_SPEED, luminosity_distance
from polycli.astroclip.sources.mock.population import Galaxies

#: DESI's grid over all three cameras.
WAVELENGTH: NDArray[np.float64] = 3600.0 + 0.8 * np.arange(7781, dtype=np.float64)
STEP = 0.8
#: Standard deviation of the line spread in Angstrom.
_RESOLUTION = 0.75
#: Emission lines: wavelength.
_EMISSION = {
    "OII_3727": 3727.1,
    "OII_3730": 3729.9,
    "H_delta": 4102.9,
    "H_gamma": 4341.7,
    "H_beta": 4862.7,
    "OIII_4960": 4960.3,
    "OIII_5008": 5008.2,
    "NII_6550": 6549.9,
    "H_alpha": 6564.6,
    "NII_6585": 6585.3,
    "SII_6718": 6718.3,
    "SII_6733": 6732.7,
}
#: Absorption lines: wavelength, equivalent width in Angstrom, width beyond the stars' velocities, whether of hydrogen.
_ABSORPTION = (
    (3934.8, 6.0, 3.0, False),
    (3969.6, 6.0, 3.0, False),
    (4102.9, 5.0, 1.0, True),
    (4305.6, 4.0, 1.0, False),
    (4341.7, 4.0, 1.0, True),
    (4384.0, 2.0, 1.0, False),
    (4862.7, 3.5, 1.0, True),
    (5176.6, 5.0, 3.0, False),
    (5271.0, 2.3, 1.0, False),
    (5336.0, 2.0, 1.0, False),
    (5895.6, 2.5, 1.0, False),
    (6160.0, 2.0, 1.0, False),
    (8500.4, 1.2, 1.0, False),
    (8544.4, 3.0, 1.0, False),
    (8664.5, 2.5, 1.0, False),
)
#: Rest wavelengths of all lines, in order.
LINES: tuple[float, ...] = tuple(sorted({*_EMISSION.values(), *(line[0] for line in _ABSORPTION)}))


def _sky() -> NDArray[np.float64]:
    """Standard deviation of the noise of a faint object: detector and sky, with the airglow of OH in the red."""
    generator = np.random.default_rng(7)
    places, strengths = generator.uniform(7200, 9824, 160), 1.5 * generator.lognormal(0, 0.8, 160)
    level = 0.55 + 0.9 * np.exp(-(WAVELENGTH - 3600) / 250) + 0.25 * np.clip((WAVELENGTH - 8000) / 1800, 0, None)
    for place, strength in zip(places, strengths, strict=True):
        level += strength * np.exp(-0.5 * np.square(WAVELENGTH - place))
    return level


SKY = _sky()


def draw_spectrum(
    generator: np.random.Generator, galaxies: Galaxies, place: int, fibre_share: NDArray[np.float64]
) -> NDArray[np.float64]:
    """(7781,) the light of galaxy number `place` that enters the fibre; `fibre_share` is how much in g, r, z."""
    redshift = float(galaxies.redshift[place])
    area = 4 * math.pi * _distance_cm(redshift) ** 2
    rest = WAVELENGTH / (1 + redshift)
    flux = np.interp(rest, continuum.WAVELENGTH, galaxies.luminosity[place]) / (1 + redshift) / area * 1e17
    velocity = float(np.clip(180 * 10 ** (0.29 * (galaxies.mass[place] - 11)), 60, 320))
    _absorb(flux, redshift, velocity, float(galaxies.ssfr[place]), float(galaxies.metallicity[place]))
    _emit(flux, generator, galaxies, place=place, velocity=velocity, area=area)
    result: NDArray[np.float64] = flux * np.interp(WAVELENGTH, (4700.0, 6400.0, 9200.0), fibre_share)
    return result


def observe(
    generator: np.random.Generator, flux: NDArray[np.float64]
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.bool_]]:
    """Flux with noise, inverse variance, and bad pixels: a few short runs that a cosmic ray or a dead column spoils."""
    sigma = SKY * (1 + 0.02 * np.sqrt(np.clip(flux, 0, None)))
    seen = (flux + sigma * generator.standard_normal(flux.size)).astype(np.float32)
    ivar = (1 / np.square(sigma)).astype(np.float32)
    mask = np.zeros(flux.size, np.bool_)
    for _ in range(generator.poisson(6)):
        start = int(generator.integers(0, flux.size))
        mask[start : start + int(generator.integers(1, 8))] = True
    ivar[mask] = 0
    seen[mask] += np.float32(20) * generator.standard_exponential(int(mask.sum()), dtype=np.float32)
    return seen, ivar, mask


def _distance_cm(redshift: float) -> float:
    return float(luminosity_distance(np.array([redshift]))[0]) * CM_PER_MPC


def _absorb(flux: NDArray[np.float64], redshift: float, velocity: float, ssfr: float, metallicity: float) -> None:
    """Multiply the lines of stars into the continuum: metals are strong in old stars, hydrogen in those of 1 Gyr."""
    old = 1 / (1 + math.exp((ssfr + 10.6) / 0.4))
    middle = math.exp(-0.5 * ((ssfr + 10.3) / 0.6) ** 2)
    for centre, width, extra, hydrogen in _ABSORPTION:
        strength = width * (0.3 + middle) if hydrogen else width * (0.35 + 0.65 * old) * 10 ** (0.5 * metallicity)
        sigma = math.hypot(centre * velocity / LIGHT_SPEED, 1.5) + extra
        depth = min(max(strength / (sigma * math.sqrt(2 * math.pi)), 0), 0.85)
        window, offset = _window(centre * (1 + redshift), sigma * (1 + redshift))
        flux[window] *= 1 - depth * np.exp(-0.5 * np.square(offset))


def _emit(
    flux: NDArray[np.float64],
    generator: np.random.Generator,
    galaxies: Galaxies,
    *,
    place: int,
    velocity: float,
    area: float,
) -> None:
    """Add the lines of the gas: H alpha from the star formation rate (Kennicutt and Evans 2012), the rest by ratios."""
    redshift = float(galaxies.redshift[place])
    rate = 10 ** float(galaxies.mass[place] + galaxies.ssfr[place])
    h_alpha = rate / 5.37e-42 * 10 ** (0.1 * generator.standard_normal())
    ratios = _line_ratios(generator, float(galaxies.metallicity[place]))
    # Gas lies behind more dust than stars do, by 1/0.44.
    dust = min(float(galaxies.dust[place]) / 0.44, 4)
    for name, centre in _EMISSION.items():
        dimming = 10 ** (-0.4 * dust * float(continuum.attenuation(np.array([centre]))[0]))
        line = h_alpha * ratios[name] * dimming / area * 1e17
        sigma = math.hypot(centre * min(max(0.5 * velocity, 40), 150) / LIGHT_SPEED * (1 + redshift), _RESOLUTION)
        window, offset = _window(centre * (1 + redshift), sigma)
        flux[window] += line / (sigma * math.sqrt(2 * math.pi)) * np.exp(-0.5 * np.square(offset))


def _line_ratios(generator: np.random.Generator, metallicity: float) -> dict[str, float]:
    """Ratios of lines to H alpha: case B for hydrogen, [N II] from the oxygen abundance, [O III] on the star-forming
    sequence.
    """
    nitrogen = min(max((8.69 + metallicity - 8.9) / 0.57, -2), 0)
    oxygen = 0.61 / (min(nitrogen, -0.1) - 0.05) + 1.3 + 0.1 * generator.standard_normal()
    oxygen = min(max(oxygen, -1), 1)
    h_beta = 1 / 2.86
    return {
        "H_alpha": 1.0,
        "H_beta": h_beta,
        "H_gamma": 0.469 * h_beta,
        "H_delta": 0.259 * h_beta,
        "NII_6585": 10**nitrogen,
        "NII_6550": 10**nitrogen / 3,
        "OIII_5008": h_beta * 10**oxygen,
        "OIII_4960": h_beta * 10**oxygen / 3,
        "OII_3727": 0.45 * 10 ** (-0.3 * metallicity),
        "OII_3730": 0.60 * 10 ** (-0.3 * metallicity),
        "SII_6718": 0.19,
        "SII_6733": 0.14,
    }


def _window(centre: float, sigma: float) -> tuple[slice, NDArray[np.float64]]:
    """The pixels within six standard deviations of a line, and their distance from it in standard deviations."""
    start = max(0, math.floor((centre - 6 * sigma - WAVELENGTH[0]) / STEP))
    stop = max(start, min(WAVELENGTH.size, math.ceil((centre + 6 * sigma - WAVELENGTH[0]) / STEP) + 1))
    offset: NDArray[np.float64] = (WAVELENGTH[start:stop] - centre) / sigma
    return slice(start, stop), offset
