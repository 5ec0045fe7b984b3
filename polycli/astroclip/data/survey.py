"""One or two listings, paired, with catalogues joined on: all objects of a store to be, before any data is read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polycli.astroclip.data.catalogue import Objects, join_catalogue, with_position
from polycli.astroclip.data.columns import Column, joined
from polycli.astroclip.data.cutouts.margins import cropped_size
from polycli.astroclip.data.description import (
    ImageDescription,
    PairingDescription,
    SpectrumDescription,
    property_names,
)
from polycli.astroclip.data.pairing import pair
from polycli.astroclip.data.resampling import target_grid
from polycli.astroclip.data.sky.splitting import refuse_unplaced
from polycli.astroclip.data.source import Listing, Source
from polycli.astroclip.data.tables.positions import separations
from polycli.astroclip.recipe.preparing import CatalogueSection, PrepareRecipe
from polycli.console import note, warn
from polycli.errors import SourceError
from polycli.names import clean
from polycli.paths import expand_paths, files_below
from polycli.store.manifest import LeftOut

#: No galaxy is known beyond redshift 15; a larger number than this is a mark.
_FARTHEST = 30.0
#: Positions of at least so many objects, spread over that many of the 24 hours, look like hours.
_MANY, _SPREAD, _HOURS = 20, 20.0, 24.0
#: Arcsec within which two positions are those of one object.
_ONE_PLACE = 5.0


@dataclass(frozen=True)
class Survey:
    """Aligned listings: object i is row i of each of them."""

    name: str
    listings: tuple[Listing, ...]
    ids: NDArray[Any]
    id_name: str
    ra: NDArray[np.float64]
    dec: NDArray[np.float64]
    redshift: NDArray[np.float64]
    good_redshift: NDArray[np.bool_] | None
    columns: tuple[Column, ...]
    #: What the payloads will bring.
    promised: tuple[Column, ...]
    image: ImageDescription | None
    spectrum: SpectrumDescription | None
    wavelength: NDArray[np.float64] | None
    #: Which of the images' bands are kept, in the order in which they are kept.
    bands: tuple[int, ...]
    rejected: tuple[LeftOut, ...]
    pairing: PairingDescription | None
    #: Whether the ids are the data's own; else the source numbered the objects.
    ids_given: bool

    def __len__(self) -> int:
        return len(self.ids)

    def source_of(self, index: int) -> str:
        """The file that an object is listed under."""
        return self.listings[-1].file_name(index)


def gather(name: str, listings: Sequence[Listing], recipe: PrepareRecipe, limit: int | None) -> Survey:
    """Pair two listings, or take one as it is; leave out repeated ids; join the recipe's catalogues.

    Raises:
        SourceError: nothing pairs, nothing is left, a band or a column is not there, a position is impossible, or
            grids do not fit.
    """
    for listing in listings:
        _refuse_impossible_positions(listing)
    # Before anything is put together, so that what marks an unknown redshift stands in no other's place.
    possible = [replace(each, redshift=_possible(each.redshift, each.ids, each.source)) for each in listings]
    kept = [_first_of_each_id(listing) for listing in possible]
    cleaned = [_without_repeated_ids(listing, places) for listing, places in zip(possible, kept, strict=True)]
    first = cleaned[0]
    # Of pairs no source's order is left.
    order = kept[0][:limit] if len(kept) == 1 else None
    pairing = None
    if len(cleaned) == 2:
        images, spectra = _images_and_spectra(cleaned)
        found = pair(images, spectra, recipe.pair)
        pairing = found.description
        # Of a source that holds both, as the original's joint file does, one half is wanted.
        cleaned = [
            replace(images.take(found.images), spectrum=None, wavelength=None),
            replace(spectra.take(found.spectra), image=None),
        ]
        first = _merged(*cleaned, by=recipe.pair.by)
    if limit is not None and limit < len(first):
        places = np.arange(limit)
        cleaned, first = [listing.take(places) for listing in cleaned], first.take(places)
    rejected = tuple(left for listing in cleaned for left in listing.rejected)
    if not len(first):
        reasons = "; ".join(dict.fromkeys(left.reason for left in rejected[:3])) or "the inputs hold no objects"
        raise SourceError(f"{name}: no object is left: {reasons}")
    image = next((listing.image for listing in cleaned if listing.image is not None), None)
    chosen, image = _chosen_bands(name, image, recipe)
    spectrum, wavelength = target_grid(cleaned, recipe.resample)
    survey = Survey(
        name=name,
        listings=tuple(cleaned),
        ids=first.ids,
        id_name=first.id_name,
        ra=first.ra,
        dec=first.dec,
        redshift=first.redshift,
        good_redshift=first.good_redshift,
        columns=first.columns,
        promised=first.promised,
        image=image,
        spectrum=spectrum,
        wavelength=wavelength,
        bands=chosen,
        rejected=rejected,
        pairing=pairing,
        ids_given=first.ids_given,
    )
    listed = None if limit is not None and limit <= len(possible[0]) else len(possible[0])
    for section in recipe.catalogues:
        survey = _with_catalogue(survey, section, order, listed)
    if recipe.split.by == "sky":
        refuse_unplaced(name, survey.ids, survey.ra, survey.dec)
    _say_new_names(survey)
    return survey


def _with_catalogue(
    survey: Survey, section: CatalogueSection, order: NDArray[np.int64] | None, listed: int | None
) -> Survey:
    """The survey with a catalogue's columns, and its positions and redshifts where the objects have none."""
    objects = Objects(
        ids=survey.ids,
        ra=survey.ra,
        dec=survey.dec,
        id_name=survey.id_name,
        order=order,
        listed=listed,
        has_redshifts=bool(np.isfinite(survey.redshift).any()) or _promises_redshifts(survey),
    )
    found = join_catalogue(section, objects)
    known = [*survey.columns, *survey.promised]
    added = joined(known, found.columns, suffix="_catalogue")[len(known) :]
    clashes = [
        f"{clean(old.name)} as {clean(new.name)}"
        for old, new in zip(found.columns, added, strict=True)
        if old.name != new.name
    ]
    if clashes:
        note(f"{section.path}: columns with the names of others are renamed: {', '.join(clashes)}")
    placed = with_position(objects, found.position)
    survey = replace(survey, columns=(*survey.columns, *added), ra=placed.ra, dec=placed.dec)
    if found.redshift is not None:
        survey = _with_redshift(survey, _possible(found.redshift, survey.ids, section.path))
    return survey


def _promises_redshifts(survey: Survey) -> bool:
    """Whether the reader brings redshifts itself, as a simulation does."""
    return any(listing.source == "mock" for listing in survey.listings)


def _say_new_names(survey: Survey) -> None:
    """Say which columns have the names of a store's own columns, and what they are called instead."""
    columns = [*survey.columns, *survey.promised]
    names = property_names([column.name for column in columns])
    renamed = [
        f"{clean(column.name)} of {column.source} as {clean(name)}"
        for name, column in zip(names, columns, strict=True)
        if name != column.name
    ]
    if renamed:
        note(f"{survey.name}: columns with the names of the store's own columns are kept: {', '.join(renamed)}")


def _with_redshift(survey: Survey, redshift: NDArray[np.float64]) -> Survey:
    """A catalogue's redshifts, which count as good, where it has them."""
    known = np.isfinite(redshift)
    good = None if survey.good_redshift is None else survey.good_redshift | known
    return replace(survey, redshift=np.where(known, redshift, survey.redshift), good_redshift=good)


def _possible(redshift: NDArray[np.float64], ids: NDArray[Any], name: str) -> NDArray[np.float64]:
    """Redshifts, NaN for -99, 9999 and the like, which mark what is unknown: wavelengths are 1 + z times as long."""
    impossible = np.isfinite(redshift) & ((redshift <= -1) | (redshift > _FARTHEST))
    if impossible.any():
        first = int(np.flatnonzero(impossible)[0])
        low, high = bool((redshift[impossible] <= -1).any()), bool((redshift[impossible] > _FARTHEST).any())
        where = " or ".join(["-1 or less"] * low + [f"above {_FARTHEST:g}"] * high)
        warn(
            f"{name}: {int(impossible.sum())} redshifts are {where}, such as {redshift[first]:g} of {ids[first]}: "
            "taken for unknown"
        )
    return np.where(impossible, np.nan, redshift)


def _refuse_impossible_positions(listing: Listing) -> None:
    beyond = np.flatnonzero(np.isfinite(listing.ra) & ((listing.ra < -180) | (listing.ra > 360)))
    if beyond.size:
        first = int(beyond[0])
        raise SourceError(
            f"{listing.file_name(first)}: ra is {listing.ra[first]:g} for {listing.ids[first]} and out of range for "
            f"{beyond.size - 1} others; -180 to 360 degrees were expected",
            hint="write NaN where a position is unknown; for --source arrays, arrays.null names what marks it",
        )
    known = listing.ra[np.isfinite(listing.ra)]
    if known.size >= _MANY and known.min() >= 0 and known.max() - known.min() > _SPREAD and known.max() <= _HOURS:
        warn(f"{listing.source}: all right ascensions are from {known.min():g} to {known.max():g}: degrees, or hours?")
    wrong = np.flatnonzero(np.isfinite(listing.dec) & (np.abs(listing.dec) > 90))
    if wrong.size:
        first = int(wrong[0])
        raise SourceError(
            f"{listing.file_name(first)}: dec is {listing.dec[first]:g} for {listing.ids[first]} and out of range for "
            f"{wrong.size - 1} others; -90 to 90 degrees were expected",
            hint="write NaN where a position is unknown, and look whether ra and dec are swapped",
        )


def _first_of_each_id(listing: Listing) -> NDArray[np.int64]:
    """The places of the objects that are the first with their id, in order."""
    _, first = np.unique(listing.ids.astype(str) if listing.ids.dtype == object else listing.ids, return_index=True)
    return np.sort(first)


def _without_repeated_ids(listing: Listing, kept: NDArray[np.int64]) -> Listing:
    """Keeps the first of all objects with one id, and lists the others as rejected.

    Raises:
        SourceError: two of them lie at different positions, so that they are two objects.
    """
    if len(kept) == len(listing):
        return listing
    where = {listing.ids[place]: int(place) for place in kept.tolist()}
    again = np.setdiff1d(np.arange(len(listing)), kept)
    _refuse_two_positions(listing, np.array([where[listing.ids[place]] for place in again.tolist()]), again)
    repeated = [
        LeftOut(
            source=listing.file_name(place),
            id=str(listing.ids[place]),
            reason=f"duplicated id: first in {listing.file_name(where[listing.ids[place]])}, "
            f"row {int(listing.row[where[listing.ids[place]]])}",
        )
        for place in again.tolist()
    ]
    return replace(listing.take(kept), rejected=(*listing.rejected, *repeated))


def _refuse_two_positions(listing: Listing, first: NDArray[np.int64], again: NDArray[np.int64]) -> None:
    apart = separations((listing.ra[first], listing.dec[first]), (listing.ra[again], listing.dec[again]))
    far = np.flatnonzero(np.nan_to_num(apart) > _ONE_PLACE)
    if far.size:
        one, other = int(first[far[0]]), int(again[far[0]])
        raise SourceError(
            f"{listing.file_name(other)}: the id {listing.ids[other]} is at {listing.ra[other]:.5f} "
            f"{listing.dec[other]:.5f}, and at {listing.ra[one]:.5f} {listing.dec[one]:.5f} in "
            f"{listing.file_name(one)}, {apart[far[0]]:.0f} arcsec away, as are {far.size - 1} others: one id, two "
            "objects",
            hint="give each object an id of its own, or prepare the files into different stores",
        )


def _images_and_spectra(listings: Sequence[Listing]) -> tuple[Listing, Listing]:
    one, other = listings
    if one.image is not None and other.spectrum is not None:
        return one, other
    if other.image is not None and one.spectrum is not None:
        return other, one
    kind = "images" if one.spectrum is None and other.spectrum is None else "spectra"
    raise SourceError(f"{one.source} and {other.source} both hold {kind} alone: one of each was expected to pair")


def _merged(images: Listing, spectra: Listing, *, by: str) -> Listing:
    """The spectra's listing, with what only the images' one knows."""
    columns: list[Column] = []
    if by == "sky":
        columns.append(Column("image_id", images.ids, "", images.source))
    known = np.isfinite(spectra.redshift)
    good = spectra.good_redshift
    return replace(
        spectra,
        redshift=np.where(known, spectra.redshift, images.redshift),
        good_redshift=None if good is None else np.where(known, good, np.isfinite(images.redshift)),
        ra=np.where(np.isfinite(spectra.ra), spectra.ra, images.ra),
        dec=np.where(np.isfinite(spectra.dec), spectra.dec, images.dec),
        columns=tuple(joined([*columns, *spectra.columns], images.columns, suffix="_image")),
        promised=tuple(joined(spectra.promised, images.promised, suffix="_image")),
    )


def _chosen_bands(
    name: str, image: ImageDescription | None, recipe: PrepareRecipe
) -> tuple[tuple[int, ...], ImageDescription | None]:
    wanted = recipe.select.bands
    if image is None:
        if wanted:
            raise SourceError(f"{name}: select.bands is {', '.join(wanted)}, but there are no images")
        return (), None
    missing = [band for band in wanted if band not in image.bands]
    if missing:
        raise SourceError(
            f"{name}: there is no band {missing[0]}: the images have {', '.join(image.bands)}",
            hint="name bands as the source has them in select.bands",
        )
    chosen = tuple(image.bands.index(band) for band in wanted or image.bands)
    scale = recipe.resample.pixel_scale_arcsec
    size = cropped_size(image.size, recipe.images, what=name)
    image = image.model_copy(update={"size": size})
    if scale is not None and scale != image.pixel_scale_arcsec:
        factor = image.pixel_scale_arcsec / scale
        # 100 pixels of 0.3 arcsec are 300 of 0.1, and 299.99999999999994 in floating point.
        size = (max(1, int(size[0] * factor + 1e-6)), max(1, int(size[1] * factor + 1e-6)))
        image = image.model_copy(update={"pixel_scale_arcsec": scale, "size": size})
    return chosen, image.model_copy(update={"bands": tuple(image.bands[place] for place in chosen)})


def inputs_of(sources: Sequence[Source], names: Sequence[str], inputs: Sequence[str | Path]) -> list[list[Path]]:
    """Divides the inputs among the sources: all to a single one, one each to two of a kind, else by what each accepts.

    Raises:
        UserError: an input does not exist, none of the sources reads it, or two of a kind have not two inputs.
    """
    if len(sources) == 1:
        return [list(expand_paths(inputs))]
    if names[0] == names[1]:
        if len(inputs) != 2:
            raise SourceError(
                f"--source {names[0]}+{names[1]}: {len(inputs)} inputs, two were expected: of images and of spectra",
                hint="name a folder, a quoted glob or @list.txt with each --input",
            )
        return [list(expand_paths([entry])) for entry in inputs]
    shares: dict[str, list[Path]] = {name: [] for name in names}
    for path in expand_paths(inputs):
        whole = not path.is_dir() or any(source.accepts(path) for source in sources)
        members = [path] if whole else files_below(path)
        found = False
        for member in members:
            takers = [name for name, source in zip(names, sources, strict=True) if source.accepts(member)]
            # Arrays of one's own are whatever nothing else knows.
            for name in [name for name in takers if name != "arrays"] or takers:
                shares[name].append(member)
                found = True
        if not found:
            raise SourceError(f"{path}: neither {' nor '.join(names)} reads this")
    return list(shares.values())


def with_distinct_names(listings: Sequence[Listing], shares: Sequence[Sequence[Path]]) -> list[Listing]:
    """The listings, with the name of the input before names of files that stand in more than one of them."""
    often = Counter(name for listing in listings for name in listing.file_names)
    if len(listings) == 1 or max(often.values(), default=0) < 2:
        return list(listings)
    return [
        replace(listing, file_names=tuple(f"{share[0].name}/{name}" for name in listing.file_names))
        if share
        else listing
        for listing, share in zip(listings, shares, strict=True)
    ]
