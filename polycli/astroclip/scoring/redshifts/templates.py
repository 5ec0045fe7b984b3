"""Learned templates: the redshifts that their shifts alone give, and their patterns over rest wavelengths.

Masked modelling leaves a constant free that all shifts share. With the constant known, one number for a whole survey, a
shift is a redshift, and pattern and lines can be compared.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from polycli.astroclip.model.templates import Fit, Templates
from polycli.astroclip.scoring.encode import Encoder
from polycli.astroclip.scoring.measure import Side
from polycli.astroclip.scoring.redshift import redshift_scores
from polycli.astroclip.scoring.redshifts.records import TemplateScores
from polycli.report.bootstrap import Bootstrap
from polycli.report.probes import Floats, r2_score

#: Spectra from which curves are made, and the share of them that must see a wavelength for it to be shown.
_SPECTRA, _SEEN = 512, 0.1
#: Curves beside the mean.
_MAIN = 2


@dataclass(frozen=True)
class Curves:
    """The lines that templates hold, in deviations of a spectrum: (n,) each, over `wavelength` at rest, Angstrom.

    Attributes:
        mean: the patterns as strong as they are in the mean spectrum.
        main: (curves, n) by how much spectra differ from it most, each in deviations over spectra.
    """

    wavelength: Floats
    mean: Floats
    main: Floats


def template_scores(
    reference: Side, test: Side, known: tuple[Floats, Floats], bootstrap: Bootstrap
) -> TemplateScores | None:
    """Scores the likeliest shifts as redshifts; None where there are no templates, or no redshifts are known.

    `known`: the redshifts of the reference and of the test objects, NaN where nobody knows them. Those of the former
    give the constant, and nothing else is learnt from them.
    """
    if "spectrum_shift" not in test.inputs:
        return None
    learn, judge = np.isfinite(known[0]), np.isfinite(known[1])
    if not learn.any() or judge.sum() < 2:
        return None
    constant = float(np.median(reference.inputs["spectrum_shift"][learn, 0] - np.log1p(known[0][learn])))
    truth = known[1][judge]
    predicted = redshifts(test.inputs["spectrum_shift"][judge, 0], constant)
    errors = redshift_scores(truth, predicted, bootstrap)
    return TemplateScores(
        constant=constant,
        fit=r2_score(truth, predicted, bootstrap),
        bias=errors.bias,
        sigma_nmad=errors.sigma_nmad,
        outlier_fraction=errors.outlier_fraction,
        outlier_interval=errors.outlier_interval,
    )


def redshifts(shifts: NDArray[np.floating], constant: float) -> Floats:
    """Turns likeliest shifts into redshifts, given the constant."""
    found: Floats = np.expm1(shifts.astype(np.float64) - constant)
    return found


def curves_of(encoder: Encoder, rows: NDArray[np.int64], constant: float) -> Curves:
    """The patterns as they are mixed in the first spectra among `rows`, over rest wavelengths."""
    if encoder.model.spectrum_encoder is None or encoder.model.spectrum_encoder.specformer.templates is None:
        raise ValueError("the model has no templates")
    specformer = encoder.model.spectrum_encoder.specformer
    templates = encoder.model.spectrum_encoder.specformer.templates
    read = (encoder.spectrum_input(encoder.store.read_spectra(batch)) for batch in encoder.batches(rows[:_SPECTRA]))
    with torch.no_grad():
        fits = [specformer.template_fit(spectra.flux, spectra.ivar, spectra.mask) for spectra in read]
    fit = Fit(torch.cat([one.shifts for one in fits]), torch.cat([one.strengths for one in fits]))
    return curves_of_fit(templates, fit, constant)


def curves_of_fit(templates: Templates, fit: Fit, constant: float) -> Curves:
    """The same of fits that were made."""
    section = templates.section
    mixed = (fit.strengths @ templates.patterns.float()).detach().cpu().double().numpy()
    length = mixed.shape[1]
    # A spectrum with its likeliest shift at place s sees the bins of a pattern from `shifts` - s on, `bins` of them.
    places = fit.shifts.argmax(dim=1).cpu().numpy()
    begins = section.shifts - places
    bins = np.arange(length)
    seen = ((bins >= begins[:, None]) & (bins < begins[:, None] + section.bins)).mean(axis=0)
    # Short spectra at many redshifts see no wavelength so often.
    shown = np.flatnonzero(seen >= min(_SEEN, seen.max()))
    kept = slice(int(shown[0]), int(shown[-1]) + 1)
    wavelength = section.first * np.exp((bins - section.shifts) * section.log_step + constant)
    mean = mixed.mean(axis=0)
    _, sizes, directions = np.linalg.svd((mixed - mean)[:, kept], full_matrices=False)
    main = directions[:_MAIN] * sizes[:_MAIN, None] / np.sqrt(len(mixed))
    return Curves(wavelength[kept], mean[kept], main)
