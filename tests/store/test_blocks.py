"""Stores of many small rows: staged in blocks by any process, masked, freed of duplicates, published whole or not."""

import hashlib
import multiprocessing
import os
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
from polycli.store import reader
from polycli.store.blocks import BlockBuilder, ColumnSpec, Ragged
from polycli.store.hashing import hex_of, row_hashes
from polycli.store.manifest import LeftOut
from polycli.store.reader import open_store
from polycli.store.splits import group_hashes, split_rows

FINGERPRINT = "f" * 64
SPECS = {
    "image": ColumnSpec(("band", "y", "x"), chunk_bytes=600),
    "tokens": ColumnSpec(chunk_bytes=64),
    "redshift": ColumnSpec(),
    "clean": ColumnSpec(),
    "target": ColumnSpec(),
    "survey": ColumnSpec(),
}


def block(number: int, rows: int = 5) -> dict:
    """Columns of every kind, different for every number."""
    draw = np.random.default_rng(number)
    return {
        "image": draw.standard_normal((rows, 2, 8, 6)).astype(np.float32),
        "tokens": Ragged.of([draw.integers(0, 99, draw.integers(0, 40)) for _ in range(rows)], np.int32),
        "redshift": np.where(draw.random(rows) < 0.3, np.nan, draw.random(rows)),
        "clean": draw.random(rows) < 0.5,
        "target": draw.integers(-(2**62), 2**62, rows),
        "survey": Ragged.of_strings([f"survey {'ü' * int(draw.integers(3))}" for _ in range(rows)]),
    }


def stage(builder: BlockBuilder, number: int, columns: dict | None = None) -> None:
    columns = block(number) if columns is None else columns
    ids = [f"{number}-{row}" for row in range(len(columns["redshift"]))]
    builder.stage(
        str(number),
        columns,
        {"read": len(ids)},
        ids=ids,
        content=("image", "tokens"),
        source=f"file {number}",
    )


def publish(builder: BlockBuilder, rows, **changes) -> Path:
    splits = changes.pop("splits", ["train"] * (len(rows) - 1) + ["test"])
    fields = {"family": "astroclip", "name": "objects", "split_rule": "the last one tests", "statistics": {}}
    return builder.publish(rows, SPECS, splits=splits, **{**fields, **changes})


@pytest.fixture
def builder(tmp_path):
    """A builder with three finished blocks, staged out of order."""
    made = BlockBuilder(tmp_path / "objects.zarr", fingerprint=FINGERPRINT)
    for number in (2, 0, 1):
        stage(made, number)
    return made


def test_every_kind_of_column_comes_back_bit_for_bit_in_the_order_of_the_keys(builder):
    store = open_store(publish(builder, builder.rows(["0", "1", "2"])), family="astroclip", verify="full")
    blocks = [block(number) for number in range(3)]
    for name in ("image", "redshift", "clean", "target"):
        expected = np.concatenate([columns[name] for columns in blocks])
        assert store.read(name).tobytes() == expected.tobytes()
        assert store.read(name).dtype == expected.dtype
        assert store.read_rows(name, [14, 0, 7]).tobytes() == expected[[14, 0, 7]].tobytes()
    tokens = [row.tolist() for columns in blocks for row in columns["tokens"]]
    assert [row.tolist() for row in store.read_ragged("tokens")] == tokens
    surveys = [text for columns in blocks for text in columns["survey"].strings()]
    assert store.read_strings("survey") == surveys
    assert store.read_strings("survey", [9, 1]) == [surveys[9], surveys[1]]
    assert store.row_ids() == [f"{number}-{row}" for number in range(3) for row in range(5)]
    assert store.row_ids([6]) == ["1-1"]


@pytest.mark.parametrize("kept_bytes", [0, 2**20], ids=["from disk", "kept"])
def test_ragged_rows_are_the_same_from_disk_and_from_memory(builder, monkeypatch, kept_bytes):
    monkeypatch.setattr(reader, "KEPT_BYTES", kept_bytes)
    store = open_store(publish(builder, builder.rows(["0", "1", "2"])), family="astroclip")
    tokens = [row.tolist() for number in range(3) for row in block(number)["tokens"]]
    for rows in ([14, 0, 7], [3, 4, 5, 9], [], [2, 2]):
        assert [row.tolist() for row in store.read_ragged("tokens", rows)] == [tokens[row] for row in rows]


def test_the_manifest_counts_and_the_arrays_carry_what_is_said_of_rows(builder):
    store = open_store(publish(builder, builder.rows(["0", "1", "2"]), splits=["train", "test", "validation"] * 5))
    assert (store.manifest.rows, store.manifest.row_ids, store.manifest.row_hashes) == (15, (), ())
    assert store.manifest.splits == {"train": 5, "validation": 5, "test": 5}
    assert store.rows("test").tolist() == [1, 4, 7, 10, 13]
    assert store.rows().tolist() == list(range(15))
    assert store.row_hashes().shape == (15, 16)
    assert store.manifest.arrays["image"].dims == ("row", "band", "y", "x")


def test_chunks_hold_few_rows_and_shards_many(builder):
    arrays = open_store(publish(builder, builder.rows(["0", "1", "2"]))).manifest.arrays
    assert arrays["image"].chunk == (1, 2, 8, 6)  # 384 bytes a row, 600 a chunk
    assert arrays["image"].shard == (15, 2, 8, 6)
    assert arrays["tokens"].chunk == (16,)


def test_masked_rows_and_later_duplicates_are_left_out(builder):
    twice = block(0)
    stage(builder, 3, {**twice, "redshift": twice["redshift"] + 1})  # other values, but equal content
    rows = builder.rows(["0", "1", "3"], keep={"1": np.array([True, False, True, False, False]), "0": np.arange(5) > 0})
    names = ["0-1", "0-2", "0-3", "0-4", "1-0", "1-2", "3-0"]
    assert rows.ids == names
    assert rows.duplicates[0] == LeftOut(source="file 3", id="3-1", reason="duplicate of file 0 0-1: equal content")
    assert len(rows.duplicates) == 4
    assert len(builder.rows(["0", "3"], drop_duplicates=False)) == 10
    store = open_store(publish(builder, rows))
    assert store.row_ids() == names
    expected = np.concatenate([block(0)["image"][1:], block(1)["image"][[0, 2]], block(0)["image"][:1]])
    assert np.array_equal(store.read("image"), expected)


def test_hashes_are_of_the_content_columns_alone_and_of_their_lengths(tmp_path):
    builder = BlockBuilder(tmp_path / "a.zarr", fingerprint=FINGERPRINT)

    def hashes(key: str, rows: list, other: int) -> list[str]:
        columns = {"a": Ragged.of(rows, np.int32), "b": np.full(len(rows), other)}
        builder.stage(key, columns, {}, ids=[str(n) for n in range(len(rows))], content=("a",))
        return hex_of(builder.rows([key], drop_duplicates=False).hashes)

    first = hashes("first", [[1], [1, 2], [], [1, 0]], 1)
    assert len(set(first)) == 4
    assert hashes("second", [[1, 0], [], [1, 2], [1]], 2) == first[::-1]


def test_a_row_is_hashed_as_it_always_was(tmp_path):
    # Bytes of each value, its type and the shape behind the row axis, then the bytes: stores keep their splits by it.
    dense = np.arange(12, dtype=np.float32).reshape(2, 3, 2)
    ragged = Ragged.of([[1, 2], []], np.int64)
    found = row_hashes([ragged, dense])
    for row in range(2):
        parts = [f"{ragged[row].nbytes}<i8()".encode(), ragged[row].tobytes(), b"24<f4(3, 2)", dense[row].tobytes()]
        assert found[row].tobytes() == hashlib.sha256(b"".join(parts)).digest()[:16]


def test_statistics_and_splits_see_the_training_rows_alone(builder):
    rows = builder.rows(["0", "1", "2"])
    splits = split_rows(rows.hex_hashes(), validation=0.2, test=0.3)
    train = rows.where(np.array(splits) == "train")
    seen = np.concatenate([part["redshift"] for part in train.blocks("redshift")])
    every = np.concatenate([block(number)["redshift"] for number in range(3)])
    assert np.array_equal(seen, every[np.array(splits) == "train"], equal_nan=True)
    assert np.array_equal(train.column("redshift"), seen, equal_nan=True)
    assert train.ids == [name for name, split in zip(rows.ids, splits, strict=True) if split == "train"]
    assert [row.tolist() for row in train.column("tokens")] == [
        row.tolist()
        for row, split in zip([r for n in range(3) for r in block(n)["tokens"]], splits, strict=True)
        if split == "train"
    ]


def test_rows_of_a_group_share_a_split():
    groups = [f"group {number % 20}" for number in range(200)]
    splits = split_rows(group_hashes(groups), validation=0.2, test=0.2)
    assert all(len({splits[i] for i in range(200) if groups[i] == group}) == 1 for group in set(groups))
    assert set(splits) == {"train", "validation", "test"}


def test_a_finished_block_is_known_to_other_processes_and_stays_as_it_is(builder):
    other = BlockBuilder(builder.target, fingerprint=FINGERPRINT)
    assert other.record("1") == {"read": 5}
    assert other.record("7") is None
    assert other.missing(["0", "7", "2"]) == ["7"]
    stage(other, 1, block(99))
    assert np.array_equal(other.read("1", "image")["image"], block(1)["image"])
    with pytest.raises(StoreError, match="block '7' is not staged"):
        other.rows(["0", "7"])


def test_blocks_without_rows_and_columns_without_values_do_no_harm(builder):
    builder.stage("empty", {}, {"rejected": 5}, ids=[], content=[])
    rows = builder.rows(["empty", "0", "1"], keep={"1": np.zeros(5, dtype=bool)})
    assert len(rows) == 5
    assert builder.record("empty") == {"rejected": 5}
    assert len(open_store(publish(builder, rows)).row_ids()) == 5
    bare = BlockBuilder(builder.target.with_name("bare.zarr"), fingerprint=FINGERPRINT)
    bare.stage("0", {"tokens": Ragged.of([[], []], np.int32)}, {}, ids=["a", "b"], content=("tokens",))
    path = bare.publish(
        bare.rows(["0"], drop_duplicates=False),
        {"tokens": ColumnSpec()},
        family="xval",
        name="bare",
        splits=["train", "train"],
        split_rule="all train",
        statistics={},
    )
    assert [len(row) for row in open_store(path, verify="full").read_ragged("tokens")] == [0, 0]


def test_without_rows_nothing_is_published(builder):
    with pytest.raises(StoreError, match="no rows to publish"):
        publish(builder, builder.rows(["0"], keep={"0": np.zeros(5, dtype=bool)}))
    assert not builder.target.exists()


def test_blocks_of_different_shape_are_refused_with_both_shapes(builder):
    odd = block(5)
    stage(builder, 5, {**odd, "image": odd["image"][:, :, :7]})
    with pytest.raises(StoreError, match=r"'image' is float32 \(2, 7, 6\).*\(2, 8, 6\) was expected"):
        publish(builder, builder.rows(["0", "5"]))
    assert not builder.target.exists()


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("row_id", np.arange(5)),
        ("../x", np.arange(5)),
        ("tokens_offsets", np.arange(5)),
        ("short", np.arange(4)),
        ("texts", np.array(["a"] * 5)),
        ("objects", np.array([None] * 5)),
    ],
)
def test_columns_that_no_store_can_hold_are_refused(tmp_path, name, values):
    builder = BlockBuilder(tmp_path / "a.zarr", fingerprint=FINGERPRINT)
    with pytest.raises(ValueError, match="column"):
        stage(builder, 0, {**block(0), name: values})
    assert not builder.work.exists()


def test_a_block_that_was_altered_after_staging_is_refused(builder):
    file = next(path for path in builder.work.glob("blocks/*/image.npy"))
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(data)
    with pytest.raises(StoreError, match=r"image\.npy: is missing or was altered"):
        publish(builder, builder.rows(["0", "1", "2"]))
    assert not builder.target.exists()


@pytest.mark.parametrize(
    "moment",
    ["blocks.hash_others", "blocks.write_whole", "column_writer.create_array", "building._check_readable"],
)
def test_a_publish_that_dies_leaves_no_target_and_can_be_done_again(builder, monkeypatch, moment):
    def die(*_arguments):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(f"polycli.store.{moment}", die)
        with pytest.raises(KeyboardInterrupt):
            publish(builder, builder.rows(["0", "1", "2"]))
    assert not builder.target.exists()
    open_store(publish(builder, builder.rows(["0", "1", "2"])), verify="full")
    assert not builder.work.exists()
    # A repeated call, as after a kill between the rename and the clearing, finds itself done.
    assert publish(BlockBuilder(builder.target, fingerprint=FINGERPRINT), range(0)) == builder.target


@pytest.mark.parametrize("length", [0, 100, -1])
def test_a_staged_file_that_was_cut_short_is_named(builder, length):
    file = next(path for path in builder.work.glob("blocks/*/image.npy"))
    file.write_bytes(file.read_bytes()[:length])
    with pytest.raises(StoreError, match=r"image\.npy: is not of the size"):
        list(builder.rows(["0", "1", "2"]).blocks("image"))


FILL = """
    import sys
    from pathlib import Path
    import numpy as np
    from polycli.errors import PolycliError
    from polycli.store.blocks import BlockBuilder, ColumnSpec
    builder = BlockBuilder(Path(sys.argv[1]), fingerprint="f" * 64)
    def stage(count):
        for number in range(count):
            values = np.random.default_rng(number).standard_normal((100, 100))
            ids = [str(row) for row in range(100)]
            builder.stage(str(number), {"values": values}, {}, ids=ids, content=("values",))
    def publish(count):
        rows = builder.rows([str(number) for number in range(count)], drop_duplicates=False)
        splits = ["train"] * len(rows)
        fields = {"family": "xval", "name": "x", "splits": splits, "split_rule": "", "statistics": {}}
        builder.publish(rows, {"values": ColumnSpec()}, **fields)
    for action, count in ((stage, 50), (publish, 7)):
        try:
            action(count)
        except PolycliError as error:
            print(error)
        print("target exists:", builder.target.exists())
    print("finished:", len(builder.missing([str(number) for number in range(50)])) <= 43)
    (builder.target.parent / "ballast").unlink()
    publish(7)
    print("target exists:", builder.target.exists())
"""


def test_a_full_disk_is_named_while_staging_and_while_publishing_and_leaves_no_target(tmp_path):
    """A real full disk: a file system of 1 MiB, in a namespace of its own, half of which can be freed later."""
    if shutil.which("unshare") is None:
        pytest.skip("needs unshare to mount a small file system")
    mount = tmp_path / "small"
    mount.mkdir()
    inside = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c"]
    mounting = f"mount -t tmpfs -o size=1800k tmpfs {mount} && head -c 1000000 /dev/zero > {mount}/ballast"
    if subprocess.run([*inside, mounting], capture_output=True, check=False).returncode:
        pytest.skip("this machine lets no user mount a file system in a namespace")
    script = tmp_path / "fill.py"
    script.write_text(textwrap.dedent(FILL))
    line = f"{mounting} && exec {sys.executable} {script} {mount / 'a.zarr'}"
    ran = subprocess.run([*inside, line], capture_output=True, text=True, check=False, timeout=60)
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.count("the disk is full") == 2
    exists = [line.endswith("True") for line in ran.stdout.splitlines() if line.startswith("target exists")]
    assert exists == [False, False, True]
    assert "finished: True" in ran.stdout


def test_another_build_does_not_overwrite_a_store(builder):
    publish(builder, builder.rows(["0"]))
    with pytest.raises(StoreError, match="already exists"):
        BlockBuilder(builder.target, fingerprint="0" * 64)


def stage_until_killed(target: Path, first: int) -> None:
    """Stage four blocks; the process with the first one is killed in the middle of its second."""
    builder = BlockBuilder(target, fingerprint=FINGERPRINT)
    for number in range(first, 12, 3):
        if first == 0 and number == 3:
            (builder.work / "writing" / "half").mkdir(parents=True)
            os.kill(os.getpid(), signal.SIGKILL)
        stage(builder, number)


def test_processes_stage_at_once_and_one_that_was_killed_is_repeated(tmp_path):
    context = multiprocessing.get_context("forkserver")
    target = tmp_path / "many.zarr"
    processes = [context.Process(target=stage_until_killed, args=(target, first)) for first in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    assert processes[0].exitcode == -signal.SIGKILL
    keys = [str(number) for number in range(12)]
    builder = BlockBuilder(target, fingerprint=FINGERPRINT)
    assert builder.missing(keys) == ["3", "6", "9"]
    for number in (3, 6, 9):
        stage(builder, number)
    many = open_store(publish(builder, builder.rows(keys)), verify="full").manifest
    alone = BlockBuilder(tmp_path / "alone.zarr", fingerprint=FINGERPRINT)
    for key in keys:
        stage(alone, int(key))
    one = open_store(publish(alone, alone.rows(keys))).manifest
    assert many == one


def test_a_million_short_rows_take_seconds_not_minutes(tmp_path):
    """Nothing on the way may cost a file, a chunk or a fsync for each row; 100,000 rows stand for more."""
    builder = BlockBuilder(tmp_path / "records.zarr", fingerprint=FINGERPRINT)
    rows = 100_000
    offsets = np.arange(0, 4 * rows + 1, 4, dtype=np.int64)
    columns = {"numbers": Ragged(np.arange(4.0 * rows), offsets)}
    start = time.perf_counter()
    builder.stage("0", columns, {}, ids=[str(row) for row in range(rows)], content=("numbers",))
    staged = builder.rows(["0"])
    path = builder.publish(
        staged,
        {"numbers": ColumnSpec()},
        family="xval",
        name="records",
        splits=["train"] * rows,
        split_rule="all train",
        statistics={},
    )
    assert time.perf_counter() - start < 20
    store = open_store(path)
    assert sum(path.is_file() for path in path.rglob("*")) < 20
    assert store.read_ragged("numbers", [99_999])[0].tolist() == [399_996.0, 399_997.0, 399_998.0, 399_999.0]
