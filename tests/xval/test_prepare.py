"""`prepare xval` from lines to store: content, splits, hold-outs, groups, coverage, parts, and what is refused."""

import json
import pickle

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from polycli.errors import PolycliError, RecipeError, SourceError, StoreError
from polycli.requests import PrepareRequest
from polycli.xval.data import staging
from polycli.xval.data.store import open_records
from polycli.xval.prepare import run
from polycli.xval.recipe.sources import PlanetsSection
from polycli.xval.records.decode import decode_records
from polycli.xval.records.equality import alike
from polycli.xval.sources import lines as lines_module
from polycli.xval.sources.planetary import records
from polycli.xval.sources.python_literals import WRAPPED

from .conftest import prepare as prepare_store


@pytest.fixture
def prepare(tmp_path, monkeypatch):
    """Write values as JSON lines, prepare them in small blocks and open the store."""
    monkeypatch.setattr(lines_module, "BLOCK_BYTES", 2000)

    def make(values, *overrides, name="s.zarr", **options):
        lines = [value if isinstance(value, str) else json.dumps(value) for value in values]
        (tmp_path / "data.jsonl").write_text("\n".join(lines) + "\n")
        request = PrepareRequest(
            source="json",
            inputs=(tmp_path / "data.jsonl",),
            output=tmp_path / name,
            overrides=overrides,
            workers=1,
            **options,
        )
        result = run(request)
        return result if options else open_records(tmp_path / name, verify="full")

    return make


def systems(count=60, seed=0):
    random = np.random.default_rng(seed)
    return [
        {
            "id": number,
            "star": {f"planet{place}": {"a": float(random.uniform(1, 3))} for place in range(1 + number % 3)},
            "data": random.normal(size=(2 + number % 4, 2)).tolist(),
            "name": f"system {number}",
            "known": number % 2 == 0,
            "note": None,
        }
        for number in range(count)
    ]


def values_of(store, rows=None):
    records = store.read(store.rows() if rows is None else rows)
    return dict(zip(records.ids, decode_records(records, store.vocabulary), strict=True))


def test_records_come_back_from_the_store_as_they_went_in(prepare):
    values = systems()
    store = prepare(values)
    found = values_of(store)
    assert found == {f"data.jsonl:{line}": value for line, value in enumerate(values, start=1)}
    assert [type(value["id"]) for value in found.values()] == [int] * 60
    assert store.store.manifest.arrays["numbers"].dtype == "float64"
    rows = np.array([50, 3, 4, 5, 20])
    assert list(values_of(store, rows).values()) == [values[row] for row in rows]
    records = store.read(rows)
    assert records.token_lengths.tolist() == store.lengths()[rows].tolist()
    assert records.number_lengths.tolist() == store.number_counts()[rows].tolist()


numbers = st.one_of(
    st.floats(-1e150, 1e150),
    st.integers(-(2**70), 2**70),
    st.sampled_from([0, -0.0, 5e-324, 1e150, 2**53 + 1]),
)
texts = st.one_of(st.text(max_size=6), st.sampled_from(["a", "b.c", "$", "\\", '"', "[NUM]", "1.5", "\ud800"]))
json_values = st.recursive(
    st.one_of(st.none(), st.booleans(), numbers, texts),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(texts, inner, max_size=4)),
    max_leaves=10,
)


@settings(max_examples=5, deadline=None, suppress_health_check=list(HealthCheck), phases=[Phase.generate])
@given(several=st.lists(json_values, min_size=20, max_size=20))
def test_any_json_values_are_equal_after_they_were_written_as_lines_prepared_and_read(prepare, tmp_path, several):
    # Few stores of many records: a store costs more than what is in it. Nothing is shrunk for the same reason.
    values = [*several, {"n": 1.5}]
    # Scaled so that float32 holds whatever float64 does; what is too small for that is counted.
    scaling = "scaling.keys={'**': {kind: affine, shift: 0, scale: 1.0e+130}}"
    name = f"{len(list(tmp_path.iterdir()))}.zarr"
    store = prepare([json.dumps(value) for value in values], scaling, "coverage.underflow=count", name=name)
    rejected = store.store.manifest.rejected
    assert all(entry.reason.startswith("duplicate of") for entry in rejected)
    expected = {f"data.jsonl:{line}": value for line, value in enumerate(values, start=1)}
    found = values_of(store)
    assert found.keys() == expected.keys() - {entry.id for entry in rejected}
    for record, value in found.items():
        assert value == expected[record]
        assert alike(value, expected[record])


def test_python_lines_of_planets_keep_every_number_bit_for_bit(tmp_path):
    systems_read = records(PlanetsSection(planets=(2, 3), steps=(5, 9), duration=(2, 3), substeps=2), range(20))
    lines = [str(value).replace(" ", "") for value in systems_read]
    # What NumPy 2 writes where the original's generator printed its own scalars.
    lines[7] = lines[7].replace("'stepsize':", "'stepsize':np.float64(", 1).replace("},'data'", ")},'data'", 1)
    (tmp_path / "planets.txt").write_text("\n".join(lines) + "\n")
    source = PrepareRequest(
        source="python-lines", inputs=(tmp_path / "planets.txt",), output=tmp_path / "p.zarr", workers=1, json=True
    )
    assert run(source)["stores"][0]["coverage"]["notes"] == {WRAPPED: 1}
    store = open_records(tmp_path / "p.zarr", verify="full")
    expected = np.concatenate([numbers_in(value) for value in systems_read])
    assert store.read(store.rows()).numbers.tobytes() == expected.tobytes()
    assert list(values_of(store).values()) == systems_read


def numbers_in(value):
    """All numbers of a record, depth first, as float64."""
    if isinstance(value, dict | list):
        return np.concatenate([numbers_in(one) for one in (value.values() if isinstance(value, dict) else value)])
    return np.array([value], dtype=np.float64)


def test_statistics_are_of_the_training_split_alone(prepare):
    values = systems()
    store = prepare(values)
    train = values_of(store, store.rows("train")).values()
    numbers = [number for value in train for row in value["data"] for number in row]
    known = store.statistics["data"]
    assert known.count == len(numbers)
    assert known.mean == pytest.approx(np.mean(numbers), rel=1e-12)
    assert known.std == pytest.approx(np.std(numbers), rel=1e-12)
    assert (known.min, known.max) == (min(numbers), max(numbers))
    splits = [set(store.rows(split).tolist()) for split in ("train", "validation", "test")]
    assert set().union(*splits) == set(range(60))
    assert sum(map(len, splits)) == 60
    assert all(splits)


def test_hold_outs_never_train_nor_validate_and_are_marked(prepare):
    rule = "hold_out={'star.planet*.a': [1.9, 2.1], id: [7, 7]}"
    values = systems(200)
    store = prepare(values, rule)
    held = np.array([any(1.9 <= planet["a"] <= 2.1 for planet in value["star"].values()) for value in values])
    marks = store.held_out()
    assert marks[:, 0].tolist() == held.tolist()
    assert np.flatnonzero(marks[:, 1]).tolist() == [7]
    assert [rule.pattern for rule in store.hold_out] == ["star.planet*.a", "id"]
    out = held | marks[:, 1]
    for split in ("train", "validation"):
        assert not out[store.rows(split)].any()
    test = store.rows("test")
    assert 0 < out[test].sum() == out.sum() < len(test)
    assert store.about.held_out == {"star.planet*.a in [1.9, 2.1]": int(held.sum()), "id in [7, 7]": 1}
    assert "hold_out" in store.store.manifest.split_rule


def test_groups_share_a_split_and_a_group_with_a_held_out_member_tests(prepare):
    values = [{"sample": {"name": f"s{number // 4}"}, "x": number + 0.5} for number in range(200)]
    store = prepare(values, "group_by=sample.name", "hold_out={x: [9, 10]}")
    split_of = {}
    for split in ("train", "validation", "test"):
        for group in store.groups(store.rows(split)):
            assert split_of.setdefault(group, split) == split
    assert len(split_of) == 50
    assert split_of["s2"] == "test"  # 9.5 is the number of record 9, the second of group 2
    assert np.flatnonzero(store.held_out().any(axis=1)).tolist() == [9]


def test_equal_content_is_kept_once_wherever_it_stands(prepare):
    # Far apart, so that the blocks meet their keys in different orders.
    values = [{"b": 1.5, "a": 2}, *({"x": float(number), "y": [1, 2, 3]} for number in range(100)), {"b": 1.5, "a": 2}]
    store = prepare(values)
    assert len(store.rows()) == 101
    (left,) = store.store.manifest.rejected
    assert (left.id, left.reason) == ("data.jsonl:102", "duplicate of data.jsonl data.jsonl:1: equal content")


def test_parts_in_any_order_killed_and_repeated_make_the_same_store(prepare, tmp_path):
    values = systems(120)
    whole = prepare(values, "hold_out={'star.planet*.a': [1.9, 2.0]}")
    line = ("hold_out={'star.planet*.a': [1.9, 2.0]}",)
    for index in (2, 0, 2, 1):
        prepare(values, *line, name="parts/s.zarr", part=(index, 3))
    prepare(values, *line, name="parts/s.zarr", finalize=True)
    parts = open_records(tmp_path / "parts/s.zarr", verify="full")
    ours, theirs = whole.store.manifest.model_dump(), parts.store.manifest.model_dump()
    assert ours == theirs
    assert sorted(path.name for path in (tmp_path / "parts").iterdir()) == ["s.zarr"]


def test_a_part_that_is_missing_is_named(prepare):
    prepare(systems(120), part=(0, 3))
    with pytest.raises(StoreError, match="pieces of work are not done"):
        prepare(systems(120), finalize=True)


def test_the_same_line_again_finds_the_store_and_another_one_is_refused(prepare):
    (first,) = prepare(systems(10), finalize=False, json=True)["stores"]
    (again,) = prepare(systems(10), finalize=False, json=True)["stores"]
    assert (first["new"], again["new"]) == (True, False)
    assert first["store_hash"] == again["store_hash"]
    with pytest.raises(StoreError, match="already exists"):
        prepare(systems(11), json=True)


def test_a_dry_run_writes_nothing_and_says_what_there_is(prepare, tmp_path):
    result = prepare(systems(60), dry_run=True, json=True)
    assert result["files"] == 1
    assert result["records"] == pytest.approx(60, rel=0.3)
    assert result["stores"][0]["first_block"]["keys"]["star.planet0.a"]["count"] > 0
    assert [path.name for path in tmp_path.iterdir()] == ["data.jsonl"]


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["text_keys=[identity]"], "text_keys: no key path of the data fits 'identity'.*id"),
        (["hold_out={'planet*.a': [1, 2]}"], r"hold_out: no key path of the data fits 'planet\*.a'.*star.planet0.a"),
        (["hold_out={name: [1, 2]}"], "hold_out: no key path of the data fits 'name'"),
        (["group_by=names"], "group_by: no key path of the data fits 'names'; the nearest are name"),
        (["scaling.keys={dat: affine}"], r"scaling.keys: no key path of the data fits 'dat'; the nearest are data"),
        (["vocabulary.max_keys=5"], "different keys, such as .*vocabulary.max_keys is 5"),
        (["hold_out={id: [0, 100]}"], "holds every record out"),
    ],
)
def test_keys_that_do_not_exist_and_rules_that_cannot_be_are_refused_and_nothing_is_left(
    prepare, tmp_path, overrides, message
):
    with pytest.raises(RecipeError, match=message):
        prepare(systems(20), *overrides)
    assert [path.name for path in tmp_path.iterdir()] == ["data.jsonl"]


def test_malformed_input_leaves_nothing_either(prepare, tmp_path):
    with pytest.raises(SourceError, match=r"data.jsonl, line 41, column 7: malformed JSON"):
        prepare([*systems(40), '{"a": }'])
    with pytest.raises(SourceError, match="no records to publish: 1 were rejected: the key 'a' stands twice"):
        prepare(['{"a": 1, "a": 2}'])
    with pytest.raises(SourceError, match="the input holds no records"):
        prepare(["", ""])
    assert [path.name for path in tmp_path.iterdir()] == ["data.jsonl"]


def test_missing_numbers_are_counted_and_null(prepare):
    store = prepare(
        ['{"a": NaN, "b": 1.5}', '{"a": [1, Infinity], "b": 2.5}', '{"a": 1e400, "b": 3.5}', "", '{"b": 4.5}']
    )
    assert store.about.coverage.notes == {
        "NaN or infinite numbers, as missing": 2,
        "empty lines": 1,
        "numbers that float64 cannot hold, as text": 1,
    }
    assert list(values_of(store).values())[:3] == [
        {"a": None, "b": 1.5},
        {"a": [1, None], "b": 2.5},
        {"a": float("inf"), "b": 3.5},
    ]


def test_numbers_beyond_float32_are_refused_until_they_are_scaled(prepare):
    values = [{"x": 1.5 + number, "big": 10.0 ** (30 + number)} for number in range(12)]
    with pytest.raises(SourceError, match=r"big: 3 of 12 numbers are beyond float32 after scaling, such as 1e\+39"):
        prepare(values, "scaling.default=none")
    assert prepare(values, name="auto.zarr").about.coverage.keys["big"].scaler == "asinh"
    store = prepare(values, "scaling.keys={big: asinh}")
    assert store.scaling.keys == {"big": "asinh"}
    assert store.about.coverage.keys["big"].scaler == "asinh"
    assert store.read(store.rows()).numbers[1::2].tolist() == [value["big"] for value in values]


def test_numbers_beyond_all_statistics_are_refused_unless_they_are_text(prepare):
    values = [{"x": 1.5 + number, "big": -1e200 if number == 7 else 2.5} for number in range(12)]
    for options in ({}, {"dry_run": True}):
        with pytest.raises(SourceError, match=r"big: the number -1e\+200 is beyond 1e\+150"):
            prepare(values, **options)
    store = prepare(values, "text_keys=[big]")
    assert list(values_of(store).values()) == values


def test_numbers_that_vanish_in_float32_are_refused_or_counted(prepare):
    values = [{"x": 10.0 ** (-40 - number)} for number in range(12)]
    with pytest.raises(SourceError, match="x: 6 of 12 numbers are not zero, but are zero in float32"):
        prepare(values, "scaling.default=none")
    store = prepare(values, "coverage.underflow=count", "scaling.default=none")
    assert store.about.coverage.keys["x"].underflow == 6


def test_saturation_is_counted_and_refused_where_the_recipe_says_so(prepare, capsys):
    values = [{"x": float(number)} for number in range(20)]
    store = prepare(values, "scaling.default=none", name="a.zarr")
    # 6 to 19 are beyond 5.
    assert store.about.coverage.keys["x"].saturated == pytest.approx(14 / 20)
    assert "--set scaling.default=auto scales numbers" in capsys.readouterr().err
    with pytest.raises(SourceError, match=r"x: 70.00% of 20 numbers are beyond 5 after scaling"):
        prepare(values, "coverage.max_saturated=0.5", "scaling.default=none", name="b.zarr")
    prepare(values, "coverage.max_saturated=0.01", "scaling.default=affine", name="c.zarr")


def test_the_warning_of_numbers_beyond_the_band_names_the_setting_that_keeps_them_within(prepare, capsys):
    values = [{"water content": 2000.0 if number == 7 else 1.0 + number} for number in range(60)]
    store = prepare(values, "scaling.default=auto", name="a.zarr")
    assert store.about.coverage.keys["water content"].saturated
    said = " ".join(capsys.readouterr().err.split())
    setting = "scaling={default: auto, keys: {water content: asinh}}"
    assert f"--set '{setting}' keeps numbers of many decades within that band" in said
    assert not prepare(values, setting, name="b.zarr").about.coverage.keys["water content"].saturated
    assert "within that band" not in capsys.readouterr().err


def test_mixed_types_under_one_key_are_kept_counted_and_told(prepare, capsys):
    values = [{"x": number if number % 3 else f"<{number}"} for number in range(12)]
    store = prepare(values)
    assert store.about.coverage.mixed_types == {"x": {"numbers": 8, "texts": 4}}
    assert "both kept as they are: x (8 numbers, 4 texts)" in capsys.readouterr().err
    assert list(values_of(store).values()) == values


def test_halves_of_characters_which_json_allows_are_kept_everywhere(prepare):
    half = "\ud800"
    values = [{"id": f"{half}{number}", "group": half, half: {"x": number + 0.5}} for number in range(5)]
    store = prepare([json.dumps(value) for value in values], "json_lines.id_key=id", "group_by=group")
    found = values_of(store)
    assert list(found.values()) == values
    assert list(found) == [rf"\ud800{number}" for number in range(5)]
    assert store.key_paths == (r"\ud800.x",)


def test_an_opened_store_can_be_sent_to_another_process(prepare):
    store = prepare(systems(5))
    again = pickle.loads(pickle.dumps(store))  # noqa: S301  # made here
    assert values_of(again) == values_of(store)


def test_identifiers_stay_text(prepare):
    store = prepare(systems(20), "text_keys=[id]")
    assert "id" not in store.key_paths
    assert [value["id"] for value in values_of(store).values()] == list(range(20))


def test_a_record_longer_than_the_context_is_refused_or_split(prepare):
    values = [{"name": f"r{size}", "data": [[1.5, float(step)] for step in range(size)]} for size in (3, 40)]
    with pytest.raises(SourceError, match=r"record data.jsonl:2 has 1\d\d tokens, the recipe's context is 60"):
        prepare(values, "context=60")
    store = prepare(values, "context=60", "longer_than_context=split")
    assert store.lengths().max() <= 60
    found = values_of(store)
    assert [name for name in found if name.startswith("data.jsonl:2#")] == list(found)[1:]
    assert [step for name, value in found.items() if "#" in name for step in value["data"]] == values[1]["data"]
    assert store.about.coverage.notes == {"records longer than the context, split": 1}


def test_the_pieces_of_one_record_share_a_split(prepare):
    # They repeat all but the list that was cut: who has trained on one knows half of the others.
    values = [{"name": f"r{number}", "data": [float(number + step) for step in range(40)]} for number in range(40)]
    store = prepare(values, "context=30", "longer_than_context=split", "hold_out={data: [20, 20]}")
    pieces = {}
    for split in ("train", "validation", "test"):
        for name in store.row_ids(store.rows(split)):
            pieces.setdefault(name.split("#")[0], []).append(split)
    assert len(pieces) == 40
    assert all(len(splits) > 1 and len(set(splits)) == 1 for splits in pieces.values())
    assert {splits[0] for splits in pieces.values()} == {"train", "validation", "test"}
    held = {name.split("#")[0] for name in store.row_ids(np.flatnonzero(store.held_out()[:, 0]))}
    assert held == {f"data.jsonl:{line}" for line in range(1, 22)}
    assert all(pieces[name][0] == "test" for name in held)


def test_a_record_that_does_not_come_back_fails_the_prepare(prepare, monkeypatch, tmp_path):
    monkeypatch.setattr(staging, "decode_record", lambda *_: {"id": 0})
    with pytest.raises(PolycliError, match=r"record data.jsonl:1 does not come back from its tokens"):
        prepare(systems(5))
    assert not (tmp_path / "s.zarr").exists()


def test_a_tiny_store_validates_on_test_rows_that_are_not_held_out(prepare):
    store = prepare([{"x": 1.5}, {"x": 2.5}, {"x": 9.0}], "hold_out={x: [8, 10]}")
    validation = store.rows("validation")
    assert len(validation) == 1
    assert not store.held_out(validation).any()
    assert len(store.rows("test")) == 2


def test_an_altered_store_is_refused(prepare, tmp_path):
    store = prepare(systems(5))
    about = {**store.store.manifest.about, "vocabulary": {"form": 99, "keys": []}}
    altered = store.store.manifest.model_copy(update={"about": about})
    with pytest.raises(StoreError, match="the vocabulary is of form 99"):
        type(store)(type(store.store)(store.path, altered))


def test_rows_of_equal_content_and_their_own_ids_are_kept_and_counts_are_those_of_the_store(tmp_path):
    (tmp_path / "trial.csv").write_text("id,dose,resp\np1,1,0\np2,1,0\np3,1,1\np3,1,1\n")

    def stored(name, *overrides):
        path = prepare_store("table", tmp_path / f"{name}.zarr", *overrides, inputs=[tmp_path / "trial.csv"])
        about = open_records(path).about.coverage
        return open_records(path).row_ids(), about.records, about.numbers, about.duplicates

    assert stored("ids", "table.id_column=id") == (["p1", "p2", "p3"], 3, 6, 1)
    assert stored("drop", "table.id_column=id", "duplicates=drop") == (["p1", "p3"], 2, 4, 2)
    assert stored("keep", "table.id_column=id", "duplicates=keep") == (["p1", "p2", "p3", "p3"], 4, 8, 0)


def test_numbers_and_texts_at_many_key_paths_are_one_line(prepare, capsys):
    prepare([{f"k{key}": (row if row % 2 else "x") for key in range(44)} for row in range(20)])
    said = " ".join(capsys.readouterr().err.split())
    assert said.count("numbers and texts at the same key paths") == 1
    assert "k0 (10 numbers, 10 texts)" in said
    assert "and 39 more" in said
