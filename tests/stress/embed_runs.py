"""Embeds 200 units with up to eight workers that are killed at random instants, and started again as other parts.

Every start is some forked processes, so that what is imported is imported once. `embed_runs.py FOLDER JSON-SETTINGS`
writes FOLDER/report.json.
"""

from __future__ import annotations

import importlib
import json
import os
import signal
import sys
import time
import traceback
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "workflow"))

import numpy as np
from toy_rows import header, toy

from polycli.errors import PolycliError
from polycli.inspection import inspect_path
from polycli.requests import EmbedRequest
from polycli.sections import UnitSettings
from polycli.store.embeddings import hats_form
from polycli.store.embeddings.units import UnitPlace
from polycli.workflow.embed import begin, embed
from polycli.workflow.embedding.rows import Opened

ROWS, BATCH, UNIT = 1600, 4, 8
Part = tuple[int, int] | None


def embed_all(output: Path, part: Part, *, pause: float, append: bool) -> None:
    request = EmbedRequest(checkpoint=Path("c"), data=(), output=output, part=part, append=append, json=True)
    sky = output.suffix == ".hats"
    target = begin(request, UnitSettings(unit_rows=UNIT), tables={"numbers": "row"}, positions=sky)
    name = "more" if append else "first"
    rows = toy(name, ROWS, BATCH, numbers=not sky, sky=sky, seconds=pause / UNIT)
    embed(target, Opened(header(name), [rows]), noun=("row", "rows"))


def start(output: Path, part: Part, **options: Any) -> int:
    child = os.fork()
    if child == 0:
        code = 0
        try:
            embed_all(output, part, **options)
        except PolycliError as error:
            print(f"{part}: {error}", file=sys.stderr, flush=True)
            code = error.exit_code
        except BaseException:  # noqa: BLE001  # A forked child must never go on as its parent.
            traceback.print_exc()
            code = 1
        os._exit(code)
    return child


def ended(child: int) -> int | None:
    found, status = os.waitpid(child, os.WNOHANG)
    return os.waitstatus_to_exitcode(status) if found else None


def kill_workers(output: Path, settings: dict[str, Any], draw: np.random.Generator, *, append: bool) -> dict[str, Any]:
    """Start workers, kill some of them, stop the others, start others with another n, until there were enough kills."""
    kills: list[int] = []
    starts, codes = [], []
    enough = settings["kills"][output.name]
    while len(kills) < enough:
        count = int(draw.integers(2, settings["workers"] + 1))
        # Now and then workers that know nothing of each other.
        parts: list[Part] = [None] * count if draw.random() < 0.25 else [(index, count) for index in range(count)]
        starts.append([count, parts[0] is None])
        workers = {start(output, part, pause=settings["pause"], append=append) for part in parts}
        most = min(len(kills) + int(draw.integers(1, count + 1)), enough)
        while workers:
            time.sleep(draw.uniform(0.0, settings["between"]))
            gone = {worker: code for worker in workers if (code := ended(worker)) is not None}
            workers -= set(gone)
            codes += gone.values()
            if workers and len(kills) < most:
                kills.append(len(UnitPlace(output).done()))
                os.kill(int(draw.choice(sorted(workers))), signal.SIGKILL)
            elif workers:
                for worker in workers:
                    os.kill(worker, signal.SIGTERM)
                codes += [os.waitstatus_to_exitcode(os.waitpid(worker, 0)[1]) for worker in workers]
                workers = set()
    done = start(output, None, pause=0.0, append=append)
    return {
        "kills": kills,
        "starts": starts,
        "codes": codes,
        "ended": os.waitstatus_to_exitcode(os.waitpid(done, 0)[1]),
    }


def kill_publishers(
    output: Path, settings: dict[str, Any], draw: np.random.Generator, *, append: bool
) -> dict[str, Any]:
    """Kill the start that publishes at random instants, again and again, then let one end.

    What is found at the target after each kill is told as well: how many rows, of which every hash was compared.
    """
    kills, found, last = 0, [], settings["publishing_kills"] - 1
    for number in range(last + 1):
        publisher = start(output, None, pause=0.0, append=append)
        # Later and later, from a hundredth of the time on, so that a fast machine is hit before it is done too.
        time.sleep(settings["publishing_seconds"] * 0.01 ** (1 - number / last) * draw.uniform(0.7, 1.3))
        if ended(publisher) is None:
            os.kill(publisher, signal.SIGKILL)
            os.waitpid(publisher, 0)
            kills += 1
            found.append(inspect_path(output, verify=True).document["rows"] if output.exists() else 0)
    done = start(output, None, pause=0.0, append=append)
    return {"kills": kills, "found": found, "ended": os.waitstatus_to_exitcode(os.waitpid(done, 0)[1])}


def main(folder: Path, settings: dict[str, Any]) -> None:
    importlib.import_module("pyarrow.parquet")
    # Small enough that partitions are divided when rows are added.
    hats_form.PARTITION_ROWS = 100
    draw = np.random.default_rng(settings["seed"])
    report: dict[str, Any] = {}
    begun = time.monotonic()
    for name in settings["kills"]:
        for append in (False, True):
            whole = start(folder / "whole" / name, None, pause=0.0, append=append)
            assert os.waitpid(whole, 0)[1] == 0
            key = f"{name}, added to" if append else name
            report[key] = kill_workers(folder / "killed" / name, settings, draw, append=append)
            print(key, report[key], file=sys.stderr, flush=True)
            place = folder / "published" / name
            report[f"{key}, publishing"] = kill_publishers(place, settings, draw, append=append)
    report["seconds"] = time.monotonic() - begun
    (folder / "report.json").write_text(json.dumps(report, indent=1))


if __name__ == "__main__":
    main(Path(sys.argv[1]), json.loads(sys.argv[2]))
