"""A column that counts the rows of a table names them, and is no quantity, unless settings say that it is kept."""

import pytest

from polycli.xval.data.store import open_records
from tests.xval.conftest import prepare


def made(tmp_path, header, numbers, *settings, text=""):
    rows = "".join(f"{number},{place / 8}{text}\n" for place, number in enumerate(numbers))
    (tmp_path / "some.csv").write_text(f"{header},mass (kg)\n{rows}")
    return open_records(prepare("table", tmp_path / "some.zarr", *settings, inputs=[tmp_path / "some.csv"]))


@pytest.mark.parametrize(("header", "first"), [("id", 1), ("Unnamed: 0", 0), ("", 0), ("sample_id", 1), ("Row", 1)])
def test_integers_that_count_rows_under_such_a_name_name_the_records(tmp_path, capsys, header, first):
    store = made(tmp_path, header, range(first, first + 30))
    assert store.key_paths == ("mass",)
    assert store.row_ids() == [str(number) for number in range(first, first + 30)]
    assert "counts the rows" in capsys.readouterr().err
    assert store.store.manifest.options["of_source"]["id_column"] == (header or "column_1")


@pytest.mark.parametrize(
    ("header", "numbers"),
    [
        ("dose", range(1, 31)),  # a quantity may rise by one
        ("id", range(1, 11)),  # a few integers may do so by luck
        ("id", [*range(1, 30), 31]),
        ("id", range(7, 37)),
        ("id", [number + 0.0 for number in range(30)]),
    ],
)
def test_what_may_be_a_quantity_stays_one(tmp_path, header, numbers):
    assert header in made(tmp_path, header, numbers).key_paths


def test_it_is_kept_as_numbers_where_settings_say_so(tmp_path):
    store = made(tmp_path, "id", range(30), "table.row_numbers=keep")
    assert set(store.key_paths) == {"id", "mass"}
    assert store.row_ids()[0] == "some.csv:1"
