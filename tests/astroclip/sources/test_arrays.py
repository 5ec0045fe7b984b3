"""Arrays of one's own."""

import h5py
import numpy as np
import pytest

from polycli.astroclip.recipe import PrepareRecipe
from polycli.astroclip.sources.arrays import ArraysSource
from polycli.errors import SourceError


def _recipe(**sections) -> PrepareRecipe:
    return PrepareRecipe.model_validate({"family": "astroclip", "verb": "prepare", **sections})


def _listing(*inputs, **sections):
    return ArraysSource().listing(list(inputs), _recipe(**sections), None)


def _arrays(count: int = 3, *, first: float = 4000.0, start: int = 0, pixels: int = 50) -> dict[str, np.ndarray]:
    generator = np.random.default_rng(start)
    return {
        "image": generator.standard_normal((count, 3, 8, 6)).astype(np.float32),
        "spectrum": generator.standard_normal((count, pixels)) + 5,
        "ivar": generator.uniform(1, 2, (count, pixels)),
        "wavelength": first + 2.0 * np.arange(pixels),
        "object_id": 39633297352951412 + start + np.arange(count),
        "ra": np.linspace(1, 2, count),
        "dec": np.linspace(-1, 1, count),
        "redshift": np.array([np.nan, *np.linspace(0.1, 0.2, count - 1)]),
        "mass": np.linspace(9, 11, count),
    }


def _write(path, arrays, kind):
    if kind == "npz":
        np.savez(path.with_suffix(".npz"), **arrays)
        return path.with_suffix(".npz")
    if kind == "h5":
        with h5py.File(path.with_suffix(".h5"), "w") as file:
            for name, values in arrays.items():
                file[name] = values
        return path.with_suffix(".h5")
    path.mkdir()
    for name, values in arrays.items():
        np.save(path / f"{name}.npy", values)
    return path


@pytest.mark.parametrize("kind", ["npz", "h5", "npy"])
def test_arrays_are_read_alike_from_every_format(tmp_path, kind):
    arrays = _arrays()
    listing = _listing(_write(tmp_path / "mine", arrays, kind))
    places = np.array([2, 0])
    payload = listing.reader.read(listing.file[places], listing.row[places])

    assert listing.ids.tolist() == arrays["object_id"].tolist()
    assert np.array_equal(payload.image, arrays["image"][places])
    np.testing.assert_allclose(payload.spectrum, arrays["spectrum"][places], rtol=1e-6)
    np.testing.assert_allclose(payload.ivar, arrays["ivar"][places], rtol=1e-6)
    assert [column.name for column in listing.columns] == ["mass"]
    np.testing.assert_array_equal(listing.redshift, arrays["redshift"])
    assert (listing.spectrum.first, listing.spectrum.step, listing.spectrum.pixels) == (4000.0, 2.0, 50)


@pytest.mark.parametrize("kind", ["npz", "npy"])
def test_pickled_objects_are_refused(tmp_path, kind):
    arrays = {**_arrays(), "note": np.array([{"a": 1}] * 3, dtype=object)}

    with pytest.raises(SourceError, match=r"note.* cannot be read"):
        _listing(_write(tmp_path / "mine", arrays, kind))


def test_bands_on_the_last_axis_are_said_and_read_when_declared(tmp_path):
    arrays = _arrays()
    first = arrays["image"]
    arrays["image"] = first.transpose(0, 2, 3, 1)
    path = _write(tmp_path / "mine", arrays, "npz")

    with pytest.raises(SourceError, match=r"\(H, W, C\), and \(C, H, W\).*nothing is transposed") as found:
        _listing(path)
    assert "arrays.order=band_last" in found.value.hint
    listing = _listing(path, arrays={"order": "band_last"})
    assert np.array_equal(listing.reader.read(listing.file, listing.row).image, first)


def test_another_number_of_bands_than_declared_is_refused(tmp_path):
    path = _write(tmp_path / "mine", _arrays(), "npz")

    with pytest.raises(SourceError, match=r"images are \(3, 3, 8, 6\), \(object, 4, y, x\) was expected"):
        _listing(path, arrays={"bands": ["g", "r", "i", "z"]})


def test_units_are_brought_to_nanomaggies_and_1e_minus_17(tmp_path):
    arrays = _arrays()
    path = _write(tmp_path / "mine", arrays, "npz")
    listing = _listing(path, arrays={"zero_point": 25.0, "flux_unit": 1e-16})
    payload = listing.reader.read(listing.file, listing.row)

    # An AB magnitude of 25 is 0.1 nanomaggies.
    np.testing.assert_allclose(payload.image, 0.1 * arrays["image"], rtol=1e-5)
    np.testing.assert_allclose(payload.spectrum, 10 * arrays["spectrum"], rtol=1e-6)
    np.testing.assert_allclose(payload.ivar, arrays["ivar"] / 100, rtol=1e-6)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"wavelength": None}, "has spectra and no array wavelength"),
        ({"wavelength": np.arange(49.0)}, r"spectrum is \(3, 50\), \(3, 49\) was expected from wavelength"),
        ({"wavelength": np.zeros(50)}, "must be finite and rise"),
        ({"ivar": np.ones((3, 7))}, r"ivar is \(3, 7\), \(3, 50\) was expected"),
        ({"ra": np.zeros(2)}, "ra has 2 rows, 3 was expected from image"),
        ({"object_id": np.array([1.0, 2.0, 3.0])}, "ids are float64, integers or text were expected"),
        ({"redshift": np.array(["a", "b", "c"])}, "redshift is <U1"),
        ({"image": None, "spectrum": None}, "has neither of the arrays image and spectrum"),
    ],
)
def test_arrays_that_do_not_fit_are_named(tmp_path, change, sentence):
    arrays = {name: values for name, values in {**_arrays(), **change}.items() if values is not None}

    with pytest.raises(SourceError, match=sentence):
        _listing(_write(tmp_path / "mine", arrays, "npz"))


def test_sets_on_different_wavelengths_are_refused_or_resampled(tmp_path):
    one = _write(tmp_path / "one", _arrays(), "npz")
    two = _write(tmp_path / "two", _arrays(2, first=4010.0, start=10), "npz")

    with pytest.raises(SourceError, match=r"wavelengths are 50 pixels from 4010 to 4108 A, those of one\.npz are"):
        _listing(one, two)
    listing = _listing(one, two, resample={"first": 4020, "last": 4080, "step": 4})
    payload = listing.reader.read(listing.file, listing.row)
    assert listing.wavelength.tolist() == [4020.0 + 4 * place for place in range(16)]
    assert payload.spectrum.shape == (5, 16)
    with pytest.raises(SourceError, match="the wavelengths do not overlap: 4000 to 4098 A were found"):
        _listing(one, two, resample={"first": 9000, "last": 9100, "step": 4})


def test_without_ids_one_file_is_numbered_and_several_are_refused(tmp_path):
    arrays = _arrays()
    del arrays["object_id"]
    one, two = (_write(tmp_path / name, arrays, "npz") for name in ("one", "two"))

    assert _listing(one).ids.tolist() == [0, 1, 2]
    with pytest.raises(SourceError, match="has no array object_id, which tells the objects of several files apart"):
        _listing(one, two)
