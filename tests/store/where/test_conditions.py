"""Conditions over columns mean what they say: against another evaluation, row by row, and in what they refuse."""

import math

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from polycli.errors import UserError
from polycli.store.where.conditions import parse_condition

NUMBERS = {
    "redshift": [0.05, 0.1, None, 3.0, -1.0],
    "mag_r": [18.0, math.nan, 19.0, 20.5, 0.0],
    "count": [3, 0, None, -7, 2],
}
TEXTS = {"class": ["spiral", "it's", None, "", "spiral"], "odd name": ["a", "b", "spiral", None, "é"]}
TRUTHS = {"good": [True, False, None, True, False]}
TABLE = pa.table(
    {
        "redshift": pa.array(NUMBERS["redshift"], pa.float32()),
        "mag_r": pa.array(NUMBERS["mag_r"], pa.float64()),
        "count": pa.array(NUMBERS["count"], pa.int16()),
        "class": pa.array(TEXTS["class"]).dictionary_encode(),
        "odd name": pa.array(TEXTS["odd name"]),
        "good": pa.array(TRUTHS["good"]),
    }
)
COLUMNS = dict(zip(TABLE.column_names, TABLE.columns, strict=True))
# As the columns hold them: float32 rounds, and NaN is not known.
KNOWN = {
    name: [None if value is None or value != value else value for value in column.to_pylist()]
    for name, column in COLUMNS.items()
}


def chosen(text):
    return parse_condition(text).rows(COLUMNS).tolist()


# A second evaluation, of one row at a time, by Python's own operators; a condition is its text and its meaning.


def known(operation):
    def applied(*values):
        if any(value is None for value in values):
            return None
        try:
            result = operation(*values)
        except ZeroDivisionError:
            return None if values[0] == 0 else math.copysign(math.inf, values[0]) * math.copysign(1, values[1])
        except (ValueError, OverflowError):
            return None
        return None if isinstance(result, float) and math.isnan(result) else result

    return applied


def either(one, other):
    if one is True or other is True:
        return True
    return None if one is None or other is None else False


def opposite(value):
    return None if value is None else not value


def column(name):
    return (f"`{name}`" if " " in name else name), lambda row: KNOWN[name][row]


def constant(value):
    text = "'" + value.replace("'", "''") + "'" if isinstance(value, str) else str(value)
    return text, lambda row: value


def combined(text, operation, *parts):
    return text.format(*(part[0] for part in parts)), lambda row: operation(*(part[1](row) for part in parts))


def add(sign):
    operations = {"+": lambda a, b: a + b, "-": lambda a, b: a - b, "*": lambda a, b: a * b, "/": lambda a, b: a / b}
    return known(operations[sign])


def compare(sign):
    operations = {"<": lambda a, b: a < b, "<=": lambda a, b: a <= b, ">": lambda a, b: a > b}
    operations |= {">=": lambda a, b: a >= b, "=": lambda a, b: a == b, "!=": lambda a, b: a != b}
    return known(operations[sign])


numbers = st.recursive(
    st.sampled_from([*map(column, NUMBERS), *map(constant, (0, 1, 0.1, 19, -7))]),
    lambda inner: st.one_of(
        st.builds(
            lambda a, b, sign: combined(f"({{}} {sign} {{}})", add(sign), a, b), inner, inner, st.sampled_from("+-*/")
        ),
        st.builds(lambda a: combined("abs({})", known(abs), a), inner),
        st.builds(lambda a: combined("-({})", known(lambda x: 0 - x), a), inner),
    ),
    max_leaves=4,
)
texts = st.sampled_from([*map(column, TEXTS), *map(constant, ("spiral", "it's", "", "é"))])
signs = st.sampled_from(["<", "<=", ">", ">=", "=", "!="])
leaves = st.one_of(
    st.builds(lambda a, b, sign: combined(f"{{}} {sign} {{}}", compare(sign), a, b), numbers, numbers, signs),
    st.builds(lambda a, b, sign: combined(f"{{}} {sign} {{}}", compare(sign), a, b), texts, texts, signs),
    st.builds(lambda a: combined("{} is null", lambda x: x is None, a), st.one_of(numbers, texts)),
    st.builds(lambda a: combined("{} IS NOT NULL", lambda x: x is not None, a), st.one_of(numbers, texts)),
    st.builds(lambda a: combined("{} in (3, 0.5, -7)", known(lambda x: x in (3, 0.5, -7)), a), numbers),
    st.builds(lambda a: combined("{} not in ('spiral', '')", known(lambda x: x not in ("spiral", "")), a), texts),
    st.builds(lambda a: combined("{} between 0 and 2", known(lambda x: 0 <= x <= 2), a), numbers),
    st.sampled_from([column("good"), combined("good = true", known(lambda x: x is True), column("good"))]),
)
conditions = st.recursive(
    leaves,
    lambda inner: st.one_of(
        st.builds(lambda a, b: combined("({} or {})", either, a, b), inner, inner),
        st.builds(
            lambda a, b: combined("({} and {})", lambda x, y: opposite(either(opposite(x), opposite(y))), a, b),
            inner,
            inner,
        ),
        st.builds(lambda a: combined("(not {})", opposite, a), inner),
    ),
    max_leaves=6,
)


@settings(max_examples=300, deadline=None)
@given(conditions)
def test_conditions_choose_the_rows_that_another_evaluation_chooses(condition):
    text, meaning = condition
    assert chosen(text) == [meaning(row) is True for row in range(5)], text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        # `and` binds tighter than `or`, `not` tighter than both, comparison tighter than `not`.
        ("good or count = -7 and redshift > 100", [True, False, False, True, False]),
        ("not good or count = 0", [False, True, False, False, True]),
        ("not redshift > 0.06", [True, False, False, False, True]),
        # Powers bind tighter than a sign, and from the right; a chain is true where every link is.
        ("-count ** 2 = -9", [True, False, False, False, False]),
        ("count ** 2 ** 1 = 9", [True, False, False, False, False]),
        ("2 + 3 * count = 11 and count % 2 = 1", [True, False, False, False, False]),
        ("0 < redshift < 1", [True, True, False, False, False]),
        ("-2 % 5 = 3 and count = 2", [False, False, False, False, True]),
        # What is not a number is unknown: the logarithm of -1 is neither below nor above.
        ("log10(redshift) < 100", [True, True, False, True, False]),
        ("not log10(redshift) < 100", [False, False, False, False, False]),
        ("log10(redshift) is null", [False, False, True, False, True]),
        ("1 / count > 100", [False, True, False, False, False]),
        ("mag_r = mag_r", [True, False, True, True, True]),
        ("count in (3, null)", [True, False, False, False, False]),
        ("not count in (3, null)", [False, False, False, False, False]),
        ("upper(class) = \"SPIRAL\" and `odd name` != 'b'", [True, False, False, False, True]),
        ("least(count, 0) = 0", [True, True, False, False, True]),
        ("null = null or good", [True, False, False, True, False]),
        ("true", [True] * 5),
    ],
)
def test_precedence_and_unknown_values(text, expected):
    assert chosen(text) == expected


def test_integers_are_compared_and_added_exactly():
    ids = np.array([2**62, 2**62 + 1, 2**53 + 1], np.int64)
    assert parse_condition(f"id = {2**62 + 1}").rows({"id": ids}).tolist() == [False, True, False]
    assert parse_condition(f"id - 1 = {2**53}").rows({"id": ids}).tolist() == [False, False, True]
    assert parse_condition("id % 2 = 1").rows({"id": ids}).tolist() == [False, True, True]
    assert parse_condition("id + id > 0").rows({"id": ids}).all(), "what int64 cannot hold does not wrap around"
    small = np.array([1, 200], np.uint8)
    assert parse_condition("x - 2 < 0").rows({"x": small}).tolist() == [True, False]
    assert parse_condition("x + x = 400").rows({"x": small}).tolist() == [False, True]
    large = np.array([2**64 - 1, 1], np.uint64)
    assert parse_condition(f"x = {2**64 - 1}").rows({"x": large}).tolist() == [True, False]
    assert parse_condition("x > y").rows({"x": large, "y": np.array([-1, 2])}).tolist() == [True, False]
    assert parse_condition(f"floor(id) = {2**62}").rows({"id": ids}).tolist() == [True, False, False]
    assert parse_condition(f"id > {2**62}.0").rows({"id": ids}).tolist() == [False, True, False], "and with floats"
    lowest = np.array([-(2**63)], np.int64)
    assert parse_condition("abs(x) > 0").rows({"x": lowest}).all(), "an absolute value has no sign"


def test_numpy_and_arrow_columns_mean_the_same():
    numpy_columns = {
        "redshift": np.array([0.05, 0.1, np.nan, 3.0, -1.0], np.float32),
        "class": np.array(["spiral", "it's", None, "", "spiral"], object),
    }
    for text in ("redshift < 1", "class = 'spiral'", "class is null", "redshift is null or class != 'spiral'"):
        assert parse_condition(text).rows(numpy_columns).tolist() == chosen(text)


def test_a_condition_says_which_columns_it_needs():
    condition = parse_condition("abs(redshift - `odd name`) < 1 or not class in ('mag_r') and good")
    assert condition.columns == {"redshift", "odd name", "class", "good"}


def test_a_block_without_rows_has_no_rows():
    assert parse_condition("redshift < 1 and class = 'x'").rows(
        {n: c.slice(0, 0) for n, c in COLUMNS.items()}
    ).shape == (0,)


def test_unknown_columns_name_those_that_are_called_alike():
    with pytest.raises(UserError, match="no column 'redshfit'") as refusal:
        parse_condition("redshfit < 0.1").check(TABLE.schema)
    assert refusal.value.hint == "did you mean redshift?"
    parse_condition("redshift < 0.1 and class = 'spiral'").check(TABLE.schema)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "the condition is empty"),
        ("redshift <", "character 11: a column, a number or a text in quotes is expected, and there is the end"),
        ("redshift < 0.1 mag_r", "character 16: and, or, or the end is expected, and there is 'mag_r'"),
        ("redshift < 0.1)", "character 15: and, or, or the end"),
        ("(redshift < 0.1", r"character 16: '\)' is expected, and there is the end"),
        ("redshift < 'x", "the ' at character 12 is never closed"),
        ("redshift < 1 & good", "character 14, '&', has no meaning"),
        ("redshift < 1; drop", "character 13, ';', has no meaning"),
        ("redshift < 12abc", "character 12, '1', has no meaning"),
        ("__import__('os') = 1", "there is no function '__import__'"),
        ("sqroot(redshift) > 1", "there is no function 'sqroot'"),
        ("abs(redshift, 1) > 1", "abs takes 1 values, found 2"),
        ("redshift is 3", "'null' is expected"),
        ("redshift not 3", "in or between is expected"),
        ("redshift in (mag_r)", "a number or a text in quotes is expected"),
        ("redshift", "redshift is a number, and a condition is expected"),
        ("not redshift", "redshift is a number, and true or false is expected after not"),
        ("class < 3", "class is a text and is compared with 3, a number"),
        ("class + 1 > 3", r"class is a text, and a number is expected around \+"),
        ("good < true", "true and false have no order"),
        ("(" * 100 + "good" + ")" * 100, "more than 60 levels"),
        ("not " * 100 + "good", "more than 60 levels"),
        ("good or " * 2000 + "good", "10,000 are the most"),
        ("+".join(["count"] * 1500) + " > 0", "character 606: more than 100 signs such as"),
    ],
)
def test_what_is_no_condition_is_refused_with_the_place(text, said):
    with pytest.raises(UserError, match=said):
        parse_condition(text).check(TABLE.schema)


def test_columns_of_other_kinds_are_refused():
    table = {"seen": pa.array([0], pa.timestamp("s"))}
    with pytest.raises(UserError, match=r"the column seen is timestamp\[s\]"):
        parse_condition("seen > 3").rows(table)
