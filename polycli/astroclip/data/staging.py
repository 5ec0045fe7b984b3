"""The work of prepare's worker processes: a block of objects becomes staged rows, with checks and sums."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polycli.astroclip.data.columns import Column, array_names
from polycli.astroclip.data.cutouts.margins import cropped, filled
from polycli.astroclip.data.description import NULL_SUFFIX, QUALITY_BITS
from polycli.astroclip.data.healpix import COARSE_ORDER, FINE_ORDER, nested_pixels
from polycli.astroclip.data.judging.flags import doubts
from polycli.astroclip.data.judging.quality import judge
from polycli.astroclip.data.resampling import resample_spectra, rescale_images
from polycli.astroclip.data.source import Listing, Payload
from polycli.astroclip.data.survey import Survey
from polycli.astroclip.recipe.preparing import ImagesSection, QualitySection
from polycli.store.blocks import BlockBuilder, Ragged
from polycli.store.blocks import Column as StoredColumn
from polycli.workflow.identity import PART_PREFIX, part_numbers

#: Objects in a block: some tens of megabytes, so that a process holds little and a killed prepare loses little.
BLOCK = 128
#: The column of sums, which is staged and not published: count, mean, squared deviation, minimum and maximum.
MOMENTS = "moments"


@dataclass(frozen=True)
class BlockTask:
    """Some consecutive objects of a survey, and where they go. Picklable; holds no images."""

    target: Path
    fingerprint: str
    key: str
    survey: Survey
    limits: QualitySection
    images: ImagesSection
    good_redshifts: bool


def block_task(survey: Survey, number: int, task: BlockTask) -> BlockTask:
    """The task for block `number`, cut from one that has the whole survey."""
    start, stop = number * BLOCK, min((number + 1) * BLOCK, len(survey))
    places = np.arange(start, stop)
    part = replace(
        survey,
        listings=tuple(_slim(listing.take(places)) for listing in survey.listings),
        ids=survey.ids[start:stop],
        ra=survey.ra[start:stop],
        dec=survey.dec[start:stop],
        redshift=survey.redshift[start:stop],
        good_redshift=None if survey.good_redshift is None else survey.good_redshift[start:stop],
        columns=tuple(column.slice(start, stop) for column in survey.columns),
        rejected=(),
    )
    return replace(task, key=f"{number:08d}", survey=part)


def _slim(listing: Listing) -> Listing:
    """Returns the listing with the files of these objects alone, and without what the worker takes from the survey."""
    numbers, place = np.unique(listing.file, return_inverse=True)
    names = listing.place_names or listing.file_names
    return replace(
        listing,
        reader=listing.reader.narrowed(numbers.tolist()),
        file=place.astype(np.int32),
        files=(),
        file_names=(),
        place_names=tuple(names[number] for number in numbers.tolist()) if names else (),
        columns=(),
        rejected=(),
    )


def stage(task: BlockTask) -> None:
    """Read, check and stage the objects of one block, unless that was done before."""
    builder = BlockBuilder(task.target, fingerprint=task.fingerprint)
    if builder.record(task.key) is not None:
        return
    survey = task.survey
    payload, margins = _on_target_grid(task, _read(survey))
    bands = () if survey.image is None else survey.image.bands
    verdict = judge(payload, bands, task.limits)
    redshift = _redshift(survey, payload)
    reasons = [
        reason or _redshift_reason(survey, redshift, index, wanted=task.good_redshifts)
        for index, reason in enumerate(verdict.reasons)
    ]
    kept = np.array([reason is None for reason in reasons])
    rejected = [
        [survey.source_of(index), str(survey.ids[index]), reason]
        for index, reason in enumerate(reasons)
        if reason is not None
    ]
    columns = _columns(survey, verdict.payload, redshift, verdict.flags)
    places = np.flatnonzero(kept).astype(np.int64)
    quality = np.asarray(columns["quality"])
    flagged = [
        [survey.source_of(index), str(survey.ids[index]), doubt]
        for index, said in enumerate(doubts(quality, margins))
        if reasons[index] is None
        for doubt in said
    ]
    content = [name for name in ("image", "spectrum") if name in columns]
    builder.stage(
        task.key,
        {name: _taken(column, places) for name, column in columns.items()} if len(places) else {},
        {"rejected": rejected, "flagged": flagged},
        ids=[str(value) for value in survey.ids[kept].tolist()],
        content=content if len(places) else (),
        source=survey.source_of(0),
        hashed={"spectrum": _taken(_unpadded(verdict.payload), places)} if payload.wavelength is not None else None,
    )


def _read(survey: Survey) -> Payload:
    """Joins what the readers of all listings return."""
    parts = [listing.reader.read(listing.file, listing.row) for listing in survey.listings]
    if len(parts) == 1:
        return parts[0]
    from_each = list(zip(survey.listings, parts, strict=True))
    image = next((part.image for listing, part in from_each if listing.image is not None), None)
    measured = next((part for listing, part in from_each if listing.spectrum is not None), Payload())
    return Payload(
        image=image,
        spectrum=measured.spectrum,
        ivar=measured.ivar,
        mask=measured.mask,
        wavelength=measured.wavelength,
        redshift=next((part.redshift for part in parts if part.redshift is not None), None),
        columns=tuple(column for part in parts for column in part.columns),
    )


def _on_target_grid(task: BlockTask, payload: Payload) -> tuple[Payload, NDArray[np.int64]]:
    """Bands chosen, images cropped, their margins filled, at the survey's pixel scale; spectra on its wavelengths.

    Also (n,) how many pixels of each image were filled.
    """
    survey = task.survey
    margins = np.zeros(len(survey), np.int64)
    if payload.image is not None and survey.image is not None:
        source = next(listing.image for listing in survey.listings if listing.image is not None)
        image = payload.image[:, list(survey.bands)]
        if task.images.crop is not None:
            image = cropped(image, (task.images.crop, task.images.crop))
        if task.images.fill is not None:
            before = np.isfinite(image)
            image = filled(image, task.images.fill, task.limits.max_blank_fraction)
            margins = (np.isfinite(image) & ~before).sum(axis=(1, 2, 3))
        if source.pixel_scale_arcsec != survey.image.pixel_scale_arcsec:
            factor = source.pixel_scale_arcsec / survey.image.pixel_scale_arcsec
            image = rescale_images(image, factor, survey.image.size)
        payload = replace(payload, image=np.ascontiguousarray(image))
    if payload.spectrum is not None and survey.wavelength is not None:
        found = next(listing.wavelength for listing in survey.listings if listing.wavelength is not None)
        wanted = survey.wavelength
        if not np.array_equal(found, wanted):
            ivar = np.ones_like(payload.spectrum) if payload.ivar is None else payload.ivar
            mask = np.zeros(payload.spectrum.shape, np.bool_) if payload.mask is None else payload.mask
            mask = mask | ~np.isfinite(payload.spectrum) | ~np.isfinite(ivar)
            flux, weight, bad = resample_spectra(payload.spectrum, ivar, mask, found, wanted)
            payload = replace(payload, spectrum=flux, ivar=weight, mask=bad)
    return payload, margins


def _redshift(survey: Survey, payload: Payload) -> NDArray[np.float64]:
    redshift = survey.redshift
    if payload.redshift is not None:
        redshift = np.where(np.isfinite(redshift), redshift, payload.redshift)
    return np.where(np.isfinite(redshift), redshift, np.nan).astype(np.float64)


def _redshift_reason(survey: Survey, redshift: NDArray[np.float64], index: int, *, wanted: bool) -> str | None:
    if not wanted:
        return None
    if not np.isfinite(redshift[index]):
        return "no redshift"
    if survey.good_redshift is not None and not survey.good_redshift[index]:
        return "no good redshift: it carries a warning, or is not of a galaxy"
    return None


def _columns(
    survey: Survey, payload: Payload, redshift: NDArray[np.float64], flags: NDArray[np.uint32]
) -> dict[str, StoredColumn]:
    """All columns of the block, rejected objects included."""
    columns: dict[str, StoredColumn] = {}
    if payload.image is not None:
        columns |= {"image": payload.image, f"{PART_PREFIX}image": part_numbers(payload.image)}
    if payload.spectrum is not None and payload.ivar is not None and payload.mask is not None:
        columns |= {"spectrum": payload.spectrum, "ivar": payload.ivar, "mask": payload.mask}
        columns[f"{PART_PREFIX}spectrum"] = part_numbers(_unpadded(payload))
    if payload.wavelength is not None:
        columns["wavelengths"] = payload.wavelength
        columns["wavelength_range"] = np.stack([payload.wavelength[:, 0], payload.wavelength.max(axis=1)], axis=1)
    ids = survey.ids
    columns["object_id"] = ids if ids.dtype != object else Ragged.of_strings(ids.tolist())
    columns |= {
        "ra": survey.ra,
        "dec": survey.dec,
        "healpix16": nested_pixels(survey.ra, survey.dec, COARSE_ORDER),
        "healpix29": nested_pixels(survey.ra, survey.dec, FINE_ORDER),
        "redshift": redshift,
        "quality": flags | _listed_flags(survey, redshift),
        MOMENTS: _moments(payload),
    }
    properties = [*survey.columns, *payload.columns]
    for name, column in zip(array_names(properties), properties, strict=True):
        columns |= _stored(name, column)
    return columns


def _unpadded(payload: Payload) -> StoredColumn:
    """The spectra without their padding, which is not the same in all stores: what they are known again by."""
    if payload.spectrum is None:
        raise TypeError("there are no spectra")
    if payload.wavelength is None:
        return payload.spectrum
    there = payload.wavelength > 0
    return Ragged.of([flux[known] for flux, known in zip(payload.spectrum, there, strict=True)], np.float32)


def _stored(name: str, column: Column) -> dict[str, StoredColumn]:
    stored: dict[str, StoredColumn] = {
        name: Ragged.of_strings(column.values.tolist()) if column.kind == "text" else column.values
    }
    if column.valid is not None:
        stored[name + NULL_SUFFIX] = ~column.valid
    return stored


def _listed_flags(survey: Survey, redshift: NDArray[np.float64]) -> NDArray[np.uint32]:
    flags = np.where(np.isfinite(redshift), 0, QUALITY_BITS["no_redshift"])
    if survey.good_redshift is not None:
        doubtful = np.isfinite(redshift) & ~survey.good_redshift
        flags = flags | np.where(doubtful, QUALITY_BITS["no_good_redshift"], 0)
    known = np.isfinite(survey.ra) & np.isfinite(survey.dec)
    flags = flags | np.where(known, 0, QUALITY_BITS["no_position"])
    return flags.astype(np.uint32)


def _moments(payload: Payload) -> NDArray[np.float64]:
    """(n, bands + 1, 5): count, mean, sum of squared deviations, minimum and maximum of each band and the spectrum."""
    parts = []
    if payload.image is not None:
        count, bands = payload.image.shape[:2]
        parts.append(_sums(payload.image.reshape(count, bands, -1), None))
    if payload.spectrum is not None:
        used = None if payload.mask is None else ~payload.mask[:, None]
        parts.append(_sums(payload.spectrum[:, None], used))
    return np.concatenate(parts, axis=1)


def _sums(values: NDArray[np.float32], used: NDArray[np.bool_] | None) -> NDArray[np.float64]:
    exact = values.astype(np.float64)
    weight = np.ones(exact.shape) if used is None else used.astype(np.float64)
    count = weight.sum(axis=-1)
    with np.errstate(invalid="ignore"):
        exact = np.where(weight > 0, exact, 0)
        mean = exact.sum(axis=-1) / np.maximum(count, 1)
        deviation = (np.square(exact - mean[..., None]) * weight).sum(axis=-1)
        low = np.where(weight > 0, exact, np.inf).min(axis=-1)
        high = np.where(weight > 0, exact, -np.inf).max(axis=-1)
    return np.stack([count, mean, deviation, low, high], axis=-1)


def _taken(column: StoredColumn, places: NDArray[np.int64]) -> Any:  # noqa: ANN401  # the same kind of column
    return column.select(places) if isinstance(column, Ragged) else column[places]
