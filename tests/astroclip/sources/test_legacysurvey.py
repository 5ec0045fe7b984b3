"""Cutouts of the Legacy Surveys as Stein et al. share them."""

import h5py
import numpy as np
import pytest
from astropy.io import fits

from polycli.astroclip.recipe.preparing import PrepareRecipe
from polycli.astroclip.sources.legacysurvey import LegacySurveySource
from polycli.errors import SourceError

RECIPE = PrepareRecipe(family="astroclip", verb="prepare")


def _listing(*inputs):
    return LegacySurveySource().open(list(inputs), RECIPE, None)


def test_images_of_several_files_are_read_in_any_order(tmp_path, survey_files):
    one = survey_files.legacysurvey(tmp_path / "images_npix152_000000000_000000004.h5", count=4)
    two = survey_files.legacysurvey(tmp_path / "images_npix152_000000004_000000007.h5", count=3, start=4, seed=1)
    listing = _listing(tmp_path)
    places = np.array([5, 0, 3, 6])
    payload = listing.reader.read(listing.file[places], listing.row[places])

    assert len(listing) == 7
    assert listing.image.bands == ("g", "r", "z")
    assert (listing.image.size, listing.image.pixel_scale_arcsec, listing.image.zero_point) == ((12, 12), 0.262, 22.5)
    assert np.array_equal(payload.image, np.concatenate([one, two])[places])


def test_the_first_three_columns_by_band_become_properties(tmp_path, survey_files):
    survey_files.legacysurvey(tmp_path / "a.h5")
    columns = {column.name: column for column in _listing(tmp_path / "a.h5").columns}

    assert columns["flux_g"].unit == "nanomaggy"
    assert {"flux_g", "flux_r", "flux_z", "ebv", "inds"} <= columns.keys()


def test_minus_99_is_no_redshift(tmp_path, survey_files):
    survey_files.legacysurvey(tmp_path / "a.h5", count=2)

    np.testing.assert_allclose(_listing(tmp_path / "a.h5").redshift, [np.nan, 0.1], rtol=1e-6)


def test_minus_99_is_unknown_in_every_column_of_numbers(tmp_path, survey_files):
    """Half of the photometric redshifts were -99, of which an R2 of -0.03 was made."""
    survey_files.legacysurvey(tmp_path / "a.h5", count=3)
    with h5py.File(tmp_path / "a.h5", "a") as file:
        file["z_phot_mean"] = np.array([0.1, -99.0, 0.3], np.float32)
        file["maskbits"] = np.array([0, -99, 2], np.int32)
        file["flux"][2, 1] = -99.0
    columns = {column.name: column.values for column in _listing(tmp_path / "a.h5").columns}

    np.testing.assert_allclose(columns["z_phot_mean"], [0.1, np.nan, 0.3], rtol=1e-6)
    assert np.isnan(columns["flux_r"][2])
    assert np.isfinite(columns["flux_r"][:2]).all()
    assert columns["maskbits"].tolist() == [0, -99, 2]


def test_files_of_other_sizes_are_cropped_where_that_is_asked_for(tmp_path, survey_files):
    one = survey_files.legacysurvey(tmp_path / "a.h5", count=2)
    two = survey_files.legacysurvey(tmp_path / "b.h5", count=2, start=4, size=16)
    with pytest.raises(SourceError, match=r"b\.h5: cutouts are 16 x 16 pixels.* 2 of 12 x 12, 2 of 16 x 16"):
        _listing(tmp_path)
    recipe = PrepareRecipe(family="astroclip", verb="prepare", images={"crop": 8})
    listing = LegacySurveySource().open([tmp_path], recipe, None)
    found = listing.reader.read(listing.file, listing.row).image

    assert listing.image.size == (8, 8)
    np.testing.assert_array_equal(found, np.concatenate([one[:, :, 2:10, 2:10], two[:, :, 4:12, 4:12]]))


@pytest.mark.parametrize(("release", "brick", "number", "target"), [(9011, 607466, 2657, 39633345008634465)])
def test_ids_are_those_of_desi(tmp_path, survey_files, release, brick, number, target):
    """The three numbers and the TARGETID of one row of DESI's early data release."""
    survey_files.legacysurvey(tmp_path / "a.h5", count=1)
    with h5py.File(tmp_path / "a.h5", "a") as file:
        for name, value in (("release", release), ("brickid", brick), ("objid", number)):
            file[name][0] = value

    assert _listing(tmp_path / "a.h5").ids.tolist() == [target]


@pytest.mark.parametrize("file", ["coadd-4-80613-thru20210324.fits", "coadd-5-169-thru20210419.fits"])
def test_ids_packed_from_release_brick_and_object_are_the_targetids_of_real_coadds(shared, file):
    with fits.open(shared / "data/desi" / file) as hdus:
        table = hdus["FIBERMAP"].data
    rows = table["RELEASE"] > 0
    packed = (table["RELEASE"].astype(int) << 42) | (table["BRICKID"].astype(int) << 22) | table["BRICK_OBJID"]

    assert rows.any()
    assert packed[rows].tolist() == table["TARGETID"][rows].tolist()


def test_bands_on_the_last_axis_are_said_and_never_transposed(tmp_path, survey_files):
    images = np.zeros((2, 12, 12, 3), np.float32)
    survey_files.legacysurvey(tmp_path / "a.h5", count=2, images=images)

    with pytest.raises(
        SourceError, match=r"\(2, 12, 12, 3\): the 3 bands g, r, z seem to be on the last axis"
    ) as found:
        _listing(tmp_path / "a.h5")
    assert "(H, W, C), and (C, H, W) = (object, 3, y, x) was expected" in found.value.message


@pytest.mark.parametrize("name", ["images", "ra", "release"])
def test_a_missing_dataset_is_named(tmp_path, survey_files, name):
    survey_files.legacysurvey(tmp_path / "a.h5", without=[name])

    with pytest.raises(SourceError, match=f"has no dataset {name}"):
        _listing(tmp_path / "a.h5")


def test_columns_of_another_length_than_the_images_are_refused(tmp_path, survey_files):
    survey_files.legacysurvey(tmp_path / "a.h5", count=3, ra=np.zeros(2))

    with pytest.raises(SourceError, match="ra has 2 rows, 3 was expected from images"):
        _listing(tmp_path / "a.h5")


def test_a_file_that_is_no_hdf5_is_named(tmp_path):
    (tmp_path / "a.h5").write_text("nothing")

    with pytest.raises(SourceError, match=r"a\.h5: the HDF5 file is truncated or damaged"):
        _listing(tmp_path / "a.h5")
