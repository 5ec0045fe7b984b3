"""Scores how well a spectrum encoder fills in hidden stretches of test spectra, beside two interpolations.

The masking is that of the training, the error that of its loss (`polycli.astroclip.model.masking`), of which the first
token, mean and deviation, is left out; where `masking.weight` weighs pixels, it does so for all answers alike. All
numbers are in deviations of each spectrum.

Pieces overlap, so the ends of a hidden stretch are still seen in the pieces beside it, by the model and by the two
simple answers alike: a straight line between the means of the nearest piece on either side, and the mean of both.
`noise` is what the inverse variances say of the error of somebody who knew the noiseless spectrum.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from polycli.astroclip.data.randomness import keys_of
from polycli.astroclip.data.store import Spectra
from polycli.astroclip.model.masking import chunk_mask, hide
from polycli.astroclip.model.specformer import standardised, token_count
from polycli.astroclip.recipe.model import SpectrumSection
from polycli.astroclip.recipe.training import MaskingSection
from polycli.astroclip.scoring.encode import Encoder
from polycli.astroclip.scoring.score_records import HiddenScores
from polycli.errors import RecipeError
from polycli.report.bootstrap import Bootstrap

#: The model, and what it must be better than.
ANSWERS = ("model", "line", "neighbours", "mean")
_SHOWN = 3


@dataclass(frozen=True)
class Panel:
    """One spectrum for a figure: its pixels, what the model makes of them, and which were hidden; each (pixels,)."""

    row: int
    truth: NDArray[np.float64]
    guess: NDArray[np.float64]
    hidden: NDArray[np.bool_]


def fitting(masking: MaskingSection, tokens: int) -> MaskingSection:
    """`masking`, with stretches short enough for spectra of so many tokens.

    Raises:
        RecipeError: there are more stretches than tokens for them.
    """
    region = tokens // masking.chunks
    if region < 2:
        raise RecipeError(
            f"masking.chunks is {masking.chunks}: spectra of {tokens} tokens have no room for so many hidden stretches",
            hint=f"--set masking.chunks={max(1, tokens // 8)}",
        )
    return masking.model_copy(update={"chunk_length": max(1, min(masking.chunk_length, region // 2))})


def score_reconstruction(
    encoder: Encoder,
    rows: NDArray[np.int64],
    masking: MaskingSection,
    bootstrap: Bootstrap,
    *,
    advance: Callable[[int], None] = lambda _: None,
) -> tuple[HiddenScores, list[Panel]]:
    """Mean squared errors of what was hidden, with intervals over spectra, and the first few for a figure."""
    section = encoder.model.section.spectrum
    if section is None:
        raise ValueError("the model has no spectrum encoder")
    squares: dict[str, list[Tensor]] = {name: [] for name in (*ANSWERS, "noise")}
    counts, shares, panels = [], [], list[Panel]()
    for batch in encoder.batches(rows):
        spectra = encoder.store.read_spectra(batch)
        keys = keys_of(bootstrap.seed, torch.from_numpy(batch)).to(encoder.device)
        tokens, hidden, there, guess, weights = _reconstructed(encoder, spectra, keys, masking)
        flux = torch.from_numpy(spectra.flux)
        pixels, deviation = standardised(flux, weights)
        unseen = ~seen_pixels(~hidden, section, flux.shape[1])
        ivar = torch.from_numpy(spectra.ivar)
        noise = torch.where(ivar > 0, 1 / (ivar.clamp(min=1e-30) * deviation.square()), 0.0)
        weight = (hidden[:, 1:, None] & (tokens[:, 1:, 2:] != 0)).float()
        if masking.weight == "ivar":
            # The share of a pixel's variance that is not noise, as in `polycli.astroclip.model.stems.signal_share`.
            weight = weight * _pieces((ivar > 0) / (1 + noise), section)
        answers = {
            "model": guess[:, 1:, 2:],
            "line": _pieces(filled(pixels, unseen, section.section_length, straight=True), section),
            "neighbours": _pieces(filled(pixels, unseen, section.section_length, straight=False), section),
            "mean": torch.zeros(()),
        }
        for name, answer in answers.items():
            squares[name].append(((answer - tokens[:, 1:, 2:]).square() * weight).double().sum(dim=(1, 2)))
        squares["noise"].append((_pieces(noise, section) * weight).double().sum(dim=(1, 2)))
        counts.append(weight.double().sum(dim=(1, 2)))
        # Padding behind a short spectrum is no token of it.
        shares.append(hidden.double().sum(dim=1) / there.double().sum(dim=1))
        for index in range(min(len(batch), _SHOWN - len(panels))):
            end = section.section_step * (tokens.shape[1] - 2) + section.section_length
            model = _pixels(guess[index, 1:, 2:], hidden[index, 1:], section, end)
            panels.append(
                Panel(
                    int(batch[index]),
                    pixels[index, :end].double().numpy(),
                    model.double().numpy(),
                    unseen[index, :end].numpy(),
                )
            )
        advance(len(batch))
    count = torch.cat(counts).numpy()
    errors = {name: torch.cat(parts).numpy() for name, parts in squares.items()}
    scores = HiddenScores(
        spectra=len(rows),
        hidden=float(torch.cat(shares).mean()),
        error={name: float(values.sum() / count.sum()) for name, values in errors.items()},
        interval={name: bootstrap.ratio(errors[name], count).tolist() for name in ANSWERS},
        masking=masking.model_dump(),
    )
    return scores, panels


def seen_pixels(seen: Bool[Tensor, "b t"], section: SpectrumSection, pixels: int) -> Bool[Tensor, "b l"]:
    """Marks the pixels in a piece that is not hidden; those behind the last piece, which no token holds, count."""
    found = torch.ones(len(seen), pixels, dtype=torch.bool)
    step, length = section.section_step, section.section_length
    pieces = seen.shape[1] - 1
    found[:, : step * (pieces - 1) + length] = False
    for piece in range(pieces):
        found[:, piece * step : piece * step + length] |= seen[:, piece + 1, None]
    return found


def filled(
    pixels: Float[Tensor, "b l"], unseen: Bool[Tensor, "b l"], length: int, *, straight: bool
) -> Float[Tensor, "b l"]:
    """Spectra with a straight line, or the mean of both sides, in place of every stretch that is not seen.

    The value on either side is the mean of the nearest `length` pixels, in whose middle the line begins and ends;
    where one side is missing, the other's alone.
    """
    result = pixels.numpy().copy()
    for spectrum, hidden, made in zip(pixels.numpy(), unseen.numpy(), result, strict=True):
        edges = np.flatnonzero(np.diff(np.concatenate([[False], hidden, [False]])))
        for start, end in edges.reshape(-1, 2).tolist():
            sides = [spectrum[max(0, start - length) : start], spectrum[end : end + length]]
            places = [start - (len(sides[0]) + 1) / 2, end + (len(sides[1]) - 1) / 2]
            known = [(place, float(side.mean())) for place, side in zip(places, sides, strict=True) if len(side)]
            values = [value for _, value in known]
            if straight and known:
                made[start:end] = np.interp(np.arange(start, end), [place for place, _ in known], values)
            else:
                made[start:end] = np.mean(values) if known else 0.0
    return torch.from_numpy(result)


def _reconstructed(
    encoder: Encoder, spectra: Spectra, keys: Tensor, masking: MaskingSection
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor | None]:
    """Tokens, which are hidden and which are there, what the model makes of them, how much pixels count: on the CPU."""
    if encoder.model.spectrum_encoder is None:
        raise ValueError("the model has no spectrum encoder")
    backbone = encoder.model.spectrum_encoder.specformer
    flux, ivar, mask, wavelength = encoder.spectrum_input(spectra)
    with torch.no_grad():
        weight = backbone.weight(flux, mask, wavelength)
        tokens, context, pieces = (
            backbone.tokens(flux, weight),
            backbone.context(flux, ivar, mask, weight),
            backbone.pieces(weight, wavelength),
        )
        there = None if pieces is None else pieces.share > 0
        hidden = chunk_mask(
            keys, tokens.shape[1], chunks=masking.chunks, chunk_length=masking.chunk_length, there=there
        )
        with torch.autocast(encoder.device.type, torch.bfloat16, enabled=encoder.half):
            guess = backbone.reconstruct(backbone.encode(hide(tokens, hidden), context, hidden, pieces=pieces))
    everywhere = torch.ones_like(hidden) if there is None else there
    return tokens.cpu(), hidden.cpu(), everywhere.cpu(), guess.float().cpu(), None if weight is None else weight.cpu()


def _pieces(values: Float[Tensor, "b l"], section: SpectrumSection) -> Float[Tensor, "b p s"]:
    """The pixels of each token but the first."""
    count = token_count(section, values.shape[1]) - 1
    return values.unfold(1, section.section_length, section.section_step)[:, :count]


def _pixels(
    pieces: Float[Tensor, "p s"], hidden: Bool[Tensor, " p"], section: SpectrumSection, end: int
) -> Float[Tensor, " l"]:
    """One spectrum of its pieces: the mean of those hidden ones that hold a pixel, zero where there is none."""
    weight = hidden[:, None].float().expand_as(pieces)

    def folded(values: Tensor) -> Tensor:
        size, step = (1, section.section_length), (1, section.section_step)
        return functional.fold((values * weight).T[None], (1, end), size, stride=step).flatten()

    return folded(pieces) / folded(torch.ones_like(pieces)).clamp(min=1)
