"""Writers of healpix folders as the Multimodal Universe's own scripts write them: all columns at the root of a file."""

from types import SimpleNamespace

import h5py
import numpy as np
import pytest
from astropy import units
from astropy_healpix import HEALPix

from polycli.astroclip.recipe.preparing import PrepareRecipe

#: As DESI's cameras together have it.
DESI_GRID = 3600 + 0.8 * np.arange(7781)


def cells(ra, dec, order=4):
    return HEALPix(nside=2**order, order="nested").lonlat_to_healpix(ra * units.deg, dec * units.deg)


def write(folder, columns, *, order=4, suffix=".hdf5", compound=()):
    """One file for each cell, `healpix=NUMBER/001-of-001`; returns the files by cell."""
    del compound
    numbers = cells(np.asarray(columns["ra"]), np.asarray(columns["dec"]), order)
    files = {}
    for number in np.unique(numbers).tolist():
        rows = np.flatnonzero(numbers == number)
        path = folder / f"healpix={number}" / f"001-of-001{suffix}"
        path.parent.mkdir(parents=True, exist_ok=True)
        with h5py.File(path, "w") as file:
            for name, values in columns.items():
                file.create_dataset(name, data=np.asarray(values)[rows])
            file.create_dataset("healpix", data=numbers[rows])
        files[number] = path
    return files


def images(ra, dec, *, bands=(b"des-g", b"des-r", b"des-i", b"des-z"), size=8, seed=0, scale=0.262):
    """Columns of legacysurvey/dr10_south_21."""
    generator = np.random.default_rng(seed)
    count = len(ra)
    return {
        "object_id": np.array([f"{k:04d}p022-{7410 + k}".encode() for k in range(count)]),
        "ra": ra,
        "dec": dec,
        "image_band": np.tile(np.array(bands), (count, 1)),
        "image_array": generator.normal(1, 1, (count, len(bands), size, size)).astype(np.float32),
        "image_ivar": np.ones((count, len(bands), size, size), np.float32),
        "image_mask": np.ones((count, size, size), bool),
        "image_psf_fwhm": generator.uniform(1, 2, (count, len(bands))).astype(np.float32),
        "image_scale": np.full((count, len(bands)), scale, np.float32),
        "image_rgb": np.zeros((count, size, size, 3), np.uint8),
        "object_mask": np.zeros((count, size, size), np.uint8),
        "catalog_FLUX_G": np.zeros((count, 20), np.float32),
        "EBV": np.linspace(0, 0.1, count).astype(np.float32),
        "FLUX_R": np.linspace(1, 9, count).astype(np.float32),
        "TYPE": np.array([b"REX", b"SER"] * count)[:count],
    }


def desi(ra, dec, *, seed=1, first=39627866878511337):
    """Columns of desi/edr_sv3 and dr1_main: the catalogue's own, and the spectra with one grid for each object."""
    generator = np.random.default_rng(seed)
    count = len(ra)
    ivar = generator.uniform(0.5, 2, (count, 7781)).astype(np.float32)
    ivar[:, 100] = 0
    return {
        "TARGETID": first + np.arange(count),
        "object_id": first + np.arange(count),
        "ra": ra,
        "dec": dec,
        "Z": generator.uniform(0.1, 0.5, count),
        "ZERR": np.full(count, 1e-5),
        "ZWARN": np.where(np.arange(count) == 1, 4, 0),
        "SPECTYPE": np.array([b"GALAXY"] * count),
        "spectrum_lambda": np.repeat(DESI_GRID.astype(np.float32)[None], count, 0),
        "spectrum_flux": generator.normal(3, 1, (count, 7781)).astype(np.float32),
        "spectrum_ivar": ivar,
        "spectrum_mask": ivar < 1e-6,
        "spectrum_lsf_sigma": np.full(count, 1.1, np.float32),
    }


def sdss(ra, dec, *, starts, lengths, width=50, seed=2):
    """Columns of sdss/sdss: every object on its own stretch of the lattice, padded at the end."""
    generator = np.random.default_rng(seed)
    count = len(ra)
    shape = (count, width)
    wavelength, flux = np.full(shape, -1, np.float32), np.zeros(shape, np.float32)
    ivar, mask = np.zeros(shape, np.float32), np.ones(shape, bool)
    for row, (start, length) in enumerate(zip(starts, lengths, strict=True)):
        wavelength[row, :length] = 10 ** (1e-4 * (start + np.arange(length)))
        flux[row, :length] = generator.normal(5, 1, length)
        flux[row, length:] = flux[row, length - 1]
        ivar[row, :length], mask[row, :length] = generator.uniform(0.5, 2, length), False
    return {
        "object_id": np.array([b" 299489677444933632", b"16888498602639360123", b" 7"][:count]),
        "ra": ra,
        "dec": dec,
        "Z": np.full(count, 0.1, np.float32),
        "ZWARNING": np.zeros(count, bool),
        "SPECTROFLUX": generator.uniform(1, 2, (count, 5)).astype(np.float32),
        "spectrum_lambda": wavelength,
        "spectrum_flux": flux,
        "spectrum_ivar": ivar,
        "spectrum_mask": mask,
        "spectrum_lsf_sigma": np.ones(shape, np.float32),
    }


@pytest.fixture(scope="session")
def mmu():
    """The writers, and the recipe `mmu.recipe(resample={...})`."""

    def recipe(**sections):
        return PrepareRecipe(family="astroclip", verb="prepare", **sections)

    return SimpleNamespace(
        write=write, images=images, desi=desi, sdss=sdss, cells=cells, recipe=recipe, desi_grid=DESI_GRID
    )
