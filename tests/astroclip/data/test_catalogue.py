"""Tables joined onto objects: every format, every digit, every way in which it can go wrong."""

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from astropy.io import fits

from polycli.astroclip.data.catalogue import join_catalogue
from polycli.astroclip.recipe.preparing import CatalogueSection
from polycli.errors import SourceError

IDS = np.array([39633297352951412, 39633297352951413, -1695072, 7], np.int64)
RA, DEC = np.array([0.0, 10.0, 20.0, 30.0]), np.array([-5.0, 0.0, 5.0, 89.9])
#: In another order than the objects, without the last one, with a stranger.
ROWS = {
    "TARGETID": [-1695072, 39633297352951413, 99, 39633297352951412],
    "LOGMSTAR": [10.5, np.nan, 1.0, 11.25],
    "OTHER_ID": [2**62 + 1, -5, 0, 2**62 + 3],
    "LABEL": ["spiral", "smooth", "?", "edge-on"],
}


def _fits(path, rows):
    formats = {"i": "K", "f": "D", "U": "8A"}
    columns = [
        fits.Column(name, formats[np.asarray(values).dtype.kind], array=np.asarray(values))
        for name, values in rows.items()
    ]
    fits.BinTableHDU.from_columns(columns).writeto(path)


def _parquet(path, rows):
    pq.write_table(pa.table(rows), path)


def _csv(path, rows):
    lines = [",".join(rows)]
    lines += [
        ",".join("" if value != value else str(value) for value in row) for row in zip(*rows.values(), strict=True)
    ]
    path.write_text("\n".join(lines) + "\n")


def _hdf5(path, rows):
    with h5py.File(path, "w") as file:
        for name, values in rows.items():
            array = np.asarray(values)
            file[name] = array.astype("S") if array.dtype.kind == "U" else array


def _records(path, rows):
    arrays = [np.asarray(values) for values in rows.values()]
    arrays = [array.astype("S8") if array.dtype.kind == "U" else array for array in arrays]
    with h5py.File(path, "w") as file:
        file["table"] = np.rec.fromarrays(arrays, names=list(rows))


WRITERS = {"c.fits": _fits, "c.parquet": _parquet, "c.csv": _csv, "c.h5": _hdf5, "table.hdf5": _records}


def _joined(path, **section):
    return join_catalogue(CatalogueSection(path=str(path), **section), IDS, RA, DEC)


@pytest.mark.parametrize("name", WRITERS)
def test_a_join_keeps_every_digit_and_leaves_gaps(tmp_path, name):
    WRITERS[name](tmp_path / name, ROWS)
    columns = {column.name: column for column in _joined(tmp_path / name)[0]}

    assert columns["OTHER_ID"].values[:3].tolist() == [2**62 + 3, -5, 2**62 + 1]
    assert columns["OTHER_ID"].valid.tolist() == [True, True, True, False]
    np.testing.assert_array_equal(columns["LOGMSTAR"].values, [11.25, np.nan, 10.5, np.nan])
    assert columns["LABEL"].values.tolist() == ["edge-on", "smooth", "spiral", ""]
    assert "TARGETID" not in columns


def test_nulls_in_integer_columns_do_not_make_floats_of_them(tmp_path):
    pq.write_table(
        pa.table({"id": IDS, "BIG": pa.array([2**62 + 1, None, -3, None], pa.int64())}), tmp_path / "a.parquet"
    )
    (tmp_path / "b.csv").write_text(f"id,BIG\n{IDS[0]},{2**62 + 1}\n{IDS[1]},\n{IDS[2]},-3\n{IDS[3]},\n")
    column = fits.Column("BIG", "K", null=-99, array=np.array([2**62 + 1, -99, -3, -99]))
    fits.BinTableHDU.from_columns([fits.Column("ID", "K", array=IDS), column]).writeto(tmp_path / "c.fits")
    for name in ("a.parquet", "b.csv", "c.fits"):
        (big,) = _joined(tmp_path / name)[0]
        assert big.values.dtype == np.int64
        assert big.values[[0, 2]].tolist() == [2**62 + 1, -3]
        assert big.valid.tolist() == [True, False, True, False]


def test_ids_may_be_text_that_spells_integers(tmp_path):
    _parquet(tmp_path / "a.parquet", {"id": [str(value) for value in IDS], "x": [1.0, 2.0, 3.0, 4.0]})

    assert _joined(tmp_path / "a.parquet")[0][0].values.tolist() == [1, 2, 3, 4]


def test_a_catalogue_joins_by_position_across_right_ascension_zero(tmp_path):
    _csv(tmp_path / "a.csv", {"ra": [359.9999, 30.0], "dec": [-5.0, 89.9], "x": [1.0, 2.0]})

    columns, _ = _joined(tmp_path / "a.csv", by="sky", radius_arcsec=0.5)
    np.testing.assert_array_equal(columns[0].values, [1.0, np.nan, np.nan, 2.0])


def test_rows_whose_position_is_a_mark_for_unknown_join_nothing(tmp_path):
    # sin and cos of -999 degrees are those of 81 degrees.
    _csv(tmp_path / "a.csv", {"ra": [10.0, 30.0], "dec": [-999.0, 89.9], "x": [1.0, 2.0]})

    columns, _ = join_catalogue(
        CatalogueSection(path=str(tmp_path / "a.csv"), by="sky"),
        IDS[:2],
        np.array([10.0, 30.0]),
        np.array([81.0, 89.9]),
    )
    np.testing.assert_array_equal(columns[0].values, [np.nan, 2.0])


def test_the_recipe_names_columns_a_redshift_and_a_prefix(tmp_path):
    _fits(tmp_path / "c.fits", ROWS)
    columns, redshift = _joined(tmp_path / "c.fits", columns=("LABEL",), redshift="LOGMSTAR", prefix="gz_")

    assert [column.name for column in columns] == ["gz_LABEL"]
    np.testing.assert_array_equal(redshift, [11.25, np.nan, 10.5, np.nan])


@pytest.mark.parametrize(
    ("section", "sentence"),
    [
        ({"columns": ("LOGMASS",)}, "has no column LOGMASS .*did you mean LOGMSTAR"),
        ({"id_column": "TARGET_ID"}, "has no column TARGET_ID .*did you mean TARGETID"),
        ({"by": "sky"}, "has no column RA or TARGET_RA or ra"),
        ({"id_column": "OTHER_ID"}, "none of its 4 rows belongs to one of the 4 objects"),
        ({"id_column": "LOGMSTAR"}, "holds floats, which change ids"),
        ({"redshift": "LABEL"}, "column LABEL is text, numbers were expected"),
        ({"id_column": "LABEL"}, "column LABEL is text, the objects' ids are integers"),
    ],
)
def test_what_does_not_fit_is_said_with_the_nearest_names(tmp_path, section, sentence):
    _fits(tmp_path / "c.fits", ROWS)

    with pytest.raises(SourceError, match=sentence) as found:
        _joined(tmp_path / "c.fits", **section)
    assert found.value.exit_code == 2


def test_an_id_that_stands_twice_is_refused_where_it_is_needed(tmp_path):
    _parquet(tmp_path / "a.parquet", {"id": [7, 7, 99, 99], "x": [1.0, 2.0, 3.0, 4.0]})

    with pytest.raises(SourceError, match="id 7 stands in id 2 times"):
        _joined(tmp_path / "a.parquet")


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("none.fits", None, "no such file"),
        ("a.txt", "x", "a table in FITS, Parquet, CSV or HDF5 was expected"),
        ("a.parquet", "no parquet", "the Parquet file is truncated or damaged, or none"),
        ("a.fits", "no FITS", "the FITS file is truncated or damaged"),
        ("a.h5", "no HDF5", "the HDF5 file is truncated or damaged, or none"),
    ],
)
def test_files_that_are_no_tables_are_named(tmp_path, name, content, sentence):
    if content is not None:
        (tmp_path / name).write_text(content)

    with pytest.raises(SourceError, match=sentence):
        _joined(tmp_path / name)
