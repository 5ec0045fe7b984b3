"""Tables joined onto objects: every format, every digit, every way in which it can go wrong."""

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from astropy import units
from astropy.io import fits
from astropy.table import Table

from polycli.astroclip.data.catalogue import Objects, join_catalogue
from polycli.astroclip.data.tables.arrow_tables import ParquetTable
from polycli.astroclip.data.tables.astropy_units import units_described
from polycli.astroclip.data.tables.spellings import says_what_a_store_has
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
    found = join_catalogue(CatalogueSection(path=str(path), **section), Objects(IDS, RA, DEC))
    return found.columns, found.redshift


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

    objects = Objects(IDS[:2], np.array([10.0, 30.0]), np.array([81.0, 89.9]))
    joined = join_catalogue(CatalogueSection(path=str(tmp_path / "a.csv"), by="sky"), objects)
    np.testing.assert_array_equal(joined.columns[0].values, [np.nan, 2.0])


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
        ("a.txt", "x", "a table in FITS, Parquet, CSV, ECSV, VOTable or HDF5 was expected"),
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


def _objects(ids, **more):
    values = np.empty(len(ids), object)
    values[:] = ids
    count = len(ids)
    unknown = np.full(count, np.nan)
    return Objects(**{"ids": values, "ra": unknown, "dec": unknown, **more})


def _values(path, objects, **section):
    """By name: values as Python has them, None where an object has none."""
    found = {}
    for column in join_catalogue(CatalogueSection(path=str(path), **section), objects).columns:
        values = [None if value != value else value for value in column.values.tolist()]
        if column.valid is not None:
            values = [value if there else None for value, there in zip(values, column.valid.tolist(), strict=True)]
        found[column.name] = values
    return found


def test_a_condition_chooses_rows_as_search_has_it(tmp_path):
    rows = {"id": [7, 7, 8, 8], "ZCAT_PRIMARY": [False, True, True, False], "x": [1.0, 2.0, 3.0, 4.0]}
    _parquet(tmp_path / "a.parquet", rows)
    objects = Objects(np.array([8, 7]), RA[:2], DEC[:2])
    assert _values(tmp_path / "a.parquet", objects, where="ZCAT_PRIMARY", columns=("x",)) == {"x": [3.0, 2.0]}
    assert _values(tmp_path / "a.parquet", objects, where="x > 1 and x < 4", columns=("x",)) == {"x": [3.0, 2.0]}
    with pytest.raises(SourceError, match=r"id 8 stands in id 2 times.*by where: ZCAT_PRIMARY"):
        _values(tmp_path / "a.parquet", objects)
    with pytest.raises(SourceError, match=r"where: there is no column 'ZCAT_PRIMRY' \(did you mean ZCAT_PRIMARY"):
        _values(tmp_path / "a.parquet", objects, where="ZCAT_PRIMRY")
    with pytest.raises(SourceError, match=r"a\.parquet: where: character 4"):
        _values(tmp_path / "a.parquet", objects, where="x >")
    with pytest.raises(SourceError, match="none of its 0 rows with x > 9 belongs"):
        _values(tmp_path / "a.parquet", objects, where="x > 9")


def test_nulls_in_a_condition_leave_a_row_out_and_marks_are_nulls(tmp_path):
    _parquet(tmp_path / "a.parquet", {"id": [1, 2, 3], "q": pa.array([1, None, -99], pa.int16()), "x": [1.0, 2.0, 3.0]})
    objects = Objects(np.array([1, 2, 3]), RA[:3], DEC[:3])

    assert _values(tmp_path / "a.parquet", objects, where="q < 5", null=(-99,))["x"] == [1.0, None, None]
    assert _values(tmp_path / "a.parquet", objects, where="q is null", null=(-99,))["x"] == [None, 2.0, 3.0]


def test_marks_of_missing_values_become_gaps_in_every_type_and_are_said_where_nobody_named_them(tmp_path, capsys):
    rows = {
        "id": [1, 2, 3, 4],
        "single": pa.array([-99.9, 1.5, 2.0, 0.5], pa.float32()),
        "double": [-99.9, 1.5, -9999.0, 0.5],
        "whole": pa.array([-99, 1, 2, 3], pa.int16()),
        "text": ["-99", "a", "N/A", "b"],
        "far": [-99.0, -98.0, -97.0, -96.0],
    }
    _parquet(tmp_path / "a.parquet", rows)
    objects = Objects(np.array([1, 2, 3, 4]), RA, DEC)
    assert _values(tmp_path / "a.parquet", objects, null=(-99.9, -99, -9999, "N/A")) == {
        "single": [None, 1.5, 2.0, 0.5],
        "double": [None, 1.5, None, 0.5],
        "whole": [None, 1, 2, 3],
        "text": [None, "a", None, "b"],
        "far": [None, -98.0, -97.0, -96.0],
    }
    assert "7 values are marked as missing" in capsys.readouterr().err
    _values(tmp_path / "a.parquet", objects)
    said = capsys.readouterr().err
    assert "-99.9, -9999, -99 in single, double, whole may mark missing values" in said
    assert "null: [-99.9, -9999, -99]" in said


def test_rows_in_the_order_of_the_source_are_taken_as_they_are_or_refused(tmp_path, capsys):
    _csv(tmp_path / "a.csv", {"x": [1, 2, 3, 4]})
    objects = Objects(IDS[:2], RA[:2], DEC[:2], order=np.array([3, 1]), listed=4)
    assert _values(tmp_path / "a.csv", objects, by="row") == {"x": [4, 2]}
    assert "joined by the order of rows alone" in capsys.readouterr().err
    with pytest.raises(SourceError, match="has 4 rows, and the source lists 5 objects"):
        _values(tmp_path / "a.csv", Objects(IDS, RA, DEC, order=np.arange(4), listed=5), by="row")
    with pytest.raises(SourceError, match="pairs of two have no order of rows"):
        _values(tmp_path / "a.csv", Objects(IDS, RA, DEC), by="row")
    with pytest.raises(SourceError, match="by: row counts all rows, and where leaves some out"):
        _values(tmp_path / "a.csv", objects, by="row", where="x > 1")


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (["299489677444933632", "9223372036854775813"], np.array([299489677444933632, 9223372036854775813], np.uint64)),
        (["299489677444933632", "5"], np.array(["    299489677444933632", "5".rjust(22)])),
        (["299489677444933632", "5"], np.array([299489677444933632, 5])),
        (["000123", "123456"], np.array([123, 123456])),
        (["000123", "7"], np.array(["000123", "7"])),
        (["a-1", "b"], np.array(["b'a-1'", "b'b'"])),
        (["12", "13"], np.array(["12.0", "13.0"])),
        (["12", "13"], np.array([12.0, 13.0])),
    ],
)
def test_ids_match_however_either_side_writes_them(tmp_path, ours, theirs):
    if theirs.dtype.kind == "U":
        fits.BinTableHDU.from_columns(
            [
                fits.Column("SPECOBJID", f"{theirs.dtype.itemsize // 4}A", array=theirs),
                fits.Column("x", "D", array=np.array([1.0, 2.0])),
            ]
        ).writeto(tmp_path / "c.fits")
    else:
        pq.write_table(pa.table({"SPECOBJID": theirs, "x": [1.0, 2.0]}), tmp_path / "c.parquet")
    (path,) = tmp_path.iterdir()

    assert _values(path, _objects(ours, id_name="specobjid"))["x"] == [1.0, 2.0]


def test_leading_zeros_of_ids_in_csv_tell_objects_apart(tmp_path):
    (tmp_path / "a.csv").write_text("object_id,x\n007,1\n07,2\n7,3\n")

    assert _values(tmp_path / "a.csv", _objects(["07", "7", "007"]))["x"] == [2, 3, 1]


def test_positions_and_redshifts_in_a_catalogue_are_used_said_and_no_properties(tmp_path, capsys):
    rows = {"id": [7, 8], "RAJ2000": [10.0, 20.0], "DEJ2000": [1.0, 2.0], "Z": [0.1, 0.2], "M": [9.0, 10.0]}
    _parquet(tmp_path / "a.parquet", rows)
    unknown = np.array([np.nan, 20.0])
    found = join_catalogue(
        CatalogueSection(path=str(tmp_path / "a.parquet")), Objects(np.array([7, 8]), unknown, np.array([np.nan, 2.0]))
    )
    assert [column.name for column in found.columns] == ["M"]
    np.testing.assert_array_equal(found.position, [[10.0, 20.0], [1.0, 2.0]])
    np.testing.assert_array_equal(found.redshift, [0.1, 0.2])
    said = capsys.readouterr().err
    assert "RAJ2000 and DEJ2000 are positions, no properties; 1 objects get theirs from them" in said
    assert "Z is taken for the redshift" in said


def test_a_z_beside_other_bands_is_a_magnitude_and_known_redshifts_stay(tmp_path):
    _parquet(tmp_path / "a.parquet", {"id": [7], "g": [20.0], "r": [19.0], "z": [18.0]})
    objects = Objects(np.array([7]), RA[:1], DEC[:1])
    assert join_catalogue(CatalogueSection(path=str(tmp_path / "a.parquet")), objects).redshift is None

    _parquet(tmp_path / "b.parquet", {"id": [7], "Z": [0.3]})
    known = Objects(np.array([7]), RA[:1], DEC[:1], has_redshifts=True)
    found = join_catalogue(CatalogueSection(path=str(tmp_path / "b.parquet")), known)
    assert found.redshift is None
    assert [column.name for column in found.columns] == ["Z"]


def test_one_id_at_two_positions_is_refused_unless_more_is_allowed(tmp_path):
    _parquet(tmp_path / "a.parquet", {"id": IDS, "RA": RA, "DEC": DEC + np.array([0, 0, 0.5, 0]), "x": [1, 2, 3, 4]})

    with pytest.raises(
        SourceError, match=f"{IDS[2]} is at 20.00000 5.50000 .RA, DEC., and the object is at 20.00000 5.0"
    ):
        _joined(tmp_path / "a.parquet")
    assert len(_joined(tmp_path / "a.parquet", max_separation_arcsec=None)[0]) == 1


def test_right_ascensions_in_hours_and_sexagesimal_texts_are_positions(tmp_path):
    (tmp_path / "hours.csv").write_text("RA,DEC,x\n0.6666666667,0.0,2\n1.3333333333,5.0,3\n")
    with pytest.raises(
        SourceError, match=r"0 of 4 objects match by right ascension in degrees, and 2 if it is in hours"
    ):
        _joined(tmp_path / "hours.csv", by="sky")
    expected = [np.nan, 2, 3, np.nan]
    for name, options in (("hours.csv", {"ra_unit": "hour"}), ("texts.csv", {}), ("units.ecsv", {})):
        if name == "texts.csv":
            (tmp_path / name).write_text("RA,DEC,x\n00:40:00,+00:00:00,2\n01 20 00.0,+05 00 00,3\n")
        if name == "units.ecsv":
            table = Table({"RA": np.radians([10.0, 20.0]) * units.rad, "DEC": np.radians([0.0, 5.0]) * units.rad})
            table["x"] = [2, 3]
            table.write(tmp_path / name)
        (column,) = _joined(tmp_path / name, by="sky", **options)[0]
        values = np.where([True] * 4 if column.valid is None else column.valid, column.values, np.nan)
        np.testing.assert_array_equal(values, expected)


@pytest.mark.parametrize("name", ["units.h5", "units.parquet"])
def test_units_that_astropy_keeps_beside_a_table_are_read(tmp_path, name):
    """HDF5 and Parquet have no place for units: right ascensions in hours were taken for degrees."""
    table = Table({"RA": np.array([10.0, 20.0]) / 15 * units.hourangle, "DEC": np.radians([0.0, 5.0]) * units.rad})
    table["x"] = [2, 3]
    table.write(tmp_path / name, **({"path": "t", "serialize_meta": True} if name == "units.h5" else {}))
    (column,) = _joined(tmp_path / name, by="sky")[0]
    np.testing.assert_array_equal(column.values[column.valid], [2, 3])


def test_descriptions_of_columns_construct_nothing(tmp_path):
    tagged = "datatype:\n- {name: F, unit: !astropy.units.Unit {unit: nJy}}\n- {name: G, unit: Jy}\n"
    assert units_described(tagged) == {"F": "nJy", "G": "Jy"}
    assert units_described("!!python/object/apply:os.system ['true']") == {}
    for text in ("", "[1", "datatype: 3", "datatype: [1, {name: a, unit: [m]}]", "[" * 5000):
        assert units_described(text) == {}


def test_texts_are_in_the_unit_of_their_column_and_no_day_has_more_hours(tmp_path):
    """`20:00:00` in a column of degrees was read as 20 hours."""
    text = "# %ECSV 1.0\n# ---\n# datatype:\n# - {name: RA, unit: deg, datatype: string}\n"
    text += "# - {name: DEC, datatype: string}\n# - {name: x, datatype: int64}\n# schema: astropy-2.0\n"
    (tmp_path / "a.ecsv").write_text(text + "RA DEC x\n10:00:00 +00:00:00 2\n20:00:00 +05:00:00 3\n")
    (column,) = _joined(tmp_path / "a.ecsv", by="sky")[0]
    np.testing.assert_array_equal(column.values[column.valid], [2, 3])
    (tmp_path / "b.csv").write_text("RA,DEC,x\n10:00:00,+00:00:00,2\n30:00:00,+05:00:00,3\n")
    with pytest.raises(SourceError, match=r"column RA holds texts (of 24 hours or more|that are no hours)") as refusal:
        _joined(tmp_path / "b.csv", by="sky")
    assert "ra_unit: degree" in refusal.value.hint


@pytest.mark.parametrize("named", [None, "Z"])
def test_velocities_are_no_redshifts(tmp_path, named):
    table = Table({"TARGETID": IDS, "Z": np.array([0.5, 1.0, 2.0, 3.0]) * units.km / units.s})
    table.write(tmp_path / "a.fits")
    with pytest.raises(SourceError, match="column Z is in km s-1, a velocity, and redshifts were expected"):
        _joined(tmp_path / "a.fits", redshift=named)


def test_texts_of_degrees_are_no_hours_where_the_recipe_says_so(tmp_path):
    (tmp_path / "a.csv").write_text("RA,DEC,x\n10:00:00,+00:00:00,2\n20 00 00.0,+05 00 00,3\n")
    (column,) = _joined(tmp_path / "a.csv", by="sky", ra_unit="degree")[0]
    np.testing.assert_array_equal(column.values[column.valid], [2, 3])
    (tmp_path / "a.csv").write_text("RA,DEC,x\n110:00:00,+00:00:00,2\n20 00 00.0,+05 00 00,3\n")
    with pytest.raises(SourceError, match="column RA holds texts that are no hours, minutes and seconds") as refusal:
        _joined(tmp_path / "a.csv", by="sky")
    assert "ra_unit: degree" in refusal.value.hint


def test_a_damaged_table_whose_columns_differ_in_length_is_refused(tmp_path, monkeypatch):
    _parquet(tmp_path / "a.parquet", {"id": IDS, "x": [1.0, 2.0, 3.0, 4.0]})
    whole = ParquetTable.read

    def cut(table, names):
        return (column.slice(0, 0) if column.name == "x" else column for column in whole(table, names))

    monkeypatch.setattr(ParquetTable, "read", cut)
    with pytest.raises(SourceError, match="column x has 0 rows, 4 were expected"):
        _joined(tmp_path / "a.parquet")


def test_columns_that_hold_no_single_values_are_said_or_refused_by_name(tmp_path, capsys):
    table = Table({"TARGETID": IDS, "x": np.arange(4.0), "THETA": np.zeros((4, 13))})
    table.write(tmp_path / "a.fits")
    _joined(tmp_path / "a.fits")
    assert "left out: THETA (13 values in each row)" in capsys.readouterr().err
    with pytest.raises(SourceError, match="column THETA holds 13 values in each row"):
        _joined(tmp_path / "a.fits", columns=("THETA",))


@pytest.mark.parametrize(
    ("name", "known"),
    [
        *((name, True) for name in ("RA", "catalogue_dec", "pv_RA", "Z_HP", "redshift_catalogue", "zerr", "TARGETID")),
        *((name, True) for name in ("pv_Z", "RAJ2000_image", "z_spec", "z_phot_mean", "PHOTO_Z")),
        *(
            (name, False)
            for name in ("mag_z", "LOGMSTAR", "log_z", "radius", "FLUX_Z", "sersic", "metallicity", "decay")
        ),
    ],
)
def test_names_of_ids_positions_and_redshifts_are_known_by_their_usual_spellings(name, known):
    assert says_what_a_store_has(name) is known
