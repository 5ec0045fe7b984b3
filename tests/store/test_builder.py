"""Stores are built in any order, by several processes, through kills, and are published whole or not at all."""

import json
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import numpy as np
import pytest

from polycli.errors import StoreError
from polycli.store import staging
from polycli.store.builder import StoreBuilder, is_published
from polycli.store.building import BuildPlace
from polycli.store.manifest import read_manifest
from polycli.store.reader import open_store
from polycli.store.staging import write_error

SCRIPT_HEAD = """
import resource, sys, time
import numpy as np
from pathlib import Path
from polycli.store.builder import StoreBuilder
from polycli.store.layout import ArrayLayout
DIMS = ("trajectory", "time", "field", "x", "y")
LAYOUT = ArrayLayout("fields", DIMS, "float32", (1, 8, 2, 16, 12), (1, 16, 2, 16, 12))
def trajectory(number):
    return np.random.default_rng(number).standard_normal((21, 2, 16, 12)).astype(np.float32)
builder = StoreBuilder(Path(sys.argv[1]), fingerprint="f" * 64)
"""


def start(body: str, target: Path) -> subprocess.Popen:
    script = SCRIPT_HEAD + textwrap.dedent(body)
    return subprocess.Popen([sys.executable, "-c", script, str(target)], stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def wait_for(condition, seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)


def test_rows_are_published_in_the_order_asked_for_and_bit_for_bit(kit, tmp_path):
    builder = StoreBuilder(tmp_path / "a.zarr", fingerprint="f" * 64)
    for number in range(4):
        kit.stage(builder, f"row/{number}", kit.trajectory(number), layout=kit.layout)
    path = kit.publish(builder, ["row/3", "row/0", "row/2"])
    store = open_store(path, verify="full")
    for row, number in enumerate((3, 0, 2)):
        assert np.array_equal(store.read_rows("fields", [row])[0], kit.trajectory(number))
    assert store.manifest.rows == 3
    assert store.manifest.splits == {"train": 2, "validation": 0, "test": 1}
    assert store.read("split").tolist() == [0, 0, 2]
    assert sorted(path.parent.iterdir()) == [path], "nothing but the store stays"


def test_two_builds_that_differ_in_blocks_and_order_make_equal_stores(kit, tmp_path):
    keys = ["a", "b", "c"]
    paths = []
    for name, cut, order in (("one", 5, keys), ("two", 21, keys[::-1])):
        builder = StoreBuilder(tmp_path / name / "s.zarr", fingerprint="f" * 64)
        for key in order:
            kit.stage(builder, key, kit.trajectory(keys.index(key)), layout=kit.layout, cut=cut)
        paths.append(kit.publish(builder, keys))
    first, second = ((path / "MANIFEST.json").read_bytes() for path in paths)
    assert first == second


def test_equal_content_has_an_equal_hash_and_other_content_or_shape_another(kit, tmp_path):
    builder = StoreBuilder(tmp_path / "a.zarr", fingerprint="f" * 64)
    values = kit.trajectory(0)
    one = kit.stage(builder, "one", values, cut=5).hash
    assert one == kit.stage(builder, "two", values, cut=4).hash
    assert len(one) == 32
    changed = values.copy()
    changed[20, 1, 15, 11] = np.nextafter(changed[20, 1, 15, 11], np.float32(9))
    assert one != kit.stage(builder, "three", changed).hash
    assert one != kit.stage(builder, "four", values.reshape(21, 2, 12, 16)).hash


def test_a_killed_build_goes_on_and_equals_one_that_was_not_killed(kit, tmp_path):
    target = tmp_path / "killed" / "a.zarr"
    victim = start(
        """
        staged = builder.stage("row 0", LAYOUT, [trajectory(0)])
        builder.finish("row 0", {"hash": staged.hash})
        def blocks():
            yield trajectory(1)[:17]  # fills the first shard, which is written before the next block is asked for
            print("staging", flush=True)
            time.sleep(600)
        builder.stage("row 1", LAYOUT, blocks())
        """,
        target,
    )
    assert victim.stdout.readline() == b"staging\n", victim.stderr.read()
    victim.send_signal(signal.SIGKILL)
    victim.communicate()
    assert not target.exists()

    builder = StoreBuilder(target, fingerprint="f" * 64)
    assert builder.record("row 0") == {"hash": kit.stage(builder, "again", kit.trajectory(0)).hash}
    assert builder.record("row 1") is None
    with pytest.raises(StoreError, match="row 'row 1' is not staged"):
        kit.publish(builder, ["row 0", "row 1"])
    kit.stage(builder, "row 1", kit.trajectory(1), layout=kit.layout)
    continued = kit.publish(builder, ["row 0", "row 1"])

    whole = StoreBuilder(tmp_path / "whole" / "a.zarr", fingerprint="f" * 64)
    for number in range(2):
        kit.stage(whole, f"row {number}", kit.trajectory(number), layout=kit.layout)
    expected = kit.publish(whole, ["row 0", "row 1"])
    assert (continued / "MANIFEST.json").read_bytes() == (expected / "MANIFEST.json").read_bytes()
    open_store(continued, verify="full")


def test_rows_that_are_finished_together_are_on_the_disk_before_their_records_are(kit, tmp_path, monkeypatch):
    builder = StoreBuilder(tmp_path / "a.zarr", fingerprint="f" * 64)
    for key in "ab":
        builder.stage(key, kit.layout, [kit.trajectory(ord(key))])
    assert builder.record("a") is None
    synced: list[Path] = []
    sync = staging._sync

    def seen(path):
        sync(path)
        synced.append(Path(path))

    monkeypatch.setattr(staging, "_sync", seen)
    builder.finish_all({"a": {"number": 1}, "bad": {"rejected": "non-finite"}, "b": {"number": 2}})
    assert [builder.record(key) for key in ("a", "b", "bad")] == [
        {"number": 1},
        {"number": 2},
        {"rejected": "non-finite"},
    ]
    rows = set((builder.work / "rows").rglob("*"))
    assert len([path for path in rows if path.is_file()]) == 6  # Two shards and a description each.
    first_record = min(place for place, path in enumerate(synced) if path.parent.name == "records")
    assert rows <= set(synced[:first_record])
    store = open_store(kit.publish(builder, ["a", "b"]), verify="full")
    assert np.array_equal(store.read_rows("fields", [0])[0], kit.trajectory(ord("a")))


def test_processes_stage_at_the_same_time(kit, tmp_path):
    target = tmp_path / "a.zarr"
    body = """
    for number in range({0}, 8, 2):
        staged = builder.stage(f"row {{number}}", LAYOUT, [trajectory(number)])
        builder.finish(f"row {{number}}", {{"hash": staged.hash}})
    # Both also do the same row, as two prepares that were started twice would.
    builder.stage("shared", LAYOUT, [trajectory(99)])
    builder.finish("shared", {{}})
    """
    workers = [start(body.format(part), target) for part in range(2)]
    for worker in workers:
        _, errors = worker.communicate(timeout=120)
        assert worker.returncode == 0, errors.decode()
    keys = [*(f"row {number}" for number in range(8)), "shared"]
    store = open_store(kit.publish(StoreBuilder(target, fingerprint="f" * 64), keys), verify="full")
    for row, number in enumerate((*range(8), 99)):
        assert np.array_equal(store.read_rows("fields", [row])[0], kit.trajectory(number))


@pytest.mark.parametrize(
    "moment",
    [
        "builder.hash_others",
        "builder.create_array",
        "building._check_readable",
    ],
)
def test_a_publish_that_dies_leaves_no_target_and_can_be_done_again(kit, tmp_path, monkeypatch, moment):
    builder = StoreBuilder(tmp_path / "a.zarr", fingerprint="f" * 64)
    for number in range(3):
        kit.stage(builder, str(number), kit.trajectory(number), layout=kit.layout)

    def die(*_arguments):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(f"polycli.store.{moment}", die)
        with pytest.raises(KeyboardInterrupt):
            kit.publish(builder, ["0", "1", "2"])
    assert not builder.target.exists()
    # The second time one row is left out, which moves the others to new numbers.
    store = open_store(kit.publish(builder, ["2", "1"]), verify="full")
    assert np.array_equal(store.read_rows("fields", [0, 1]), np.stack([kit.trajectory(2), kit.trajectory(1)]))


def test_a_publish_killed_between_two_renames_can_be_done_again(kit, tmp_path, monkeypatch):
    builder = StoreBuilder(tmp_path / "a.zarr", fingerprint="f" * 64)
    for number in range(3):
        kit.stage(builder, str(number), kit.trajectory(number), layout=kit.layout)
    rename = Path.rename
    calls = []

    def rename_once(self, other):
        calls.append(other)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return rename(self, other)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", rename_once)
        with pytest.raises(KeyboardInterrupt):
            kit.publish(builder, ["0", "1", "2"])
    store = open_store(kit.publish(builder, ["1", "0", "2"]), verify="full")
    assert np.array_equal(store.read_rows("fields", [0])[0], kit.trajectory(1))


def test_rows_that_another_version_staged_are_refused_with_the_folder_to_remove(kit, tmp_path):
    builder = StoreBuilder(tmp_path / "a.zarr", fingerprint="f" * 64)
    kit.stage(builder, "0", kit.trajectory(0))
    (file,) = builder.work.rglob("staged.json")
    file.write_text(file.read_text().replace('"hash"', '"hashes"'))
    with pytest.raises(StoreError, match="another version of polycli") as caught:
        kit.publish(builder, ["0"])
    assert f"rm -r {builder.work}" in caught.value.hint


def test_a_finished_store_is_recognised_and_never_replaced(kit, tmp_path):
    path = kit.make()
    before = (path / "MANIFEST.json").read_bytes()
    assert is_published(path, "f" * 64)
    assert not is_published(path, "e" * 64)
    assert not is_published(tmp_path / "nothing.zarr", "f" * 64)
    assert kit.publish(StoreBuilder(path, fingerprint="f" * 64), []) == path
    with pytest.raises(StoreError, match="already exists, prepared from other input"):
        StoreBuilder(path, fingerprint="e" * 64)
    (tmp_path / "file").write_text("mine")
    for place in (tmp_path / "file", tmp_path):
        with pytest.raises(StoreError, match="already exists, and is not a store") as refused:
            StoreBuilder(place, fingerprint="e" * 64)
        assert "rm " not in refused.value.hint, "it may be what the command reads, or hold it"
    assert (path / "MANIFEST.json").read_bytes() == before


def test_a_rejected_row_has_a_record_and_is_dropped(kit, tmp_path):
    builder = StoreBuilder(tmp_path / "a.zarr", fingerprint="f" * 64)
    kit.stage(builder, "good", kit.trajectory(0))
    kit.stage(builder, "bad", kit.trajectory(1))
    builder.finish("bad", {"rejected": "non-finite"})
    again = StoreBuilder(tmp_path / "a.zarr", fingerprint="f" * 64)
    assert again.record("bad") == {"rejected": "non-finite"}
    assert again.record("never seen") is None
    store = open_store(kit.publish(again, ["good"]))
    assert store.manifest.arrays["fields"].shape[0] == 1
    assert not builder.work.exists()


def test_rows_of_different_shape_are_refused_with_both_shapes(kit, tmp_path):
    builder = StoreBuilder(tmp_path / "a.zarr", fingerprint="f" * 64)
    kit.stage(builder, "long", kit.trajectory(0), layout=kit.layout)
    kit.stage(builder, "short", kit.trajectory(1)[:19], layout=kit.layout)
    with pytest.raises(StoreError, match=r"\(19, 2, 16, 12\) in row 'short', \(21, 2, 16, 12\) was expected"):
        kit.publish(builder, ["long", "short"])
    assert not builder.target.exists()


@pytest.mark.parametrize(
    "blocks",
    [
        [np.zeros((3, 2, 16, 12), np.float64)],
        [np.zeros((3, 2, 16), np.float32)],
        [np.zeros((3, 2, 16, 12), np.float32), np.zeros((3, 2, 16, 13), np.float32)],
        [],
    ],
)
def test_blocks_that_do_not_fit_are_refused_and_leave_nothing(kit, tmp_path, blocks):
    builder = StoreBuilder(tmp_path / "a.zarr", fingerprint="f" * 64)
    with pytest.raises(StoreError, match="'fields'"):
        builder.stage("row", kit.layout, blocks)
    assert not list(builder.work.rglob("c"))


def test_a_write_that_the_system_refuses_leaves_no_target_and_keeps_finished_rows(kit, tmp_path):
    target = tmp_path / "a.zarr"
    worker = start(
        """
        from polycli.errors import PolycliError
        builder.finish("row 0", {"hash": builder.stage("row 0", LAYOUT, [trajectory(0)]).hash})
        resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
        try:
            builder.stage("row 1", LAYOUT, [trajectory(1)])
        except PolycliError as error:
            print(error)
        """,
        target,
    )
    output, errors = worker.communicate(timeout=60)
    assert b"cannot write" in output, errors.decode()
    assert b"run the same line again" in output
    assert not target.exists()
    builder = StoreBuilder(target, fingerprint="f" * 64)
    assert builder.record("row 0") is not None
    assert builder.record("row 1") is None
    kit.stage(builder, "row 1", kit.trajectory(1), layout=kit.layout)
    open_store(kit.publish(builder, ["row 0", "row 1"]), verify="full")


def test_a_full_disk_is_named_and_leaves_no_target(tmp_path):
    """A real full disk: a file system of 256 KiB, in a namespace of its own."""
    if shutil.which("unshare") is None:
        pytest.skip("needs unshare to mount a small file system")
    mount = tmp_path / "small"
    mount.mkdir()
    inside = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c"]
    mounting = f"mount -t tmpfs -o size=256k tmpfs {mount}"
    if subprocess.run([*inside, mounting], capture_output=True, check=False).returncode:
        pytest.skip("this machine lets no user mount a file system in a namespace")
    script = tmp_path / "fill.py"
    body = """
    from polycli.errors import PolycliError
    try:
        for number in range(50):
            builder.finish(str(number), {"hash": builder.stage(str(number), LAYOUT, [trajectory(number)]).hash})
    except PolycliError as error:
        print(error)
        print("target exists:", builder.target.exists())
        print("finished:", builder.record("0") is not None)
    """
    script.write_text(SCRIPT_HEAD + textwrap.dedent(body))
    run = subprocess.run(
        [*inside, f"{mounting} && exec {sys.executable} {script} {mount / 'a.zarr'}"],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert "the disk is full" in run.stdout, run.stderr
    assert "target exists: False" in run.stdout
    assert "finished: True" in run.stdout


def test_only_a_full_disk_is_called_full():
    assert "the disk is full" in write_error(Path("a.zarr"), OSError(28, "No space left on device")).message
    assert "the disk is full" in write_error(Path("a.zarr"), OSError("tensorstore: Disk quota exceeded")).message
    refused = write_error(Path("a.zarr"), OSError(13, "Permission denied"))
    assert "full" not in refused.message
    assert "Permission denied" in refused.message


def test_only_one_process_publishes(kit, tmp_path):
    builder = StoreBuilder(tmp_path / "a.zarr", fingerprint="f" * 64)
    kit.stage(builder, "row", kit.trajectory(0))
    place = BuildPlace(tmp_path / "a.zarr", "f" * 64)
    with place.publishing(), pytest.raises(StoreError, match="another process is publishing"):
        kit.publish(StoreBuilder(tmp_path / "a.zarr", fingerprint="f" * 64), ["row"])


def test_the_manifest_lists_every_file_with_its_hash(kit):
    path = kit.make()
    manifest = read_manifest(path)
    on_disk = {p.relative_to(path).as_posix() for p in path.rglob("*") if p.is_file()} - {"MANIFEST.json"}
    assert set(manifest.files) == on_disk
    sums = subprocess.run(["sha256sum", *sorted(on_disk)], cwd=path, capture_output=True, text=True, check=True)
    assert {line.split()[1]: line.split()[0] for line in sums.stdout.splitlines()} == {
        name: entry.sha256 for name, entry in manifest.files.items()
    }
    assert all((path / name).stat().st_size == entry.size for name, entry in manifest.files.items())
    assert json.loads((path / "zarr.json").read_text())["node_type"] == "group"
