"""Continua of galaxies: four shapes from passive to starbursting, tilted by age and metallicity, reddened by dust.

The shapes follow the run of colours of nearby galaxies (Coleman, Wu and Weedman 1980) as a few points each, the break
at 4000 A included; the attenuation is that of Calzetti et al. 2000.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from polycli.astroclip.sources.mock.cosmology import CM_PER_MPC

#: Rest wavelengths, Angstrom, evenly spaced in the logarithm.
WAVELENGTH = np.geomspace(1500.0, 11_500.0, 1600)
BANDS = ("g", "r", "z")
_LIGHT_SPEED = 2.99792458e18  # Angstrom per second
#: erg/s/cm2/Hz of a nanomaggy.
_NANOMAGGY = 3.631e-29
#: log10 of the specific star formation rate (1/yr) that each shape stands for.
_SHAPE_SSFR = np.array([-11.7, -10.6, -10.0, -9.0])
_KNOTS = np.array([1500, 2000, 3000, 3500, 3900, 4080, 4500, 5500, 6500, 7500, 8500, 10_000, 11_500], np.float64)
_SHAPES = np.array(
    [
        [0.04, 0.05, 0.20, 0.33, 0.45, 0.72, 0.92, 1.0, 0.98, 0.95, 0.90, 0.80, 0.70],
        [0.35, 0.35, 0.45, 0.53, 0.65, 0.90, 1.02, 1.0, 0.93, 0.86, 0.79, 0.68, 0.58],
        [0.95, 0.80, 0.80, 0.85, 0.95, 1.13, 1.12, 1.0, 0.87, 0.78, 0.70, 0.58, 0.48],
        [3.40, 2.20, 1.55, 1.40, 1.32, 1.40, 1.28, 1.0, 0.80, 0.68, 0.59, 0.47, 0.38],
    ]
)
_TEMPLATES = np.stack([np.exp(np.interp(np.log(WAVELENGTH), np.log(_KNOTS), np.log(shape))) for shape in _SHAPES])
#: Edges of the DECam-like bands g, r and z, Angstrom, and the width over which they rise and fall.
_EDGES = ((4000.0, 5480.0), (5680.0, 7160.0), (8480.0, 10_020.0))
_EDGE_WIDTH = 60.0


def attenuation(wavelength: NDArray[np.float64]) -> NDArray[np.float64]:
    """A(wavelength) / A_V of Calzetti et al. 2000, equation 4."""
    micron = wavelength / 1e4
    blue = 2.659 * (-2.156 + 1.509 / micron - 0.198 / micron**2 + 0.011 / micron**3) + 4.05
    red = 2.659 * (-1.857 + 1.040 / micron) + 4.05
    curve: NDArray[np.float64] = np.clip(np.where(micron < 0.63, blue, red), 0, None) / 4.05
    return curve


_ATTENUATION = attenuation(WAVELENGTH)


def shapes(
    ssfr: NDArray[np.float64], stellar_age: NDArray[np.float64], metallicity: NDArray[np.float64]
) -> NDArray[np.float64]:
    """(n, wavelength) without dust, about 1 at 5500 A, from log10 sSFR (1/yr), age (Gyr) and log10 Z (solar)."""
    clipped = np.clip(ssfr, _SHAPE_SSFR[0], _SHAPE_SSFR[-1])
    lower = np.clip(np.searchsorted(_SHAPE_SSFR, clipped) - 1, 0, len(_SHAPE_SSFR) - 2)
    weight = (clipped - _SHAPE_SSFR[lower]) / (_SHAPE_SSFR[lower + 1] - _SHAPE_SSFR[lower])
    base = (1 - weight)[:, None] * _TEMPLATES[lower] + weight[:, None] * _TEMPLATES[lower + 1]
    tilt = 0.35 * metallicity + 0.25 * np.log10(stellar_age / 5)
    depth = np.clip(0.12 * (metallicity + np.log10(stellar_age / 5)), -0.2, 0.3)
    broken = np.where(WAVELENGTH < 4000, 1 - depth[:, None], 1.0)
    result: NDArray[np.float64] = base * np.exp(tilt[:, None] * np.log(WAVELENGTH / 5500)) * broken
    return result


def reddened(continua: NDArray[np.float64], dust: NDArray[np.float64]) -> NDArray[np.float64]:
    """The continua behind `dust` magnitudes of attenuation in V."""
    result: NDArray[np.float64] = continua * np.exp(-0.4 * np.log(10) * dust[:, None] * _ATTENUATION)
    return result


def transmission(wavelength: NDArray[np.float64]) -> NDArray[np.float64]:
    """(3, *wavelength) of the bands g, r, z: flat, with smooth edges."""
    return np.stack(
        [
            1 / (1 + np.exp(-(wavelength - low) / _EDGE_WIDTH)) / (1 + np.exp((wavelength - high) / _EDGE_WIDTH))
            for low, high in _EDGES
        ]
    )


_FINE = np.linspace(3000.0, 11_500.0, 1701)
_TRANSMISSION = transmission(_FINE)
_REFERENCE = np.trapezoid(_TRANSMISSION * _LIGHT_SPEED / _FINE, _FINE)


def observed_flux(
    continua: NDArray[np.float64], redshift: NDArray[np.float64], distance: NDArray[np.float64]
) -> NDArray[np.float64]:
    """(n, 3) nanomaggies in g, r, z of luminosities in erg/s/A at luminosity distances in Mpc.

    The AB flux of a photon counter: the integral of f_lambda R lambda over that of R c / lambda.
    """
    observed = WAVELENGTH * (1 + redshift)[:, None]
    response = np.stack([np.interp(observed, _FINE, band, left=0, right=0) for band in _TRANSMISSION], axis=1)
    spectrum = continua / (1 + redshift)[:, None] * observed
    integral = np.trapezoid(spectrum[:, None, :] * response, observed[:, None, :], axis=-1)
    area = 4 * np.pi * (distance * CM_PER_MPC) ** 2
    flux: NDArray[np.float64] = integral / area[:, None] / _REFERENCE / _NANOMAGGY
    return flux
