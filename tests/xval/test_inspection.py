"""`polycli inspect` says what a store of records holds, and how good an evaluation found a model."""

import json

from polycli.inspection import inspect_path

from .conftest import prepare


def test_a_store_of_records_names_its_numbers_and_their_units(planets):
    text = "\n".join(inspect_path(planets).lines)
    assert "a store for xval, planets" in text
    assert "description.planet0.m" in text.split("numbers at")[1].splitlines()[0]
    assert "star masses" in text.split("units")[1].splitlines()[0]


def facts_of(path):
    return {name: value for name, value in inspect_path(path).document.items() if name not in {"path", "kind", "size"}}


def test_a_table_is_told_as_prepare_would_read_it(tmp_path, capsys):
    (tmp_path / "a.csv").write_text('name,mass (kg),pay\nA,1.5,"1,234,567"\nB,NA,"2,000,000"\n')
    facts = facts_of(tmp_path / "a.csv")
    assert facts == {
        "prepare xval": "--source table, 2 records",
        "at name": "2 texts, 2 different, such as 'A', 'B'",
        "at mass": "1 number in kg, 1.5 to 1.5, 1 gap",
        "at pay": "2 texts, 2 different, such as '1,234,567', '2,000,000'",
        "decided 1": facts["decided 1"],
    }
    assert """--set 'table.thousands=","'""" in facts["decided 1"]
    assert capsys.readouterr().err == ""
    (tmp_path / "b.csv").write_text("a,b\n1,2\n3\n")
    assert "refuses it: b.csv, line 3: 1 cells, the header has 2" in facts_of(tmp_path / "b.csv")["prepare xval"]
    (tmp_path / "c.csv").write_text("a,b\nx,y\n")
    assert "nothing in it is a number" in facts_of(tmp_path / "c.csv")["decided 1"]


def test_text_files_are_tables_where_they_hold_numbers_and_json_is_told_by_key_path(tmp_path):
    (tmp_path / "a.txt").write_text(" teff logg\n 5777. 4.44\n 6100. 4.10\n")
    assert facts_of(tmp_path / "a.txt")["at logg"] == "2 numbers, 4.1 to 4.44"
    (tmp_path / "b.txt").write_text("It rained.\nThen it stopped.\n")
    assert "prepare xval" not in facts_of(tmp_path / "b.txt")
    (tmp_path / "c.jsonl").write_text('{"a": {"b": [1, 2, null]}, "ok": true}\n')
    facts = facts_of(tmp_path / "c.jsonl")
    assert facts["at a.b"] == "2 numbers, 1 to 2, 1 gap"
    assert facts["at ok"] == "1 times true or false"


def test_a_store_tells_ranges_scaling_and_what_was_decided(tmp_path):
    rows = "".join(f"{place},{place * 2 + 0.5}\n" for place in range(30))
    (tmp_path / "a.csv").write_text(f"n,mass\ns,kg\n{rows}")
    text = "\n".join(inspect_path(prepare("table", tmp_path / "a.zarr", inputs=[tmp_path / "a.csv"])).lines)
    assert "mass 0.5 to 58.5 (30, affine)" in text.split("  ranges ")[1].splitlines()[0]
    assert "table.units_row=false" in text.split("  decided ")[1].splitlines()[0]


def test_an_evaluation_of_records_tells_its_error(tmp_path):
    datasets = {"planets": {"all": {"standardised_mae": {"model": 0.25}}}, "none": {"all": {}}}
    scores = {"split": "test", "checkpoint": "m", "selected_by": "as given", "datasets": datasets}
    (tmp_path / "scores.json").write_text(json.dumps(scores))
    assert "planets 0.25 standard deviations" in "\n".join(inspect_path(tmp_path).lines)
