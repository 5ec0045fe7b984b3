"""Distances, volumes and ages in a flat universe of matter and a cosmological constant, integrated on a fine grid."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

HUBBLE = 70.0
MATTER = 0.3
LIGHT_SPEED = 299_792.458
#: Centimetres per megaparsec.
CM_PER_MPC = 3.0856775814913673e24
#: Gyr times km/s/Mpc.
_HUBBLE_TIME = 977.7922216807891
MAX_REDSHIFT = 0.7

_GRID = np.linspace(0.0, MAX_REDSHIFT, 7001)
_RATE = np.sqrt(MATTER * (1 + _GRID) ** 3 + 1 - MATTER)
_STEPS = 0.5 * (1 / _RATE[1:] + 1 / _RATE[:-1]) * np.diff(_GRID)
_COMOVING = LIGHT_SPEED / HUBBLE * np.concatenate([[0.0], np.cumsum(_STEPS)])


def comoving_distance(redshift: NDArray[np.float64]) -> NDArray[np.float64]:
    """Line-of-sight comoving distance in Mpc, for redshifts up to 0.7."""
    return np.interp(redshift, _GRID, _COMOVING)


def luminosity_distance(redshift: NDArray[np.float64]) -> NDArray[np.float64]:
    """Returns the luminosity distance in Mpc."""
    return (1 + redshift) * comoving_distance(redshift)


def kpc_per_arcsec(redshift: NDArray[np.float64]) -> NDArray[np.float64]:
    """Returns the proper size of an arcsecond, in kpc."""
    return comoving_distance(redshift) / (1 + redshift) * 1e3 * np.pi / (180 * 3600)


def volume_density(redshift: NDArray[np.float64]) -> NDArray[np.float64]:
    """Comoving volume per redshift and steradian, Mpc^3."""
    rate = np.interp(redshift, _GRID, _RATE)
    return LIGHT_SPEED / HUBBLE * comoving_distance(redshift) ** 2 / rate


def age(redshift: NDArray[np.float64]) -> NDArray[np.float64]:
    """Returns the age of the universe in Gyr (the closed form for matter and a cosmological constant)."""
    dark = 1 - MATTER
    unit = _HUBBLE_TIME / HUBBLE * 2 / (3 * np.sqrt(dark))
    result: NDArray[np.float64] = unit * np.arcsinh(np.sqrt(dark / MATTER) * (1 + redshift) ** -1.5)
    return result
