"""JSON documents of any content end in a value or in a sentence."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from polycli.errors import StoreError
from polycli.files.documents import parse_json, read_json, read_object

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=4)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=20,
)


@given(VALUES)
def test_a_document_reads_as_python_reads_it(value):
    for text in (json.dumps(value), json.dumps(value, ensure_ascii=False)):
        found = parse_json(text)
        assert found == json.loads(text)
        assert json.dumps(found) == json.dumps(json.loads(text))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "NaN",
        "1e999",
        '{"a": [-1e999]}',
        '{"a": Infinity}',
        "[" * 100_000,
        '{"a":' * 5000 + "1" + "}" * 5000,
        "9" * 5000,
        '"\\ud800"',
        "\0",
    ],
)
def test_what_is_no_document_is_said_in_a_sentence(tmp_path, text):
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(StoreError, match=r"a\.json: the list cannot be read: .+"):
        read_json(tmp_path / "a.json", StoreError, what="the list")


def test_bytes_that_are_no_text_are_no_document(tmp_path):
    (tmp_path / "a.json").write_bytes(b'{"a": "\xff"}')
    with pytest.raises(StoreError, match="cannot be read"):
        read_json(tmp_path / "a.json", StoreError, what="the list")


def test_a_document_of_another_kind_is_named(tmp_path):
    (tmp_path / "a.json").write_text("[1]")
    with pytest.raises(StoreError, match="the list is a list, an object was expected"):
        read_object(tmp_path / "a.json", StoreError, what="the list")


def test_a_file_that_is_not_there_is_for_the_caller_to_name(tmp_path):
    with pytest.raises(FileNotFoundError):
        read_json(tmp_path / "a.json", StoreError, what="the list")
