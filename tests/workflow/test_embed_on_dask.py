"""Units that are handed to a Dask cluster make the bytes of one process, and what goes wrong there is told here."""

import functools
import json
import pickle
from pathlib import Path
from types import SimpleNamespace

import pytest
from distributed import LocalCluster
from distributed.scheduler import KilledWorker

from polycli.astroclip.embed import open_rows
from polycli.astroclip.recipe.settings import EmbedSettings
from polycli.errors import PolycliError, StoreError, UserError
from polycli.requests import EmbedRequest
from polycli.sections import UnitSettings
from polycli.store.embeddings.units import UnitPlace
from polycli.workflow.embed import begin, embed
from polycli.workflow.embedding import on_dask
from polycli.workflow.embedding.rows import Opened
from tests.workflow.test_embed import content, names
from tests.workflow.toy_rows import header, toy


def two_stores(request, **changes):
    """Opens the same rows for whoever asks; as doors' functions are, it is one of a module."""
    assert request.output.is_absolute() or request.dask is not None
    stores = [toy("a", 60, 3, numbers=True, **changes), toy("b", 20, 2, numbers=True)]
    return Opened(header("a", "b"), stores)


def failing(rows):
    """Fails as a library does."""
    raise RuntimeError("out of memory")


def moved(request):
    """Opens other rows in a worker, which is told no words of a line, than here."""
    rows = [toy("c", 60, 3), toy("b", 20, 2)]
    return two_stores(request) if request.line else Opened(header("a", "b"), rows)


#: The units whose next worker dies.
deaths = []
embed_unit = on_dask.embed_unit


def dying(task, unit):
    """Embeds a unit, unless its worker is to die."""
    if unit in deaths:
        deaths.remove(unit)
        raise KilledWorker(str(unit), SimpleNamespace(address="tcp://node7"), 3)
    return embed_unit(task, unit)


@pytest.fixture(scope="module")
def cluster():
    """Two workers with two threads each, in this process; processes of their own are killed in tests/stress."""
    with LocalCluster(
        n_workers=2, threads_per_worker=2, processes=False, dashboard_address=None, host="127.0.0.1", protocol="tcp"
    ) as made:
        yield made


def embedded(output, *, opener=two_stores, settings=None, **options):
    request = EmbedRequest(checkpoint=Path("c"), data=(), output=output, json=True, **options)
    target = begin(request, UnitSettings(**{"unit_rows": 6, **(settings or {})}), tables={"numbers": "row"})
    return embed(target, opener(request), noun=("row", "rows"), opener=opener)


@pytest.mark.parametrize("name", ["e", "e.parquet"])
def test_a_cluster_makes_the_bytes_of_one_process(tmp_path, monkeypatch, cluster, name):
    monkeypatch.chdir(tmp_path)
    alone = embedded(tmp_path / "alone" / name)
    # Paths are told to workers whole.
    assert embedded(Path("dask") / name, dask=cluster.scheduler_address)["rows"] == alone["rows"] == 80
    assert content(tmp_path / "dask") == content(tmp_path / "alone")
    assert names(tmp_path / "dask") == names(tmp_path / "alone")


def first_night(request):
    return Opened(header("a"), [toy("a", 60, 3, numbers=True)])


def next_night(request):
    return Opened(header("b"), [toy("b", 20, 2, numbers=True)])


@pytest.mark.parametrize("name", ["e", "e.parquet", "e.zarr"])
def test_what_a_cluster_adds_are_the_bytes_of_all_data_at_once(tmp_path, cluster, name):
    embedded(tmp_path / "whole" / name)
    embedded(tmp_path / "grown" / name, opener=first_night)
    before = content(tmp_path / "grown")
    for _ in range(2):  # The second time it is there already.
        added = embedded(tmp_path / "grown" / name, opener=next_night, append=True, dask=cluster.scheduler_address)
        assert added["rows"] == 80
        assert content(tmp_path / "grown") == content(tmp_path / "whole") != before


def test_units_that_are_there_are_not_handed_out_and_a_scheduler_file_is_an_address(tmp_path, cluster):
    embedded(tmp_path / "e", part=(0, 3))
    there = {file.name: file.stat().st_ino for file in (UnitPlace(tmp_path / "e").work / "units").glob("*/part-*")}
    (tmp_path / "scheduler.json").write_text(json.dumps({"address": cluster.scheduler_address}))
    embedded(tmp_path / "e", dask=str(tmp_path / "scheduler.json"))
    embedded(tmp_path / "whole")
    assert content(tmp_path / "e") == content(tmp_path / "whole")
    assert len(there) == 5
    assert {name: (tmp_path / "e" / name).stat().st_ino for name in there} == there


def test_an_error_of_a_worker_is_told_as_our_own(tmp_path, cluster):
    damaged = functools.partial(two_stores, damaged=(7,))
    with pytest.raises(StoreError, match="row 7 is damaged"):
        embedded(tmp_path / "e", opener=damaged, dask=cluster.scheduler_address)
    assert not (tmp_path / "e").exists()
    with pytest.raises(PolycliError, match=r"a worker on .*: RuntimeError: out of memory"):
        embedded(tmp_path / "f", opener=functools.partial(two_stores, look=failing), dask=cluster.scheduler_address)


def test_a_worker_that_reads_other_rows_is_refused(tmp_path, cluster):
    with pytest.raises(StoreError, match=r"a: a worker on .* finds other rows in it than were planned"):
        embedded(tmp_path / "e", opener=moved, dask=cluster.scheduler_address, line=("embed",))


def test_a_unit_whose_workers_died_is_handed_out_again_and_not_for_ever(tmp_path, cluster, monkeypatch):
    """Dask tells it after its own three tries. It is made so here, for a thread cannot be killed."""
    monkeypatch.setattr(on_dask, "embed_unit", dying)
    deaths[:] = [2, 2]
    assert embedded(tmp_path / "e", dask=cluster.scheduler_address)["rows"] == 80
    assert deaths == []
    deaths[:] = [2] * 5
    with pytest.raises(PolycliError, match="unit 2: every worker that began with it died, 3 times over"):
        embedded(tmp_path / "f", dask=cluster.scheduler_address)


def test_what_cannot_be_handed_out_is_refused(tmp_path, cluster, monkeypatch):
    def files(request):
        return Opened(header("a"), [toy("a", 20, 2, stream=True)])

    with pytest.raises(UserError, match="a: is read from front to end, so its rows cannot be handed out"):
        embedded(tmp_path / "e", opener=files, dask=cluster.scheduler_address)
    monkeypatch.setattr(on_dask, "_ANSWERS_SECONDS", 0.2)
    with pytest.raises(UserError, match=r"--dask tcp://127\.0\.0\.1:9: no scheduler answers there"):
        embedded(tmp_path / "e", dask="tcp://127.0.0.1:9")
    assert list(tmp_path.iterdir()) == []


def test_the_doors_can_be_sent_to_a_worker():
    opener = functools.partial(open_rows, settings=EmbedSettings(family="astroclip", verb="embed"))
    task = on_dask.UnitTask(EmbedRequest(checkpoint=Path("c"), data=(), output=Path("e")), opener, "", 0.0, 1)
    assert pickle.loads(pickle.dumps(task)).opener.keywords == opener.keywords  # noqa: S301  # Our own.
