"""The flow of embed: units of rows are shared among any number of processes, and none is lost, doubled or moved."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet as parquet
import pytest
import zarr

from polycli.errors import PolycliError, PreemptedError, SourceError, StoreError, UserError
from polycli.inspection import inspect_path
from polycli.launch import World
from polycli.requests import EmbedRequest
from polycli.sections import UnitSettings
from polycli.store.embeddings import hats_form
from polycli.store.embeddings.units import UnitPlace
from polycli.workflow import embed as flow
from polycli.workflow.embed import begin, embed
from polycli.workflow.embedding.rows import Opened
from tests.workflow.toy_rows import HEADER, header, toy


@pytest.fixture
def run(tmp_path):
    """`run("e.parquet")` embeds a few rows, and two numbers of each."""

    def embedded(
        name="e.parquet",
        data=None,
        numbers=True,
        inputs=("a.zarr",),
        said=None,
        settings=None,
        positions=False,
        schema=UnitSettings,
        **options,
    ):
        paths = tuple(map(Path, inputs))
        request = EmbedRequest(checkpoint=Path("c"), data=paths, output=tmp_path / name, json=True, **options)
        target = begin(request, schema(**(settings or {})), tables={"numbers": "row"}, positions=positions)
        data = toy("a", 5, 2, numbers=numbers) if data is None else data
        opened = Opened(said or HEADER, data if isinstance(data, list) else [data])
        return embed(target, opened, noun=("row", "rows"))

    return embedded


def content(folder):
    """The bytes of every file in a folder, by its path."""
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def data_of_two():
    return [toy("a", 300, 3, numbers=True), toy("b", 7, 3, numbers=True)]


@pytest.mark.parametrize("name", ["e.parquet", "e", "e.zarr"])
def test_parts_in_any_order_and_starts_with_another_n_give_the_bytes_of_one_process(tmp_path, run, name):
    cut = {"unit_rows": 40}
    run(f"one/{name}", data_of_two(), settings=cut)
    for index in (2, 0):
        done = run(f"parts/{name}", data_of_two(), part=(index, 3), settings=cut)
        assert done["part"] == [index, 3]
        assert not (tmp_path / "parts" / name).exists()
    # Of three parts two have run. Five others share what is missing, and the last one publishes.
    for index in range(5):
        done = run(f"parts/{name}", data_of_two(), part=(index, 5))
    assert done["rows"] == 307
    assert content(tmp_path / "parts") == content(tmp_path / "one")
    assert names(tmp_path / "parts") == names(tmp_path / "one")


def test_progress_counts_what_a_part_has_to_do(run, capsys):
    # Of ten units of two rows: 1, 4 and 7; then 0, 2, 6 and 8; then 3, 5 and 9.
    for part, rows in (((1, 3), 6), ((0, 2), 8), ((1, 2), 6)):
        run(data=toy("a", 20, 2), part=part)
        assert f"a: embedding: {rows}/{rows} (100 %)" in capsys.readouterr().err


def test_rows_come_in_the_order_of_the_data(tmp_path, run):
    run(data=data_of_two(), settings={"unit_rows": 60})
    table = parquet.read_table(tmp_path / "e.parquet")
    assert table["row"].to_pylist() == [*range(300), *range(7)]
    assert table["place"].to_pylist() == list(range(307))
    assert table["name"].to_pylist() == ["a"] * 300 + ["b"] * 7


def test_the_processes_of_a_group_share_the_units_that_are_missing(tmp_path, run):
    """Three ranks, one after the other: a rank does its turns of the missing units and no others."""
    from polycli.workflow.embedding.planning import plan_for
    from polycli.workflow.embedding.work import Share, Worker

    asked, place = [], UnitPlace(tmp_path / "e")
    for rank in range(3):
        rows = [toy("a", 300, 3, asked=asked)]
        request = EmbedRequest(checkpoint=Path("c"), data=(), output=tmp_path / "e")
        plan, _ = plan_for(request, UnitSettings(), Opened(HEADER, rows))
        place.begin(plan)
        share = Share(World(rank, 3, rank), None, frozenset({0, 1}))
        stop = flow.StopRequest()
        before = len(asked)
        Worker(place, plan, rows, share, stop=stop, most_quarantined=0, schemas={}).run()
        assert 80 < len(asked) - before < 110
    assert sorted(asked) == list(range(2 * 12, 300))


def test_a_killed_start_is_gone_on_with_and_does_no_unit_twice(tmp_path, run):
    class Killed(BaseException):
        pass

    def killing(rows):
        if rows[0] >= 30:
            raise Killed

    with pytest.raises(Killed):
        run(data=toy("a", 64, 2, look=killing))
    assert len(UnitPlace(tmp_path / "e.parquet").done()) == 15
    asked = []
    run(data=toy("a", 64, 2, asked=asked))
    assert asked == list(range(30, 64))
    assert parquet.read_table(tmp_path / "e.parquet")["row"].to_pylist() == list(range(64))
    assert names(tmp_path) == ["e.parquet"]


def test_sigterm_ends_after_the_unit_at_hand_with_75(tmp_path, run):
    def stopping(rows):
        if rows[0] == 4:
            os.kill(os.getpid(), signal.SIGTERM)

    before = signal.getsignal(signal.SIGTERM)
    try:
        with pytest.raises(PreemptedError, match=r"stopped by a signal with 3 units finished") as stopped:
            run(data=toy("a", 20, 2, look=stopping))
    finally:
        signal.signal(signal.SIGTERM, before)
    assert stopped.value.exit_code == 75
    asked = []
    run(data=toy("a", 20, 2, asked=asked))
    assert asked == list(range(6, 20))


def test_a_second_process_that_knows_nothing_of_the_first_does_no_harm(tmp_path, run):
    """A requeued task starts while the first one hangs in its unit: it publishes, and the first one ends well."""
    started = []

    def requeued(rows):
        if not started:
            started.append(rows)
            run(data=toy("a", 20, 2))

    done = run(data=toy("a", 20, 2, look=requeued))
    assert done["rows"] == 20
    assert parquet.read_table(tmp_path / "e.parquet")["row"].to_pylist() == list(range(20))
    assert names(tmp_path) == ["e.parquet"]


def test_two_writers_of_one_unit_leave_one(tmp_path, run):
    """Both have the last unit in hand; the second is done first, but does not publish as a part is missing."""
    from polycli.store.embeddings.unit_writer import UnitWriter

    run(data=toy("a", 20, 2), part=(0, 2))
    place = UnitPlace(tmp_path / "e.parquet")
    tables = toy("a", 20, 2).tables([np.arange(2)], 0, lambda _: None)
    before = content(place.folder(0))
    writer = UnitWriter(place, 0)
    writer.write(tables)
    writer.publish(rows=2, quarantined=0)
    assert content(place.folder(0)) == before
    assert names(place.work / "units") == [f"{unit:06d}" for unit in (0, 2, 4, 6, 8)]


def test_finalize_names_the_parts_that_are_missing(run):
    with pytest.raises(StoreError, match="no part has begun"):
        run(finalize=True, line=("embed", "toy", "--finalize"))
    run(data=toy("a", 20, 2), part=(1, 3))
    with pytest.raises(StoreError, match=r"7 of 10 pieces of work are not done: parts 0/3, 2/3 did not finish"):
        run(data=toy("a", 20, 2), finalize=True)
    run(data=toy("a", 20, 2), part=(0, 3))
    run(data=toy("a", 20, 2), part=(2, 3))
    assert run(data=toy("a", 20, 2), finalize=True)["rows"] == 20


def test_a_unit_of_which_a_byte_changed_is_made_anew(tmp_path, run):
    run(data=toy("a", 20, 2), part=(0, 2))
    place = UnitPlace(tmp_path / "e.parquet")
    file = place.part(4, "")
    damaged = bytearray(file.read_bytes())
    damaged[100] ^= 1
    file.write_bytes(damaged)
    with pytest.raises(PolycliError, match=r"part-00004\.parquet: damaged") as error:
        run(data=toy("a", 20, 2), part=(1, 2))
    assert "run the same line again" in error.value.hint
    asked = []
    run(data=toy("a", 20, 2, asked=asked))
    assert asked == [8, 9]
    run("other.parquet", data=toy("a", 20, 2))
    assert (tmp_path / "e.parquet").read_bytes() == (tmp_path / "other.parquet").read_bytes()


def test_files_that_are_read_as_they_come_make_the_same_units(tmp_path, run):
    run("store.parquet", toy("a", 2500, 100, numbers=True))
    for index in (1, 0):
        run("files.parquet", toy("a", 2500, 100, numbers=True, stream=True), part=(index, 2))
    store, files = (parquet.read_table(tmp_path / f"{name}.parquet") for name in ("store", "files"))
    assert files == store
    assert (tmp_path / "files.numbers.parquet").exists()


def test_rows_that_cannot_be_embedded_are_put_aside_with_id_and_reason(tmp_path, run):
    data = [toy("a", 30, 4, numbers=True, damaged=(3, 8, 9, 10, 11), endless=(29,)), toy("b", 5, 4, numbers=True)]
    done = run(data=data, settings={"max_quarantined": 0.2})
    rows = parquet.read_table(tmp_path / "e.parquet")
    good = [row for row in range(30) if row not in (3, 8, 9, 10, 11, 29)]
    assert rows["row"].to_pylist() == [*good, *range(5)]
    aside = parquet.read_table(tmp_path / "e.quarantined.parquet").to_pylist()
    assert [(entry["source"], entry["id"]) for entry in aside] == [("a", f"a-{n}") for n in (3, 8, 9, 10, 11, 29)]
    assert aside[0]["reason"] == "row 3 is damaged"
    assert aside[-1]["reason"] == "its vector is not finite"
    # Further tables count the rows that are there.
    numbers = parquet.read_table(tmp_path / "e.numbers.parquet")
    owners = rows["row"].take(numbers["row"])
    assert owners.to_pylist() == numbers["number"].to_pylist()
    assert (done["quarantined"], done["rows"]) == (6, 29)


def test_more_of_them_than_the_share_are_an_error_that_names_the_first(tmp_path, run):
    with pytest.raises(StoreError, match=r"2 of 30 rows cannot be embedded, more than the share 0\.05.* row 8 is dam"):
        run(data=toy("a", 30, 4, damaged=(8, 9)), settings={"max_quarantined": 0.05})
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(StoreError, match="the first: row 8 is damaged"):
        run(data=toy("a", 30, 4, damaged=(8, 9)))


def test_the_share_is_that_of_all_parts_together(tmp_path, run):
    def part(index, **settings):
        data = toy("a", 40, 4, damaged=(3, 21))  # in units 0 and 5
        return run(data=data, part=(index, 2), settings={"unit_rows": 4, **settings})

    part(0, max_quarantined=0.03)
    with pytest.raises(UserError, match=r"2 of 40 rows cannot be embedded, more than the share 0\.03.* row 3 is dam"):
        part(1, max_quarantined=0.03)
    # What was embedded is kept for the one who allows more.
    assert part(1, max_quarantined=0.05)["quarantined"] == 2
    assert len(parquet.read_table(tmp_path / "e.parquet")) == 38


def test_appended_data_give_the_bytes_of_all_data_at_once(tmp_path, run):
    for name in ("e.parquet", "e", "e.zarr"):
        run(f"all/{name}", data_of_two(), said=header("a", "b"), settings={"unit_rows": 60})
        run(f"grown/{name}", data_of_two()[:1], said=header("a"), settings={"unit_rows": 60})
        asked = []
        both = [toy("a", 300, 3, numbers=True), toy("b", 7, 3, numbers=True, asked=asked)]
        run(f"grown/{name}", both, said=header("a", "b"), append=True, settings={"unit_rows": 60})
        assert asked == list(range(7))
    assert content(tmp_path / "grown") == content(tmp_path / "all")
    assert run("grown/e", data_of_two()[1:], said=header("b"), append=True)["rows"] == 307, "it is there already"


def test_of_a_catalogue_that_grows_the_partitions_without_new_objects_keep_their_files(tmp_path, run, monkeypatch):
    monkeypatch.setattr(hats_form, "PARTITION_ROWS", 40)
    few = {"sky": True, "numbers": False, "damaged": (3,)}
    first, second = toy("a", 300, 3, **few), toy("b", 10, 2, **few)
    settings = {"unit_rows": 60, "max_quarantined": 0.2}
    run("all/e.hats", [first, second], said=header("a", "b"), positions=True, settings=settings)
    run("grown/e.hats", first, said=header("a"), positions=True, settings=settings)

    def inodes():
        place = tmp_path / "grown" / "e.hats"
        files = [file for name in ("objects", "vectors") for file in (place / name).rglob("Npix=*")]
        return {file.relative_to(place): file.stat().st_ino for file in files}

    before = inodes()
    run("grown/e.hats", [first, second], said=header("a", "b"), positions=True, append=True, settings=settings)
    assert content(tmp_path / "grown") == content(tmp_path / "all")
    kept = {name for name, inode in inodes().items() if before.get(name) == inode}
    assert 0 < len(before) - len(kept) < len(kept), "ten new objects touch few of them"
    assert inspect_path(tmp_path / "grown" / "e.hats", verify=True).document["rows"] == 308
    assert names(tmp_path / "grown") == ["e.hats"]


def test_a_catalogue_grows_by_nothing_where_no_new_row_has_a_vector(tmp_path, run):
    run("e.hats", toy("a", 30, 3, sky=True), said=header("a"), positions=True)
    aside = toy("b", 2, 1, sky=True, damaged=(0, 1))
    done = run("e.hats", aside, said=header("b"), positions=True, append=True, settings={"max_quarantined": 1})
    assert (done["rows"], done["quarantined"]) == (30, 2)


def test_rows_are_added_whatever_of_untrained_data_was_allowed(tmp_path, run):
    """What may be taken decides nothing of what is made. It was refused: `its allow_untrained False, and here True`."""

    class Settings(UnitSettings):
        allow_untrained: bool = False

    for name, allow in (("a", False), ("b", True), ("c", False)):
        options = {"append": True} if name != "a" else {}
        run("e", toy(name, 10, 2), said=header(name), schema=Settings, settings={"allow_untrained": allow}, **options)
    manifest = json.loads((tmp_path / "e" / "_MANIFEST.json").read_text())
    assert (manifest["rows"], manifest["settings"]["allow_untrained"]) == (30, True)


def test_unknown_values_stay_unknown_in_a_group_that_grows(tmp_path, run):
    run("more.zarr", toy("a", 10, 2, more=True), said=header("a"))
    run("more.zarr", toy("b", 10, 2), said=header("b"), append=True)
    run("more.zarr", toy("c", 10, 2, more=True), said=header("c"), append=True)
    group = zarr.open_group(tmp_path / "more.zarr", mode="r")
    assert group["more"][:].tolist() == [*range(10), *[0] * 10, *range(10)]
    assert group["more_null"][:].tolist() == [False] * 10 + [True] * 10 + [False] * 10


def test_a_killed_append_leaves_what_was_there_and_goes_on(tmp_path, run):
    def killing(rows):
        if rows[0] >= 8:
            raise KeyboardInterrupt

    run("e", toy("a", 10, 2), said=header("a"))
    before = content(tmp_path / "e")
    with pytest.raises(KeyboardInterrupt):
        run("e", toy("b", 20, 2, look=killing), said=header("b"), append=True)
    assert content(tmp_path / "e") == before
    asked = []
    run("e", toy("b", 20, 2, asked=asked), said=header("b"), append=True)
    assert asked == list(range(8, 20))
    assert parquet.read_table(tmp_path / "e")["row"].to_pylist() == [*range(10), *range(20)]
    assert names(tmp_path) == ["e"]


def test_another_model_or_other_settings_are_refused_by_name(tmp_path, run):
    run("e", toy("a", 10, 2), said=header("a"))
    with pytest.raises(UserError, match="nothing can be added to it: its model m, and here other"):
        run("e", toy("b", 10, 2), said=header("b", model="other"), append=True)
    with pytest.raises(UserError, match="nothing can be added to it: its split None, and here test"):
        run("e", toy("b", 10, 2), said=header("b"), append=True, split="test")
    with pytest.raises(UserError, match="exists already, of model m, and here other"):
        run("e", toy("a", 10, 2), said=header("a", model="other"))
    with pytest.raises(UserError, match="there are no embeddings to add to"):
        run("f", toy("b", 10, 2), append=True)
    with pytest.raises(StoreError, match="column more is not in the embeddings"):
        run("e", toy("c", 10, 2, more=True), said=header("c"), append=True)
    assert names(tmp_path) == ["e"]


def test_units_of_another_line_are_named_and_not_mixed(tmp_path, run):
    run("e", toy("a", 10, 2), said=header("a"), part=(0, 2))
    with pytest.raises(UserError, match="units of an embed that did not finish lie beside it, of model m, and here n"):
        run("e", toy("a", 10, 2), said=header("a", model="n"))
    run("e", toy("a", 10, 2), said=header("a", model="n"), settings={"overwrite": True})
    assert json.loads((tmp_path / "e" / "_MANIFEST.json").read_text())["provenance"]["model_hash"] == "n"


def test_the_size_of_a_unit_is_what_the_first_start_says(tmp_path, run):
    run("e", toy("a", 100, 3), part=(0, 2), settings={"unit_rows": 10})
    run("e", toy("a", 100, 3), part=(1, 2), settings={"unit_rows": 50})
    sizes = [parquet.read_metadata(part).num_rows for part in sorted((tmp_path / "e").glob("*.parquet"))]
    assert sizes == [12] * 8 + [4], "whole batches of three"


def test_the_same_line_again_says_that_all_is_there(tmp_path, run, capsys):
    first = run()
    before = content(tmp_path)
    assert run() == first
    assert "already there, complete" in capsys.readouterr().err
    assert run(part=(3, 7)) == first, "a task that comes late finds all done"
    assert content(tmp_path) == before


def test_a_dry_run_writes_nothing_and_says_units_bytes_and_hours(tmp_path, run):
    asked = []
    found = run(data=toy("a", 3200, 10, asked=asked, seconds=1e-3), dry_run=True)
    assert (found["rows"], found["units"], found["unit_rows"]) == (3200, 32, [100])
    assert 50 < found["rows_per_second"] <= 1000
    assert found["hours"] == pytest.approx(3200 / found["rows_per_second"] / 3600)
    assert found["bytes_out"] > 3200 * 4
    assert found["array"] == {"1": 1, "4": 1, "12": 1}
    assert len(asked) == 40
    assert list(tmp_path.iterdir()) == []


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
    with pytest.raises(UserError, match=r"the suffix says the format: none for a folder, \.parquet, \.zarr or \.hats"):
        run("e.csv")
    (tmp_path / "e.numbers.parquet").touch()
    with pytest.raises(UserError, match=r"e\.numbers\.parquet: exists already"):
        run()
    with pytest.raises(UserError, match=r"e\.numbers\.parquet: is not replaced, for it is not embeddings"):
        run(settings={"overwrite": True})
    with pytest.raises(UserError, match="is read by this command"):
        run(inputs=(tmp_path / "e.parquet",))


def test_what_is_replaced_is_replaced_whole(tmp_path, run):
    run()
    first = (tmp_path / "e.parquet").read_bytes()
    run(data=toy("b", 7, 2), settings={"overwrite": True})
    assert parquet.read_table(tmp_path / "e.parquet").num_rows == 7
    assert not (tmp_path / "e.numbers.parquet").exists(), "the numbers of other rows would be left"
    run(settings={"overwrite": True})
    assert (tmp_path / "e.parquet").read_bytes() == first
    assert inspect_path(tmp_path / "e.parquet", verify=True).document["rows"] == 5


@pytest.mark.parametrize("name", ["e", "e.parquet", "e.zarr"])
@pytest.mark.parametrize("limit", [64, 900])
def test_a_full_disk_is_one_sentence_and_leaves_nothing(tmp_path, run, full_disk, name, limit):
    with full_disk(limit), pytest.raises(PolycliError, match=rf"{name}: embeddings cannot be written: .*large"):
        run(name)
    assert list(tmp_path.iterdir()) == []


def test_a_disk_that_fills_in_a_later_unit_keeps_those_that_are_finished(tmp_path, run):
    def filling(rows):
        if rows[0] >= 6:
            raise OSError(28, "No space left on device", str(tmp_path / ".e.partial-units" / "units"))

    with pytest.raises(PolycliError, match="e: embeddings cannot be written: No space left on device") as error:
        run("e", toy("a", 20, 2, look=filling))
    assert (error.value.exit_code, len(UnitPlace(tmp_path / "e").done())) == (1, 3)
    assert "finished units are kept" in error.value.hint


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


def test_units_may_be_written_on_a_disk_of_the_machine_first(tmp_path, run):
    (tmp_path / "own").mkdir()
    there = []

    def look(rows):
        there.append(sorted(path.name.partition(".")[0] for path in (tmp_path / "own").iterdir()))

    run("one/e", toy("a", 20, 2, numbers=True))
    run("two/e", toy("a", 20, 2, numbers=True, look=look), scratch=tmp_path / "own")
    assert content(tmp_path / "two") == content(tmp_path / "one")
    assert there[3] == ["polycli-e-000003"]
    assert names(tmp_path / "own") == []
    with pytest.raises(UserError, match=r"--scratch .*absent: is no folder that can be written to"):
        run("three/e", scratch=tmp_path / "absent")
    assert names(tmp_path) == ["one", "own", "two"]


def test_a_unit_that_another_machine_has_in_hand_is_left_for_the_end_and_its_leftovers_alone(tmp_path, run):
    """Two hosts share one folder: a claim of the other counts while it is touched, whatever process has that number."""
    run("e", toy("a", 20, 2), part=(0, 10))
    place = UnitPlace(tmp_path / "e")
    claim, unfinished = place.claims / f"000003.node7.{os.getpid()}", place.work / "units" / ".000003.node7.1"
    claim.touch()
    unfinished.mkdir()
    asked = []

    def look(rows):
        assert unfinished.is_dir(), "a process of another machine may still write there"

    run("e", toy("a", 20, 2, asked=asked, look=look))
    assert asked == [*range(2, 6), *range(8, 20), 6, 7]
    assert names(tmp_path) == ["e"]
    run("f", toy("a", 20, 2), part=(0, 10))
    claim = UnitPlace(tmp_path / "f").claims / "000003.node7.1"
    claim.touch()
    os.utime(claim, (0, 0))
    asked.clear()
    run("f", toy("a", 20, 2, asked=asked))
    assert asked == list(range(2, 20)), "nobody has touched that claim for long"


@pytest.mark.parametrize("hours", [0.001, 1.0])
def test_a_dry_run_prints_the_script_of_an_array_for_a_wanted_time(tmp_path, run, hours):
    line = ("embed", "toy", "--data", "my stores", "--output", "e", "--dry-run", "--hours", "2", "--sbatch")
    found = run(data=toy("a", 32_000, 10, seconds=1e-3), dry_run=True, sbatch=True, hours=hours, line=line)
    tasks = min(32, int(np.ceil(found["hours"] / hours)))
    assert (tasks > 5) == (hours < 1.0)
    script = found["sbatch"].splitlines()
    assert f"#SBATCH --array=0-{tasks - 1}" in script
    (srun,) = [text for text in script if text.startswith("srun")]
    assert srun == ("srun --kill-on-bad-exit=1 polycli embed toy --data 'my stores' --output e --part auto || code=$?")
    assert "#SBATCH --time=00:10:00" in script
    assert list(tmp_path.iterdir()) == []
