"""YAML that means what it says, with the line of every key."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from polycli.errors import RecipeError
from polycli.recipes.documents import read_document, read_value, write_document


def read(tmp_path, text):
    path = tmp_path / "recipe.yaml"
    path.write_text(text)
    return read_document(path)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-3", 0.001),
        ("1e5", 100000),
        ("1.0e5", 100000.0),
        ("010", 10),
        ("-7", -7),
        ("on", "on"),
        ("no", "no"),
        ("12:30", "12:30"),
        ("2020-01-01", "2020-01-01"),
        ("true", True),
        ("~", None),
        ("", None),
        ("'1'", "1"),
        ("[1, a]", [1, "a"]),
        (".inf", float("inf")),
    ],
)
def test_scalars_are_those_of_yaml_1_2(text, value):
    found = read_value(text, source="--set")
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize("number", [2**63 + 1, -(2**63) - 1, 10**23])
def test_a_whole_number_that_would_lose_digits_is_refused(tmp_path, number):
    with pytest.raises(RecipeError, match=r"recipe.yaml:2: the whole number .* beyond 64 bits and would lose digits"):
        read(tmp_path, f"a: 1\nb: {number}\n")


@pytest.mark.parametrize("number", [2**63, 2**64, -(2**63), 10**22])
def test_a_large_whole_number_that_a_float_holds_is_read_as_it_stands(tmp_path, number):
    assert read(tmp_path, f"a: {number}\n").data["a"] == number


def test_every_key_knows_its_line(tmp_path):
    document = read(tmp_path, "a: 1\nb:\n  c: 2\n\n  d: [3,\n    4]\n")
    lines = {path: origin.line for path, origin in document.origins.items()}
    assert lines == {("a",): 1, ("b",): 2, ("b", "c"): 3, ("b", "d"): 5, ("b", "d", 0): 5, ("b", "d", 1): 6}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: 1\nb: 2\na: 3\n", r"recipe.yaml:3: `a` stands twice, first in line 1"),
        ("a:\n  b: 1\n  b: 2\n", r"recipe.yaml:3: `a.b` stands twice"),
        ("a: &x 1\nb: *x\n", r"recipe.yaml:.*anchors"),
        ("a: &x [*x]\n", r"anchors"),
        ("a: {<<: {b: 1}}\n", r"`<<` is not part"),
        ("a: !!python/object/apply:os.system ['true']\n", r"recipe.yaml:1: the tag !!python"),
        ("a: !!python/tuple [1]\n", r"the tag"),
        ("a: !Custom {b: 1}\n", r"the tag !Custom"),
        ("a: [1\n", r"not YAML"),
        ("a:\n\tb: 2", r"recipe.yaml:2: this is not YAML"),
        ("- 1\n", r"a recipe is a mapping"),
        ("just text\n", r"a recipe is a mapping"),
        ("{[1]: 2}\n", r"a key must be text"),
        ("[" * 5000, r"nested too deeply"),
    ],
)
def test_what_is_no_recipe_is_refused_with_its_line(tmp_path, text, message):
    with pytest.raises(RecipeError, match=message):
        read(tmp_path, text)


def test_a_file_that_cannot_be_read_is_a_recipe_error(tmp_path):
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(RecipeError, match="not UTF-8"):
        read_document(tmp_path / "binary.yaml")
    with pytest.raises(RecipeError, match="cannot be read"):
        read_document(tmp_path)


_WHOLE = st.integers(-(2**63), 2**63)
_VALUES = st.recursive(
    st.none() | st.booleans() | _WHOLE | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@settings(deadline=None, max_examples=60)
@given(st.dictionaries(st.text().filter(lambda key: key != "<<"), _VALUES, max_size=4))
def test_whatever_is_written_reads_back_equal(tmp_path_factory, data):
    path = tmp_path_factory.mktemp("yaml") / "recipe.yaml"
    path.write_text(write_document(data), encoding="utf-8")
    assert read_document(path).data == data
