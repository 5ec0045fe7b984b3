"""Objects as they come back from a store."""

import json
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from polycli.astroclip.data import survey
from polycli.astroclip.data.description import ImageDescription, SpectrumDescription, refuse_mismatch
from polycli.astroclip.data.store import ObjectStore, common_columns, open_objects
from polycli.errors import StoreError
from polycli.store.reader import Store

IDS = np.array([39633297352951412, -1695072, 2**62 + 1, 5], np.int64)


@pytest.fixture(scope="module")
def store(tmp_path_factory, prepare):
    """Four spectra with ids that floats would change, and a catalogue that knows three of them."""
    folder = tmp_path_factory.mktemp("ids")
    generator = np.random.default_rng(0)
    np.savez(
        folder / "mine.npz",
        spectrum=generator.standard_normal((4, 30)) + 5,
        wavelength=4000.0 + np.arange(30),
        object_id=IDS,
        redshift=[0.1, np.nan, 0.3, 0.4],
    )
    table = {"id": IDS[:3], "BIG": pa.array([2**62 + 7, None, -3], pa.int64()), "FLAG": [True, False, True]}
    pq.write_table(pa.table({**table, "KIND": ["a", "b", "a"], "X": [0.5, 1.5, 2.5]}), folder / "c.parquet")
    catalogues = json.dumps([{"path": str(folder / "c.parquet")}])
    prepare("arrays", folder / "s.zarr", f"catalogues={catalogues}", inputs=[folder / "mine.npz"])
    return open_objects(folder / "s.zarr", verify="full")


def test_ids_come_back_bit_for_bit(store):
    assert store.ids().dtype == np.int64
    assert store.ids().tolist() == IDS.tolist()
    assert store.id_texts([2, 1]) == [str(2**62 + 1), "-1695072"]
    assert json.loads(json.dumps(store.ids().tolist())) == IDS.tolist()


def test_ids_and_nullable_integers_survive_parquet(store, tmp_path):
    pq.write_table(store.table(), tmp_path / "out.parquet")
    table = pq.read_table(tmp_path / "out.parquet")

    assert table.column("object_id").to_pylist() == IDS.tolist()
    assert table.column("BIG").to_pylist() == [2**62 + 7, None, -3, None]
    assert table.column("FLAG").to_pylist() == [True, False, True, None]
    assert table.column("KIND").to_pylist()[:3] == ["a", "b", "a"]
    assert table.column("X").to_pylist()[:3] == [0.5, 1.5, 2.5]


def test_a_column_with_gaps_is_a_masked_array_of_integers(store):
    big = store.column("BIG", [2, 1, 0])

    assert big.dtype == np.int64
    assert big.tolist() == [-3, None, 2**62 + 7]
    np.testing.assert_array_equal(store.target("BIG", [1, 2]), [np.nan, -3])


def test_labels_are_numbers_of_sorted_names_with_minus_one_for_unknown(store):
    codes, names = store.labels("KIND")
    assert (codes.tolist(), names) == ([0, 1, 0, -1], ("a", "b"))
    assert store.labels("FLAG", [1, 3])[0].tolist() == [0, -1]


def test_redshifts_that_are_unknown_are_nan_and_flagged(store):
    np.testing.assert_array_equal(store.column("redshift"), [0.1, np.nan, 0.3, 0.4])
    assert ((store.column("quality") & store.about.quality["no_redshift"]) > 0).tolist() == [False, True, False, False]


def test_columns_that_are_not_there_or_of_the_wrong_kind_are_said(store):
    with pytest.raises(StoreError, match=r"has no property 'KINDS' \(did you mean KIND\?\)"):
        store.column("KINDS")
    with pytest.raises(StoreError, match="column KIND is text, numbers were expected"):
        store.target("KIND")
    with pytest.raises(StoreError, match="column X is of floats, classes were expected"):
        store.labels("X")
    with pytest.raises(StoreError, match="holds spectra alone, images are needed"):
        store.read_images([0])


def test_images_spectra_and_truth_of_the_mock_come_back_by_row(mock_store):
    store = open_objects(mock_store, verify="full")
    images, spectra = store.read_images([3, 0]), store.read_spectra(np.array([3, 0]))

    assert (images.dtype, images.shape) == (np.float32, (2, 3, 64, 64))
    assert np.array_equal(images[1], store.read_images([0])[0])
    assert [part.shape for part in spectra] == [(2, 7781)] * 3
    assert spectra.mask.dtype == np.bool_
    assert (spectra.ivar[spectra.mask] == 0).all()
    assert store.wavelength[[0, -1]].tolist() == [3600.0, pytest.approx(9824.0)]
    assert store.magnitudes().shape == (24, 3)
    assert sum(len(store.rows(split)) for split in ("train", "validation", "test")) == len(store) == 24
    assert len(set(store.hashes())) == 24


def test_text_ids_come_back_as_they_were(tmp_path, prepare):
    names = ["0421p022-7410", "b-7", "39633297352951412"]
    np.savez(
        tmp_path / "a.npz", image=np.random.default_rng(0).standard_normal((3, 3, 8, 8)), object_id=np.array(names)
    )
    prepare("arrays", tmp_path / "s.zarr", inputs=[tmp_path / "a.npz"])
    store = open_objects(tmp_path / "s.zarr")

    assert store.ids().tolist() == names
    assert store.table().column("object_id").to_pylist() == names


def test_descriptions_that_do_not_fit_are_refused_with_both_values():
    image = ImageDescription(bands=("g", "r", "z"), size=(152, 152))
    refuse_mismatch(image, image.model_copy(update={"size": (160, 160)}), what="a")
    with pytest.raises(StoreError, match=r"a: images with pixel scale arcsec 0\.4, 0\.262 was expected"):
        refuse_mismatch(image, image.model_copy(update={"pixel_scale_arcsec": 0.4}), what="a")
    refuse_mismatch(image, image.model_copy(update={"bands": ("z", "i", "r", "g")}), what="a")
    with pytest.raises(StoreError, match="a: images without band z, of g, r, z that are needed; they have r, g"):
        refuse_mismatch(image, image.model_copy(update={"bands": ("r", "g")}), what="a")
    spectrum = SpectrumDescription(pixels=2, first=1, last=2, step=1)
    with pytest.raises(StoreError, match="frame rest, observed was expected"):
        refuse_mismatch(spectrum, spectrum.model_copy(update={"frame": "rest"}), what="a")
    with pytest.raises(StoreError, match="has no spectra"):
        refuse_mismatch(spectrum, None, what="a")


@pytest.fixture(scope="module")
def shadowed(tmp_path_factory, prepare):
    """A catalogue whose columns are called as those of every store; and what was said of it."""
    folder = tmp_path_factory.mktemp("names")
    images = np.random.default_rng(0).standard_normal((4, 3, 8, 8)).astype(np.float32)
    np.savez(folder / "a.npz", image=images, object_id=IDS, ra=np.arange(4.0), dec=np.ones(4))
    own = {"ra": [9.5, 8, 7, 6], "split": ["train", "x", "y", "z"], "quality": [10, 11, 12, 13], "mass": [1, 2, 3, 4]}
    pq.write_table(pa.table({"id": IDS, **own, "image_embedding": [1.0] * 4}), folder / "names.parquet")
    catalogues = json.dumps([{"path": str(folder / "names.parquet")}])
    with pytest.MonkeyPatch.context() as patch:
        said = []
        patch.setattr(survey, "note", said.append)
        prepare("arrays", folder / "s.zarr", f"catalogues={catalogues}", inputs=[folder / "a.npz"])
    return open_objects(folder / "s.zarr"), own, said


def test_columns_with_the_names_of_a_stores_own_are_kept_under_others(shadowed):
    store, own, said = shadowed
    assert store.column("ra").tolist() == [0, 1, 2, 3]
    for name in ("ra", "split", "quality"):
        assert store.column(f"catalogue_{name}").tolist() == own[name]
    assert store.column("mass").tolist() == own["mass"]
    assert "split" not in store.columns
    assert len(set(store.table().column_names)) == len(store.columns)
    assert len(said) == 1
    assert "ra of names.parquet as catalogue_ra, split of names.parquet as catalogue_split" in said[0]
    assert "image_embedding of names.parquet as catalogue_image_embedding" in said[0]


def test_stores_of_before_have_such_columns_too(shadowed):
    store, own, _ = shadowed
    about = json.loads(json.dumps(store.manifest.about).replace("catalogue_", ""))
    earlier = ObjectStore(Store(store.path, store.manifest.model_copy(update={"about": about})))
    assert earlier.columns == store.columns
    assert earlier.column("catalogue_ra").tolist() == own["ra"]


def columns_of(**types):
    """What `common_columns` sees of a store."""
    schema = pa.schema(types)
    return SimpleNamespace(path=next(iter(types)), table=lambda rows: schema.empty_table())


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        (pa.int32(), pa.int64(), pa.int64()),
        (pa.int64(), pa.uint32(), pa.int64()),
        (pa.float32(), pa.float64(), pa.float64()),
        (pa.string(), pa.string(), pa.string()),
        (pa.int64(), pa.uint64(), None),
        (pa.int64(), pa.float64(), None),
        (pa.bool_(), pa.int64(), None),
    ],
)
def test_columns_of_two_stores_have_a_type_that_loses_nothing(one, other, expected):
    for stores in ([columns_of(x=one), columns_of(x=other)], [columns_of(x=other), columns_of(x=one)]):
        if expected is None:
            with pytest.raises(StoreError, match=r"column x is .* they make no table together"):
                common_columns(stores)
        else:
            assert common_columns(stores).field("x").type == expected
