"""Decides which objects are kept: gives every reason for which one is not, and the flags of those that are."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from polycli.astroclip.data.description import QUALITY_BITS
from polycli.astroclip.data.source import Payload
from polycli.astroclip.recipe.preparing import QualitySection

#: Part of the pixels that may be masked, or exactly zero in an image, before a flag says so.
_NOTABLE = 0.1
#: Median signal to noise per pixel below which a spectrum is flagged.
_FAINT = 0.5


@dataclass(frozen=True)
class Verdict:
    """The result of checking a payload; one entry for each object."""

    #: Why an object is kept out; None where it is kept.
    reasons: list[str | None]
    #: Bits of `QUALITY_BITS`, those that images and spectra tell.
    flags: NDArray[np.uint32]
    #: The payload in the form in which it is kept: masks whole, unused pixels finite.
    payload: Payload


def judge(payload: Payload, bands: tuple[str, ...], limits: QualitySection) -> Verdict:
    """Look at every image and spectrum of a payload."""
    count = len(next(part for part in (payload.image, payload.spectrum) if part is not None))
    reasons: list[str | None] = [None] * count
    flags = np.zeros(count, np.uint32)
    if payload.spectrum is not None:
        payload, found, marks = _judge_spectra(payload, limits)
        flags |= marks
        reasons = [first or second for first, second in zip(reasons, found, strict=True)]
    if payload.image is not None:
        found, marks = _judge_images(payload.image, bands, limits)
        flags |= marks
        reasons = [first or second for first, second in zip(reasons, found, strict=True)]
    return Verdict(reasons, flags, payload)


def _judge_images(
    images: NDArray[np.float32], bands: tuple[str, ...], limits: QualitySection
) -> tuple[list[str | None], NDArray[np.uint32]]:
    pixels = images[0, 0].size if len(images) else 1
    bad = (~np.isfinite(images)).sum(axis=(2, 3))
    inner = (slice(None), slice(None), slice(1, -1), slice(1, -1))
    edge = bad > (~np.isfinite(images[inner])).sum(axis=(2, 3))
    blank = (images == 0).sum(axis=(2, 3)) / pixels
    reasons: list[str | None] = []
    for row in range(len(images)):
        reason = None
        for index, band in enumerate(bands):
            if bad[row, index] == pixels:
                reason = f"missing band: {band} has no finite pixel"
            elif bad[row, index]:
                reason = f"non-finite value: {bad[row, index]} pixels of the image in {band}"
                if edge[row, index] and bad[row, index] <= pixels * limits.max_blank_fraction:
                    reason += ", up to its border: images.fill=0 fills such margins"
            elif blank[row, index] > limits.max_blank_fraction:
                reason = f"missing band: {blank[row, index]:.0%} of the pixels in {band} are exactly 0"
            if reason is not None:
                break
        reasons.append(reason)
    flags = np.where(blank.max(axis=1) > _NOTABLE, QUALITY_BITS["image_partly_blank"], 0)
    return reasons, flags.astype(np.uint32)


def _judge_spectra(payload: Payload, limits: QualitySection) -> tuple[Payload, list[str | None], NDArray[np.uint32]]:
    flux = payload.spectrum
    assert flux is not None  # noqa: S101  # for the type checker; the caller looked
    masked = np.zeros(flux.shape, np.bool_) if payload.mask is None else payload.mask
    ivar = np.ones(flux.shape, np.float32) if payload.ivar is None else payload.ivar
    used = ~masked & (ivar != 0)
    negative = (used & (ivar < 0)).any(axis=1)
    wild = (used & ~(np.isfinite(flux) & np.isfinite(ivar))).sum(axis=1)
    # What is masked may hold anything; the store holds finite numbers everywhere.
    clean = np.where(np.isfinite(flux), flux, np.float32(0))
    weight = np.where(used & np.isfinite(ivar), ivar, np.float32(0)).astype(np.float32)
    # Padding behind a spectrum is no part of it.
    there = np.ones(flux.shape, np.bool_) if payload.wavelength is None else payload.wavelength > 0
    fraction = 1 - used.sum(axis=1) / np.maximum(there.sum(axis=1), 1)
    silent = ~((clean != 0) & used).any(axis=1)
    reasons: list[str | None] = []
    for row in range(len(flux)):
        if fraction[row] == 1:
            reasons.append("no valid pixel: the inverse variance is 0 or the mask is set everywhere")
        elif wild[row]:
            reasons.append(f"non-finite value: {wild[row]} pixels of the spectrum that are not masked")
        elif negative[row]:
            reasons.append("negative inverse variance")
        elif silent[row]:
            reasons.append("no signal: the flux is 0 in every valid pixel")
        elif fraction[row] > limits.max_masked_fraction:
            reasons.append(f"masked: {fraction[row]:.0%} of the pixels, {limits.max_masked_fraction:.0%} is the limit")
        else:
            reasons.append(None)
    flags = np.where(fraction > _NOTABLE, QUALITY_BITS["spectrum_partly_masked"], 0)
    if payload.ivar is not None:
        signal = _medians(clean * np.sqrt(np.clip(weight, 0, None)), there)
        flags = flags | np.where(signal < _FAINT, QUALITY_BITS["low_signal_to_noise"], 0)
    kept = replace(payload, spectrum=clean, ivar=weight, mask=~used)
    return kept, reasons, flags.astype(np.uint32)


def _medians(values: NDArray[np.float32], there: NDArray[np.bool_]) -> NDArray[np.float64]:
    """(n,) the median of each row over what is there; 0 where nothing is."""
    if there.all():
        return np.asarray(np.median(values, axis=1))
    return np.array([np.median(row[known]) if known.any() else 0.0 for row, known in zip(values, there, strict=True)])
