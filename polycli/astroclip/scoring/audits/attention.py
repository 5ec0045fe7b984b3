"""Attention of an aligned model's heads: how much their queries look at each piece of a spectrum and patch of an image.

Weights are means over the heads' parts and add up to one over all tokens. Some tokens have no place: mean and deviation
of a spectrum, templates, the class token of an image. Of the others it is said how much falls where lines lie at the
object's redshift, or on the galaxy, beside the part of the wavelengths, or of the patches, that these are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from polycli.astroclip.model.specformer import SpecFormer
from polycli.astroclip.model.vision_transformer import VisionTransformer
from polycli.astroclip.recipe.model import SpectrumSection
from polycli.astroclip.scoring.audits.attribution import on_galaxy
from polycli.astroclip.scoring.audits.records import AttentionScores
from polycli.astroclip.scoring.encode import Encoder
from polycli.astroclip.sources.mock.spectra import LINES
from polycli.report.bootstrap import Bootstrap

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Attended:
    """The attention on one object."""

    row: int
    #: (pieces,) of a spectrum, or (side, side) of an image from the bottom up: the weights of tokens with a place.
    weights: Floats
    #: The same shape: how much of the spectrum in Angstrom, or of the image in patches, each covers; 0 where it cannot
    #: be looked at, since all pixels of a piece are masked.
    extent: Floats
    #: The same shape: whether a line lies in the piece, or the patch is the galaxy's; None where nobody knows.
    expected: NDArray[np.bool_] | None
    #: (2, pieces) the first and the last wavelength of each piece, Angstrom; None of an image.
    wavelength: Floats | None = None
    #: Pixels along a side of the middle of the cutout that the encoder sees; 0 of a spectrum.
    size: int = 0

    @property
    def share(self) -> float | None:
        """The part of the weights with a place that falls where it is expected; None where nobody knows."""
        return self._expected_part(self.weights)

    @property
    def chance(self) -> float | None:
        """The part of the spectrum or of the image that is expected; None where nobody knows."""
        return self._expected_part(self.extent)

    @property
    def elsewhere(self) -> float:
        """The weight of the tokens that have no place."""
        return max(1 - float(self.weights.sum()), 0.0)

    def _expected_part(self, values: Floats) -> float | None:
        if self.expected is None or not values.sum() > 0:
            return None
        return float(values[self.expected].sum() / values.sum())


def attended_spectra(encoder: Encoder, rows: NDArray[np.int64], redshifts: Floats) -> list[Attended]:
    """The attention on spectra, piece by piece; none where the head has no attention on SpecFormer's tokens."""
    model = encoder.model.spectrum_encoder
    if model is None or model.cross_attention is None or not isinstance(model.backbone, SpecFormer):
        return []
    found = []
    for batch in encoder.batches(np.arange(len(rows))):
        spectra = encoder.store.read_spectra(rows[batch])
        with torch.no_grad():
            seen = encoder.spectrum_input(spectra)
            weights = _means(encoder.model.spectrum_attention(seen))
            counts = model.backbone.weight(seen.flux, seen.mask, seen.wavelength)
            pieces = model.backbone.pieces(counts, seen.wavelength)
        there = np.ones(weights.shape, np.bool_) if pieces is None else (pieces.share > 0).cpu().numpy()
        for place, own, looked_at in zip(batch.tolist(), weights, there, strict=True):
            wavelength = spectra.wavelength
            if wavelength is None:
                raise TypeError("these spectra come without wavelengths")
            first, last = piece_ends(wavelength[place - batch[0]], model.backbone.section, len(own))
            # Behind a spectrum that is shorter than another of its batch lies padding, whose wavelength is 0.
            first, last = first[last > 0], last[last > 0]
            lines = np.array(LINES) * (1 + redshifts[place])
            expected = ((lines[:, None] >= first) & (lines[:, None] <= last)).any(axis=0)
            known = bool(np.isfinite(redshifts[place]))
            ends = np.stack([first, last])
            behind = slice(1, 1 + len(first))
            extent = np.where(looked_at[behind], last - first, 0.0)
            found.append(Attended(int(rows[place]), own[behind], extent, expected if known else None, ends))
    return found


def attended_images(encoder: Encoder, rows: NDArray[np.int64]) -> list[Attended]:
    """The attention on images, patch by patch; none where the head has none on tokens of a vision transformer."""
    model, store = encoder.model.image_encoder, encoder.store
    if model is None or model.cross_attention is None or not isinstance(model.backbone, VisionTransformer):
        return []
    section = model.backbone.section
    side = section.size // section.patch_size
    found = []
    for batch in encoder.batches(np.arange(len(rows))):
        with torch.no_grad():
            weights = _means(encoder.model.image_attention(encoder.image_input(store.read_images(rows[batch]))))
        for row, own in zip(rows[batch].tolist(), weights, strict=True):
            # The class token stands before the patches, where the head sees it.
            patches = own[len(own) - side**2 :].reshape(side, side)
            expected = on_galaxy(store, row, section.size, patches=side)
            found.append(Attended(row, patches, np.ones((side, side)), expected, size=section.size))
    return found


def piece_ends(wavelength: Floats, section: SpectrumSection, tokens: int) -> tuple[Floats, Floats]:
    """The first and the last wavelength of the piece of each token behind the first one."""
    starts = np.arange(tokens - 1 - section.added_tokens) * section.section_step
    return wavelength[starts], wavelength[starts + section.section_length - 1]


def attention_scores(found: Mapping[str, Sequence[Attended]], bootstrap: Bootstrap) -> dict[str, AttentionScores]:
    """The mean share of attention where it is expected, beside chance, by modality; where anybody knows."""
    scores = {}
    for name, objects in found.items():
        known = [one for one in objects if one.share is not None]
        if not known:
            continue
        shares = np.array([one.share for one in known], np.float64)
        scores[name] = AttentionScores(
            objects=len(known),
            share=float(shares.mean()),
            interval=bootstrap.mean(shares).tolist(),
            chance=float(np.mean([one.chance for one in known])),
            elsewhere=float(np.mean([one.elsewhere for one in known])),
        )
    return scores


def _means(weights: torch.Tensor) -> Floats:
    """(objects, tokens), averaged over the parts of the head."""
    return weights.double().mean(dim=1).cpu().numpy()
