"""Redshifts by the templates' shift, and where their patterns lie at rest."""

import numpy as np
import pytest
import torch

from polycli.astroclip.model.templates import Fit, Templates
from polycli.astroclip.recipe.model import TemplateSection
from polycli.astroclip.scoring.measure import Side
from polycli.astroclip.scoring.redshifts.figures import draw_templates
from polycli.astroclip.scoring.redshifts.templates import curves_of_fit, template_scores
from polycli.report.bootstrap import Bootstrap

SECTION = TemplateSection(count=3, highest_redshift=0.3, log_step=2e-3, first=4000.0, last=6000.0, step=4.0)
BOOTSTRAP = Bootstrap(samples=20)


def side(shifts):
    return Side(np.arange(len(shifts)), {"spectrum_shift": shifts[:, None].astype(np.float32)})


def test_shifts_are_redshifts_but_for_a_constant_that_training_objects_tell():
    generator = np.random.default_rng(0)
    known, truth = generator.uniform(0, 0.4, 50), generator.uniform(0, 0.4, 40)
    shifts = np.log1p(known) + 0.12
    shifts[:5] = 0.0  # failures do not move a median
    known[5] = truth[3] = np.nan
    scores = template_scores(side(shifts), side(np.log1p(np.nan_to_num(truth)) + 0.12), (known, truth), BOOTSTRAP)
    assert scores.constant == pytest.approx(0.12, abs=1e-6)
    assert scores.fit.r2 == pytest.approx(1, abs=1e-6)
    assert scores.sigma_nmad == pytest.approx(0, abs=1e-6)
    assert scores.outlier_fraction == 0


def test_without_templates_or_redshifts_there_are_no_scores():
    nothing, some = Side(np.arange(4), {}), side(np.ones(4))
    known, unknown = np.full(4, 0.1), np.full(4, np.nan)
    assert template_scores(nothing, nothing, (known, known), BOOTSTRAP) is None
    assert template_scores(some, some, (unknown, known), BOOTSTRAP) is None
    assert template_scores(some, some, (known, unknown), BOOTSTRAP) is None


def test_curves_of_short_spectra_at_many_redshifts_are_those_of_the_wavelengths_that_most_see():
    section = TemplateSection(count=2, highest_redshift=6.0, log_step=5e-3, first=8000.0, last=8400.0, step=4.0)
    shifts = torch.eye(section.shifts)[:: section.bins]  # each sees other bins of the patterns than all others
    curves = curves_of_fit(Templates(section, 8), Fit(shifts, torch.ones(len(shifts), 2)), 0.0)
    assert 1 / len(shifts) < 0.1
    assert len(curves.wavelength) == len(shifts) * section.bins


def test_patterns_lie_at_rest_where_spectra_that_they_make_have_their_lines(tmp_path):
    templates = Templates(SECTION, 8)
    # A line at 4500 A at rest, by a constant of 0.05, and spectra at three redshifts.
    constant, line = 0.05, 4500.0
    place = round((np.log(line / SECTION.first) - constant) / SECTION.log_step) + SECTION.shifts
    redshift = np.array([0.02, 0.1, 0.2])
    shifts = np.rint((np.log1p(redshift) + constant) / SECTION.log_step).astype(int)
    fit = Fit(torch.nn.functional.one_hot(torch.from_numpy(shifts), SECTION.shifts).float(), torch.ones(3, 3))
    with torch.no_grad():
        templates.patterns.zero_()
        templates.patterns[:, place] = 1.0

    curves = curves_of_fit(templates, fit, constant)

    assert curves.wavelength[curves.mean.argmax()] == pytest.approx(line, rel=SECTION.log_step)
    assert curves.mean.max() == pytest.approx(3)
    np.testing.assert_allclose(curves.main, 0, atol=1e-6)  # all three spectra are mixed alike
    # What the model puts into a spectrum lies where the redshift moves the line.
    lines = templates.reconstruction(fit).detach().numpy()
    observed = SECTION.first * np.exp(lines.argmax(axis=1) * SECTION.log_step)
    np.testing.assert_allclose(observed / (1 + redshift), line, rtol=2 * SECTION.log_step)
    # No spectrum sees bluer than the first pixel at the highest redshift, nor redder than the last at the lowest.
    assert curves.wavelength[0] == pytest.approx(SECTION.first / 1.2, rel=0.01)
    assert curves.wavelength[-1] == pytest.approx(SECTION.last / 1.02, rel=0.01)
    draw_templates(tmp_path / "templates.png", curves, title="T")
    assert (tmp_path / "templates.png").stat().st_size > 0
