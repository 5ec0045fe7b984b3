"""Spectra with wavelengths of their own, brought onto a store's: flux is kept, and what has no order is refused."""

import numpy as np
import pytest

from polycli.astroclip.sources.row_grids import RowGrid, SourceSpectra
from polycli.errors import SourceError


def spectra_of(*wavelengths):
    wavelength = np.array(wavelengths, np.float64)
    ones = np.ones(wavelength.shape, np.float32)
    return SourceSpectra(wavelength, 2 * ones, ones, np.zeros(wavelength.shape, np.bool_))


@pytest.mark.parametrize("kind", ["resampled", "own"])
@pytest.mark.parametrize("second", [[4003, 4002, 4001, 4000], [4000, 4002, 4001, 4003], [4000, 4001, 4001, 4002]])
def test_wavelengths_that_do_not_rise_are_refused(kind, second):
    """Arms one behind the other gave flux to pixels where there was none, and falling ones masked everything."""
    grid = RowGrid(kind, np.arange(4000.0, 4003.5, 0.5), longest=4)
    with pytest.raises(SourceError, match="a file: the wavelengths of an object do not rise from pixel to pixel"):
        grid.place(spectra_of([4000, 4001, 4002, 4003], second), what="a file")


def test_a_flat_spectrum_stays_flat_on_another_grid():
    placed = RowGrid("resampled", np.arange(4001.0, 4002.5, 0.5)).place(
        spectra_of([4000, 4001, 4002, 4003]), what="a file"
    )
    np.testing.assert_allclose(placed.flux, 2.0)
    assert not placed.mask.any()
