"""JSON lines and JSON files, as people write them, well and badly."""

import json
import math
import re

import pytest

from polycli.errors import SourceError
from polycli.xval.recipe.training import PrepareRecipe
from polycli.xval.records.values import NumberLiteral
from polycli.xval.sources import lines as lines_module
from polycli.xval.sources.json import JsonSource
from polycli.xval.sources.json_text import members_of

RECIPE = PrepareRecipe(family="xval", verb="prepare")


def load(kept, *paths, limit=None, recipe=RECIPE):
    opened = JsonSource().open(paths, recipe, limit)
    for block in opened.blocks:
        block.load(kept)
    return opened


def test_each_line_is_a_record_named_by_file_and_line(tmp_path, kept):
    text = '\ufeff{"a": 1.5, "b": [null, true]}\r\n\n  \n[1, 2]\n"text\u2028"\n'
    (tmp_path / "x.jsonl").write_text(text, encoding="utf-8")
    load(kept, tmp_path / "x.jsonl")
    assert kept.records == {"x.jsonl:1": {"a": 1.5, "b": [None, True]}, "x.jsonl:4": [1, 2], "x.jsonl:5": "text\u2028"}
    assert kept.counts == {"empty lines": 2}
    assert kept.length == len(text) - 1  # all but the byte order mark


def test_objects_are_records_and_arrays_are_records_each(tmp_path, kept):
    folder = tmp_path / "in"
    (folder / "deep").mkdir(parents=True)
    (folder / "deep/one.json").write_text('{"a":\n 1}')
    (folder / "many.json").write_text('[{"a": 2}, {"a": 3}]')
    (folder / "lines.ndjson").write_text('{"a": 4}')
    (folder / "notes.txt").write_text("not data")
    opened = load(kept, folder)
    assert opened.file_names == ("deep/one.json", "lines.ndjson", "many.json")
    assert {name: value["a"] for name, value in kept.records.items()} == {
        "deep/one.json": 1,
        "many.json:1": 2,
        "many.json:2": 3,
        "lines.ndjson:1": 4,
    }


def test_blocks_are_cut_at_lines_and_hold_every_line_once(tmp_path, kept, monkeypatch):
    monkeypatch.setattr(lines_module, "BLOCK_BYTES", 64)
    (tmp_path / "x.jsonl").write_text(
        "".join(f'{{"n": {n}, "pad": "{"x" * (n % 90)}"}}\n' for n in range(200)).rstrip()
    )
    opened = load(kept, tmp_path / "x.jsonl")
    assert len(opened.blocks) > 20
    assert len({block.key for block in opened.blocks}) == len(opened.blocks)
    assert [value["n"] for value in kept.records.values()] == list(range(200))
    assert list(kept.records) == [f"x.jsonl:{line}" for line in range(1, 201)]


def test_a_limit_keeps_the_first_records(tmp_path, kept):
    (tmp_path / "a.jsonl").write_text("1\n2\n3\n")
    (tmp_path / "b.jsonl").write_text("4\n5\n")
    (tmp_path / "c.json").write_text("[6, 7, 8]")
    load(kept, tmp_path, limit=6)
    assert list(kept.records.values()) == [1, 2, 3, 4, 5, 6]


@pytest.mark.parametrize(
    ("content", "place", "problem"),
    [
        (b'{"a": 1}\n{"a": 1,}\n', "line 2, column 9", "Expecting property name"),
        (b'{"a": 1}\n\n{"a": }\n', "line 3, column 7", "Expecting value"),
        (b"{'a': 1}\n", "line 1, column 2", "Expecting property name"),
        (b'{"a": 01}\n', "line 1, column 8", "Expecting ',' delimiter"),
        (b'{"a": 1} {"a": 2}\n', "line 1, column 10", "Extra data"),
        (b'{"a": "cut', "line 1, column 7", "Unterminated string"),
        (b'{"a": 1}\n{"a": "\xe9"}\n', "line 2, column 8", "byte 0xe9 is not UTF-8"),
    ],
)
def test_malformed_lines_are_named_with_file_line_and_column(tmp_path, kept, content, place, problem):
    (tmp_path / "x.jsonl").write_bytes(content)
    with pytest.raises(SourceError) as caught:
        load(kept, tmp_path / "x.jsonl")
    assert caught.value.message.startswith(f"x.jsonl, {place}: ")
    assert problem in caught.value.message


@pytest.mark.parametrize(
    ("name", "content", "hint"),
    [
        ("x.jsonl", '[\n{"a": 1},\n{"a": 2}\n]\n', "name the file .json"),
        ("x.jsonl", '{\n"a": 1\n}\n', "name the file .json"),
        ("x.csv", "a,b\n1,2\n", "--source table"),
    ],
)
def test_what_is_not_one_record_a_line_gets_a_hint(tmp_path, kept, name, content, hint):
    (tmp_path / name).write_text(content)
    with pytest.raises(SourceError) as caught:
        load(kept, tmp_path / name)
    assert hint in caught.value.hint


def test_malformed_files_are_named_likewise_and_lines_in_a_json_file_get_a_hint(tmp_path, kept):
    (tmp_path / "x.json").write_text('{"a": 1,\n "b" 2}')
    with pytest.raises(SourceError, match=r"x.json, line 2, column 6: malformed JSON: Expecting ':' delimiter"):
        load(kept, tmp_path / "x.json")
    (tmp_path / "y.json").write_text('{"a": 1}\n{"a": 2}\n')
    with pytest.raises(SourceError, match=r"y.json, line 2, column 1.*name the file .jsonl"):
        load(kept, tmp_path / "y.json")


@pytest.mark.parametrize("name", ["empty.jsonl", "empty.json", "blank.json"])
def test_empty_files_are_refused(tmp_path, kept, name):
    (tmp_path / name).write_text(" \n" if name.startswith("blank") else "")
    with pytest.raises(SourceError, match=f"{name}: the file is empty"):
        load(kept, tmp_path / name)


def test_no_files_are_refused(tmp_path, kept):
    with pytest.raises(SourceError, match="there is no --input"):
        load(kept)
    with pytest.raises(SourceError, match=r"there is no file with the suffix .jsonl or .ndjson or .json"):
        load(kept, tmp_path)


def test_numbers_beyond_float64_are_kept_as_they_were_written(tmp_path, kept):
    long = "1" * 5000
    (tmp_path / "x.jsonl").write_text(
        f'{{"a": 1e400, "b": -1E-400, "c": 0e-999, "d": {long}, "e": 12345678901234567890, "f": 1e-300}}\n'
        f'{{"a": "e400", "b": 0.{"0" * 400}1, "c": 1{"0" * 400}.0}}\n'
    )
    load(kept, tmp_path / "x.jsonl")
    first, second = kept.records.values()
    assert first == {
        "a": NumberLiteral("1e400"),
        "b": NumberLiteral("-1E-400"),
        "c": 0.0,
        "d": NumberLiteral(long),
        "e": 12345678901234567890,
        "f": 1e-300,
    }
    assert second["a"] == "e400"
    assert (type(second["b"]), type(second["c"])) == (NumberLiteral, NumberLiteral)


def test_nan_and_infinity_are_read_though_they_are_no_json(tmp_path, kept):
    (tmp_path / "x.jsonl").write_text("[NaN, Infinity, -Infinity, 1]\n")
    load(kept, tmp_path / "x.jsonl")
    (values,) = kept.records.values()
    assert math.isnan(values[0])
    assert values[1:] == [math.inf, -math.inf, 1]


def test_a_second_key_of_the_same_name_rejects_its_record_and_no_other(tmp_path, kept):
    (tmp_path / "x.jsonl").write_text('{"a": {"b": 1, "b": 2}}\n{"a": 1}\n')
    load(kept, tmp_path / "x.jsonl")
    assert kept.rejected == {"x.jsonl:1": "the key 'b' stands twice in one object"}
    assert list(kept.records) == ["x.jsonl:2"]


def test_a_record_nested_too_deeply_is_rejected(tmp_path, kept):
    (tmp_path / "x.jsonl").write_text("[" * 100_000 + "]" * 100_000 + "\n[1]\n")
    load(kept, tmp_path / "x.jsonl")
    assert kept.rejected == {"x.jsonl:1": "is nested deeper than 200 levels"}
    assert kept.records == {"x.jsonl:2": [1]}


def test_records_may_name_themselves(tmp_path, kept):
    (tmp_path / "x.jsonl").write_text('{"meta": {"id": 17}}\n{"meta": {"id": "b"}}\n{"meta": {}}\n')
    recipe = PrepareRecipe(family="xval", verb="prepare", json_lines={"id_key": "meta.id"})
    load(kept, tmp_path / "x.jsonl", recipe=recipe)
    assert list(kept.records) == ["17", "b", "x.jsonl:3"]


def test_values_are_those_of_pythons_own_reader(tmp_path, kept):
    values = [{"a": [0.1, -0.0, 1e22, 123456789.123456789], "é": {"x": "\u2603\n"}}, [], {}, [[]], -0, 5e-324]
    (tmp_path / "x.jsonl").write_text("\n".join(json.dumps(value) for value in values))
    load(kept, tmp_path / "x.jsonl")
    assert repr(list(kept.records.values())) == repr([json.loads(json.dumps(value)) for value in values])


def loaded(kept, path, **section):
    recipe = PrepareRecipe(family="xval", verb="prepare", json_lines=section)
    load(kept, path, recipe=recipe)
    return kept


def test_records_below_a_key_are_records_each_and_the_key_is_proposed(tmp_path, kept):
    document = {"status": "ok", "data": {"results": [{"a": 1}, {"a": 2}, {"a": 3}]}}
    (tmp_path / "x.json").write_text(json.dumps(document))
    loaded(kept, tmp_path / "x.json")
    assert kept.records == {"x.json": document}
    assert [what for what in kept.counts if "--set json_lines.records=data.results" in what]
    kept.records = {}
    loaded(kept, tmp_path / "x.json", records="data.results")
    assert kept.records == {"x.json:1": {"a": 1}, "x.json:2": {"a": 2}, "x.json:3": {"a": 3}}
    with pytest.raises(SourceError, match=r"json_lines.records is data.rows, and there is no list") as caught:
        loaded(kept, tmp_path / "x.json", records="data.rows")
    assert caught.value.hint == "--set json_lines.records=data.results"
    kept.records = {}
    (tmp_path / "x.jsonl").write_text('{"rows": [{"a": 1}, {"a": 2}]}\n{"rows": [{"a": 3}]}\n')
    loaded(kept, tmp_path / "x.jsonl", records="rows")
    assert list(kept.records) == ["x.jsonl:1:1", "x.jsonl:1:2", "x.jsonl:2:1"]


@pytest.mark.parametrize(
    ("document", "layout"),
    [
        ({"columns": ["a", "b"], "index": [7, 8], "data": [[1, 0.5], [2, None]]}, "split"),
        ({"a": {"7": 1, "8": 2}, "b": {"7": 0.5, "8": None}}, "columns"),
    ],
)
def test_layouts_that_pandas_writes_are_read_and_proposed(tmp_path, kept, document, layout):
    (tmp_path / "x.json").write_text(json.dumps(document))
    loaded(kept, tmp_path / "x.json")
    assert [what for what in kept.counts if f"--set json_lines.layout={layout}" in what]
    kept.records = {}
    loaded(kept, tmp_path / "x.json", layout=layout)
    assert kept.records == {"x.json:7": {"a": 1, "b": 0.5}, "x.json:8": {"a": 2, "b": None}}
    kept.records = {}
    (tmp_path / "y.json").write_text('{"a": 1}')
    with pytest.raises(SourceError, match=f"it is not in the layout {layout} of pandas"):
        loaded(kept, tmp_path / "y.json", layout=layout)


def test_numbers_that_are_written_as_texts_are_said_and_read_on_request(tmp_path, kept):
    lines = [{"a": "1.5", "n": {"$numberLong": "7"}, "c": "x"}, {"a": "5,5", "n": {"$numberLong": "8"}, "c": "1e400"}]
    (tmp_path / "x.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    loaded(kept, tmp_path / "x.jsonl")
    assert list(kept.records.values()) == lines
    said = {what.split(",")[0]: count for what, count in kept.counts.items()}
    assert said == {f"texts that are numbers at {key}": count for key, count in (("a", 1), ("n", 2), ("c", 1))}
    assert any("""--set 'json_lines.text_numbers=["a"]'""" in what for what in kept.counts)
    kept.records = {}
    loaded(kept, tmp_path / "x.jsonl", text_numbers=["**"])
    first, second = kept.records.values()
    assert first == {"a": 1.5, "n": 7, "c": "x"}
    assert second == {"a": "5,5", "n": 8, "c": NumberLiteral("1e400")}


def test_members_of_an_array_are_read_one_by_one_as_json_reads_them_all(tmp_path, read):
    values = [1, "a, ]", {"b": [1, [2, {"c": None}]]}, [], 1e-7, True, {"d": 1}]
    for number, layout in enumerate(({}, {"indent": 2}, {"separators": (" ,\n\t", " : ")})):
        path = tmp_path / f"{number}.json"
        path.write_text(f" \r\n{json.dumps(values, **layout)} \n")
        writer, _ = read(JsonSource(), path)
        assert list(writer.records.values()) == values
    (tmp_path / "twice.json").write_text('[{"a": 1}, {"b": 1, "b": {"x": 2}}, {"c": 3}]')
    writer, _ = read(JsonSource(), tmp_path / "twice.json")
    assert list(writer.records) == ["twice.json:1", "twice.json:3"]
    assert writer.rejected == {"twice.json:2": "the key 'b' stands twice in one object"}
    for text in ("[1, 2", "[1 2]", "[1] 2", "[", "[1, tru]", '[{"a": 1}]\n[{"a": 2}]\n'):
        (tmp_path / "wrong.json").write_text(text)
        with pytest.raises(json.JSONDecodeError) as expected:
            json.loads(text)
        place = f"line {expected.value.lineno}, column {expected.value.colno}: malformed JSON: {expected.value.msg}"
        with pytest.raises(SourceError, match=re.escape(place)):
            read(JsonSource(), tmp_path / "wrong.json")
    (tmp_path / "wrong.json").write_text("[1,]")  # Pythons differ in what they say of it.
    with pytest.raises(SourceError, match=r"line 1, column [34]: malformed JSON"):
        read(JsonSource(), tmp_path / "wrong.json")


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
def test_an_array_in_pieces_is_the_array_wherever_it_is_cut(size):
    values = [12.5, -1e-7, 1e400, "a, ]\u2603\\n", {"b": [1, [2, {"c": None}]]}, [], True, math.inf, 123456789]
    text = "\n [" + " ,\n".join(json.dumps(value) for value in values).replace("Infinity", "1e400", 1) + "]\n\n"

    def pieces(whole):
        return [whole[start : start + size] for start in range(0, len(whole), size)]

    found = list(members_of(pieces(text)))
    assert found[2] == NumberLiteral("1e400")
    assert [found[:2], found[3:]] == [values[:2], values[3:]]
    for wrong in ("[1,\n 2", "[1\n  2]", "[1]\n 2", "[\n", "[1,\n\n tru]", "[1.5.2]", '[1,\n{"a": }]'):
        with pytest.raises(json.JSONDecodeError) as expected:
            json.loads(wrong)
        with pytest.raises(json.JSONDecodeError) as caught:
            list(members_of(pieces(wrong)))
        assert (caught.value.msg, caught.value.lineno, caught.value.colno) == (
            expected.value.msg,
            expected.value.lineno,
            expected.value.colno,
        )


def test_of_an_array_no_more_is_held_than_some_of_its_text():
    """All of a file's text, and copies of it, were in memory before its first record."""
    read = 0

    def pieces():
        nonlocal read
        for start in range(0, 100_000, 100):
            piece = "".join(f"{number},\n" for number in range(start, start + 100))
            read += len(piece)
            yield "[" + piece if start == 0 else piece
        yield "0]"

    members = members_of(pieces())
    for _ in range(1000):
        next(members)
    assert read < 10_000
    assert sum(1 for _ in members) == 100_001 - 1000
