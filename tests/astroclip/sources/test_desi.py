"""Coadd, spectra and redrock files."""

import gzip

import numpy as np
import pytest
from astropy.io import fits

from polycli.astroclip.recipe.preparing import PrepareRecipe
from polycli.astroclip.sources import desi_spectra
from polycli.astroclip.sources.desi import DesiSource
from polycli.astroclip.sources.desi_spectra import read_spectra
from polycli.errors import SourceError
from polycli.files.fits_files import open_fits

RECIPE = PrepareRecipe(family="astroclip", verb="prepare")
#: First pixel of each camera on the grid 3600 + 0.8 i.
START = {"B": 0, "R": 2700, "Z": 4900}


def _listing(*inputs):
    return DesiSource().open(list(inputs), RECIPE, None)


def test_cameras_are_joined_with_inverse_variance_weights(tmp_path, survey_files):
    arrays = survey_files.coadd(tmp_path / "coadd-a.fits", ids=survey_files.desi_ids(3))
    flux, ivar = read_spectra(tmp_path / "coadd-a.fits", np.array([2, 0]))
    total, weight = np.zeros((3, 7781)), np.zeros((3, 7781))
    for camera, (_, pixels) in survey_files.cameras.items():
        piece = slice(START[camera], START[camera] + pixels)
        total[:, piece] += arrays[f"{camera}_FLUX"].astype(float) * arrays[f"{camera}_IVAR"]
        weight[:, piece] += arrays[f"{camera}_IVAR"]

    assert flux.shape == (2, 7781)
    np.testing.assert_allclose(flux, (total / weight)[[2, 0]], rtol=2e-6)
    np.testing.assert_allclose(ivar, weight[[2, 0]], rtol=2e-6)


def test_in_an_overlap_a_masked_camera_leaves_the_other_alone(tmp_path, survey_files):
    path = tmp_path / "coadd.fits"
    arrays = survey_files.coadd(path, ids=survey_files.desi_ids(1))
    with fits.open(path, mode="update") as file:
        file["B_MASK"].data[0, 2700:] = 4
        file["R_IVAR"].data[0, 51] = 0
    flux, ivar = read_spectra(path, np.array([0]))

    np.testing.assert_allclose(flux[0, 2700:2751], arrays["R_FLUX"][0, :51], rtol=1e-6)
    np.testing.assert_allclose(ivar[0, 2700:2751], arrays["R_IVAR"][0, :51], rtol=1e-6)
    assert ivar[0, 2751] == 0  # behind the end of B, and R has no weight there
    assert np.isfinite(flux).all()


def test_hdus_are_found_by_name_in_any_order(tmp_path, survey_files):
    survey_files.coadd(tmp_path / "a.fits", ids=survey_files.desi_ids(2))
    with fits.open(tmp_path / "a.fits") as file:
        fits.HDUList([file[0], *(hdu.copy() for hdu in reversed(file[1:]))]).writeto(tmp_path / "b.fits")
    one, other = (read_spectra(tmp_path / name, np.array([0, 1])) for name in ("a.fits", "b.fits"))

    assert np.array_equal(one[0], other[0])


def test_a_compressed_file_gives_the_same_numbers(tmp_path, survey_files):
    survey_files.coadd(tmp_path / "a.fits", ids=survey_files.desi_ids(3), masked={1: slice(5, 9)})
    (tmp_path / "b.fits.gz").write_bytes(gzip.compress((tmp_path / "a.fits").read_bytes(), 1))
    for one, other in zip(
        *(read_spectra(tmp_path / name, np.array([1, 2])) for name in ("a.fits", "b.fits.gz")), strict=True
    ):
        assert np.array_equal(one, other)


def test_a_compressed_file_is_unpacked_once_however_many_blocks_are_read(tmp_path, survey_files, monkeypatch):
    """Each part of it lies behind all that comes before, so that reading parts unpacks the file for each."""
    survey_files.coadd(tmp_path / "a.fits", ids=survey_files.desi_ids(6))
    (tmp_path / "a.fits.gz").write_bytes(gzip.compress((tmp_path / "a.fits").read_bytes(), 1))
    opened = []
    monkeypatch.setattr(desi_spectra, "open_fits", lambda path, **more: opened.append(path) or open_fits(path, **more))
    for rows in ([0, 1], [2, 3], [4, 5]):
        read_spectra(tmp_path / "a.fits.gz", np.array(rows))

    assert len(opened) <= 2  # once for headers and checksums, once for the numbers


def test_masked_pixels_have_no_weight(tmp_path, survey_files):
    survey_files.coadd(tmp_path / "a.fits", ids=survey_files.desi_ids(2), masked={1: slice(100, 140)})
    _, ivar = read_spectra(tmp_path / "a.fits", np.array([0, 1]))

    assert (ivar[0] > 0).all()
    # The same pixels of each camera: behind the overlaps with the camera before it.
    empty = np.concatenate([np.arange(start + 100, start + 140) for start in START.values()])
    assert set(np.flatnonzero(ivar[1] == 0).tolist()) == set(empty.tolist()) - set(range(4900 + 100, 4900 + 126))


@pytest.mark.parametrize("name", ["FIBERMAP", "B_FLUX", "R_IVAR", "Z_MASK", "B_WAVELENGTH"])
def test_a_missing_hdu_is_named(tmp_path, survey_files, name):
    survey_files.coadd(tmp_path / "coadd.fits", ids=survey_files.desi_ids(2), without=name)

    with pytest.raises(SourceError, match=f"has no HDU {name}; it has "):
        _listing(tmp_path / "coadd.fits")


def test_sky_fibres_and_bad_fibres_are_kept_out_with_their_ids(tmp_path, survey_files):
    ids = [39633297352951412, -1695072, 39633297352951413, -1695073]
    kinds, status = ["TGT", "SKY", "TGT", ""], [512, 0, 0, 513]
    survey_files.coadd(tmp_path / "coadd.fits", ids=ids, objtype=kinds, status=status)
    listing = _listing(tmp_path / "coadd.fits")

    assert listing.ids.tolist() == [39633297352951413]
    assert [(left.id, left.reason.split(":")[0]) for left in listing.rejected] == [
        ("39633297352951412", "bad fibre"),
        ("-1695072", "not a target"),
        ("-1695073", "not a target"),
    ]
    assert "COADD_FIBERSTATUS is 512 (BADPOSITION)" in listing.rejected[0].reason


def test_redshifts_are_joined_by_id_from_the_file_beside(tmp_path, survey_files):
    ids = survey_files.desi_ids(4)
    survey_files.coadd(tmp_path / "coadd-main-1.fits", ids=ids)
    survey_files.redrock(
        tmp_path / "redrock-main-1.fits",
        ids=ids[[3, 0, 1]],
        redshift=[0.3, 0.0, 0.1],
        warning=[0, 0, 4],
        kind=["GALAXY", "QSO", "GALAXY"],
    )
    listing = _listing(tmp_path / "coadd-main-1.fits")
    columns = {column.name: column for column in listing.columns}

    np.testing.assert_array_equal(listing.redshift, [0.0, 0.1, np.nan, 0.3])
    assert listing.good_redshift.tolist() == [False, False, False, True]
    assert columns["ZWARN"].values.tolist() == [0, 4, 0, 0]
    assert columns["ZWARN"].valid.tolist() == [True, True, False, True]
    assert "COEFF" not in columns


def test_of_two_fits_the_one_without_warning_and_with_the_larger_gain_counts(tmp_path, survey_files):
    ids = survey_files.desi_ids(2)
    survey_files.coadd(tmp_path / "coadd.fits", ids=ids)
    survey_files.redrock(tmp_path / "one.fits", ids=ids, redshift=[0.1, 0.2], warning=[4, 0], gain=[900, 10])
    survey_files.redrock(tmp_path / "two.fits", ids=ids, redshift=[0.3, 0.4], warning=[0, 0], gain=[5, 20])

    assert _listing(tmp_path).redshift.tolist() == [0.3, 0.4]


def test_a_redrock_file_without_rows_gives_no_redshifts(tmp_path, survey_files):
    survey_files.coadd(tmp_path / "coadd-x.fits", ids=survey_files.desi_ids(2))
    survey_files.redrock(tmp_path / "redrock-x.fits", ids=np.empty(0, np.int64), redshift=[])

    assert np.isnan(_listing(tmp_path).redshift).all()


#: Bits of desispec's fibermask.
RESTRICTED, BADPOSITION, POORPOSITION, BADAMPR = 1 << 3, 1 << 9, 1 << 10, 1 << 23


def test_fibres_with_flags_that_desispec_coadds_are_kept_unless_the_recipe_names_them(tmp_path, survey_files):
    ids = survey_files.desi_ids(4)
    status = [RESTRICTED, POORPOSITION, BADPOSITION, 0]
    survey_files.coadd(tmp_path / "coadd.fits", ids=ids, status=status)

    def kept(**desi):
        recipe = PrepareRecipe(family="astroclip", verb="prepare", desi=desi)
        return DesiSource().open([tmp_path / "coadd.fits"], recipe, None).ids.tolist()

    assert kept() == [ids[0], ids[1], ids[3]]
    assert kept(fibre_mask=["POORPOSITION"]) == [ids[0], ids[2], ids[3]]
    assert kept(fibre_mask=["ANY"]) == [ids[3]]
    assert kept(fibre_mask=[]) == ids.tolist()


def test_a_bad_amplifier_leaves_out_its_camera_alone_and_left_out_exposures_are_said(tmp_path, survey_files, capsys):
    one, other = survey_files.desi_ids(2)
    arrays = survey_files.coadd(
        tmp_path / "spectra.fits",
        ids=[one, one, one, other],
        status=[BADAMPR, 0, BADPOSITION, 0],
        status_name="FIBERSTATUS",
    )
    listing = _listing(tmp_path / "spectra.fits")
    payload = listing.reader.read(listing.file, listing.row)
    # Beyond the overlaps, pixels 3000 to 4800 are of R alone, and those below 2600 of B alone.
    np.testing.assert_allclose(payload.spectrum[0, 3000:4800], arrays["R_FLUX"][1, 300:2100], rtol=1e-5)
    weight = arrays["B_IVAR"][:2, :2600].astype(float)
    expected = (arrays["B_FLUX"][:2, :2600] * weight).sum(axis=0) / weight.sum(axis=0)
    np.testing.assert_allclose(payload.spectrum[0, :2600], expected, rtol=1e-4)
    said = capsys.readouterr().err
    assert "1 of 4 exposures are left out of targets that have others: FIBERSTATUS 512 (BADPOSITION)" in said


def test_exposures_of_one_id_at_two_positions_are_refused(tmp_path, survey_files):
    (one,) = survey_files.desi_ids(1)
    survey_files.coadd(tmp_path / "spectra.fits", ids=[one, one], ra=np.array([10.0, 10.5]), dec=np.zeros(2))

    with pytest.raises(SourceError, match=f"TARGETID {one} is at 10.50000 0.00000 in row 1, and at 10.00000 .*two pos"):
        _listing(tmp_path / "spectra.fits")


def test_a_file_cut_off_within_a_header_is_truncated_and_lacks_no_hdu(tmp_path, survey_files):
    survey_files.coadd(tmp_path / "coadd.fits", ids=survey_files.desi_ids(2))
    content = (tmp_path / "coadd.fits").read_bytes()
    with fits.open(tmp_path / "coadd.fits") as file:
        start = file["R_FLUX"].fileinfo()["hdrLoc"]
    for length in (start + 4, start + 100, start + 1000):
        (tmp_path / "coadd.fits").write_bytes(content[:length])
        with pytest.raises(SourceError, match="the FITS file is truncated or damaged"):
            _listing(tmp_path / "coadd.fits")
    (tmp_path / "coadd.fits").write_bytes(content[:start])
    with pytest.raises(SourceError, match=r"has no HDU R_FLUX.*cut off between two HDUs"):
        _listing(tmp_path / "coadd.fits")


def test_exposures_of_one_target_are_averaged_without_the_bad_ones(tmp_path, survey_files):
    one, other = survey_files.desi_ids(2)
    arrays = survey_files.coadd(
        tmp_path / "spectra.fits", ids=[one, other, one, one], status=[1 << 9, 0, 0, 0], status_name="FIBERSTATUS"
    )
    listing = _listing(tmp_path / "spectra.fits")
    payload = listing.reader.read(listing.file, listing.row)
    weight = arrays["Z_IVAR"][2:].astype(float)
    # Behind the overlap with R, the last 2,755 pixels are of Z alone.
    expected = (arrays["Z_FLUX"][2:] * weight).sum(axis=0) / weight.sum(axis=0)

    assert sorted(listing.ids.tolist()) == [one, other]
    place = listing.ids.tolist().index(one)
    np.testing.assert_allclose(payload.spectrum[place, -2755:], expected[-2755:], rtol=1e-5)
    np.testing.assert_allclose(payload.ivar[place, -2755:], weight.sum(axis=0)[-2755:], rtol=1e-5)


def test_files_of_different_programs_share_a_listing_with_gaps_in_their_columns(tmp_path, survey_files):
    big = np.array([2**62 + 1, 2**60 + 3], np.int64)
    ids = survey_files.desi_ids(4)
    survey_files.coadd(tmp_path / "a.fits", ids=ids[:2], extra={"SV1_DESI_TARGET": big})
    survey_files.coadd(tmp_path / "b.fits", ids=ids[2:], extra={"SV3_DESI_TARGET": big})
    columns = {column.name: column for column in _listing(tmp_path).columns}

    assert columns["SV1_DESI_TARGET"].values.tolist() == [*big.tolist(), 0, 0]
    assert columns["SV3_DESI_TARGET"].valid.tolist() == [False, False, True, True]


@pytest.mark.parametrize(
    ("shift", "sentence"),
    [(20_000.0, "the wavelengths do not overlap"), (0.3, "B_WAVELENGTH is not on DESI's grid")],
)
def test_wavelengths_off_the_grid_are_refused(tmp_path, survey_files, shift, sentence):
    survey_files.coadd(tmp_path / "coadd.fits", ids=survey_files.desi_ids(1), shift=shift)

    with pytest.raises(SourceError, match=sentence):
        _listing(tmp_path / "coadd.fits")


def test_a_truncated_file_is_named(tmp_path, survey_files):
    survey_files.coadd(tmp_path / "coadd.fits", ids=survey_files.desi_ids(2))
    content = (tmp_path / "coadd.fits").read_bytes()
    (tmp_path / "coadd.fits").write_bytes(content[: len(content) // 2])
    (tmp_path / "text.fits").write_text("no FITS file")

    for name in ("coadd.fits", "text.fits"):
        with pytest.raises(SourceError, match=name):
            _listing(tmp_path / name)


def test_no_flipped_bit_of_a_file_with_checksums_is_read(tmp_path, survey_files):
    survey_files.coadd(tmp_path / "plain.fits", ids=survey_files.desi_ids(2))
    path = tmp_path / "coadd.fits"
    with fits.open(tmp_path / "plain.fits") as file:
        file.writeto(path, checksum=True)
    whole = path.read_bytes()
    with fits.open(path) as file:
        places = [(unit.fileinfo()["datLoc"], unit.data.nbytes) for unit in file[1:]]
    flux, _ = read_spectra(path, np.arange(2))
    assert np.isfinite(flux).all()

    generator = np.random.default_rng(0)
    for start, size in places:
        damaged = bytearray(whole)
        damaged[start + int(generator.integers(size))] ^= 1 << int(generator.integers(8))
        path.write_bytes(damaged)
        with pytest.raises(SourceError, match=r"coadd\.fits: .*(Checksum|Datasum) verification failed"):
            read_spectra(path, np.arange(2))
