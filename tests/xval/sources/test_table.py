"""The table source: cells become what they say, per column, and what cannot be told stays text and is reported."""

import datetime as dt
import decimal
import re
import shlex

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from polycli.errors import SourceError, StoreError
from polycli.json_records import to_object
from polycli.recipes import default_recipe
from polycli.xval.recipe.training import PrepareRecipe
from polycli.xval.records.values import NumberLiteral
from polycli.xval.sources.table import TableSource
from polycli.xval.sources.tables import scanning as module
from polycli.xval.sources.tables.columns import _value


@pytest.fixture
def parse(tmp_path, read, capsys):
    def of(text, limit=None, *, written="utf-8", **section):
        (tmp_path / "data.csv").write_bytes(text.encode(written))
        table = {"numbers": "optional", **section}
        writer, opened = read(TableSource(), tmp_path / "data.csv", table=table, limit=limit)
        return writer.records, to_object(opened.about), capsys.readouterr().err

    return of


def column(parse, cells, **section):
    records, about, _ = parse("x\n" + "\n".join(cells) + "\n", **section)
    return [record.get("x") for record in records.values()], about


def test_rows_become_records(parse):
    records, about, err = parse('name,mass (kg),n,ok\n"a, b",1.50,3,yes\nc,-2e-3,,no\n')
    assert records == {
        "data.csv:1": {"name": "a, b", "mass": 1.5, "n": 3, "ok": "yes"},
        "data.csv:2": {"name": "c", "mass": -0.002, "n": None, "ok": "no"},
    }
    assert about["units"] == {"mass": "kg"}
    assert err == ""


def test_semicolons_and_decimal_commas_are_found(parse):
    records, about, err = parse("a;b;c\n1,5;2;x\n-0,25;3;y, z\n")
    assert list(records.values()) == [{"a": 1.5, "b": 2, "c": "x"}, {"a": -0.25, "b": 3, "c": "y, z"}]
    assert "column 'a': decimal comma in 2 cells" in err
    assert about["reports"] == ["column 'a': decimal comma in 2 cells"]


def test_a_comma_that_may_group_thousands_is_not_guessed(parse):
    values, about = column(parse, ["1,500", "2,250"], delimiter=";")
    assert values == ["1,500", "2,250"]
    assert "may be 1.5 or 1500" in about["reports"][0]
    values, about = column(parse, ["1,500", "2,250"], delimiter=";", columns={"x": "decimal-comma"})
    assert values == [1.5, 2.25]
    # Another cell of the column tells.
    values, _ = column(parse, ["1,500", "2,25"], delimiter=";")
    assert values == [1.5, 2.25]


def test_points_and_commas_in_one_column_stay_text(parse):
    values, about = column(parse, ["1,5", "2.5"], delimiter=";")
    assert values == ["1,5", "2.5"]
    assert "decimal points and commas" in about["reports"][0]


def test_points_beside_columns_with_commas_are_not_guessed(parse):
    records, about, _ = parse("a;b\n1,55;1.500\n2,5;2.250\n")
    assert list(records.values()) == [{"a": 1.55, "b": "1.500"}, {"a": 2.5, "b": "2.250"}]
    assert any("'b'" in report and "decimal points, while" in report for report in about["reports"])


def test_limits_are_text_or_a_number_beside_its_sign(parse):
    values, about = column(parse, ["<0.05", "0.3"])
    assert values == ["<0.05", 0.3]
    assert "1 limits such as <0.05 stay text" in about["reports"][0]
    records, _, _ = parse("x\n<0.05\n0.3\n", limits="value")
    assert list(records.values()) == [{"x": 0.05, "x_limit": "<"}, {"x": 0.3, "x_limit": None}]


@pytest.mark.parametrize("setting", [{"columns": {"x": "decimal-comma"}}, {"decimal": ","}])
def test_limits_with_a_point_are_numbers_in_a_column_of_decimal_commas_unless_it_may_group(parse, setting):
    """`<0.5` stayed text there, and the note called it a number, as `<0.05`, which was not in the file."""
    cells = ["12,5", "<0.5", "<0,15", "<0.5", "<1.500", "<7", "1.5"]
    records, about, _ = parse(
        "x;y\n" + "".join(f"{cell};1\n" for cell in cells), delimiter=";", limits="value", **setting
    )
    assert [value["x"] for value in records.values()] == [12.5, 0.5, 0.15, 0.5, "<1.500", 7, "1.5"]
    assert [value["x_limit"] for value in records.values()] == [None, "<", "<", "<", None, "<", None]
    said = " ".join(about["reports"])
    assert "column 'x': 4 limits such as <0.5 are numbers" in said
    assert "column 'x': 1 limits such as <1.500 stay text; their numbers are not written as those" in said
    # The point of 1.5 and that of <1.500; `<0.5` is a number.
    assert "decimal" not in setting or "2 cells have another decimal mark and stay text" in said


def test_limits_with_units_that_their_column_has_not_stay_text_and_are_said_so(parse):
    records, about, _ = parse("x\n<0.5 kg\n<0.25\n3\n", limits="value")
    assert [value["x"] for value in records.values()] == ["<0.5 kg", 0.25, 3]
    assert any(report.endswith("1 limits such as <0.25 are numbers") for report in about["reports"])
    assert any("1 limits such as <0.5 kg stay text" in report for report in about["reports"])


@pytest.mark.parametrize("sign", ["±", "+/-", " ± ", "+-"])
def test_uncertainties_are_split(parse, sign):
    records, about, _ = parse(f"x\n1.2{sign}0.1\n3\n")
    assert list(records.values()) == [{"x": 1.2, "x_error": 0.1}, {"x": 3, "x_error": None}]
    assert "1 values with an uncertainty are split" in about["reports"][0]
    values, _ = column(parse, [f"1.2{sign}0.1", "3"], uncertainties="text")
    assert values == [f"1.2{sign}0.1", 3]


def test_units_in_cells_are_taken_off_where_all_cells_agree(parse):
    values, about = column(parse, ["5 kg", "NA", "6.5 kg"])
    assert values == [5, None, 6.5]
    assert about["units"] == {"x": "kg"}
    values, about = column(parse, ["5 kg", "6 g"])
    assert values == ["5 kg", "6 g"]
    values, about = column(parse, ["5 kg", "6"])
    assert values == ["5 kg", 6]
    assert "1 cells with units (kg), others without" in about["reports"][0]


def test_what_stands_in_brackets_is_a_unit_only_if_it_is_one(parse):
    records, about, _ = parse("v [m/s],speed (mean),f(x),T (°C),m (kg),m (g)\n1,2,3,4,5,6\n")
    assert list(records.values()) == [{"v": 1, "speed (mean)": 2, "f(x)": 3, "T": 4, "m (kg)": 5, "m (g)": 6}]
    assert about["units"] == {"v": "m/s", "T": "°C", "m (kg)": "kg", "m (g)": "g"}


def test_a_number_in_brackets_is_no_unit(parse):
    records, about, _ = parse("x (2),y [10]\n1,2\n")
    assert list(records.values()) == [{"x (2)": 1, "y [10]": 2}]
    assert about["units"] == {}


def test_a_header_and_cells_of_different_units_are_not_guessed(parse):
    records, about, _ = parse("mass (kg),speed (m/s)\n5 g,3 m s-1\n6 g,4 m s-1\n")
    assert list(records.values()) == [{"mass": "5 g", "speed": 3}, {"mass": "6 g", "speed": 4}]
    assert "column 'mass (kg)': the header says kg, the cells say g" in about["reports"]
    assert about["units"]["speed"] == "m/s"


def test_an_uncertainty_has_the_unit_of_its_value(parse):
    _, about, _ = parse("x (kg)\n1.2±0.1\n")
    assert about["units"] == {"x": "kg", "x_error": "kg"}


@pytest.mark.parametrize("header", ["x", "len [m]", "it's", "no", "a, b: c", "2020"])
def test_the_setting_that_decides_a_column_can_be_typed_as_it_is_reported(parse, header):
    _, about, _ = parse(f'"{header}";y\n1,500;a\n2,250;b\n')
    (report,) = (report for report in about["reports"] if "may be 1.5 or 1500" in report)
    typed = shlex.split(report[report.index("--set") : report.rindex(", or number")])[1]
    section = default_recipe("xval", "prepare", [typed], schema=PrepareRecipe).table
    records, _, _ = parse(f'"{header}";y\n1,500;a\n2,250;b\n', **section.model_dump())
    assert [next(iter(record.values())) for record in records.values()] == [1.5, 2.25]


@pytest.mark.parametrize(
    "cells",
    [["007", "12"], ["2023-10-04", "2023-10-05"], ["12:30", "1:00"], ["1e", "--3"], ["12h30", "13h30"]],
)
def test_identifiers_and_dates_stay_text(parse, cells):
    values, _ = column(parse, cells)
    assert values == cells


def test_numbers_keep_every_digit(parse):
    values, _ = column(parse, ["123456789012345678901", "1e400", ".5", "5.", "-0", "+3", "0.1"])
    assert values == [123456789012345678901, NumberLiteral("1e400"), 0.5, 5.0, 0, 3, 0.1]
    assert str(values[4]) == "-0.0"


def test_text_among_numbers_stays_and_is_counted(parse):
    values, about = column(parse, ["1.5", "broken", "NA", "2"])
    assert values == [1.5, "broken", None, 2]
    (report,) = about["reports"]
    assert report.startswith("column 'x': 1 of 4 cells are text, such as 'broken' (row 2); marks of unknown values are")
    assert report.endswith("""named by 'table.missing=[..., "broken"]'""")


def test_ids_come_from_a_column(parse):
    records, _, _ = parse("star,x\nHD 1,1\nHD 2,2\n", id_column="star")
    assert records == {"HD 1": {"x": 1}, "HD 2": {"x": 2}}


def test_blocks_are_cut_between_rows_also_where_cells_hold_newlines(parse, monkeypatch):
    monkeypatch.setattr(module, "BLOCK_ROWS", 2)
    text = "a,b\n" + "".join(f'"line\nfeed {row}",{row}\n\n' for row in range(7))
    records, _, _ = parse(text)
    assert records == {f"data.csv:{row + 1}": {"a": f"line\nfeed {row}", "b": row} for row in range(7)}
    few, _, _ = parse(text, limit=3)
    assert len(few) == 3


def test_a_file_can_be_one_record(tmp_path, read):
    for name in ("a", "b"):
        (tmp_path / f"{name}.csv").write_text("t (s),x\n0,1\n1,\n")
    writer, opened = read(TableSource(), tmp_path, table={"record": "file"})
    assert writer.records == {f"{name}.csv": {"t": [0, 1], "x": [1, None]} for name in ("a", "b")}
    assert opened.about.units == {"t": "s"}


def test_a_byte_order_mark_is_no_part_of_the_first_name(parse):
    records, _, _ = parse("\ufeffa,b\n1,2\n")
    assert list(records.values()) == [{"a": 1, "b": 2}]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "data.csv: the file is empty"),
        ("a,b\n", "data.csv: there are no rows"),
        ("a,a\n1,2\n", "names 'a' twice"),
        ("1,2\n3,4\n", "the first line holds numbers (1, 2)"),
        ("a,b\n1,2\n3\n", "data.csv, line 3: 1 cells, the header has 2"),
        ('a,b\n1,"2\n', "this is not CSV"),
        ("a,b\r1,2\r3,4\r", "data.csv, line 1: this is not CSV: a carriage return stands there without a line feed"),
    ],
)
def test_malformed_files_are_refused_with_the_place(parse, text, message):
    with pytest.raises(SourceError, match=re.escape(message)):
        parse(text)


def test_bytes_that_are_not_utf_8_are_those_of_windows_which_is_said(tmp_path, read, capsys):
    (tmp_path / "data.csv").write_bytes(b"a,b\n1,2\n\xe9\x96,3\n")
    writer, _ = read(TableSource(), tmp_path / "data.csv")
    assert list(writer.records.values())[1] == {"a": "é\u2013", "b": 3}
    assert "data.csv: line 3 is not UTF-8 (byte 0xe9): read as cp1252" in capsys.readouterr().err
    with pytest.raises(SourceError, match="line 3: byte 0xe9 is not utf-8") as caught:
        read(TableSource(), tmp_path / "data.csv", table={"encoding": "utf-8"})
    assert "table.encoding" in caught.value.hint


def test_an_unknown_column_is_refused_with_those_that_there_are(parse):
    with pytest.raises(SourceError, match="there is no column 'z'"):
        parse("a,b\n1,2\n", id_column="z")


def test_parquet_files_of_different_units_are_not_mixed(tmp_path, read):
    for name, header in (("a", "mass (kg)"), ("b", "mass (kilogram)"), ("c", "mass (g)")):
        pq.write_table(pa.table({header: [1.5]}), tmp_path / f"{name}.parquet")
    _, opened = read(TableSource(), tmp_path / "a.parquet", tmp_path / "b.parquet")
    assert opened.about.units == {"mass": "kg"}
    with pytest.raises(StoreError, match=r"c\.parquet: mass is in g, in a\.parquet it is in kg"):
        read(TableSource(), tmp_path / "a.parquet", tmp_path / "c.parquet")


def test_parquet_keeps_its_types(tmp_path, read):
    columns = {
        "id": ["p", "q", "r"],
        "mass (kg)": pa.array([1.5, None, 2.5]),
        "n": [2**60, 2, 3],
        "when": [dt.date(2020, 1, day) for day in (1, 2, 3)],
        "exact": [decimal.Decimal("0.10"), None, decimal.Decimal("3.25")],
        "series": [[1.0, 2.0], [], [3.0]],
        "ok": [True, False, None],
    }
    pq.write_table(pa.table(columns), tmp_path / "data.parquet", row_group_size=2)
    writer, opened = read(TableSource(), tmp_path / "data.parquet", table={"id_column": "id"})
    assert writer.records["p"] == {
        "mass": 1.5,
        "n": 2**60,
        "when": "2020-01-01",
        "exact": 0.1,
        "series": [1.0, 2.0],
        "ok": True,
    }
    assert writer.records["q"]["mass"] is None
    assert list(writer.records) == ["p", "q", "r"]
    assert len(opened.blocks) == 2
    assert opened.about.units == {"mass": "kg"}
    few, _ = read(TableSource(), tmp_path / "data.parquet", table={"id_column": "id"}, limit=1)
    assert list(few.records) == ["p"]


def test_integers_of_thousands_of_digits_are_kept_as_they_were_written():
    assert _value("9" * 5000, ".") == NumberLiteral("9" * 5000)
    assert _value("9" * 30, ".") == int("9" * 30)
