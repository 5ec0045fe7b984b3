"""Pairs images with spectra: by id, or by position on the sky, each object at most once."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from polycli.astroclip.data.description import PairingDescription
from polycli.astroclip.data.source import Listing
from polycli.astroclip.recipe.preparing import PairSection
from polycli.errors import SourceError

ARCSEC_PER_RADIAN = 180 * 3600 / np.pi
#: Two distances, in arcsec, that differ by less are a tie.
_TIE = 1e-6


@dataclass(frozen=True)
class Pairs:
    """Places in both listings, in the order of the spectra."""

    images: NDArray[np.int64]
    spectra: NDArray[np.int64]
    description: PairingDescription


@dataclass(frozen=True)
class Matches:
    """Pairs of places, and how many objects had more than one partner in reach."""

    first: NDArray[np.int64]
    second: NDArray[np.int64]
    contested: int


def pair(images: Listing, spectra: Listing, section: PairSection) -> Pairs:
    """The pairs that the recipe asks for.

    Raises:
        SourceError: there are none, ids cannot be compared, or positions are needed and missing.
    """
    if section.by == "id":
        matches = match_ids(images.ids, spectra.ids, names=(images.source, spectra.source))
        how = "no id is in both"
    else:
        for listing in (images, spectra):
            if not np.isfinite(listing.ra).any():
                raise SourceError(f"{listing.source}: has no positions to pair by", hint="set pair.by to id")
        matches = match_sky(images.ra, images.dec, spectra.ra, spectra.dec, section.radius_arcsec)
        how = f"no two positions are within {section.radius_arcsec:g} arcsec"
    if not len(matches.first):
        raise SourceError(
            f"nothing pairs: {how} of {len(images)} images of {images.source} and {len(spectra)} spectra of "
            f"{spectra.source}",
            hint="look at pair.by and pair.radius_arcsec, and whether the files are of the same part of the sky",
        )
    order = np.argsort(matches.second, kind="stable")
    return Pairs(
        images=matches.first[order],
        spectra=matches.second[order],
        description=PairingDescription(
            by=section.by,
            radius_arcsec=section.radius_arcsec if section.by == "sky" else None,
            pairs=len(order),
            images_left=len(images) - len(order),
            spectra_left=len(spectra) - len(order),
            contested=matches.contested,
        ),
    )


def match_ids(first: NDArray[np.generic], second: NDArray[np.generic], *, names: tuple[str, str]) -> Matches:
    """Equal ids; each side has every id once.

    Raises:
        SourceError: one side has numbers and the other text.
    """
    if (first.dtype == object) != (second.dtype == object):
        text, number = (names[0], names[1]) if first.dtype == object else (names[1], names[0])
        raise SourceError(
            f"the ids of {text} are text and those of {number} integers, which cannot be compared",
            hint="pair by sky: pair.by=sky",
        )
    one, other = (first.astype(str), second.astype(str)) if first.dtype == object else (first, second)
    _, places, others = np.intersect1d(one, other, assume_unique=False, return_indices=True)
    return Matches(places.astype(np.int64), others.astype(np.int64), 0)


def match_sky(
    ra: NDArray[np.float64],
    dec: NDArray[np.float64],
    other_ra: NDArray[np.float64],
    other_dec: NDArray[np.float64],
    radius_arcsec: float,
) -> Matches:
    """One-to-one matches within a radius: nearest first, so that an object goes to the nearest that is still free.

    Positions are compared as vectors, so that neither right ascension 0/360 nor the poles matter. Of equally near
    candidates the earlier in the input wins.
    """
    from scipy.spatial import cKDTree

    places, others = (np.flatnonzero(np.isfinite(a) & np.isfinite(d)) for a, d in ((ra, dec), (other_ra, other_dec)))
    if not len(places) or not len(others):
        return Matches(np.empty(0, np.int64), np.empty(0, np.int64), 0)
    vectors = unit_vectors(ra[places], dec[places])
    other_vectors = unit_vectors(other_ra[others], other_dec[others])
    chord = 2 * np.sin(min(radius_arcsec / ARCSEC_PER_RADIAN, np.pi) / 2)
    # A hair wider, since the tree compares rounded chords; the exact separation decides below.
    found = cKDTree(vectors).sparse_distance_matrix(
        cKDTree(other_vectors), chord * (1 + 1e-9) + 1e-15, output_type="ndarray"
    )
    separation = 2 * np.arcsin(np.clip(found["v"] / 2, 0, 1)) * ARCSEC_PER_RADIAN
    near = separation <= radius_arcsec * (1 + 1e-9)
    one, other, separation = found["i"][near], found["j"][near], separation[near]
    order = np.lexsort((other, one, np.round(separation / _TIE)))
    one, other, separation = one[order], other[order], separation[order]
    kept = _one_to_one(one, other, len(places), len(others))
    contested = len(one) - int(kept.sum())
    return Matches(places[one[kept]], others[other[kept]], contested)


def unit_vectors(ra: NDArray[np.float64], dec: NDArray[np.float64]) -> NDArray[np.float64]:
    """Converts positions in degrees to unit vectors, (n, 3)."""
    longitude, latitude = np.radians(ra), np.radians(dec)
    across = np.cos(latitude)
    return np.stack([across * np.cos(longitude), across * np.sin(longitude), np.sin(latitude)], axis=1)


def _one_to_one(one: NDArray[np.int64], other: NDArray[np.int64], count: int, other_count: int) -> NDArray[np.bool_]:
    """Chooses among candidates, given best first, so that each object is taken once."""
    free, other_free = np.ones(count, np.bool_), np.ones(other_count, np.bool_)
    kept = np.zeros(len(one), np.bool_)
    for index, (first, second) in enumerate(zip(one.tolist(), other.tolist(), strict=True)):
        if free[first] and other_free[second]:
            free[first] = other_free[second] = False
            kept[index] = True
    return kept
