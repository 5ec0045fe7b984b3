"""Tables by other people's writers become the columns that an own reading of the same numbers gives."""

import gzip
import tracemalloc

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from astropy import units
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.table import MaskedColumn, QTable, Table
from astropy.time import Time

from polycli.astroclip.data.tables.opening import open_table, read_columns
from polycli.astroclip.data.tables.table import Reading, usable
from polycli.errors import SourceError

IDS = np.array([39627866878511337, 39627866878511338, 7, 39627866878511340], np.int64)


def columns_of(path, names=None, part=None, marks=()):
    """By name: the values as Python has them, None where there is none."""
    table = open_table(path, Reading(part, marks))
    found = {}
    for column in read_columns(table, usable(table.fields) if names is None else names):
        values = [None if value != value else value for value in column.values.tolist()]
        if column.valid is not None:
            values = [value if there else None for value, there in zip(values, column.valid.tolist(), strict=True)]
        found[column.name] = values
    return found


def astropy_table() -> Table:
    """A table with masks of every kind, units, a vector, and names of more than one word."""
    table = Table({"TARGETID": IDS})
    table["N"] = MaskedColumn([1, 2, 3, 4], mask=[False, True, False, False], dtype="int16")
    table["F"] = MaskedColumn([0.1, 0.2, 0.3, 0.4], mask=[True, False, False, False], unit="mag")
    table["S"] = ["a b", "c", "d;e", 'f"g']
    table["B"] = np.array([True, False, True, False])
    table["U"] = np.array([1, 2, 2**63 + 5, 4], np.uint64)
    table["V"] = np.arange(8.0).reshape(4, 2)
    table["RA"] = np.array([0.5, 1.5, 2.5, 3.5]) * units.deg
    return table


EXPECTED = {
    "TARGETID": IDS.tolist(),
    "N": [1, None, 3, 4],
    "F": [None, 0.2, 0.3, 0.4],
    "S": ["a b", "c", "d;e", 'f"g'],
    "B": [True, False, True, False],
    "U": ["1", "2", "9223372036854775813", "4"],
    "RA": [0.5, 1.5, 2.5, 3.5],
}


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("a.ecsv", {"format": "ascii.ecsv"}),
        ("b.ecsv", {"format": "ascii.ecsv", "delimiter": ","}),
        ("c.vot", {"format": "votable"}),
        ("d.xml", {"format": "votable", "tabledata_format": "binary2"}),
        ("e.fits", {}),
        ("f.parquet", {}),
    ],
)
def test_what_astropy_writes_is_read_with_its_masks_units_and_digits(tmp_path, name, options):
    table, expected = astropy_table(), dict(EXPECTED)
    if options.get("format") == "votable":  # which has no unsigned integers of 64 bits
        table.remove_column("U")
        expected.pop("U")
    table.write(tmp_path / name, **options)
    assert columns_of(tmp_path / name) == expected
    if not name.endswith("parquet"):
        units_of = {field.name: field.unit for field in open_table(tmp_path / name, Reading()).fields}
        assert (units_of["F"], units_of["RA"]) == ("mag", "deg")


def test_a_fits_table_has_its_nulls_scales_and_unsigned_integers_as_the_standard_says(tmp_path):
    half = fits.Column("SC", "I", array=np.array([3, 5, -1, 11], np.int16), null=-1)
    content = [
        fits.Column("TARGETID", "K", array=IDS),
        fits.Column("U16", "I", array=np.array([1, 0, 40000, 65535], np.uint16), bzero=32768, null=-32768),
        half,
        fits.Column("U64", "K", array=np.array([0, 1, 2**62, 2**63 - 1], np.uint64), bzero=2**63),
        fits.Column("BYTE", "B", array=np.array([0, 1, 3, 255], np.uint8), null=3),
        fits.Column("BITS", "8X", array=np.ones((4, 8), bool)),
        fits.Column("LIST", "PE()", array=np.array([np.arange(i) for i in range(4)], dtype=object)),
        fits.Column("C", "C", array=np.ones(4, np.complex64)),
        fits.Column("PAD", "12A", array=["   123", "x", "", "yz"]),
        fits.Column("L", "L", array=np.array([True, False, True, False])),
    ]
    path = tmp_path / "t.fits"
    fits.BinTableHDU.from_columns(content).writeto(path)
    fits.setval(path, "TSCAL3", value=0.5, ext=1)
    with fits.open(path) as file:
        rows, width, start = file[1].header["NAXIS2"], file[1].header["NAXIS1"], file[1].fileinfo()["datLoc"]
    assert rows == 4
    raw = bytearray(path.read_bytes())
    raw[start + 2 * width + width - 1] = 0  # a logical value that is neither true nor false
    path.write_bytes(raw)

    found = columns_of(path)
    assert found["U16"] == [1, None, 40000, 65535]
    assert found["SC"] == [1.5, 2.5, None, 5.5]
    assert found["U64"] == [0, 1, 2**62, 2**63 - 1]
    assert found["BYTE"] == [0, 1, None, 255]
    assert found["PAD"] == ["   123", "x", "", "yz"]
    assert found["L"] == [True, False, None, False]
    assert not {"BITS", "LIST", "C"} & set(found)

    (tmp_path / "t.fits.gz").write_bytes(gzip.compress(raw))
    assert columns_of(tmp_path / "t.fits.gz") == found


def test_a_table_of_characters_in_fits_is_read_too(tmp_path):
    columns = [fits.Column("ID", "I10", array=np.array([5, 6])), fits.Column("X", "F8.3", array=np.array([0.5, -1.25]))]
    fits.TableHDU.from_columns(columns).writeto(tmp_path / "t.fits")

    assert columns_of(tmp_path / "t.fits") == {"ID": [5, 6], "X": [0.5, -1.25]}


def test_mixed_in_columns_of_astropy_become_their_parts_and_no_python_texts(tmp_path):
    table = QTable({"TARGETID": IDS})
    table["flux"] = np.arange(4.0) * units.mJy
    table["coord"] = SkyCoord([1.0, 2, 3, 4] * units.deg, [-1.0, -2, -3, -4] * units.deg)
    table["t"] = Time(59000 + np.arange(4.0), format="mjd")
    for name in ("t.fits", "t.ecsv"):
        table.write(tmp_path / name)
        found = columns_of(tmp_path / name)
        assert found["coord.ra"] == [1, 2, 3, 4]
        assert found["coord.dec"] == [-1, -2, -3, -4]
        assert found["flux"] == [0, 1, 2, 3]


def test_a_damaged_checksum_is_found_without_holding_the_table(tmp_path):
    path = tmp_path / "t.fits"
    fits.BinTableHDU(Table({"TARGETID": IDS, "X": np.arange(4.0)})).writeto(path, checksum=True)
    assert columns_of(path)["X"] == [0, 1, 2, 3]
    data = bytearray(path.read_bytes())
    with fits.open(path) as file:
        data[file[1].fileinfo()["datLoc"] + 10] ^= 1
    path.write_bytes(data)

    with pytest.raises(SourceError, match="truncated or damaged: Datasum verification failed"):
        open_table(path, Reading())


def test_one_of_several_tables_is_chosen_by_name_or_number_and_said(tmp_path):
    first, second = Table({"ID": [1, 2], "Z": [0.1, 0.2]}), Table({"ID": [1, 2], "M": [9.0, 10.0]})
    hdus = [fits.PrimaryHDU(), fits.BinTableHDU(first, name="REDSHIFTS"), fits.BinTableHDU(second, name="FASTSPEC")]
    fits.HDUList(hdus).writeto(tmp_path / "t.fits")

    assert set(columns_of(tmp_path / "t.fits")) == {"ID", "Z"}
    assert columns_of(tmp_path / "t.fits", part="fastspec")["M"] == [9, 10]
    assert columns_of(tmp_path / "t.fits", part=2)["M"] == [9, 10]
    (remark,) = open_table(tmp_path / "t.fits", Reading()).remarks
    assert remark == "read from table HDU 1 (REDSHIFTS); hdu takes another one: 2 (FASTSPEC)"
    with pytest.raises(SourceError, match=r"has no table HDU FASTSPEK .*did you mean FASTSPEC"):
        open_table(tmp_path / "t.fits", Reading("FASTSPEK"))

    with h5py.File(tmp_path / "t.h5", "w") as file:
        file["a/ID"], file["a/X"] = [1, 2], [0.5, 1.5]
    assert columns_of(tmp_path / "t.h5", part="a") == {"ID": [1, 2], "X": [0.5, 1.5]}
    with pytest.raises(SourceError, match="hdu takes one of its groups: a"):
        open_table(tmp_path / "t.h5", Reading())


#: What pandas 2 writes of a frame with an index, nullable integers, texts with commas, and numbers as texts.
PANDAS = """,TARGETID,N,X,flag,name,plate,big
0,39627866878511337,5,0.25,True,"a,b",0266,12884902127000000000000
1,39627866878511338,,,False,,0267,5
2,7,-7,1e-30,True,NA,0001,6
3,39627866878511340,4611686018427387905,inf,False,  c,1234,7
"""


def test_a_csv_by_pandas_has_its_index_left_out_and_its_gaps_in_integers(tmp_path):
    expected = {
        "TARGETID": IDS.tolist(),
        "N": [5, None, -7, 2**62 + 1],
        "X": [0.25, None, 1e-30, np.inf],
        "flag": [True, False, True, False],
        "name": ["a,b", None, "NA", "c"],
        "plate": ["0266", "0267", "0001", "1234"],
        "big": ["12884902127000000000000", "5", "6", "7"],
    }
    (tmp_path / "t.csv").write_text(PANDAS)
    assert columns_of(tmp_path / "t.csv") == expected
    german = (
        PANDAS.replace('"a,b"', "a;b").replace(",", "|").replace("0.25", "0,25").replace("a;b", "a,b").replace("|", ";")
    )
    (tmp_path / "t.csv.gz").write_bytes(gzip.compress(german.encode()))
    assert columns_of(tmp_path / "t.csv.gz") == expected
    (tmp_path / "t.tsv").write_text(PANDAS.replace('"a,b"', "a|b").replace(",", "\t").replace("a|b", "a,b"))
    assert columns_of(tmp_path / "t.tsv") == expected


def test_the_index_that_pandas_writes_into_parquet_is_no_property(tmp_path):
    pq.write_table(pa.table({"x": [1, None], "__index_level_0__": [5, 6]}), tmp_path / "t.parquet")

    assert columns_of(tmp_path / "t.parquet") == {"x": [1, None]}


@pytest.mark.parametrize(
    "text",
    [
        "# made by someone\n#\nTARGETID,X\n1,0.5\n# a comment below\n2,--\n",
        "#TARGETID,X\n1,0.5\n2,n/a\n",
        "TARGETID, X\n1, 0.5\n2, null\n",
        "\ufeffTARGETID|X\r\n1|0.5\r\n2|\r\n",
        '"TARGETID","X"\n"1","0.5"\n"2",""\n',
    ],
)
def test_comments_blanks_marks_and_byte_order_marks_in_csv_are_read_as_they_are_meant(tmp_path, text):
    (tmp_path / "t.csv").write_text(text, encoding="utf-8")

    assert columns_of(tmp_path / "t.csv") == {"TARGETID": [1, 2], "X": [0.5, None]}


def test_texts_that_mark_missing_numbers_are_named_where_nobody_else_uses_them(tmp_path):
    (tmp_path / "t.csv").write_text("ID,N\n1,5\n2,nicht da\n")

    assert columns_of(tmp_path / "t.csv")["N"] == ["5", "nicht da"]
    assert columns_of(tmp_path / "t.csv", marks=("nicht da",))["N"] == [5, None]


@pytest.mark.parametrize(
    ("name", "text", "sentence"),
    [
        ("t.csv", "1,2\n3,4\n", "the first line holds numbers"),
        ("t.csv", "a,a\n1,2\n", "the header names 'a' twice"),
        ("t.csv", "a,b\n1,2\n1,2,3\n", "the CSV file cannot be read"),
        ("t.ecsv", "# %ECSV 1.0\n# ---\n# datatype: 3\na b\n1 2\n", "the ECSV header cannot be read"),
        ("t.vot", "<VOTABLE><RESOURCE><TABLE>", "the VOTable is truncated or damaged"),
        ("t.vot", "", "is empty, a VOTable was expected"),
        ("t.vot", "<TABLE><DATA><BINARY><STREAM encoding='x'\n href='file:///etc/hosts'/>", "data lie elsewhere"),
        ("t.xml", "<!DOCTYPE x [<!ENTITY a 'b'>]><TABLE/>", "declares entities of its own"),
    ],
)
def test_files_that_cannot_be_read_as_tables_are_refused_with_a_reason(tmp_path, name, text, sentence):
    (tmp_path / name).write_text(text)

    with pytest.raises(SourceError, match=sentence):
        columns_of(tmp_path / name)


def test_hdf5_by_astropy_and_by_hand_is_read_field_by_field(tmp_path):
    table = astropy_table()
    table.remove_columns(["S", "N", "F"])
    table.write(tmp_path / "t.hdf5", path="data", serialize_meta=True)

    assert columns_of(tmp_path / "t.hdf5") == {name: EXPECTED[name] for name in ("TARGETID", "B", "U", "RA")}


def test_dictionaries_decimals_and_binary_ids_of_parquet_are_values(tmp_path):
    rows = {
        "id": pa.array([b"  12", b"x", None], pa.binary()),
        "kind": pa.array(["a", None, "a"]).dictionary_encode(),
        "price": pa.array([1, 2, None], pa.decimal128(5, 2)),
        "small": pa.array([1, None, 3], pa.uint8()),
        "when": pa.array([0, 1, 2], pa.timestamp("s")),
    }
    pq.write_table(pa.table(rows), tmp_path / "t.parquet")

    assert columns_of(tmp_path / "t.parquet") == {
        "id": ["  12", "x", None],
        "kind": ["a", None, "a"],
        "price": [1.0, 2.0, None],
        "small": [1, None, 3],
    }


@pytest.mark.parametrize("name", ["t.fits", "t.fits.gz", "t.parquet", "t.h5"])
def test_of_five_hundred_columns_only_the_one_that_is_asked_for_takes_memory(tmp_path, monkeypatch, name):
    monkeypatch.setattr("polycli.astroclip.data.tables.fits_tables.CHUNK", 2**16)
    rows, wide = 2000, {f"c{number}": np.arange(2000.0) + number for number in range(500)}
    path = tmp_path / name
    if "fits" in name:
        fits.BinTableHDU.from_columns([fits.Column(key, "D", array=each) for key, each in wide.items()]).writeto(path)
    elif name == "t.parquet":
        pq.write_table(pa.table(wide), path, compression="none")
    else:
        with h5py.File(path, "w") as file:
            for key, values in wide.items():
                file[key] = values
    table = open_table(path, Reading())
    tracemalloc.start()
    (column,) = read_columns(table, ["c250"])
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()

    np.testing.assert_array_equal(column.values, np.arange(2000.0) + 250)
    assert peak < 0.15 * rows * 8 * 500
