"""The flow of prepare in all families: races, leftovers, full disks, and one shape of what it says."""

import json
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest

from polycli import __main__ as entry
from polycli.store.building import BuildPlace
from polycli.store.reader import open_store

FAMILIES = ("mpp", "xval", "astroclip")
ROWS = {"mpp": "trajectories", "xval": "records", "astroclip": "objects"}


@pytest.fixture
def lines(tmp_path, pdebench):
    """By family: the words of a small prepare, and the store that it makes."""
    pdebench.shallow_water(tmp_path / "in" / "swe.h5", trajectories=4)
    (tmp_path / "in" / "records.jsonl").write_text("".join(f'{{"a": {n}.5}}\n' for n in range(40)))
    out = tmp_path / "new" / "stores"
    into = ["--output", str(out / "x.zarr")]
    return {
        "mpp": (
            ["prepare", "mpp", "--source", "pdebench", "--input", str(tmp_path / "in/swe.h5"), "--output", str(out)],
            out / "swe_8x6.zarr",
        ),
        "xval": (
            ["prepare", "xval", "--source", "json", "--input", str(tmp_path / "in/records.jsonl"), *into],
            out / "x.zarr",
        ),
        "astroclip": (
            ["prepare", "astroclip", "--source", "mock", "--set", "mock.objects=4", "--set", "mock.size=32", *into],
            out / "x.zarr",
        ),
    }


def prepare(words, *more) -> int:
    return entry.run([*words, "--workers", "1", *more])


@pytest.mark.parametrize("family", FAMILIES)
def test_every_document_has_the_stores_and_what_their_rows_are_called(lines, capsys, family):
    words, store = lines[family]
    rows = ROWS[family]
    assert prepare(words, "--dry-run", "--json") == 0
    planned = json.loads(capsys.readouterr().out)
    assert not store.parent.parent.exists()
    assert planned["dry_run"] is True
    (entry_of,) = planned["stores"]
    assert {"path", "name", rows, "files", "bytes", "minutes"} <= entry_of.keys()
    assert planned[rows] == entry_of[rows]
    assert prepare(words, "--part", "0/1", "--json") == 0
    part = json.loads(capsys.readouterr().out)
    assert (part["part"], part["stores"][0]["path"]) == ([0, 1], str(store))
    assert prepare(words, "--finalize", "--json") == 0
    (made,) = json.loads(capsys.readouterr().out)["stores"]
    manifest = open_store(store).manifest
    assert (made["path"], made["new"], made[rows]) == (str(store), True, manifest.rows)
    assert made["store_hash"] == manifest.store_hash
    assert prepare(words, "--json") == 0
    assert json.loads(capsys.readouterr().out)["stores"] == [{**made, "new": False}]
    assert [path.name for path in store.parent.iterdir()] == [store.name]


@pytest.mark.parametrize("family", FAMILIES)
def test_of_equal_lines_at_once_one_makes_the_store_and_the_others_say_so(lines, capsys, family):
    """Equal lines of xVal both ended with 2, those of MPP in a TypeError. Locks hold between threads as well."""
    words, store = lines[family]
    together = Barrier(3)

    def one(_):
        together.wait()
        return prepare(words)

    with ThreadPoolExecutor(3) as threads:
        codes = sorted(threads.map(one, range(3)))
    said = capsys.readouterr().err
    assert codes[0] == 0
    assert set(codes) <= {0, 2}
    assert said.count("error: ") == codes.count(2) == said.count("another process is preparing this store now")
    open_store(store, verify="full")
    assert [path.name for path in store.parent.iterdir()] == [store.name]


@pytest.mark.parametrize("family", FAMILIES)
def test_parts_run_beside_each_other_and_not_beside_a_whole_prepare(lines, capsys, family):
    words, store = lines[family]
    assert prepare(words, "--part", "0/2") == 0
    (work,) = store.parent.glob("*.partial-*")
    place = BuildPlace(store, work.name.rpartition("-")[2])
    with place.reserved(shared=True):
        assert prepare(words, "--part", "1/2") == 0
        assert prepare(words) == 2
        assert "another process is preparing this store now" in capsys.readouterr().err
    assert prepare(words, "--finalize") == 0
    open_store(store, verify="full")


@pytest.mark.parametrize("family", FAMILIES)
def test_where_all_rows_are_rejected_nothing_is_left(lines, tmp_path, capsys, family):
    """MPP left the folder that it had made for its stores."""
    import h5py
    import numpy as np

    words, _ = lines[family]
    with h5py.File(tmp_path / "in/swe.h5", "r+") as file:
        for group in file.values():
            group["data"][...] = np.nan
    (tmp_path / "in/records.jsonl").write_text('{"a": 1, "a": 2}\n' * 3)
    impossible = ["--set", "quality.max_masked_fraction=0", "--set", "quality.max_blank_fraction=0"]
    assert prepare(words, *(impossible if family == "astroclip" else ())) == 2
    assert "rejected" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["in"]


@pytest.mark.parametrize("family", FAMILIES)
def test_a_full_disk_is_one_sentence_and_what_is_staged_is_kept(lines, capsys, full_disk, family):
    words, store = lines[family]
    with full_disk(300):
        assert prepare(words) == 1
    said = capsys.readouterr().err
    assert f"error: {store}: " in said
    assert "run the same line again" in said
    assert not store.exists()
    assert prepare(words) == 0
    open_store(store, verify="full")
    assert [path.name for path in store.parent.iterdir()] == [store.name]


def test_a_store_of_other_input_is_neither_replaced_nor_joined(lines, tmp_path, capsys):
    words, store = lines["xval"]
    assert prepare(words) == 0
    before = {path: path.read_bytes() for path in store.rglob("*") if path.is_file()}
    (tmp_path / "in/records.jsonl").write_text('{"a": 0}\n')
    assert prepare(words) == 2
    assert "already exists, prepared from other input" in capsys.readouterr().err
    assert {path: path.read_bytes() for path in store.rglob("*") if path.is_file()} == before
    assert [path.name for path in store.parent.iterdir()] == [store.name]
