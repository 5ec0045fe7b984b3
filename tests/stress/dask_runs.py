"""Embeds 200 units on a LocalCluster whose workers are killed; `dask_runs.py FOLDER KILLS` writes a report there."""

import json
import os
import signal
import sys
import threading
import time
from functools import partial
from pathlib import Path

import dask
import numpy as np
from distributed import Client, LocalCluster
from distributed.utils import get_mp_context
from toy_rows import header, toy

from polycli.errors import PolycliError
from polycli.requests import EmbedRequest
from polycli.sections import UnitSettings
from polycli.store.embeddings.units import UnitPlace
from polycli.workflow.embed import begin, embed
from polycli.workflow.embedding.rows import Opened

ROWS, BATCH, UNIT, WORKERS = 1600, 4, 8, 4
UNITS_BETWEEN = 4


def opened(_: EmbedRequest, seconds: float) -> Opened:
    return Opened(header("a"), [toy("a", ROWS, BATCH, numbers=True, seconds=seconds)])


def embed_all(output: Path, opener: partial[Opened], dask: str | None = None) -> None:
    request = EmbedRequest(checkpoint=Path("c"), data=(), output=output, dask=dask, json=True)
    target = begin(request, UnitSettings(unit_rows=UNIT), tables={"numbers": "row"})
    embed(target, opener(request), noun=("row", "rows"), opener=opener)


def kill_workers(cluster: LocalCluster, place: UnitPlace, wanted: int, kills: list[int]) -> None:
    """Kill a worker now and then, each time after some more units; its nanny starts another, which takes seconds."""
    draw = np.random.default_rng(7)
    while len(kills) < wanted:
        time.sleep(draw.uniform(0.1, 0.8))
        processes = [nanny.process.pid for nanny in cluster.workers.values() if nanny.process and nanny.process.pid]
        done = len(place.done())
        if processes and done >= (kills[-1] if kills else 0) + UNITS_BETWEEN:
            try:
                os.kill(int(draw.choice(processes)), signal.SIGKILL)
            except ProcessLookupError:
                continue  # It is about to be started again.
            kills.append(done)


def start_workers_quickly() -> None:
    """Fork workers from a process that has imported what they need: on a busy machine each would take half a minute."""
    dask.config.set({"distributed.worker.multiprocessing-method": "forkserver"})
    get_mp_context().set_forkserver_preload(["distributed", "torch", "toy_rows", "polycli.workflow.embedding.on_dask"])


def main(folder: Path, wanted: int) -> None:
    start_workers_quickly()
    embed_all(folder / "alone" / "e", partial(opened, seconds=0.0))
    kills: list[int] = []
    output = folder / "dask" / "e"
    with LocalCluster(n_workers=WORKERS, threads_per_worker=1, dashboard_address=None, host="127.0.0.1") as cluster:
        with Client(cluster) as client:
            client.wait_for_workers(WORKERS)
        killing = threading.Thread(target=kill_workers, args=(cluster, UnitPlace(output), wanted, kills), daemon=True)
        killing.start()
        starts = 0
        while not output.exists():
            starts += 1
            try:
                embed_all(output, partial(opened, seconds=1.2 / UNIT), cluster.scheduler_address)
            except PolycliError as error:
                print(error, file=sys.stderr, flush=True)
        killing.join()
    (folder / "report.json").write_text(json.dumps({"kills": kills, "starts": starts}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
