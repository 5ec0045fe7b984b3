"""`polycli prepare xval` as it is typed: exit codes, one JSON document on stdout, talk on stderr."""

import json
import subprocess
import sys

from polycli.__main__ import run as command_line
from polycli.xval.data.store import open_records
from polycli.xval.records.decode import decode_records
from polycli.xval.sources.tables import scanning
from tests.xval.conftest import prepare


def polycli(*arguments, folder):
    line = [sys.executable, "-m", "polycli", *map(str, arguments)]
    return subprocess.run(line, cwd=folder, capture_output=True, text=True, check=False, timeout=120)


def test_prepare_by_the_command_line_makes_a_store_with_two_processes_and_prints_one_document(tmp_path):
    values = [{"id": number, "x": [number + 0.5, 1e-3], "name": "é"} for number in range(50)]
    (tmp_path / "in").mkdir()
    for part in (0, 1):
        lines = [json.dumps(value) for value in values[part::2]]
        (tmp_path / f"in/{part}.jsonl").write_text("\n".join(lines))
    ended = polycli(
        "prepare", "xval", "--source", "json", "--input", "in", "--output", "s.zarr", "--workers", 2, "--json",
        "--set", "text_keys=[id]", "--set", "hold_out={x: [10, 12]}", "--set", "scaling.default=affine",
        folder=tmp_path,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr
    (result,) = json.loads(ended.stdout)["stores"]
    assert (result["records"], result["numbers"], result["path"]) == (50, 100, "s.zarr")
    assert result["held_out"] == {"x in [10, 12]": 2}
    assert "50 records" in ended.stderr
    store = open_records(tmp_path / "s.zarr", verify="full")
    records = store.read(store.rows())
    found = {value["id"]: value for value in decode_records(records, store.vocabulary)}
    assert found == {value["id"]: value for value in values}
    assert "0.jsonl:1" in records.ids
    inspected = json.loads(polycli("inspect", "s.zarr", "--json", folder=tmp_path).stdout)
    assert inspected["splits"] == result["splits"]
    assert inspected["rejected"] == []


def test_wrong_input_ends_with_exit_2_one_sentence_and_nothing_written(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "good.jsonl").write_text('{"a": 1.5}\n{"a": 2.5}\n')
    (tmp_path / "bad.jsonl").write_text('{"a": 1.5}\n{"a" 2.5}\n')
    (tmp_path / "empty.jsonl").write_text("")
    line = ("prepare", "xval", "--source", "json", "--output", "out.zarr", "--workers", 1)
    for arguments, sentence in (
        (("--input", "bad.jsonl"), "bad.jsonl, line 2, column 6: malformed JSON: Expecting ':' delimiter"),
        (("--input", "empty.jsonl"), "empty.jsonl: the file is empty"),
        (("--input", "good.jsonl", "--set", "text_keys=[b]"), "text_keys: no key path of the data fits 'b'"),
        (
            ("--input", "good.jsonl", "--set", "json_lines.id_key=b"),
            "json_lines.id_key: no key path of the data fits 'b'",
        ),
        (("--input", "good.jsonl", "--source", "jsn"), "--source jsn: xval has no such source"),
        (("--input", "nowhere.jsonl"), "nowhere.jsonl: no such file or folder"),
        ((), "--source json reads files, and there is no --input"),
        (("--input", "good.jsonl", "--set", "hold_out={a: [2, 1]}"), "an interval [low, high] was expected"),
    ):
        code = command_line([str(word) for word in (*line, *arguments)])
        said = capsys.readouterr()
        assert code == 2, (arguments, said.err)
        assert sentence in said.err
        assert "Traceback" not in said.err
        assert said.out == ""
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bad.jsonl", "empty.jsonl", "good.jsonl"]


def test_the_look_at_all_cells_of_a_large_table_is_said_before_it_begins(tmp_path, monkeypatch, capsys):
    """A log had no line for the first half minute."""
    monkeypatch.setattr(scanning, "_MUCH", 1)
    (tmp_path / "x.csv").write_text("a,b\n" + "1.5,2.5\n" * 20)
    prepare("table", tmp_path / "x.zarr", inputs=[tmp_path / "x.csv"])
    assert capsys.readouterr().err.startswith("looking at all cells: 0 MB\n")


def test_records_without_any_number_are_said_loudly(tmp_path, capsys):
    """Six records whose numbers were all texts made a store with `0 numbers`, and `0 affine`."""
    (tmp_path / "x.jsonl").write_text('{"price": {"$numberDecimal": "1.10"}}\n{"price": {"$numberDecimal": "2.20"}}\n')
    prepare("json", tmp_path / "x.zarr", inputs=[tmp_path / "x.jsonl"])
    said = capsys.readouterr().err
    assert "warning: no record has a number" in said
    assert "0 affine" not in said
    prepare("json", tmp_path / "y.zarr", "json_lines.text_numbers=[price]", inputs=[tmp_path / "x.jsonl"])
    assert "no record has a number" not in capsys.readouterr().err
