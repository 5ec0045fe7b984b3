"""Learned templates, shifted along a spectrum until they fit: redshifts without labels (Tonry and Davis 1979).

On a logarithmic axis of wavelengths a redshift is a shift. Filters longer than the spectrum that it moves along
know a pattern of lines at any redshift once they have learnt it at some; attention over pieces of a spectrum has to
learn where each line lies at each redshift, for which a few thousand spectra are too few. In masked modelling the
patterns that belong to the filters, at the shifts where these fit, say what lines lie in the hidden stretches: that
trains them, and the shift is then a redshift but for a constant.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from polycli.astroclip.recipe.model import TemplateSection

#: Deviation of the Gaussian whose mean is taken off as the continuum, as a fraction of the wavelength.
_CONTINUUM = 0.02
#: A spectrum is taken to vary by at least so much of its deviation beyond its noise.
_SMALLEST_SIGNAL = 0.1
#: Values beyond so many deviations, cosmic rays most likely, are cut off there.
_BRIGHTEST = 30.0
#: Factor on the scores of shifts: nearly one shift alone must be left, or a blend of many explains each spectrum.
_SHARPNESS = 20.0
#: The shift enters the token as sines and cosines of so many periods over all shifts.
PERIODS = (0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0)
#: Of the two networks that turn what filters give into scores of shifts, and into strengths.
HIDDEN_WIDTH = 32


class Lines(NamedTuple):
    """A spectrum's deviations from its continuum, on logarithmic wavelengths.

    Attributes:
        values: in deviations of what the spectrum is without noise, as far as variances tell.
        share: of the variance of each value that is not noise; 0 where nothing was measured.
    """

    values: Float[Tensor, "b n"]
    share: Float[Tensor, "b n"]


class Fit(NamedTuple):
    """The result of fitting templates to spectra.

    Attributes:
        shifts: how probable each shift is; redshifts rise along this axis.
        strengths: how much of each pattern there is.
    """

    shifts: Float[Tensor, "b s"]
    strengths: Float[Tensor, "b k"]


class Templates(nn.Module):
    """A spectrum to one token, which says at which shift the templates fit and how strong each of them is."""

    def __init__(self, section: TemplateSection, width: int) -> None:
        super().__init__()
        self.section = section
        count, hidden, length = section.count, HIDDEN_WIDTH, section.bins + section.shifts
        # What the filters give is normalised; their scale says how fast they change.
        self.filters = nn.Parameter(torch.empty(count, length))
        nn.init.normal_(self.filters, std=0.01)
        self.norm = nn.GroupNorm(1, count)
        self.score = nn.Sequential(
            nn.Conv1d(count, hidden, kernel_size=1), nn.GELU(), nn.Conv1d(hidden, 1, kernel_size=1)
        )
        self.strength = nn.Sequential(nn.Linear(count, hidden), nn.GELU(), nn.Linear(hidden, count))
        self.patterns = nn.Parameter(torch.empty(count, length))
        nn.init.normal_(self.patterns, std=0.02)
        self.token = nn.Linear(2 * len(PERIODS) + count, width)

    def forward(self, flux: Float[Tensor, "b l"], weight: Float[Tensor, "b l"]) -> Float[Tensor, "b 1 d"]:
        """The token of each spectrum.

        Args:
            flux: pixels from the first on, in deviations of each spectrum.
            weight: their inverse variance in these units; 0 where a pixel is not to be used.
        """
        with torch.autocast(flux.device.type, enabled=False):
            fit = self.fit(self.lines(flux.float(), weight.float()))
            return self.token(self.numbers(fit))[:, None]  # type: ignore[no-any-return]

    def numbers(self, fit: Fit) -> Float[Tensor, "b n"]:
        """Describes fits as the token's linear map sees them: the shift as waves, then the strengths."""
        along = torch.linspace(0, 2 * math.pi, self.section.shifts, device=fit.shifts.device)
        angles = along[:, None] * along.new_tensor(PERIODS)
        waves = torch.cat([angles.sin(), angles.cos()], dim=1)
        # The mean over shifts: what is not certain fades, the finest waves first.
        return torch.cat([fit.shifts @ waves, fit.strengths], dim=1)

    def log_redshifts(self, fit: Fit) -> Float[Tensor, " b"]:
        """Returns the likeliest shift of each spectrum: log(1 + z) but for a constant that all spectra share."""
        return fit.shifts.argmax(dim=1) * self.section.log_step

    def error(
        self,
        flux: Float[Tensor, "b l"],
        weight: Float[Tensor, "b l"],
        seen: Float[Tensor, "b l"],
    ) -> Float[Tensor, ""]:
        """Mean squared error of the lines that patterns put where nothing was seen, weighed by the share squared.

        Args:
            flux: as in `forward`.
            weight: likewise.
            seen: `weight`, with 0 for the pixels that are hidden.
        """
        with torch.autocast(flux.device.type, enabled=False):
            truth, visible = self.lines(flux.float(), weight.float()), self.lines(flux.float(), seen.float())
            guess = self.reconstruction(self.fit(visible))
            counts = truth.share.square() * (visible.share == 0)
            squares = (guess - truth.values).square() * counts
            return squares.sum() / counts.sum().clamp(min=torch.finfo(squares.dtype).tiny)

    def fit(self, lines: Lines) -> Fit:
        """Finds at which shift the templates fit, and how strong each is there."""
        maps = self.norm(self.correlation(lines.values * lines.share))
        shifts = (_SHARPNESS * self.score(maps)[:, 0]).softmax(dim=1)
        return Fit(shifts, self.strength((shifts[:, None] * maps).sum(dim=2)))

    def reconstruction(self, fit: Fit) -> Float[Tensor, "b n"]:
        """Lines on logarithmic wavelengths: the patterns at the shifts at which the filters fit."""
        shifts = torch.cat([fit.shifts.new_zeros(len(fit.shifts), 1), fit.shifts.flip(1)], dim=1)
        mixed = torch.fft.rfft(fit.strengths @ self.patterns.float(), self._period)
        lines: Tensor = torch.fft.irfft(mixed * torch.fft.rfft(shifts, self._period).conj(), self._period)
        return lines[:, : self.section.bins]

    def lines(self, flux: Float[Tensor, "b l"], weight: Float[Tensor, "b l"]) -> Lines:
        """The spectrum without its continuum; arguments as in `forward`."""
        bins = self._bins(flux.shape[1], flux.device)
        empty = flux.new_zeros(len(flux), self.section.bins)
        total = empty.index_add(1, bins, flux * weight)
        precision = empty.index_add(1, bins, weight)
        mean = total / precision.clamp(min=torch.finfo(flux.dtype).tiny)
        summed = precision.sum(dim=1, keepdim=True).clamp(min=torch.finfo(flux.dtype).tiny)
        centred = mean - (mean * precision).sum(dim=1, keepdim=True) / summed
        # What the squares are above one each, which is what noise alone makes of them.
        excess = (centred.square() * precision).sum(dim=1, keepdim=True) - (precision > 0).sum(dim=1, keepdim=True)
        variance = (excess / summed).clamp(min=_SMALLEST_SIGNAL**2)
        share = variance * precision
        share = share / (1 + share)
        standardised = (centred / variance.sqrt()).clamp(-_BRIGHTEST, _BRIGHTEST)
        return Lines(standardised - _smooth(standardised, share, _CONTINUUM / self.section.log_step), share)

    def correlation(self, lines: Float[Tensor, "b n"]) -> Float[Tensor, "b k s"]:
        """Sums of the products of spectrum and each filter at every shift; redshifts rise along the last axis."""
        spectrum = torch.fft.rfft(lines, self._period)
        template = torch.fft.rfft(self.filters.float(), self._period)
        products: Tensor = torch.fft.irfft(spectrum[:, None] * template.conj()[None], self._period)
        # Bin j of a filter meets bin j - shift of the spectrum, for shifts of `section.shifts` down to 1.
        return products[:, :, -self.section.shifts :]

    @property
    def _period(self) -> int:
        """The length of the Fourier transforms: no shift that counts reaches round the end of so many bins."""
        return 256 * math.ceil((self.section.bins + self.section.shifts + 1) / 256)

    def _bins(self, pixels: int, device: torch.device) -> Int[Tensor, " l"]:
        """The logarithmic bin of each pixel."""
        steps = torch.arange(pixels, device=device, dtype=torch.float64)
        logs = torch.log1p(steps * (self.section.step / self.section.first))
        return (logs / self.section.log_step).long().clamp(max=self.section.bins - 1)


def _smooth(values: Float[Tensor, "b n"], weight: Float[Tensor, "b n"], deviation: float) -> Float[Tensor, "b n"]:
    """The weighted mean about each bin, by a Gaussian of a deviation of so many bins."""
    count = values.shape[1]
    period = 2 * count
    frequency = torch.fft.rfftfreq(period, device=values.device)
    gaussian = torch.exp(-2 * (math.pi * deviation * frequency).square())
    both: Tensor = torch.fft.irfft(torch.fft.rfft(torch.stack([values * weight, weight]), period) * gaussian, period)
    return both[0, :, :count] / both[1, :, :count].clamp(min=1e-3)
