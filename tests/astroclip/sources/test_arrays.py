"""Arrays of one's own."""

import tracemalloc
from pathlib import Path

import h5py
import numpy as np
import pytest

from polycli.astroclip.data.judging.quality import judge
from polycli.astroclip.recipe.preparing import PrepareRecipe, QualitySection
from polycli.astroclip.sources.arrays import ArraysSource
from polycli.errors import SourceError


def _recipe(**sections) -> PrepareRecipe:
    return PrepareRecipe.model_validate({"family": "astroclip", "verb": "prepare", **sections})


def _listing(*inputs, **sections):
    return ArraysSource().open(list(inputs), _recipe(**sections), None)


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


@pytest.mark.parametrize(("unit", "factor"), [("nanometre", 0.1), ("micrometre", 1e-4)])
def test_wavelengths_that_look_like_another_unit_are_refused_and_read_when_declared(tmp_path, unit, factor):
    arrays = _arrays()
    wanted = arrays["wavelength"]
    path = _write(tmp_path / "mine", {**arrays, "wavelength": wanted * factor}, "npz")

    with pytest.raises(SourceError, match=rf"wavelengths are .*not visible light: are they in {unit}s\?") as refusal:
        _listing(path)
    assert f"--set arrays.wavelength_unit={unit}" in refusal.value.hint
    listing = _listing(path, arrays={"wavelength_unit": unit})
    np.testing.assert_allclose(listing.wavelength, wanted)
    assert listing.spectrum.step == pytest.approx(2.0)


def test_the_far_ultraviolet_is_read_when_it_is_said_to_be_in_angstrom(tmp_path):
    path = _write(tmp_path / "mine", _arrays(first=1150.0), "npz")

    assert _listing(path, arrays={"wavelength_unit": "Angstrom"}).wavelength[0] == 1150


def _galaxies(order: str, *, count: int = 40) -> np.ndarray:
    """Cutouts with more light in r than in g, and in z than in r, of most; their bands lie in `order`."""
    generator = np.random.default_rng(0)
    light = {"g": 1.0, "r": 1.5, "z": 2.0}
    image = 0.02 * generator.standard_normal((count, 3, 16, 16))
    image[:, :, 7:9, 7:9] += np.array([light[band] for band in order])[:, None, None] * generator.uniform(
        0.5, 2, (count, 1, 1, 1)
    )
    return image.astype(np.float32)


@pytest.mark.parametrize(
    ("lie", "declared", "said"),
    [("grz", "grz", False), ("zrg", "zrg", False), ("zrg", "grz", True), ("grz", "zrg", True), ("zr", "rz", True)],
)
def test_bands_in_another_order_than_declared_are_warned_of(tmp_path, capsys, lie, declared, said):
    arrays = {**_arrays(40), "image": _galaxies(f"{lie}g" if len(lie) == 2 else lie)[:, : len(lie)]}
    blue, red = min(declared), max(declared)

    _listing(_write(tmp_path / "mine", arrays, "npz"), arrays={"bands": list(declared)})

    sentence = f"32 of 32 objects are fainter in {red} than in {blue}, as galaxies are not"
    assert (sentence in capsys.readouterr().err) == said


def test_three_objects_are_enough_for_a_warning(tmp_path, capsys):
    _listing(_write(tmp_path / "mine", {**_arrays(), "image": _galaxies("zrg", count=3)}, "npy"))

    assert "3 of 3 objects are fainter in z than in g" in capsys.readouterr().err


def test_noise_alone_and_bands_last_say_nothing_wrong_of_the_order(tmp_path, capsys):
    noise = np.random.default_rng(5).standard_normal((40, 3, 16, 16)).astype(np.float32)
    _listing(_write(tmp_path / "noise", {**_arrays(40), "image": noise}, "npz"))
    last = _galaxies("grz").transpose(0, 2, 3, 1)
    _listing(_write(tmp_path / "last", {**_arrays(40), "image": last}, "h5"), arrays={"order": "band_last"})

    assert "fainter" not in capsys.readouterr().err


def test_sets_of_other_sizes_are_refused_in_a_sentence_and_cropped_where_that_is_asked_for(tmp_path, capsys):
    small, large = _galaxies("grz", count=3), np.random.default_rng(1).normal(0, 0.1, (2, 3, 21, 20)).astype(np.float32)
    one = _write(tmp_path / "one", {**_arrays(3), "image": small}, "npz")
    two = _write(tmp_path / "two", {**_arrays(2, start=10), "image": large}, "npz")

    with pytest.raises(SourceError, match=r"two.npz: cutouts are 21 x 20 pixels, and 16 x 16 in one.npz") as refusal:
        _listing(one, two)
    assert "--set images.crop=16" in refusal.value.hint
    listing = _listing(one, two, images={"crop": 12})
    assert "cutouts of 2 sizes (3 of 16 x 16, 2 of 21 x 20) are cropped to 12 x 12" in capsys.readouterr().err
    assert listing.image.size == (12, 12)
    payload = listing.reader.read(listing.file, listing.row)
    np.testing.assert_array_equal(payload.image[:3], small[:, :, 2:14, 2:14])
    np.testing.assert_array_equal(payload.image[3:], large[:, :, 4:16, 4:16])


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


def test_a_variance_that_is_no_number_masks_its_pixel_as_in_files_of_surveys(tmp_path):
    arrays = _arrays()
    arrays["ivar"][1, 5] = np.nan
    np.savez(tmp_path / "a.npz", **arrays)
    listing = _listing(tmp_path / "a.npz")
    verdict = judge(listing.reader.read(listing.file, listing.row), ("g", "r", "z"), QualitySection())

    assert verdict.reasons == [None] * len(arrays["ivar"])
    assert verdict.payload.mask[1, 5]
    assert verdict.payload.ivar[1, 5] == 0
    assert verdict.payload.mask.sum() == 1


def test_errors_stand_for_inverse_variances(tmp_path):
    error = np.array([[0.5, 2.0, 0.0, np.inf, np.nan], [1.0, 1.0, 1.0, 1.0, -1.0]])
    np.savez(
        tmp_path / "a.npz",
        spectrum=np.ones((2, 5)),
        error=error,
        wavelength=4000.0 + np.arange(5),
        object_id=np.arange(2),
    )
    recipe = PrepareRecipe(family="astroclip", verb="prepare", arrays={"flux_unit": 1e-16})
    listing = ArraysSource().open([tmp_path / "a.npz"], recipe, None)
    payload = listing.reader.read(listing.file, listing.row)

    assert listing.spectrum.ivar == "measured"
    np.testing.assert_allclose(payload.ivar[0, :4], np.array([4.0, 0.25, 0, 0]) / 100, rtol=1e-6)
    assert payload.mask.tolist() == [[False] * 4 + [True], [False] * 5]
    assert payload.ivar[1, 4] < 0  # which judges as a negative inverse variance
    assert [column.name for column in listing.columns] == []


def test_arrays_that_lie_here_are_named_by_their_folder_and_not_by_a_dot(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    np.save("other.npy", np.zeros((3, 4)))

    with pytest.raises(SourceError, match="has neither of the arrays image and spectrum") as refusal:
        _listing(Path("other.npy"))
    assert refusal.value.message.startswith(f"{tmp_path}: ")


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_an_npz_is_never_in_memory_as_a_whole(tmp_path, save):
    """A compressed one was, in every process, and four times over at first."""
    images = np.random.default_rng(0).normal(0, 0.1, (400, 3, 64, 64)).astype(np.float32)
    images[:, :, 30:34, 30:34] += 1
    save(tmp_path / "a.npz", image=images, object_id=np.arange(400))
    size, order = images.nbytes, np.random.default_rng(1).permutation(400)
    expected = images[order[:50]]
    del images
    tracemalloc.start()
    listing = ArraysSource().open([tmp_path / "a.npz"], _recipe(), None)
    for start in range(0, 400, 20):
        rows = np.arange(start, start + 20)
        listing.reader.read(listing.file[rows], listing.row[rows])
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 0.5 * size
    # In no order at all they are the same: then it is unpacked as a whole.
    for _ in range(8):
        found = listing.reader.read(listing.file[order[:50]], listing.row[order[:50]]).image
        np.testing.assert_array_equal(found, expected)
