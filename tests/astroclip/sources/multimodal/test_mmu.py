"""Healpix folders of the Multimodal Universe, read beside plain h5py; pairs across cells; what is refused."""

import h5py
import numpy as np
import pytest

from polycli.astroclip.data.store import open_objects
from polycli.astroclip.sources.multimodal.source import MmuSource
from polycli.errors import SourceError, UserError
from polycli.workflow.sources import find_source

#: Two positions on both sides of a border of cells of nside 16, 0.3 arcsec apart; and two within cells.
BORDER = 0.3 / 3600


def _objects(mmu, count=4):
    """Positions of which the first two lie within an arcsecond of the border at right ascension 45 - 90/32."""
    ra = np.array([45.0, 45.3, 10.0, 200.0])[:count]
    dec = np.array([1.0, 1.2, -5.0, 40.0])[:count]
    border = _border(mmu)
    ra[0], dec[0] = border
    return ra, dec


def _border(mmu):
    """A position just before a border of cells along right ascension, found by bisection."""
    low, high = 44.0, 48.0
    cell = mmu.cells(np.array([low]), np.array([1.0]))
    assert mmu.cells(np.array([high]), np.array([1.0])) != cell
    while high - low > BORDER / 10:
        middle = (low + high) / 2
        if mmu.cells(np.array([middle]), np.array([1.0])) == cell:
            low = middle
        else:
            high = middle
    return low, 1.0


def _read(listing, rows=None):
    rows = np.arange(len(listing)) if rows is None else np.asarray(rows)
    return listing.reader.read(listing.file[rows], listing.row[rows])


def _column(listing, name):
    return next(column for column in listing.columns if column.name == name)


def test_images_have_the_files_pixels_bands_and_columns(tmp_path, mmu):
    ra, dec = _objects(mmu)
    files = mmu.write(tmp_path, mmu.images(ra, dec))
    listing = MmuSource().open([tmp_path], mmu.recipe(), None)

    assert listing.image.bands == ("g", "r", "i", "z")
    assert (listing.image.size, listing.image.pixel_scale_arcsec) == ((8, 8), 0.262)
    row = 0
    payload = _read(listing)
    for path in sorted(files.values(), key=str):
        with h5py.File(path) as file:
            for place in range(len(file["object_id"])):
                assert listing.ids[row] == file["object_id"][place].decode()
                assert (listing.ra[row], listing.dec[row]) == (file["ra"][place], file["dec"][place])
                np.testing.assert_array_equal(payload.image[row], file["image_array"][place])
                assert _column(listing, "psf_fwhm_i").values[row] == file["image_psf_fwhm"][place, 2]
                assert _column(listing, "TYPE").values[row] == file["TYPE"][place].decode()
                row += 1
    assert row == len(listing) == 4
    assert {column.name for column in listing.columns} == {
        *(f"psf_fwhm_{band}" for band in "griz"),
        *("EBV", "FLUX_R", "TYPE"),
    }
    backwards = _read(listing, [3, 0])
    np.testing.assert_array_equal(backwards.image, payload.image[[3, 0]])


def test_spectra_lie_on_desis_grid_to_the_digit_and_keep_their_weights(tmp_path, mmu):
    ra, dec = _objects(mmu)
    columns = mmu.desi(ra, dec)
    mmu.write(tmp_path, columns)
    listing = MmuSource().open([tmp_path], mmu.recipe(), None)
    payload = _read(listing)

    np.testing.assert_array_equal(listing.wavelength, mmu.desi_grid)
    assert (listing.spectrum.first, listing.spectrum.last, listing.spectrum.step) == (3600.0, 9824.0, 0.8)
    assert listing.ids.dtype == np.int64
    order = listing.ids - 39627866878511337
    np.testing.assert_array_equal(payload.spectrum, columns["spectrum_flux"][order])
    np.testing.assert_array_equal(payload.ivar, columns["spectrum_ivar"][order])
    np.testing.assert_array_equal(payload.mask, columns["spectrum_mask"][order])
    np.testing.assert_array_equal(listing.redshift, columns["Z"][order])
    np.testing.assert_array_equal(listing.good_redshift, columns["ZWARN"][order] == 0)
    assert _column(listing, "lsf_sigma").values.tolist() == [np.float32(1.1)] * 4


def test_padded_spectra_of_sdss_share_the_grid_that_any_covers(tmp_path, mmu):
    starts, lengths = [35_800, 35_790, 35_820], [40, 50, 30]
    columns = mmu.sdss(np.array([10.0, 10.1, 200.0]), np.array([1.0, 1.0, 30.0]), starts=starts, lengths=lengths)
    mmu.write(tmp_path, columns)
    listing = MmuSource().open([tmp_path], mmu.recipe(), None)
    payload = _read(listing)

    np.testing.assert_allclose(listing.wavelength, 10 ** (1e-4 * np.arange(35_790, 35_850)), rtol=1e-12)
    ids = [text.decode().strip() for text in columns["object_id"]]
    for row, name in enumerate(listing.ids.tolist()):
        source = ids.index(name)
        begin = starts[source] - 35_790
        here = slice(begin, begin + lengths[source])
        np.testing.assert_array_equal(payload.spectrum[row, here], columns["spectrum_flux"][source, : lengths[source]])
        np.testing.assert_array_equal(payload.ivar[row, here], columns["spectrum_ivar"][source, : lengths[source]])
        outside = np.ones(60, bool)
        outside[here] = False
        assert payload.mask[row, outside].all()
        assert not payload.ivar[row, outside].any()
        assert not payload.mask[row, here].any()
    assert listing.ids.dtype == object
    assert _column(listing, "SPECTROFLUX_I").values[0] == columns["SPECTROFLUX"][ids.index(listing.ids[0]), 3]


def test_objects_on_uneven_grids_of_their_own_need_a_grid_and_keep_their_flux(tmp_path, mmu):
    count, width = 3, 60
    columns = mmu.sdss(np.array([10.0, 10.1, 10.2]), np.full(3, 1.0), starts=[0] * 3, lengths=[1] * 3, width=width)
    own = np.stack([4000 + (1 + 0.1 * row) * np.arange(width) for row in range(count)])
    columns |= {
        "spectrum_lambda": own.astype(np.float32),
        "spectrum_flux": np.full((count, width), 2.5, np.float32),
        "spectrum_ivar": np.ones((count, width), np.float32),
        "spectrum_mask": np.zeros((count, width), bool),
    }
    mmu.write(tmp_path, columns)
    with pytest.raises(SourceError, match=r"objects have different wavelengths, 4000 to 4070\.8 A in all"):
        MmuSource().open([tmp_path], mmu.recipe(), None)

    grid = {"first": 4005.0, "last": 4050.0, "step": 3.0}
    listing = MmuSource().open([tmp_path], mmu.recipe(resample=grid), None)
    payload = _read(listing)
    np.testing.assert_allclose(payload.spectrum, 2.5, rtol=1e-6)
    assert not payload.mask.any()
    # A pixel of 3 A holds 3 independent pixels of 1 A, and 3 / 1.2 of 1.2 A.
    middle = payload.ivar[:, 5:10].mean(axis=1)
    assert middle[np.argsort(listing.ids.astype(str))].min() > 2
    assert middle.max() == pytest.approx(3.0, rel=0.1)

    listing = MmuSource().open([tmp_path], mmu.recipe(resample={"own": True}), None)
    payload = _read(listing)
    assert listing.wavelength is None
    assert (listing.spectrum.own, listing.spectrum.pixels) == (True, width)
    np.testing.assert_allclose(np.sort(payload.wavelength, axis=0), own, rtol=1e-6)
    np.testing.assert_array_equal(payload.ivar, np.ones((count, width)))


def test_ids_that_arrive_as_python_writes_bytes_are_plain(tmp_path, mmu):
    columns = mmu.images(*_objects(mmu, 2)) | {"object_id": np.array([b"b'0421p022-7410'", b"b' 461628614023079936'"])}
    mmu.write(tmp_path, columns)

    assert set(MmuSource().open([tmp_path], mmu.recipe(), None).ids) == {"0421p022-7410", "461628614023079936"}


def test_two_folders_pair_by_position_across_borders_of_their_cells(tmp_path, mmu, prepare):
    ra, dec = _objects(mmu)
    first = mmu.write(tmp_path / "images", mmu.images(ra, dec))
    second = mmu.write(tmp_path / "spectra", mmu.desi(ra + np.array([BORDER, 0, 0, 0]), dec))
    assert mmu.cells(ra[:1], dec[:1]) != mmu.cells(ra[:1] + BORDER, dec[:1])
    prepare(
        "mmu+mmu",
        tmp_path / "pairs.zarr",
        "quality.max_masked_fraction=1",
        inputs=[tmp_path / "images", tmp_path / "spectra"],
    )

    store = open_objects(tmp_path / "pairs.zarr")
    assert (len(store), store.about.pairing.pairs, store.about.pairing.images_left) == (4, 4, 0)
    assert set(first) != set(second)
    assert store.bands == ("g", "r", "i", "z")
    names = [source.name for source in store.manifest.sources]
    assert len(set(names)) == len(names)
    assert all(name.startswith(("images/healpix=", "spectra/healpix=")) for name in names)


def test_two_folders_pair_by_id(tmp_path, mmu, prepare):
    ra, dec = _objects(mmu)
    spectra = mmu.desi(ra, dec)
    images = mmu.images(ra, dec) | {"object_id": np.array([str(number).encode() for number in spectra["TARGETID"]])}
    mmu.write(tmp_path / "images", images)
    mmu.write(tmp_path / "spectra", spectra | {"ra": ra + 1})
    prepare("mmu+mmu", tmp_path / "p.zarr", "pair.by=id", inputs=[tmp_path / "spectra", tmp_path / "images"])

    store = open_objects(tmp_path / "p.zarr")
    places = store.ids() - 39627866878511337
    np.testing.assert_array_equal(store.read_images(np.arange(4)), images["image_array"][places])
    np.testing.assert_array_equal(store.read_spectra(np.arange(4)).flux[:, 0], spectra["spectrum_flux"][places, 0])


def test_one_source_twice_needs_two_inputs(tmp_path, mmu, prepare):
    mmu.write(tmp_path / "images", mmu.images(*_objects(mmu)))

    with pytest.raises(UserError, match="1 inputs, two were expected: of images and of spectra"):
        prepare("mmu+mmu", tmp_path / "p.zarr", inputs=[tmp_path / "images"])


def test_images_and_spectra_in_one_listing_are_refused_with_the_line_that_pairs_them(tmp_path, mmu):
    mmu.write(tmp_path / "a", mmu.images(*_objects(mmu)))
    mmu.write(tmp_path / "b", mmu.desi(*_objects(mmu)))

    with pytest.raises(SourceError, match=r"holds images, .* spectra") as error:
        MmuSource().open([tmp_path], mmu.recipe(), None)
    assert "--source mmu+mmu" in error.value.hint


def test_mixed_healpix_orders_are_refused_by_name(tmp_path, mmu):
    ra, dec = _objects(mmu)
    mmu.write(tmp_path / "a", mmu.desi(ra[2:], dec[2:]))
    mmu.write(tmp_path / "b", mmu.desi(ra[2:] + 1, dec[2:], first=5), order=6)

    with pytest.raises(SourceError, match=r"healpix orders are mixed: .* cell of order 6, .* one of order 4"):
        MmuSource().open([tmp_path], mmu.recipe(), None)


def test_files_outside_their_cell_are_said(tmp_path, mmu, capsys):
    files = mmu.write(tmp_path, mmu.desi(*_objects(mmu, 1)))
    next(iter(files.values())).parent.rename(tmp_path / "healpix=7")

    assert len(MmuSource().open([tmp_path], mmu.recipe(), None)) == 1
    assert "do not lie in healpix cell 7" in capsys.readouterr().err


@pytest.mark.parametrize(("flags", "good"), [([False, True], [True, False]), ([False, False], [True, True])])
def test_a_truth_value_of_zwarn_is_a_warning_and_that_is_said(tmp_path, mmu, capsys, flags, good):
    ra, dec = np.array([10.0, 10.1]), np.array([1.0, 1.0])
    mmu.write(tmp_path, mmu.desi(ra, dec) | {"ZWARN": np.array(flags)})

    assert MmuSource().open([tmp_path], mmu.recipe(), None).good_redshift.tolist() == good
    assert "True is taken for a warning" in capsys.readouterr().err


def test_a_redshift_is_good_of_galaxies_alone_where_a_type_is_given(tmp_path, mmu):
    ra, dec = np.array([10.0, 10.1, 10.2]), np.full(3, 1.0)
    columns = mmu.desi(ra, dec) | {"ZWARN": np.zeros(3, int), "SPECTYPE": np.array([b"GALAXY", b"QSO", b"STAR"])}
    mmu.write(tmp_path, columns)
    listing = MmuSource().open([tmp_path], mmu.recipe(), None)

    assert listing.good_redshift.tolist() == (listing.ids == columns["object_id"][0]).tolist()


def test_a_z_beside_other_bands_is_a_magnitude_and_no_redshift(tmp_path, mmu, capsys):
    ra, dec = _objects(mmu)
    magnitudes = {"g": np.full(4, 21.0), "R": np.full(4, 20.0), "z": np.full(4, 19.3)}
    mmu.write(tmp_path / "images", {**mmu.images(ra, dec), **magnitudes})
    listing = MmuSource().open([tmp_path / "images"], mmu.recipe(), None)
    assert np.isnan(listing.redshift).all()
    assert _column(listing, "z").values.tolist() == [19.3] * 4
    assert "z is taken for the magnitude in z, beside other bands, and for no redshift" in capsys.readouterr().err


def test_zwarn_that_would_make_most_redshifts_bad_must_be_declared(tmp_path, mmu):
    ra, dec = np.array([10.0, 10.1, 10.2]), np.full(3, 1.0)
    mmu.write(tmp_path, mmu.desi(ra, dec) | {"ZWARN": np.array([True, True, False])})

    with pytest.raises(SourceError, match="True in 2 of 3 objects: taken for a warning") as error:
        MmuSource().open([tmp_path], mmu.recipe(), None)
    assert "mmu.zwarn=good" in error.value.hint
    listing = MmuSource().open([tmp_path], mmu.recipe(mmu={"zwarn": "good"}), None)
    assert listing.good_redshift.tolist() == [True, True, False]


def test_bands_in_another_order_are_put_in_the_first_files(tmp_path, mmu):
    one = mmu.images(np.array([10.0]), np.array([1.0]), seed=1)
    other = mmu.images(np.array([200.0]), np.array([1.0]), bands=(b"des-z", b"des-i", b"des-r", b"des-g"), seed=2)
    mmu.write(tmp_path, one)
    mmu.write(tmp_path, other | {"object_id": np.array([b"other"])})
    listing = MmuSource().open([tmp_path], mmu.recipe(), None)
    payload = _read(listing)

    arrays = {one["object_id"][0].decode(): one["image_array"][0], "other": other["image_array"][0]}
    turned = listing.image.bands == ("g", "r", "i", "z")
    for row, name in enumerate(listing.ids.tolist()):
        same = (name != "other") == turned
        np.testing.assert_array_equal(payload.image[row], arrays[name] if same else arrays[name][::-1])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"image_band": np.array([[b"hsc-g", b"des-r", b"des-i", b"des-z"]] * 2)}, "the band hsc-g is not one of the"),
        ({"image_scale": np.array([0.262, 0.168])}, "image_scale is 0.168 to 0.262 arcsec"),
        (
            {
                "image_band": np.array(
                    [[b"des-g", b"des-r", b"des-i", b"des-z"], [b"des-r", b"des-g", b"des-i", b"des-z"]]
                )
            },
            "the bands of object 1 are des-r",
        ),
        ({"image_array": np.zeros((2, 3, 8, 8), np.float32)}, "was expected for the 4 bands"),
        ({"image_array": np.zeros((2, 8, 8, 4), np.float32)}, "on the last axis"),
        ({"object_id": np.array([1.5, 2.5])}, "ids are float64"),
        ({"object_id": np.array([b" ", b"a"])}, "1 objects have an empty id"),
        ({"dec": np.array([b"a", b"b"])}, "dec holds |S1, degrees were expected"),
    ],
)
def test_images_that_are_not_as_they_should_be_end_in_a_sentence(tmp_path, mmu, change, message):
    columns = mmu.images(np.array([10.0, 10.1]), np.array([1.0, 1.0])) | change
    path = tmp_path / "001-of-001.hdf5"
    with h5py.File(path, "w") as file:
        for name, values in columns.items():
            file[name] = values

    with pytest.raises(SourceError, match=message.replace("|", r"\|")):
        MmuSource().open([path], mmu.recipe(), None)


@pytest.mark.parametrize("missing", ["object_id", "image_band", "image_scale", "spectrum_lambda"])
def test_an_absent_column_is_named(tmp_path, mmu, missing):
    make = mmu.desi if missing.startswith("spectrum") else mmu.images
    columns = make(np.array([10.0, 10.1]), np.array([1.0, 1.0]))
    with h5py.File(tmp_path / "a.h5", "w") as file:
        for name, values in columns.items():
            if name != missing:
                file[name] = values

    with pytest.raises(SourceError, match=f"has no dataset {missing}"):
        MmuSource().open([tmp_path / "a.h5"], mmu.recipe(), None)


def test_a_truncated_file_is_named(tmp_path, mmu):
    (path,) = mmu.write(tmp_path, mmu.images(np.array([10.0]), np.array([1.0]))).values()
    path.write_bytes(path.read_bytes()[:-2000])

    with pytest.raises(SourceError, match=f"{path}: the HDF5 file is truncated"):
        MmuSource().open([tmp_path], mmu.recipe(), None)


def test_a_spectrum_on_another_grid_than_the_files_first_is_refused_when_it_is_read(tmp_path, mmu):
    columns = mmu.desi(np.array([10.0, 10.01, 10.02]), np.full(3, 1.0))
    columns["spectrum_lambda"][1] += 5
    mmu.write(tmp_path, columns)
    listing = MmuSource().open([tmp_path], mmu.recipe(), None)

    with pytest.raises(SourceError, match="the wavelengths of an object differ from those of the file's first"):
        _read(listing)
    grid = {"first": 4000.0, "last": 9000.0, "step": 2.0}
    listing = MmuSource().open([tmp_path], mmu.recipe(resample=grid), None)
    assert _read(listing).spectrum.shape == (3, 2501)


def test_an_id_that_stands_twice_is_kept_once_and_listed(tmp_path, mmu, prepare):
    columns = mmu.desi(np.array([10.0, 10.0]), np.array([1.0, 1.0]))
    columns["object_id"][1] = columns["object_id"][0]
    mmu.write(tmp_path / "d", columns)
    prepare("mmu", tmp_path / "s.zarr", inputs=[tmp_path / "d"])

    rejected = open_objects(tmp_path / "s.zarr").manifest.rejected
    assert [entry.reason.split(":")[0] for entry in rejected] == ["duplicated id"]


def test_predict_finds_the_source_by_a_look(tmp_path, mmu):
    mmu.write(tmp_path / "images", mmu.images(*_objects(mmu)))
    mmu.write(tmp_path / "spectra", mmu.sdss(*_objects(mmu, 2), starts=[35_800] * 2, lengths=[9] * 2), suffix=".h5")

    assert find_source("astroclip", [tmp_path / "images"]) == "mmu"
    assert find_source("astroclip", [tmp_path / "spectra"]) == "mmu"
