"""Tables read many cells at once give the very stores that reading them cell by cell gives, whatever stands in them."""

import csv
import hashlib
from collections import Counter

import numpy as np
import pytest

from polycli.errors import PolycliError
from polycli.xval.recipe.sources import TableSection
from polycli.xval.sources.table import CsvRows
from polycli.xval.sources.tables import cell_chunks, chunks, columns, flat_columns
from polycli.xval.sources.tables.columns import Tally, decide
from polycli.xval.sources.tables.csv_files import open_csv, rows
from polycli.xval.sources.tables.plain_numbers import plain_numbers
from tests.xval.conftest import prepare

PLAIN = ["1", "-2.5", "+.5", "5.", "0", "1e5", "2E-3", "0.1", "123456789.125", "-7"]
PALETTES = [
    PLAIN,
    [*PLAIN, "", "NA"],
    ["1", "2", "+3", "-4", "0", "9007199254740992", ""],
    ["007", "012", "0", "00.5", "-00"],
    ["-0", "-0.0", "0.000", "0e5", "-0e-3", "5e-324", "1"],
    [*PLAIN, " NA", "--", "nan", "inf", "1_000", "0x10"],
    [*PLAIN, "1e400", "1e-400"],
    ["9007199254740993", "1", "9" * 320, "1.5"],
    ["1,5", "2,25", "3"],
    ["1,500", "2,250"],
    ["5 kg", "7 kg", "0.5 kg"],
    ["<0.05", "1.5", "2"],
    ["1.2±0.1", "3.5±0.2"],
    ["1.5D+03", "2d-1", "1"],
    ["\u22125", "7", "\u0661\u0662"],
    ["star", "galaxy", "NA", ""],
    ['say "so"', "a, b", "two\nlines", "=A1", "é", " spaced ", "12h30", "\u2028x"],
    [f"name {number}" for number in range(40)],
    ["true", "false", ""],
]


def nasty(path, seed, rows=60, **dialect):
    """A table whose columns are drawn from the palettes."""
    generator = np.random.default_rng(seed)
    width = int(generator.integers(2, 7))
    chosen = [PALETTES[place] for place in generator.choice(len(PALETTES), width, replace=False)]
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator=str(generator.choice(["\n", "\r\n"])), **dialect)
        writer.writerow([f"column {letter}" for letter in "abcdefg"[:width]])
        for number in range(rows):
            writer.writerow([f"{palette[int(generator.integers(len(palette)))]}" for palette in chosen])
            if number == rows // 2 and seed % 3 == 0:
                file.write("\n")
    return path


def one_by_one(monkeypatch):
    """Reads tables without what reads many cells at once."""
    monkeypatch.setattr(chunks, "is_plain", lambda file: False)
    monkeypatch.setattr(columns, "plain_numbers", lambda cells: None)
    monkeypatch.setattr(flat_columns, "plain_numbers", lambda cells: None)
    monkeypatch.setattr(CsvRows, "flat", lambda self: None)


def files_of(store):
    return {
        str(file.relative_to(store)): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in store.rglob("*")
        if file.is_file()
    }


@pytest.mark.parametrize("seed", range(16))
def test_stores_are_equal_file_for_file(tmp_path, monkeypatch, capsys, seed):
    path = nasty(tmp_path / "nasty.csv", seed, delimiter=",;"[seed % 2])
    settings = [(), ("duplicates=keep",), ("table.columns={column a: text}",), ("table.limits=value",)][seed % 4]
    found = []
    for way in ("all at once", "one by one"):
        if way == "one by one":
            one_by_one(monkeypatch)
        (tmp_path / way).mkdir()
        try:
            store = prepare("table", tmp_path / way / "nasty.zarr", *settings, inputs=[path])
            found.append((files_of(store), [line for line in capsys.readouterr().err.splitlines() if "note" in line]))
        except PolycliError as error:
            found.append(str(error))
    assert found[0] == found[1]


@pytest.mark.parametrize("seed", range(12))
def test_rows_and_their_places_are_those_of_the_plain_reader(tmp_path, monkeypatch, seed):
    monkeypatch.setattr(chunks, "_PIECE", 97)
    path = nasty(tmp_path / "nasty.csv", seed)
    encoding = "cp1252" if seed in {3, 7} else "utf-8"
    path.write_bytes(path.read_bytes().decode().encode(encoding, "replace"))
    file = open_csv(path, "nasty.csv", TableSection(encoding=encoding, delimiter=","))
    expected = list(rows(file))
    found = list(chunks.row_chunks(file, size=7))
    assert [row for _, chunk in found for row in chunk] == [row for _, row in expected]
    starts = np.cumsum([0, *(len(chunk) for _, chunk in found)])[:-1]
    assert [place for place, _ in found] == [expected[start][0] for start in starts]
    # From any block on, and no further than asked for.
    middle = expected[20][0]
    later = list(chunks.row_chunks(file, middle, 11, size=7))
    assert [row for _, chunk in later for row in chunk] == [row for _, row in expected[20:31]]


@pytest.mark.parametrize("seed", range(12))
def test_cells_by_column_are_those_of_the_rows(tmp_path, monkeypatch, seed):
    monkeypatch.setattr(cell_chunks, "_PIECE", 97)
    path = nasty(tmp_path / "nasty.csv", seed)
    encoding = "cp1252" if seed in {3, 7} else "utf-8"
    path.write_bytes(path.read_bytes().decode().encode(encoding, "replace"))
    file = open_csv(path, "nasty.csv", TableSection(encoding=encoding, delimiter=","))
    expected = list(rows(file))
    found = list(cell_chunks.cell_chunks(file, size=7))
    assert rows_of(found) == [row for _, row in expected]
    starts = np.cumsum([0, *(len(cells[0]) for _, cells in found)])[:-1]
    assert [place for place, _ in found] == [expected[start][0] for start in starts]
    # From any block on, and no further than asked for.
    (first, _), (behind, _) = expected[20], expected[31]
    for stop in (None, behind.byte):
        assert rows_of(cell_chunks.cell_chunks(file, first, 11, size=7, stop=stop)) == [
            row for _, row in expected[20:31]
        ]


def rows_of(found):
    return [list(row) for _, cells in found for row in zip(*(column.to_pylist() for column in cells), strict=True)]


CUT_BY_ARROW = [
    "a,b\n1,2\n3,4\n",
    "a,b\r\n1,2\r\n3,4",
    "a,b\n1, x\n3,4\n\n\n",
    'a,b\n1,"x ""y"", z\n"\n"",4\n',
    "a,b\n1,é\n3,4\n",
]
LEFT_TO_CSV = ['a,b\n1,5"\n3,6"\n', 'a,b\n1, "x, y"\n3,4\n', "a,b\n1,2\n\n3,4\n", "a,b\n1,x\0y\n3,4\n"]


@pytest.mark.parametrize("text", [*CUT_BY_ARROW, *LEFT_TO_CSV])
def test_arrow_cuts_what_it_cuts_as_csv_does_and_nothing_else(tmp_path, monkeypatch, text):
    path = tmp_path / "some.csv"
    path.write_bytes(text.encode())
    file = open_csv(path, "some.csv", TableSection(delimiter=","))
    expected = [row for _, row in rows(file)]
    if text in CUT_BY_ARROW:
        monkeypatch.setattr(cell_chunks, "row_chunks", lambda *_, **__: pytest.fail("it was left to csv"))
    assert len(expected) == 2
    assert rows_of(cell_chunks.cell_chunks(file)) == expected


@pytest.mark.parametrize("text", ["a,b\n1,2\n3\n", 'a,b\n1,"2\n3,4\n', 'a,b\n1,"2"x\n', "a,b\n1,2\r3,4\n"])
def test_what_is_wrong_is_said_as_the_plain_reader_says_it(tmp_path, text):
    path = tmp_path / "some.csv"
    path.write_bytes(text.encode())
    file = open_csv(path, "some.csv", TableSection(delimiter=","))
    with pytest.raises(PolycliError) as expected:
        list(rows(file))
    with pytest.raises(PolycliError) as found:
        list(cell_chunks.cell_chunks(file))
    assert str(found.value) == str(expected.value)


def test_arrow_reads_numbers_as_python_does():
    generator = np.random.default_rng(3)
    floats = generator.integers(0, 2**63 - 1, 3000).view(np.float64)
    cells = [repr(value) for value in floats[np.isfinite(floats)].tolist()]
    cells += [
        f"{digits}.{digits}e{power}"
        for digits, power in generator.integers([0, -330], [10**9, 300], (3000, 2)).tolist()
    ]
    cells = [cell for cell in cells if 1e-300 < abs(float(cell)) < 1e300]
    found = plain_numbers(cells)
    assert found is not None
    assert found.values.tolist() == [float(cell) for cell in cells]


@pytest.mark.parametrize("cell", ["9007199254740993", "-9007199254740993"])
def test_the_first_integer_that_float64_rounds_is_not_read_as_its_neighbour(cell):
    assert plain_numbers([cell]) is None
    (column,) = decide({"a": Tally(marks=Counter(whole=2), units=Counter({None: 2}))}, TableSection())[0]
    assert flat_columns.flat_columns(column, ["1", cell], frozenset()) is None


@pytest.mark.parametrize("palette", PALETTES)
def test_counts_of_cells_do_not_depend_on_how_many_are_counted_at_once(palette, monkeypatch):
    generator = np.random.default_rng(len(palette))
    cells = [palette[place] for place in generator.integers(len(palette), size=50)]
    missing = frozenset({"", "NA"})
    together, apart = Tally(), Tally()
    for start in range(0, 50, 20):
        together.add(cells[start : start + 20], missing)
    monkeypatch.setattr(columns, "plain_numbers", lambda cells: None)
    for cell in cells:
        apart.add([cell], missing)
    assert together == apart
    assert list(together.examples) == list(apart.examples)
    assert list(together.units) == list(apart.units)
