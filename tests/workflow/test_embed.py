"""The flow of embed: units of rows are shared among any number of processes, and none is lost, doubled or moved."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as parquet
import pytest

from polycli.errors import PolycliError, SourceError, UserError
from polycli.inspection import inspect_path
from polycli.launch import World
from polycli.requests import EmbedRequest
from polycli.store.embeddings.joining import join
from polycli.store.embeddings.manifest import EmbeddingsHeader
from polycli.store.embeddings.parts import with_vectors
from polycli.workflow.embed import Rows, begin, embed, write_parts

HEADER = EmbeddingsHeader("toy", {"model_hash": "m"}, {"a": "1", "b": "2"}, {"split": None})


def toy(name, count, batch, asked=None, numbers=False):
    """Rows 0 to `count` of a store of this name, each with a vector of its number."""

    def tables(batches, first_row, advance):
        rows = np.concatenate(batches)
        if asked is not None:
            asked.extend(rows.tolist())
        advance(len(rows))
        table = pa.table({"name": [name] * len(rows), "row": rows, "place": first_row + np.arange(len(rows))})
        made = {"": with_vectors(table, {"toy_embedding": rows[:, None].astype(np.float32)})}
        if numbers:
            twice = np.repeat(rows, 2)
            made["numbers"] = with_vectors(
                pa.table({"row": twice}), {"number_embedding": twice[:, None].astype(np.float16)}
            )
        return made

    batches = [np.arange(start, min(start + batch, count)) for start in range(0, count, batch)]
    return Rows(name, batches, tables, count=count)


def written(folder, processes, data):
    """The file that so many processes make of the data."""
    (folder / "parts").mkdir(parents=True)
    for rank in range(processes):
        write_parts(folder / "parts", data, World(rank, processes, rank))
    join(folder / "parts", folder / "e.parquet", HEADER)
    return folder / "e.parquet"


def test_any_number_of_processes_writes_the_same_bytes_in_the_order_of_the_data(tmp_path):
    data = [toy("a", 300, 3), toy("b", 7, 3)]
    one = written(tmp_path / "1", 1, data)
    table = parquet.read_table(one)
    assert table["row"].to_pylist() == [*range(300), *range(7)]
    assert table["place"].to_pylist() == list(range(307))
    assert table["name"].to_pylist() == ["a"] * 300 + ["b"] * 7
    for processes in (2, 3, 99):
        assert written(tmp_path / f"{processes}", processes, data).read_bytes() == one.read_bytes()


def test_a_process_reads_its_own_units_alone(tmp_path):
    asked = []
    write_parts(tmp_path, [toy("a", 300, 3, asked)], World(1, 2, 1))
    assert len(asked) == len(set(asked))
    assert 120 < len(asked) < 180


@pytest.fixture
def run(tmp_path):
    """`run("e.parquet")` embeds a few rows, and two numbers of each."""

    def embedded(name="e.parquet", data=None, overwrite=False, numbers=True, inputs=("a.zarr",)):
        paths = tuple(map(Path, inputs))
        request = EmbedRequest(checkpoint=Path("c"), data=paths, output=tmp_path / name, json=True)
        target = begin(request, overwrite=overwrite, tables=["numbers"])
        return embed(target, HEADER, [data or toy("a", 5, 2, numbers=numbers)], noun=("row", "rows"))

    return embedded


def test_the_report_names_every_table_and_its_vectors(tmp_path, run, capsys):
    document = run()
    assert (document["output"], document["rows"], document["model_hash"]) == (str(tmp_path / "e.parquet"), 5, "m")
    said = capsys.readouterr().err
    assert "5 rows: toy_embedding 1 float32" in said
    assert "10 numbers: number_embedding 1 float16" in said
    assert json.loads(parquet.read_schema(tmp_path / "e.parquet").metadata[b"polycli"])["store_hash"]["b"] == "2"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["e.numbers.parquet", "e.parquet"]


def test_data_without_rows_are_refused_and_nothing_is_left(tmp_path, run):
    with pytest.raises(SourceError, match="a: there are no rows to embed"):
        run("new/e.parquet", toy("a", 0, 2))
    assert list(tmp_path.iterdir()) == []


def test_an_output_of_another_format_or_that_exists_is_refused(tmp_path, run):
    with pytest.raises(UserError, match=r"the suffix says the format: none for a folder, \.parquet or \.zarr"):
        run("e.csv")
    (tmp_path / "e.numbers.parquet").touch()
    with pytest.raises(UserError, match=r"e\.numbers\.parquet: exists already"):
        run()
    with pytest.raises(UserError, match=r"e\.numbers\.parquet: is not replaced, for it is not embeddings"):
        run(overwrite=True)
    with pytest.raises(UserError, match="is read by this command"):
        run(inputs=(tmp_path / "e.parquet",))


def test_what_is_replaced_is_replaced_whole(tmp_path, run):
    run()
    first = (tmp_path / "e.parquet").read_bytes()
    run(data=toy("b", 7, 2), overwrite=True)
    assert parquet.read_table(tmp_path / "e.parquet").num_rows == 7
    assert not (tmp_path / "e.numbers.parquet").exists(), "the numbers of other rows would be left"
    run(overwrite=True)
    assert (tmp_path / "e.parquet").read_bytes() == first
    assert inspect_path(tmp_path / "e.parquet", verify=True).document["rows"] == 5


def test_of_two_commands_with_one_output_one_writes_and_the_other_says_so(tmp_path, run):
    def second(batches, first_row, advance):
        with pytest.raises(UserError, match=r"e\.parquet: another process is writing there"):
            run()
        return toy("a", 5, 5).tables(batches, first_row, advance)

    run(data=Rows("a", [np.arange(5)], second))
    assert parquet.read_table(tmp_path / "e.parquet").num_rows == 5


@pytest.mark.parametrize("name", ["e", "e.parquet", "e.zarr"])
@pytest.mark.parametrize("limit", [64, 900])
def test_a_full_disk_is_one_sentence_and_leaves_nothing(tmp_path, run, full_disk, name, limit):
    with full_disk(limit), pytest.raises(PolycliError, match=rf"{name}: embeddings cannot be written: .*large"):
        run(name)
    assert list(tmp_path.iterdir()) == []


def test_the_error_of_any_process_is_told_once_by_the_first(tmp_path):
    """The second process meets a damaged chunk. The first one said that its own files were not there."""
    program = Path(__file__).with_name("embed_ranks.py")
    command = [sys.executable, str(program), str(tmp_path / "e.parquet")]
    start = f"import sys; from polycli.launch import start_ranks; sys.exit(start_ranks(2, {command}))"
    done = subprocess.run([sys.executable, "-c", start], check=False, capture_output=True, text=True)
    assert (done.returncode, [line for line in done.stderr.splitlines() if "says" in line]) == (
        2,
        ["rank 0 says: chunk 3 is damaged"],
    )
    assert list(tmp_path.iterdir()) == []
