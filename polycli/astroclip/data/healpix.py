"""Pixel numbers of the nested HEALPix scheme (Gorski et al. 2005, section 4 and appendix), from degrees."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

#: Orders of which a store keeps the pixel numbers: nside 16 as the Multimodal Universe, 2**29 as HATS.
COARSE_ORDER = 4
FINE_ORDER = 29
UNKNOWN = -1
#: Above this |sin dec| a position is in a polar cap.
_CAP = 2.0 / 3.0


def nested_pixels(ra: NDArray[np.float64], dec: NDArray[np.float64], order: int) -> NDArray[np.int64]:
    """(n,) pixel numbers at nside 2**order, 0 <= order <= 29; -1 where a position is not finite.

    Raises:
        ValueError: a declination is outside -90 to 90 degrees.
    """
    known = np.isfinite(ra) & np.isfinite(dec)
    if np.any(np.abs(dec[known]) > 90):
        raise ValueError("a declination is outside -90 to 90 degrees")
    pixels = np.full(ra.shape, UNKNOWN, dtype=np.int64)
    if known.any():
        pixels[known] = _pixels(np.asarray(ra, np.float64)[known], np.asarray(dec, np.float64)[known], order)
    return pixels


def _pixels(ra: NDArray[np.float64], dec: NDArray[np.float64], order: int) -> NDArray[np.int64]:
    side = 1 << order
    z = np.sin(np.radians(dec))
    # Right ascension in quarter turns, [0, 4).
    turn = np.mod(ra, 360.0) / 90.0
    turn = np.where(turn >= 4.0, 0.0, turn)
    face, x, y = _equator(z, turn, side)
    cap = np.abs(z) > _CAP
    if cap.any():
        face[cap], x[cap], y[cap] = _polar_cap(z[cap], dec[cap], turn[cap], side)
    return face * np.int64(side) * np.int64(side) + _interleaved(x) + 2 * _interleaved(y)


def _equator(
    z: NDArray[np.float64], turn: NDArray[np.float64], side: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Base pixel and place in it for |z| <= 2/3: lines of constant pixel index ascend and descend at 45 degrees."""
    ascending = np.floor(side * (0.5 + turn - 0.75 * z)).astype(np.int64)
    descending = np.floor(side * (0.5 + turn + 0.75 * z)).astype(np.int64)
    up, down = ascending // side, descending // side
    face = np.where(up == down, (up & 3) | 4, np.where(up < down, up & 3, (down & 3) + 8))
    return face, descending & (side - 1), side - 1 - (ascending & (side - 1))


def _polar_cap(
    z: NDArray[np.float64], dec: NDArray[np.float64], turn: NDArray[np.float64], side: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Base pixel and place in it for |z| > 2/3."""
    quarter = np.minimum(np.floor(turn).astype(np.int64), 3)
    inside = turn - quarter
    # 1 - |z| = 2 sin^2(colatitude / 2), which keeps its digits near the poles.
    depth = 2.0 * np.square(np.sin(np.radians(90.0 - np.abs(dec)) / 2.0))
    reach = side * np.sqrt(3.0 * depth)
    first = np.minimum(np.floor(inside * reach).astype(np.int64), side - 1)
    second = np.minimum(np.floor((1.0 - inside) * reach).astype(np.int64), side - 1)
    north = z > 0
    return (
        np.where(north, quarter, quarter + 8),
        np.where(north, side - 1 - second, first),
        np.where(north, side - 1 - first, second),
    )


def _interleaved(values: NDArray[np.int64]) -> NDArray[np.int64]:
    """The bits of each number, below 2**29, moved to the even places."""
    bits = values.astype(np.uint64)
    for shift, mask in (
        (16, 0x0000FFFF0000FFFF),
        (8, 0x00FF00FF00FF00FF),
        (4, 0x0F0F0F0F0F0F0F0F),
        (2, 0x3333333333333333),
        (1, 0x5555555555555555),
    ):
        bits = (bits | (bits << np.uint64(shift))) & np.uint64(mask)
    return bits.astype(np.int64)
