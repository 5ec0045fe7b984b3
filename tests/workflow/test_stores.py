"""Stores are found by any path, opened once each, and told apart by name."""

import copy
import itertools
from pathlib import Path

import pytest

from polycli.errors import UserError
from polycli.workflow.stores import open_stores, unique_names
from tests.mpp.conftest import make_store


def names_of(*paths):
    return {store.name: store.path for store in open_stores(paths, family="mpp")}


def test_stores_of_different_names_keep_them_and_nothing_is_said(tmp_path, capsys):
    for name in ("waves", "ripples"):
        make_store(tmp_path / "stores", name)
    assert [*names_of(tmp_path / "stores")] == ["ripples", "waves"]
    assert capsys.readouterr().err == ""


def test_stores_of_one_name_are_all_opened_and_it_is_said_once(tmp_path, capsys):
    twins = [make_store(tmp_path / folder, "waves", seed=seed) for seed, folder in enumerate(("first", "second"))]
    expected = {"first-waves": twins[0], "second-waves": twins[1]}
    assert names_of(*twins) == names_of(*reversed(twins)) == expected
    said = " ".join(capsys.readouterr().err.split())
    assert said.count("2 stores have the name waves") == 2  # once for each call
    assert f"{twins[0]} as first-waves, {twins[1]} as second-waves" in said


def test_another_name_of_the_folder_tells_twins_apart(tmp_path, capsys):
    first, second = (make_store(tmp_path / folder, "waves") for folder in ("first", "second"))
    renamed = second.rename(second.with_name("calm.zarr"))
    assert names_of(first, renamed) == {"waves": first, "calm": renamed}
    said = " ".join(capsys.readouterr().err.split())
    assert f"2 stores have the name waves; used under other names: {renamed} as calm" in said


def test_a_store_that_is_named_in_several_ways_is_one(tmp_path, monkeypatch, capsys):
    store = make_store(tmp_path / "stores", "waves")
    (tmp_path / "link.zarr").symlink_to(store)
    monkeypatch.chdir(tmp_path)
    ways = [Path("stores"), store, Path("stores/../stores/waves.zarr"), tmp_path / "link.zarr", "sto*/*.zarr"]
    assert [*names_of(*ways)] == ["waves"]
    assert capsys.readouterr().err == ""


def test_a_new_name_is_part_of_what_is_copied_and_pickled(tmp_path):
    twins = [make_store(tmp_path / folder, "waves") for folder in ("first", "second")]
    opened = open_stores(twins, family="mpp")
    assert [copy.copy(store).name for store in opened] == ["first-waves", "second-waves"]


@pytest.mark.parametrize(
    ("named", "expected"),
    [
        ({"/a/x.zarr": "x", "/b/x.zarr": "x"}, ["a-x", "b-x"]),
        ({"/a/one.zarr": "x", "/b/two.zarr": "x"}, ["one", "two"]),
        ({"/r/a/x.zarr": "x", "/s/a/x.zarr": "x", "/r/b/x.zarr": "x"}, ["r-a-x", "s-a-x", "r-b-x"]),
        # A name that another store has by itself is not taken from it.
        ({"/a/x.zarr": "x", "/b/x.zarr": "x", "/c/other.zarr": "a-x"}, ["a-x-1", "b-x-2", "a-x"]),
        ({"/a/y.zarr": "x", "/b/z.zarr": "x", "/c/y.zarr": "y"}, ["a-y", "b-z", "y"]),
        # Paths that hyphens make alike.
        ({"/a-b/x.zarr": "x", "/a/b-x.zarr": "x"}, ["x", "b-x"]),
        ({"/a-b.zarr": "x", "/a/b.zarr": "x"}, ["a-b", "b"]),
        ({"/x.zarr": "x", "/x": "x"}, ["x-2", "x-1"]),
    ],
)
def test_names_are_as_short_as_tells_stores_apart_whatever_their_order(named, expected):
    wanted = dict(zip(map(Path, named), expected, strict=True))
    for order in itertools.permutations(named):
        assert unique_names({Path(path): named[path] for path in order}) == wanted


def test_what_holds_no_store_is_refused_with_the_hint_that_was_given(tmp_path):
    with pytest.raises(UserError, match="no such file or folder") as caught:
        open_stores([tmp_path / "absent"], family="mpp", hint="make one")
    assert caught.value.hint == "make one"
    with pytest.raises(UserError) as caught:
        open_stores([tmp_path], family="mpp")
    assert "polycli prepare mpp" in str(caught.value.hint)
