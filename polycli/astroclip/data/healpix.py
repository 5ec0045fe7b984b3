"""Pixel numbers of the nested HEALPix scheme (Gorski et al. 2005), from degrees; astropy-healpix computes them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

#: Orders of which a store keeps the pixel numbers: nside 16 as the Multimodal Universe, 2**29 as HATS.
COARSE_ORDER = 4
FINE_ORDER = 29
UNKNOWN = -1


def nested_pixels(ra: NDArray[np.float64], dec: NDArray[np.float64], order: int) -> NDArray[np.int64]:
    """Return the pixel of each position, (n,), at nside 2**order, 0 <= order <= 29; -1 where it is not finite.

    >>> nested_pixels(np.array([45.0, np.nan]), np.array([41.81, 0.0]), 0)
    array([ 0, -1])

    Raises:
        ValueError: a declination is outside -90 to 90 degrees.
    """
    from astropy import units
    from astropy_healpix.core import lonlat_to_healpix

    known = np.isfinite(ra) & np.isfinite(dec)
    if np.any(np.abs(dec[known]) > 90):
        raise ValueError("a declination is outside -90 to 90 degrees")
    pixels = np.full(ra.shape, UNKNOWN, dtype=np.int64)
    if known.any():
        # Whole turns are taken off in degrees, where they are exact.
        turned = np.mod(np.asarray(ra, np.float64)[known], 360.0)
        position = (values * units.deg for values in (turned, np.asarray(dec, np.float64)[known]))
        pixels[known] = lonlat_to_healpix(*position, nside=2**order, order="nested")
    return pixels
