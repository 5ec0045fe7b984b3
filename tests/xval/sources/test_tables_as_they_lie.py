"""Tables in the forms in which programs and people leave them: read, or refused with the setting that reads them."""

import bz2
import codecs
import datetime as dt
import gzip
import lzma
import re
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import sklearn.datasets
from astropy.table import Table

from polycli.errors import SourceError
from polycli.xval.sources.table import TableSource
from polycli.xval.sources.tables import scanning as module
from polycli.xval.sources.tables import typed

SHIPPED = Path(sklearn.datasets.__file__).parent / "data"


@pytest.fixture
def parse(tmp_path, read, capsys):
    """Values of the records, units, and what was said, of a file of these bytes."""

    def of(content, name="data.csv", **section):
        data = content if isinstance(content, bytes) else content.encode()
        (tmp_path / name).write_bytes(data)
        writer, opened = read(TableSource(), tmp_path / name, table=section)
        return list(writer.records.values()), opened.about.units, capsys.readouterr().err

    return of


def test_white_space_cuts_columns_also_in_a_table_that_ships_with_scikit_learn(parse, read):
    text = " teff   logg  feh\n 5777.   4.44  0.00\n 6100.\t4.10 -0.25\n 4500.   2.50 -1.10\n"
    values, _, _ = parse(text, name="ws.txt")
    assert values[1] == {"teff": 6100.0, "logg": 4.1, "feh": -0.25}
    writer, _ = read(TableSource(), SHIPPED / "linnerud_exercise.csv")
    found = np.array([list(record.values()) for record in writer.records.values()])
    np.testing.assert_array_equal(found, sklearn.datasets.load_linnerud().data)
    assert list(next(iter(writer.records.values()))) == sklearn.datasets.load_linnerud().feature_names


def test_a_packed_table_that_ships_with_scikit_learn_has_the_numbers_that_numpy_reads(tmp_path, read):
    with pytest.raises(SourceError, match="the first line holds numbers") as caught:
        read(TableSource(), SHIPPED / "diabetes_data_raw.csv.gz")
    assert "table.skip" in caught.value.hint
    header = " ".join(sklearn.datasets.load_diabetes().feature_names) + "\n"
    rows = gzip.decompress((SHIPPED / "diabetes_data_raw.csv.gz").read_bytes())
    (tmp_path / "named.csv.gz").write_bytes(gzip.compress(header.encode() + rows))
    writer, _ = read(TableSource(), tmp_path / "named.csv.gz")
    found = np.array([list(record.values()) for record in writer.records.values()])
    np.testing.assert_array_equal(found, np.loadtxt(SHIPPED / "diabetes_data_raw.csv.gz"))


@pytest.mark.parametrize(
    "pack", [gzip.compress, bz2.compress, lzma.compress, lambda data: pa.compress(data, "zstd", asbytes=True)]
)
def test_packed_files_are_read_block_by_block_from_any_row_on(tmp_path, read, monkeypatch, pack):
    monkeypatch.setattr(module, "BLOCK_ROWS", 2)
    monkeypatch.setattr(module, "_LARGER", 2)
    rows = "".join(f"{number},{number / 4}\n" for number in range(11))
    (tmp_path / "data.csv.gz").write_bytes(pack(f"a,b\n{rows}".encode()))
    writer, opened = read(TableSource(), tmp_path / "data.csv.gz", backwards=True)
    assert len(opened.blocks) == 3
    assert sorted(record["a"] for record in writer.records.values()) == list(range(11))
    assert all(record["b"] == record["a"] / 4 for record in writer.records.values())


def test_packed_files_that_are_cut_off_or_bombs_end_in_a_sentence(tmp_path, read, monkeypatch):
    packed = gzip.compress(b"a,b\n" + b"1,2\n" * 100_000)
    (tmp_path / "cut.csv.gz").write_bytes(packed[: len(packed) // 2])
    with pytest.raises(SourceError, match="cannot be unpacked"):
        read(TableSource(), tmp_path / "cut.csv.gz")
    monkeypatch.setattr("polycli.files.streams.ALWAYS_ALLOWED", 1000)
    monkeypatch.setattr("polycli.files.streams.MOST_PACKED", 10)
    (tmp_path / "bomb.csv.gz").write_bytes(packed)
    with pytest.raises(SourceError, match="unpacks to more than 10 times its size"):
        read(TableSource(), tmp_path / "bomb.csv.gz")


@pytest.mark.parametrize(
    ("mark", "encoding"),
    [
        (codecs.BOM_UTF8, "utf-8"),
        (codecs.BOM_UTF16_LE, "utf-16-le"),
        (codecs.BOM_UTF16_BE, "utf-16-be"),
        (codecs.BOM_UTF32_LE, "utf-32-le"),
        (codecs.BOM_UTF32_BE, "utf-32-be"),
    ],
)
def test_byte_order_marks_of_all_kinds_are_read_before_quotes(parse, mark, encoding):
    values, _, _ = parse(mark + '"mass, é","b"\n1,2\n3,\U0001f600\n'.encode(encoding))
    assert values == [{"mass, é": 1, "b": 2}, {"mass, é": 3, "b": "\U0001f600"}]


def test_comments_above_and_between_rows_are_no_rows(parse):
    values, _, said = parse("# instrument: X7\n# operator\nt,temp\n1,20.5\n# pause\n2,20.7\n")
    assert values == [{"t": 1, "temp": 20.5}, {"t": 2, "temp": 20.7}]
    assert "table.comment" in said
    values, _, _ = parse("! made by hand\nt,temp\n1,20.5\n", comment="!")
    assert values == [{"t": 1, "temp": 20.5}]


@pytest.mark.parametrize("text", ["# made by hand\n# t temp\n1 20.5\n2 20.7\n", "#t,temp\n1,20.5\n2,20.7\n"])
def test_names_that_stand_in_the_last_comment_are_the_header(parse, text):
    values, _, said = parse(text)
    assert values == [{"t": 1, "temp": 20.5}, {"t": 2, "temp": 20.7}]
    assert "the names of the columns are those of the last comment" in said


def test_lines_above_the_header_are_left_out_and_said(parse):
    text = "Experiment 12\nDate: 2020\n\nt,v\n1,2\n2,3\n3,5\n"
    for section in ({}, {"skip": 3}):
        values, _, said = parse(text, **section)
        assert values == [{"t": 1, "v": 2}, {"t": 2, "v": 3}, {"t": 3, "v": 5}]
        assert ("3 lines above the header are left out: --set table.skip=3" in said) == (not section)


def test_a_row_of_units_is_taken_where_the_numbers_below_prove_it(parse):
    values, units, said = parse("time,speed,n\ns,m/s,-\n0.0,1.5,3\n0.1,1.7,4\n")
    assert values == [{"time": 0.0, "speed": 1.5, "n": 3}, {"time": 0.1, "speed": 1.7, "n": 4}]
    assert units == {"time": "s", "speed": "m/s"}
    assert "table.units_row=false" in said
    values, units, _ = parse("sex,age\nm,7\nf,8\n")
    assert (values[0], units) == ({"sex": "m", "age": 7}, {})
    values, _, _ = parse("time,speed\ns,m/s\n0.0,1.5\n", units_row=False)
    assert values[0] == {"time": "s", "speed": "m/s"}


@pytest.mark.parametrize("text", ["mpg,cyl\nA,21,6\nB,22.8,4\n", '"mpg" "cyl"\n"A" 21 6\n"B" 22.8 4\n'])
def test_rows_that_begin_with_a_name_as_r_writes_them(parse, text):
    values, _, said = parse(text)
    assert values == [{"row_name": "A", "mpg": 21, "cyl": 6}, {"row_name": "B", "mpg": 22.8, "cyl": 4}]
    assert "--set table.id_column=row_name" in said


@pytest.mark.parametrize("header", ["a,b", "a,b,"])
def test_a_delimiter_at_the_end_of_rows_closes_nothing(parse, header):
    values, _, _ = parse(f"{header}\n1,2,\n3,4,\n")
    assert values == [{"a": 1, "b": 2}, {"a": 3, "b": 4}]


def test_a_delimiter_that_is_not_certain_is_said_and_two_equal_ones_are_refused(parse):
    values, _, said = parse("Länge, cm;Masse, g\n12,5;3,25\n13,0;3,50\n")
    assert values == [{"Länge, cm": 12.5, "Masse, g": 3.25}, {"Länge, cm": 13.0, "Masse, g": 3.5}]
    assert "cut at ';' into 2 columns; at ',' it would be 3" in said
    with pytest.raises(SourceError, match=re.escape("may be cut at ',' into a;b, c, or at ';' into a, b,c")):
        parse("a;b,c\nx;y,z\n")


def test_digits_in_groups_are_read_on_request_and_the_note_names_the_key(parse):
    text = 'firm,revenue,staff,age\nA,"1,234,567.89","1,500",3\nB,"2,000,001.00",999,4\n'
    values, _, said = parse(text)
    assert values[0]["revenue"] == "1,234,567.89"
    assert (
        """2 cells have digits in groups, such as '1,234,567.89', and are text; --set 'table.thousands=","'""" in said
    )
    values, _, _ = parse(text, thousands=",")
    assert values == [
        {"firm": "A", "revenue": 1234567.89, "staff": 1500, "age": 3},
        {"firm": "B", "revenue": 2000001.0, "staff": 999, "age": 4},
    ]
    values, _, _ = parse("a;b\n1.234,5;1\n2.000;2\n", thousands=".", decimal=",")
    assert [value["a"] for value in values] == [1234.5, 2000]
    values, _, _ = parse("a;b\n1\u202f234;1\n12 000,5;2\n", thousands=" ")
    assert [value["a"] for value in values] == [1234, 12000.5]


def test_fortran_exponents_and_minus_signs_are_numbers_and_five_days_have_a_unit(parse):
    values, _, _ = parse("x,y\n1.5D+03,\u22125.2\n2.5d-3,3.1\n4D2,2\n")
    assert [value["x"] for value in values] == [1500.0, 0.0025, 400.0]
    assert [value["y"] for value in values] == [-5.2, 3.1, 2]
    values, units, _ = parse("x,y\n5d,1\n6d,2\n")
    assert ([value["x"] for value in values], units) == ([5, 6], {"x": "d"})


def test_marks_of_unknown_values_are_named_with_their_key_and_row(parse):
    _, _, said = parse("t,v\n1,-\n2,1.5\n3,--\n")
    assert "such as '-' (row 1), '--' (row 3); marks of unknown values are named by 'table.missing=" in said
    values, _, _ = parse("t,v\n1,-\n2,1.5\n3,--\n", missing=["-", "--"])
    assert [value["v"] for value in values] == [None, 1.5, None]


def test_min_beside_max_is_the_smallest_and_alone_it_is_minutes(parse):
    values, units, said = parse("Temp (min),Temp (max),Sun (h)\n3.5,12.1,5.1\n")
    assert (values, units) == ([{"Temp (min)": 3.5, "Temp (max)": 12.1, "Sun": 5.1}], {"Sun": "h"})
    assert "'Temp (min)': min is the smallest there" in said
    assert parse("wait (min),n\n3.5,1\n")[1] == {"wait": "min"}


def test_what_is_split_off_cells_never_takes_the_place_of_a_column(parse):
    values, _, said = parse("x,x_error,x_limit\n1.2±0.1,0.5,a\n<2.2±0.2,0.6,b\n", limits="value")
    assert values[0] == {"x": 1.2, "x_error_": 0.1, "x_limit_": None, "x_error": 0.5, "x_limit": "a"}
    assert "there is a column x_error" in said


def test_leading_zeros_before_a_comma_are_a_number_only_where_the_comma_is_decimal(parse):
    text = 'x,y\n"00,5",1\n1.5,2\n'
    assert [value["x"] for value in parse(text, columns={"x": "number"})[0]] == ["00,5", 1.5]
    assert [value["x"] for value in parse(text, decimal=",")[0]] == [0.5, "1.5"]


def test_a_table_in_which_nothing_is_a_number_is_refused_unless_it_may_be(parse):
    with pytest.raises(SourceError, match="nothing in it is a number, in 2 columns cut at ','") as caught:
        parse("name,kind\na,b\nc,d\n")
    assert "table.numbers=optional" in caught.value.hint
    assert parse("name,kind\na,b\nc,d\n", numbers="optional")[0] == [
        {"name": "a", "kind": "b"},
        {"name": "c", "kind": "d"},
    ]


def write_ecsv(path):
    table = Table({"wave": [1.0, 1.5], "n": np.ma.MaskedArray([2, 3], mask=[False, True]), "name": ["a", "c d"]})
    table["wave"].unit = "micron"
    table.write(path, format="ascii.ecsv")


def test_numbers_of_ecsv_keep_the_digits_of_their_precision(tmp_path, read):
    values = np.array([0.1, 1e-7], "f4")
    table = Table({"single": values, "half": values[:1].astype("f2").repeat(2), "pairs": np.array([values, values])})
    table["gaps"] = np.ma.MaskedArray(values, mask=[False, True])
    table["long"] = values.astype(str).astype(np.longdouble)
    table["lists"] = np.array([values, values[:1]], dtype=object)
    table.write(tmp_path / "a.ecsv", format="ascii.ecsv")
    writer, _ = read(TableSource(), tmp_path / "a.ecsv")
    same = {"half": 0.1, "pairs": [0.1, 1e-7]}
    assert list(writer.records.values()) == [
        {**same, "single": 0.1, "gaps": 0.1, "long": 0.1, "lists": [0.1, 1e-7]},
        {**same, "single": 1e-7, "gaps": None, "long": 1e-7, "lists": [0.1]},
    ]


def test_ecsv_keeps_types_units_and_gaps(tmp_path, read):
    write_ecsv(tmp_path / "a.ecsv")
    writer, opened = read(TableSource(), tmp_path / "a.ecsv")
    assert list(writer.records.values()) == [
        {"wave": 1.0, "n": 2, "name": "a"},
        {"wave": 1.5, "n": None, "name": "c d"},
    ]
    assert opened.about.units == {"wave": "micron"}
    writer, _ = read(TableSource(), tmp_path / "a.ecsv", table={"id_column": "name", "record": "row"}, limit=1)
    assert writer.records == {"a": {"wave": 1.0, "n": 2}}
    (tmp_path / "cut.ecsv").write_text("# %ECSV 1.0\n# ---\n# datatype: 7\n")
    with pytest.raises(SourceError, match="cannot be read as ECSV"):
        read(TableSource(), tmp_path / "cut.ecsv")


def test_tables_of_the_cds_are_read_by_what_they_say_of_themselves(tmp_path, read):
    Table({"Vmag": [5.25, 7.5], "Star": ["HD1", "HD2"]}, units={"Vmag": "mag"}).write(
        tmp_path / "a.mrt", format="ascii.mrt"
    )
    writer, opened = read(TableSource(), tmp_path / "a.mrt")
    assert list(writer.records.values()) == [{"Vmag": 5.25, "Star": "HD1"}, {"Vmag": 7.5, "Star": "HD2"}]
    assert opened.about.units == {"Vmag": "mag"}


def test_excel_is_read_by_openpyxl(tmp_path, read, capsys):
    openpyxl = pytest.importorskip("openpyxl")
    book = openpyxl.Workbook()
    book.active.append(["mass (kg)", "name", "day"])
    book.active.append([1.5, "a", dt.datetime(2020, 1, 2)])  # noqa: DTZ001  # as Excel has it
    book.active.append([None, "b", None])
    book.create_sheet("more").append(["x"])
    book["more"].append([7])
    book.save(tmp_path / "a.xlsx")
    writer, opened = read(TableSource(), tmp_path / "a.xlsx")
    assert list(writer.records.values()) == [
        {"mass": 1.5, "name": "a", "day": "2020-01-02T00:00:00"},
        {"mass": None, "name": "b", "day": None},
    ]
    assert opened.about.units == {"mass": "kg"}
    assert (
        "a.xlsx: read from 'Sheet', the first of 2 sheets: --set table.sheet=NAME names an" in capsys.readouterr().err
    )
    writer, _ = read(TableSource(), tmp_path / "a.xlsx", table={"sheet": "more"})
    assert list(writer.records.values()) == [{"x": 7}]
    assert "sheets" not in capsys.readouterr().err
    with pytest.raises(SourceError, match="there is no sheet 'none'"):
        read(TableSource(), tmp_path / "a.xlsx", table={"sheet": "none"})


def test_without_openpyxl_one_sentence_names_the_extra(tmp_path, read, monkeypatch):
    monkeypatch.setitem(sys.modules, "openpyxl", None)
    typed._read.cache_clear()
    (tmp_path / "a.xlsx").write_bytes(b"PK\x03\x04 and more")
    with pytest.raises(SourceError, match="read by openpyxl, which is not installed") as caught:
        read(TableSource(), tmp_path / "a.xlsx")
    assert "polycli[excel]" in caught.value.hint


def test_parquet_of_nanoseconds_far_years_and_durations_is_exact(tmp_path, read):
    columns = {
        "when": pa.array([1577836800123456789, None], pa.timestamp("ns")),
        "far": pa.array([0, 10**17], pa.timestamp("ms")),
        "took": pa.array([1, 1501], pa.duration("ns")),
        "at": pa.array([1, 2], pa.time64("ns")),
    }
    pq.write_table(pa.table(columns), tmp_path / "a.parquet")
    writer, opened = read(TableSource(), tmp_path / "a.parquet")
    first, second = writer.records.values()
    assert first == {
        "when": "2020-01-01T00:00:00.123456789",
        "far": "1970-01-01T00:00:00.000",
        "took": 1,
        "at": "00:00:00.000000001",
    }
    assert (second["when"], second["far"]) == (None, "100000000000000000 ms since 1970-01-01")
    assert opened.about.units == {"took": "ns"}


def test_parquet_columns_of_one_name_are_refused_and_units_beside_them_taken(tmp_path, read, capsys):
    pq.write_table(pa.Table.from_arrays([pa.array([1.5]), pa.array([2.5])], names=["v", "v"]), tmp_path / "a.parquet")
    with pytest.raises(SourceError, match="2 columns are named 'v'"):
        read(TableSource(), tmp_path / "a.parquet")
    schema = pa.schema([pa.field("x", pa.float64(), metadata={"unit": "km/s"})])
    pq.write_table(pa.table({"x": [1.0]}, schema=schema), tmp_path / "b.parquet")
    _, opened = read(TableSource(), tmp_path / "b.parquet")
    assert opened.about.units == {"x": "km/s"}
    assert "column 'x' is in km/s, as the file says beside it" in capsys.readouterr().err
    with pytest.raises(SourceError, match="there is no column 'y'"):
        read(TableSource(), tmp_path / "b.parquet", table={"columns": {"y": "text"}})


def test_long_runs_of_blanks_and_digits_are_looked_at_once(parse):
    blanks, digits = " " * 30_000, "1" * 30_000
    values, _, _ = parse(f"a,b{blanks}(\n1,1{blanks}x\n2,{digits}{blanks}%x\n")
    assert [value["a"] for value in values] == [1, 2]


def test_parquet_without_a_number_is_refused_and_so_is_a_column_that_is_not_there(tmp_path, read):
    words = tmp_path / "words.parquet"
    pq.write_table(pa.table({"a": ["x", "y"], "b": [["p"], ["q"]]}), words)
    with pytest.raises(SourceError, match=r"nothing in it is a number, in 2 columns \(a, b\)"):
        read(TableSource(), words)
    writer, _ = read(TableSource(), words, table={"numbers": "optional"})
    assert list(writer.records.values()) == [{"a": "x", "b": ["p"]}, {"a": "y", "b": ["q"]}]
    for name, numbers in (("lists", [[1], [2]]), ("decimals", pa.array([1, 2], pa.decimal128(5, 2)))):
        pq.write_table(pa.table({"a": ["x", "y"], "b": numbers}), tmp_path / f"{name}.parquet")
        assert len(read(TableSource(), tmp_path / f"{name}.parquet")[0].records) == 2
    with pytest.raises(SourceError, match="there is no column 'c'"):
        read(TableSource(), tmp_path / "lists.parquet", table={"columns": {"c": "text"}})


def test_what_is_said_of_many_columns_is_one_line(tmp_path, read, capsys):
    names = [f"m{number}" for number in range(44)]
    (tmp_path / "many.csv").write_text(f"{','.join(names)}\n{','.join(['<0.5'] * 44)}\n{','.join(['1.5'] * 44)}\n")
    read(TableSource(), tmp_path / "many.csv")
    lines = capsys.readouterr().err.splitlines()
    assert len([line for line in lines if "limits such as <0.5 stay text" in line]) == 1
    assert "'m0', 'm1', 'm2', 'm3', 'm4' and 39 more" in " ".join(lines)


LAB = (
    "\ufeffProbe;Solvens;c0;Viskosität;k;λmax;Fläche\n"
    ";;µmol/L;mPa·s;s⁻¹;nm;mm²\n"
    "P1;DMSO;34,20;0,530;0,21861;442,6;420,5\n"
    "P2;Wasser;n.d.;1,374;<0,01;470,5;n.d.\n"
    "P3;Wasser;5,10;;0,05902;;2445,7\n"
    "P4;Ethanol;12,70;0,836;0,07;452,3;12,1\n"
)


def test_a_table_of_a_laboratory_has_its_units_row_and_its_decimal_commas_beside_words_and_gaps(parse):
    values, units, said = parse(LAB, missing=["n.d."], id_column="Probe")
    assert units == {"c0": "µmol/L", "Viskosität": "mPa·s", "k": "s⁻¹", "λmax": "nm", "Fläche": "mm²"}
    assert values[1] == {
        "Solvens": "Wasser",
        "c0": None,
        "Viskosität": 1.374,
        "k": "<0,01",
        "λmax": 470.5,
        "Fläche": None,
    }
    assert [value["Viskosität"] for value in values] == [0.53, 1.374, None, 0.836]
    assert "marks of unknown values" not in said


def test_dots_in_the_place_of_empty_marks_are_the_usual_marks(parse):
    said = "a,b\n1,2\nNA,3\n,4\nn.d.,5\n"
    assert [value["a"] for value in parse(said, missing=["...", "n.d."])[0]] == [1, None, None, None]
    assert [value["a"] for value in parse(said, missing=["n.d."])[0]] == [1, "NA", None, None]


def test_a_decimal_mark_that_is_said_leaves_columns_of_text_alone(parse):
    values, _, said = parse("who;a\nAnna;1,5\nBert;1,500\n", decimal=",")
    assert values == [{"who": "Anna", "a": 1.5}, {"who": "Bert", "a": 1.5}]
    assert "column 'who'" not in said
