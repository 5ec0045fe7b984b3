"""Units of plain arrays: declared, or judged by their numbers and refused where those cannot be."""

import numpy as np
import pytest
from pydantic import ValidationError

from polycli.astroclip.data.survey import gather
from polycli.astroclip.recipe.preparing import ArraysSection, PrepareRecipe
from polycli.astroclip.sources.arrays import ArraysSource
from polycli.errors import SourceError
from polycli.files.numpy_files import check_npz, map_npz

COUNT, PIXELS = 6, 200


def _recipe(**arrays) -> PrepareRecipe:
    return PrepareRecipe.model_validate({"family": "astroclip", "verb": "prepare", "arrays": arrays})


def _listing(path, **arrays):
    return ArraysSource().open([path], _recipe(**arrays), None)


def _payload(listing):
    return listing.reader.read(listing.file, listing.row)


def _file(tmp_path, **changed):
    generator = np.random.default_rng(0)
    arrays = {
        "image": generator.normal(1, 0.1, (COUNT, 3, 8, 8)).astype(np.float32),
        "spectrum": generator.normal(3, 0.5, (COUNT, PIXELS)),
        "ivar": np.full((COUNT, PIXELS), 4.0),
        "wavelength": np.linspace(3600, 9800, PIXELS),
    }
    arrays |= changed
    np.savez(tmp_path / "a.npz", **{name: values for name, values in arrays.items() if values is not None})
    return tmp_path / "a.npz", arrays


def test_flux_in_erg_is_refused_and_read_when_declared(tmp_path):
    flux = np.random.default_rng(0).normal(3e-17, 0.5e-17, (COUNT, PIXELS))
    path, arrays = _file(tmp_path, image=None, spectrum=flux, ivar=np.full((COUNT, PIXELS), 4e34))
    with pytest.raises(
        SourceError, match=r"spectrum: the median flux is .*e-17, which no galaxy has in 1e-17"
    ) as refusal:
        _listing(path)
    assert "--set arrays.flux_unit=1," in refusal.value.hint
    found = _payload(_listing(path, flux_unit=1))
    np.testing.assert_allclose(found.spectrum, arrays["spectrum"] * 1e17, rtol=1e-6)
    np.testing.assert_allclose(found.ivar, 4.0, rtol=1e-6)
    assert _listing(path, flux_unit=1e-17).spectrum.pixels == PIXELS


@pytest.mark.parametrize(
    ("pixels", "sentence"),
    [
        (np.full((COUNT, 3, 8, 8), 200, np.uint8), "integers of 8 bits, as of colour pictures"),
        (np.full((COUNT, 3, 8, 8), 3100, np.int16), "integers up to 3100 in half of the images, as counts are"),
        (np.full((COUNT, 3, 8, 8), 4e-6), "the brightest pixel of an image is 4e-06 in the median"),
        (np.full((COUNT, 3, 8, 8), 4e6), r"the brightest pixel of an image is 4e\+06 in the median"),
    ],
)
def test_pixels_that_cannot_be_nanomaggies_are_refused_unless_their_unit_is_declared(tmp_path, pixels, sentence):
    path, _ = _file(tmp_path, image=pixels)
    with pytest.raises(SourceError, match=sentence) as refusal:
        _listing(path)
    assert "arrays.pixel_unit=nanomaggy" in refusal.value.hint
    np.testing.assert_array_equal(_payload(_listing(path, pixel_unit="nanomaggy")).image, pixels.astype(np.float32))


@pytest.mark.parametrize(
    ("unit", "factor"),
    # 1 nanomaggy is 3.631e-6 Jy.
    [("jansky", 1 / 3.631e-6), ("microjansky", 1 / 3.631), ("nanojansky", 1 / 3631), ("maggy", 1e9), ("nanomaggy", 1)],
)
def test_pixels_of_other_units_become_nanomaggies(tmp_path, unit, factor):
    path, arrays = _file(tmp_path)

    np.testing.assert_allclose(_payload(_listing(path, pixel_unit=unit)).image, arrays["image"] * factor, rtol=1e-3)


def test_a_unit_and_a_zero_point_are_one_thing_said_twice_or_refused():
    assert ArraysSection(pixel_unit="microjansky", zero_point=23.9).ab_zero_point == 23.9
    assert ArraysSection().ab_zero_point == 22.5
    with pytest.raises(ValidationError, match=r"pixel_unit microjansky has the zero point 23\.9, and zero_point is 25"):
        ArraysSection(pixel_unit="microjansky", zero_point=25)


@pytest.mark.parametrize(
    ("wavelength", "unit", "first"),
    [
        (3.55 + 2e-3 * np.arange(PIXELS), "log10_Angstrom", 10**3.55),
        (np.linspace(1206, 2201, PIXELS), "nanometre", 12060.0),
        (np.linspace(600, 5300, PIXELS), "nanometre", 6000.0),
    ],
)
def test_logarithms_and_the_near_infrared_in_nanometres_are_not_taken_for_angstrom(tmp_path, wavelength, unit, first):
    path, _ = _file(tmp_path, wavelength=wavelength)
    with pytest.raises(SourceError, match="not visible light") as refusal:
        _listing(path)
    assert f"--set arrays.wavelength_unit={unit}" in refusal.value.hint
    np.testing.assert_allclose(_listing(path, wavelength_unit=unit).wavelength[0], first)


@pytest.mark.parametrize(("ivar", "said"), [(4.0, False), (0.25, True), (4e34, True)])
def test_inverse_variances_that_the_scatter_contradicts_are_said(tmp_path, capsys, ivar, said):
    path, _ = _file(tmp_path, ivar=np.full((COUNT, PIXELS), ivar))
    _listing(path)

    assert ("are these inverse variances, in the unit of the fluxes?" in capsys.readouterr().err) is said


def test_weights_that_are_not_finite_mask_their_pixel(tmp_path):
    ivar = np.full((COUNT, PIXELS), 4.0)
    ivar[0, 5], ivar[1, 6] = np.nan, np.inf
    path, _ = _file(tmp_path, ivar=ivar)

    assert np.argwhere(_payload(_listing(path)).mask).tolist() == [[0, 5], [1, 6]]


def test_numbers_of_16_bits_keep_their_worth_in_another_unit(tmp_path):
    generator = np.random.default_rng(0)
    flux = generator.normal(8, 0.5, (COUNT, PIXELS)).astype(np.float16)
    path, _ = _file(tmp_path, image=None, spectrum=flux, ivar=np.full((COUNT, PIXELS), 4, np.float16))
    found = _payload(_listing(path, flux_unit=1e-13))
    np.testing.assert_allclose(found.spectrum, flux.astype(np.float64) * 1e4, rtol=1e-6)
    np.testing.assert_allclose(found.ivar, 4e-8, rtol=1e-6)
    assert not found.mask.any()


def test_marks_in_32_bits_are_gaps_of_positions_and_redshifts_too(tmp_path):
    places = {name: np.full(COUNT, 1.5, np.float32) for name in ("ra", "dec", "redshift")}
    for values in places.values():
        values[2] = -99.9
    path, _ = _file(tmp_path, object_id=np.arange(COUNT), **places)
    listing = _listing(path, null=[-99.9])
    for values in (listing.ra, listing.dec, listing.redshift):
        assert np.flatnonzero(np.isnan(values)).tolist() == [2]


def test_marks_of_missing_values_and_arrays_that_are_no_columns_are_said(tmp_path, capsys):
    more = {"ra": np.array([10.0, -99, 11, 12, 13, 14]), "dec": np.array([1.0, -99, 1, 1, 1, 1])}
    more |= {
        "logm": np.array([-99, 10.0, 11, 9, 10, 10]),
        "vec": np.ones((COUNT, 4)),
        "redshift": np.full(COUNT, 9999.0),
    }
    path, _ = _file(tmp_path, **more)
    listing = _listing(path)
    said = capsys.readouterr().err
    assert "left out, as no single numbers or texts of objects: vec (float64 (6, 4))" in said
    assert "-99 in logm may mark missing values, and count as numbers: arrays.null: [-99] says so" in said
    with pytest.raises(SourceError, match="dec is -99"):
        gather("a", [listing], _recipe(), None)

    survey = gather("a", [_listing(path, null=[-99])], _recipe(null=[-99]), None)
    np.testing.assert_array_equal(survey.ra, [10, np.nan, 11, 12, 13, 14])
    np.testing.assert_array_equal(survey.columns[0].values, [np.nan, 10, 11, 9, 10, 10])
    assert np.isnan(survey.redshift).all()


def test_right_ascensions_out_of_range_are_refused(tmp_path):
    path, _ = _file(tmp_path, ra=np.linspace(-20, 400, COUNT), dec=np.zeros(COUNT))

    with pytest.raises(SourceError, match=r"ra is 400 .* -180 to 360 degrees were expected"):
        gather("a", [_listing(path)], _recipe(), None)


def test_right_ascensions_that_look_like_hours_are_said(tmp_path, capsys):
    for last, said in ((23.9, True), (359.0, False), (10.0, False)):
        np.savez(tmp_path / "a.npz", image=np.ones((30, 3, 4, 4)), ra=np.linspace(0, last, 30), dec=np.zeros(30))
        gather("a", [_listing(tmp_path / "a.npz")], _recipe(), None)
        assert ("degrees, or hours?" in capsys.readouterr().err) is said


def test_one_id_at_two_positions_is_two_objects_and_refused(tmp_path):
    ids = np.array([1, 2, 3, 1, 5, 6])
    path, _ = _file(tmp_path, object_id=ids, ra=np.array([1.0, 2, 3, 1, 5, 6]), dec=np.zeros(COUNT))
    assert len(gather("a", [_listing(path)], _recipe(), None)) == 5
    path, _ = _file(tmp_path, object_id=ids, ra=np.arange(6.0), dec=np.zeros(COUNT))
    with pytest.raises(
        SourceError, match=r"the id 1 is at 3\.00000 0\.00000, and at 0\.00000 0\.00000 in .*one id, two"
    ):
        gather("a", [_listing(path)], _recipe(), None)


@pytest.mark.parametrize("order", ["C", "F"])
def test_an_array_of_an_npz_is_mapped_where_it_lies_and_a_damaged_one_is_found(tmp_path, order):
    values = np.asarray(np.arange(24.0).reshape(4, 6), order=order)
    path = tmp_path / "a.npz"
    np.savez(path, x=values, y=np.arange(3))
    found = map_npz(path, "x")
    assert isinstance(found, np.memmap)
    np.testing.assert_array_equal(found, values)
    np.savez_compressed(tmp_path / "b.npz", x=values)
    assert map_npz(tmp_path / "b.npz", "x") is None

    check_npz(path)
    data = bytearray(path.read_bytes())
    data[data.index(np.float64(7.0).tobytes())] ^= 1
    path.write_bytes(data)
    with pytest.raises(SourceError, match="truncated or damaged"):
        check_npz(path)


@pytest.mark.parametrize(
    ("declared", "guessed"),
    [
        ({}, ("image", "spectrum")),
        ({"pixel_unit": "nanomaggy"}, ("spectrum",)),
        ({"zero_point": 22.5, "flux_unit": 1e-17}, ()),
    ],
)
def test_units_that_nobody_declares_are_said_to_be_guesses(tmp_path, capsys, declared, guessed):
    """Nanojanskys and 1e-19 erg/s/cm2/A pass for other units by their numbers."""
    path, _ = _file(tmp_path)
    _listing(path, **declared)

    said = capsys.readouterr().err
    assert ("image: nothing names the unit of the pixels" in said) == ("image" in guessed)
    assert ("spectrum: nothing names the unit of the fluxes" in said) == ("spectrum" in guessed)
