"""What was written is read bit for bit by several readers; what was damaged is refused by name."""

import json
import os
import pickle
import shutil
import warnings
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path

import h5py
import numpy as np
import pytest
import tensorstore
import zarr

from polycli.errors import StoreError
from polycli.store import reader
from polycli.store.hashing import canonical_hash
from polycli.store.manifest import CHECKSUM_KEY, read_manifest
from polycli.store.reader import Store, Window, find_stores, open_store

SHARD = "fields/c/1/0/0/0/0"


def rewrite_manifest(path: Path, change) -> None:
    """Change a manifest as an editor that also mends the checksum would."""
    file = path / "MANIFEST.json"
    document = json.loads(file.read_text())
    document.pop(CHECKSUM_KEY)
    change(document)
    document[CHECKSUM_KEY] = canonical_hash(document)
    file.write_text(json.dumps(document))


def flip(file: Path, position: int, bit: int = 0) -> None:
    content = bytearray(file.read_bytes())
    content[position] ^= 1 << bit
    file.write_bytes(content)


def test_windows_are_what_numpy_slices(kit):
    store = open_store(kit.make(), family="mpp")
    windows = [Window(0, 3, 5), Window(2, 16, 5), Window(1, 0, 5, 5), Window(1, 6, 5, 3), Window(0, 3, 5)]
    expected = np.stack([kit.trajectory(w.row)[w.start :: w.stride][: w.length] for w in windows])
    found = store.read_windows("fields", windows)
    assert found.dtype == np.float32
    assert np.array_equal(found, expected)
    assert np.array_equal(store.read("time"), np.linspace(0, 1, 21))
    assert np.array_equal(store.read("params"), np.arange(6.0).reshape(3, 2))


def test_a_store_that_lies_above_is_read(kit, tmp_path, monkeypatch):
    path = kit.make()
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    assert np.array_equal(open_store(Path("..") / path.name).read("time"), np.linspace(0, 1, 21))


def test_windows_are_read_straight_into_a_batch(kit):
    store = open_store(kit.make())
    batch = np.full((4, 5, 2, 16, 12), np.nan, np.float32)
    assert store.read_windows("fields", [Window(0, 1, 5), Window(1, 2, 5)], out=batch[1:3]).base is batch
    assert np.array_equal(batch[1], kit.trajectory(0)[1:6])
    assert np.array_equal(batch[2], kit.trajectory(1)[2:7])
    assert np.isnan(batch[[0, 3]]).all()
    with pytest.raises(ValueError, match=r"float32 \(1, 5, 2, 16, 12\) is needed"):
        store.read_windows("fields", [Window(0, 1, 5)], out=batch)
    with pytest.raises(ValueError, match="is needed"):
        store.read_windows("fields", [Window(0, 1, 5)], out=np.empty((1, 5, 2, 16, 12)))


@pytest.mark.parametrize(
    "window",
    [Window(3, 0, 5), Window(-1, 0, 5), Window(0, 17, 5), Window(0, -1, 5), Window(0, 0, 5, 6), Window(0, 0, 0)],
)
def test_windows_outside_the_array_are_refused(kit, window):
    with pytest.raises(ValueError, match=r"outside|positive length"):
        open_store(kit.make()).read_windows("fields", [window])


@pytest.mark.parametrize("rows", [[], [4], [20, 0, 20], [3, 2, 1, 9, 10, 17], list(range(21)), [5, 8, 11, 14]])
def test_single_numbers_are_read_a_stretch_at_a_time(kit, monkeypatch, rows):
    """A read for each number made 4,000 rows of 60 columns take 8 s."""
    store, views = open_store(kit.make()), []
    fill = Store._fill

    def counting(self, array, found, *rest):
        views.extend(found)
        return fill(self, array, found, *rest)

    monkeypatch.setattr(Store, "_fill", counting)
    monkeypatch.setattr(reader, "NEAR_ROWS", 3)
    assert np.array_equal(store.read_rows("time", rows), np.linspace(0, 1, 21)[rows])
    wanted = sorted(set(rows))
    assert len(views) == sum(later - earlier > 3 for earlier, later in pairwise([-9, *wanted]))
    with pytest.raises(ValueError, match="has rows 0 to 20"):
        store.read_rows("time", [21])


def test_zarr_python_and_plain_tensorstore_read_the_same_values(kit):
    path = kit.make()
    expected = np.stack([kit.trajectory(number) for number in range(3)])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # zarr warns of MANIFEST.json, which is no zarr
        group = zarr.open_group(path, mode="r")
        assert sorted(name for name, _ in group.arrays()) == ["fields", "params", "split", "time"]
    assert np.array_equal(group["fields"][...], expected)
    assert group["fields"].metadata.dimension_names == kit.dims
    assert np.array_equal(group["params"][...], np.arange(6.0).reshape(3, 2))
    assert group["split"][...].tolist() == [0, 0, 2]
    spec = {"driver": "zarr3", "kvstore": {"driver": "file", "path": f"{path}/fields/"}}
    assert np.array_equal(tensorstore.open(spec).result().read().result(), expected)


def test_a_missing_shard_is_not_zeros_even_to_a_lenient_reader(kit):
    path = kit.make()
    (path / SHARD).unlink()
    assert np.isnan(zarr.open_array(path / "fields", mode="r")[1, :16]).all()


def test_every_flipped_bit_is_found_by_the_read_and_by_full_verification(kit):
    path = kit.make()
    store = open_store(path)
    size = (path / SHARD).stat().st_size
    positions = {0, size - 1, size - 4, size - 20, *np.random.default_rng(0).integers(0, size, 12).tolist()}
    for position in positions:
        flip(path / SHARD, position)
        open_store(path)  # names and sizes do not tell
        with pytest.raises(StoreError, match=rf"array 'fields': {SHARD} is damaged"):
            store.read_windows("fields", [Window(0, 0, 16), Window(1, 0, 16)])
        with pytest.raises(StoreError, match=f"{SHARD} is damaged: its hash is"):
            open_store(path, verify="full")
        with pytest.raises(StoreError, match=f"{SHARD} is damaged: its hash is"):
            open_store(path, verify="auto")
        flip(path / SHARD, position)
    open_store(path, verify="full")


def test_a_missing_shard_is_named_at_opening_and_at_reading(kit):
    path = kit.make()
    store = open_store(path)
    (path / SHARD).unlink()
    with pytest.raises(StoreError, match=f"the chunk {SHARD} is missing"):
        open_store(path)
    with pytest.raises(StoreError, match=rf"array 'fields': {SHARD} is missing"):
        store.read_windows("fields", [Window(1, 4, 8)])
    shutil.rmtree(path / "fields" / "c" / "2")
    with pytest.raises(StoreError, match=r"is missing \(and 2 more files\)"):
        open_store(path)


def test_a_truncated_shard_is_named_at_opening_and_at_reading(kit):
    path = kit.make()
    store = open_store(path)
    os.truncate(path / SHARD, 1000)
    with pytest.raises(StoreError, match=f"{SHARD} has 1000 bytes"):
        open_store(path)
    with pytest.raises(StoreError, match=f"{SHARD} is damaged"):
        store.read_rows("fields", [0, 1])


def test_damage_to_a_small_array_or_to_metadata_is_found(kit):
    path = kit.make()
    flip(path / "time" / "c" / "0", 3)
    with pytest.raises(StoreError, match="array 'time': time/c/0 is damaged"):
        open_store(path).read("time")
    flip(path / "time" / "c" / "0", 3)
    text = (path / "fields" / "zarr.json").read_text()
    (path / "fields" / "zarr.json").write_text(text.replace('"little"', '"big   "', 1))
    with pytest.raises(StoreError, match=r"fields/zarr.json is damaged"):
        open_store(path)


def test_a_flipped_digit_in_the_manifest_is_found(kit):
    path = kit.make()
    file = path / "MANIFEST.json"
    file.write_text(file.read_text().replace('"mean": 0.1', '"mean": 0.9'))
    with pytest.raises(StoreError, match="checksum does not fit"):
        open_store(path)


def test_what_is_no_store_is_refused_with_what_it_is(kit, tmp_path):
    with h5py.File(tmp_path / "data.h5", "w") as file:
        file["x"] = [1]
    (tmp_path / "notes.txt").write_text("x")
    (tmp_path / "folder").mkdir()
    (tmp_path / "a.zarr.partial-0123").mkdir()
    zarr.create_array(tmp_path / "plain.zarr", shape=(2,), dtype="f4")
    for name, sentence in {
        "data.h5": "an HDF5 file, not a store",
        "notes.txt": "a file, not a store",
        "folder": "no MANIFEST.json in it",
        "plain.zarr": "a zarr without MANIFEST.json|a zarr that polycli did not prepare",
        "a.zarr.partial-0123": "an unfinished prepare",
        "nothing": "no such store",
    }.items():
        with pytest.raises(StoreError, match=sentence) as caught:
            open_store(tmp_path / name)
        assert "prepare" in (caught.value.hint or "")
    path = kit.make()
    with pytest.raises(StoreError, match="of the family mpp, xval was expected"):
        open_store(path, family="xval")
    (path / "MANIFEST.json").unlink()
    with pytest.raises(StoreError, match=r"MANIFEST\.json"):
        open_store(path)


def test_a_manifest_that_is_newer_broken_or_foreign_is_refused(kit):
    path = kit.make()
    rewrite_manifest(path, lambda document: document.update(schema_version=3, version="9.0"))
    with pytest.raises(StoreError, match=r"newer polycli \(9\.0\): store schema version 3") as caught:
        open_store(path)
    assert "update polycli" in (caught.value.hint or "")
    rewrite_manifest(path, lambda document: document.update(schema_version=1, surprise=1))
    with pytest.raises(StoreError, match="surprise"):
        open_store(path)
    for text in ("", "[]", "{}", '{"format": "other"}', "\x00\xff"):
        (path / "MANIFEST.json").write_text(text, encoding="latin-1")
        with pytest.raises(StoreError, match=r"MANIFEST\.json"):
            open_store(path)


@pytest.mark.parametrize("name", ["../outside", "/etc/passwd", "fields/../../outside", "a\\..\\b", ""])
def test_a_manifest_that_names_files_outside_the_store_is_refused(kit, name):
    path = kit.make()
    entry = {"size": 1, "sha256": "0" * 64}
    rewrite_manifest(path, lambda document: document["files"].update({name: entry}))
    with pytest.raises(StoreError, match="not inside the store"):
        open_store(path)


def test_links_are_not_followed_out_of_a_store(kit, tmp_path):
    path = kit.make()
    shutil.move(path / SHARD, tmp_path / "elsewhere")
    (path / SHARD).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(StoreError, match=f"{SHARD} is a link"):
        open_store(path)
    (path / SHARD).unlink()
    shutil.move(tmp_path / "elsewhere", path / SHARD)
    shutil.move(path / "fields", tmp_path / "fields")
    (path / "fields").symlink_to(tmp_path / "fields")
    with pytest.raises(StoreError, match="is missing"):
        open_store(path)


def test_a_store_may_be_moved_linked_to_and_pickled(kit, tmp_path):
    moved = tmp_path / "elsewhere" / "moved.zarr"
    moved.parent.mkdir()
    kit.make().rename(moved)
    (tmp_path / "link.zarr").symlink_to(moved)
    store = open_store(tmp_path / "link.zarr", verify="full")
    first = store.read_rows("fields", [1])
    copy = pickle.loads(pickle.dumps(store))  # noqa: S301  # its own pickle
    assert np.array_equal(copy.read_rows("fields", [1]), first)
    assert len(pickle.dumps(store)) < 20_000


def test_threads_share_a_store(kit):
    store = open_store(kit.make())

    def read(number: int) -> bool:
        row, start = number % 3, number % 13
        found = store.read_windows("fields", [Window(row, start, 8)])[0]
        return np.array_equal(found, kit.trajectory(row)[start : start + 8])

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(read, range(60)))


def test_splits_select_rows_and_a_tiny_store_lends_its_test_rows(kit):
    store = open_store(kit.make())
    assert store.rows().tolist() == [0, 1, 2]
    assert store.rows("train").tolist() == [0, 1]
    assert store.rows("test").tolist() == [2]
    assert store.rows("validation").tolist() == [2]


def test_an_array_that_is_not_there_is_named(kit):
    with pytest.raises(StoreError, match="has no array 'velocity'; there are fields"):
        open_store(kit.make()).read("velocity")


def test_stores_are_found_alone_and_in_folders_each_once(kit, tmp_path):
    one, two = kit.make(name="one.zarr"), kit.make(name="two.zarr")
    shutil.copytree(one, tmp_path / "three.zarr.partial-00")
    assert find_stores([two, tmp_path], family="mpp") == [two, one]
    with pytest.raises(StoreError, match="holds no xval store") as caught:
        find_stores([tmp_path], family="xval")
    assert "polycli prepare xval" in (caught.value.hint or "")
    with pytest.raises(StoreError, match="no data"):
        find_stores([], family="mpp")
    with pytest.raises(StoreError, match="no such store"):
        find_stores([tmp_path / "absent"], family="mpp")
    assert read_manifest(one).store_hash == read_manifest(two).store_hash


def _set(*path, to):
    def change(document):
        *outer, last = path
        for key in outer:
            document = document[key]
        document[last] = to

    return change


@pytest.mark.parametrize(
    "change",
    [
        _set("arrays", "fields", "shape", to=[3, -21, 2, 16, 12]),
        _set("arrays", "fields", "shape", to=[10**18, 21, 2, 16, 12]),
        _set("arrays", "fields", "shape", to=[10**30, 21, 2, 16, 12]),
        _set("arrays", "fields", "shape", to=[3, 21]),
        _set("arrays", "fields", "chunk", to=[0, 8, 2, 16, 12]),
        _set("arrays", "fields", "chunk", to=[1, 4, 2, 16, 12]),
        _set("arrays", "fields", "shard", to=[1, 0, 2, 16, 12]),
        _set("arrays", "fields", "dtype", to="object"),
        _set("arrays", "fields", "dtype", to="float64"),
        _set("arrays", "fields", "dims", to=[]),
        _set("arrays", "time", "shape", to=[2**40]),
        _set("rows", to=-1),
        _set("rows", to=4),
        _set("rows", to=10**15),
        _set("row_hashes", to=["zz"] * 3),
        _set("row_splits", to=["train"]),
        _set("row_ids", to=[]),
        _set("files", SHARD, "size", to=-5),
        _set("files", SHARD, "sha256", to="0" * 63),
        _set("files", to={}),
        _set("splits", to={"train": -3}),
        *[_set("name", to=name) for name in ("/elsewhere/x", "../x", "", "..", "a\x1b[2J", "x" * 500, "a\nb")],
    ],
)
def test_a_forged_manifest_ends_in_a_sentence_before_memory_is_taken(kit, change):
    path = kit.make()
    rewrite_manifest(path, change)
    with pytest.raises(StoreError):
        open_store(path).read_windows("fields", [Window(0, 0, 5)])


@pytest.mark.timeout(60)
def test_a_named_pipe_in_place_of_a_manifest_is_said(kit):
    path = kit.make()
    (path / "MANIFEST.json").unlink()
    os.mkfifo(path / "MANIFEST.json")
    with pytest.raises(StoreError, match=r"MANIFEST\.json"):
        read_manifest(path)
    with pytest.raises(StoreError):
        open_store(path)


def test_a_manifest_nested_beyond_measure_is_said(kit):
    path = kit.make()
    (path / "MANIFEST.json").write_text('{"about":' * 10**5)
    with pytest.raises(StoreError, match="cannot be read"):
        open_store(path)
