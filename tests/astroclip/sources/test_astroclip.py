"""The joint file of the original project."""

import h5py
import numpy as np
import pytest

from polycli.astroclip.recipe.preparing import PrepareRecipe
from polycli.astroclip.sources.astroclip import AstroclipSource
from polycli.errors import SourceError

RECIPE = PrepareRecipe(family="astroclip", verb="prepare")


def _listing(*inputs):
    return AstroclipSource().open(list(inputs), RECIPE, None)


def test_groups_are_one_listing_in_the_order_of_their_numbers(tmp_path, survey_files):
    written = survey_files.joint(tmp_path / "astroclip_desi.1.1.5.h5", groups=[1] * 9 + [2, 3])
    listing = _listing(tmp_path / "astroclip_desi.1.1.5.h5")

    assert listing.ids.tolist() == [number for part in written for number in part["targetids"].tolist()]
    np.testing.assert_array_equal(listing.redshift, np.concatenate([part["redshifts"] for part in written]))
    assert listing.spectrum.pixels == 7781
    assert listing.spectrum.ivar == "unknown"
    assert np.isnan(listing.ra).all()


def test_images_become_band_y_x_again(tmp_path, survey_files):
    """The file was written from cutouts as (band, y, x).T = (x, y, band)."""
    written = survey_files.joint(tmp_path / "a.h5", groups=[3, 2])
    listing = _listing(tmp_path / "a.h5")
    places = np.array([4, 1])
    payload = listing.reader.read(listing.file[places], listing.row[places])

    assert np.array_equal(payload.image[0], written[1]["images"][1].T)
    assert np.array_equal(payload.image[1], written[0]["images"][1].T)
    assert np.array_equal(payload.spectrum[0], written[1]["spectra"][1, :, 0])


def test_images_with_the_bands_first_are_said(tmp_path, survey_files):
    survey_files.joint(tmp_path / "a.h5", groups=[2])
    with h5py.File(tmp_path / "a.h5", "a") as file:
        del file["0/images"]
        file["0/images"] = np.zeros((2, 3, 12, 12), np.float32)

    with pytest.raises(SourceError, match=r"on the second axis, \(C, H, W\), and \(H, W, C\)"):
        _listing(tmp_path / "a.h5")


def test_a_file_of_cutouts_alone_is_told_from_a_joint_one(tmp_path, survey_files):
    survey_files.legacysurvey(tmp_path / "a.h5")

    with pytest.raises(SourceError, match="has no groups"):
        _listing(tmp_path / "a.h5")


def test_a_group_without_a_dataset_is_named(tmp_path, survey_files):
    survey_files.joint(tmp_path / "a.h5")
    with h5py.File(tmp_path / "a.h5", "a") as file:
        del file["1/spectra"]

    with pytest.raises(SourceError, match="group /1: has no dataset spectra"):
        _listing(tmp_path / "a.h5")
