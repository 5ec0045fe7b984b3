"""How far a prepare has come: its staged pieces beside the target, or the manifest of the store."""

from __future__ import annotations

import time
from pathlib import Path

from polycli.errors import StoreError
from polycli.status.progress import Progress
from polycli.store.manifest import MANIFEST_NAME, read_manifest
from polycli.store.parts import pieces_of

#: A build in whose folders nothing has changed for so many seconds is taken for one that nobody works on.
_QUIET_SECONDS = 300.0


def store_status(path: Path) -> Progress | None:
    """How far the store at `path` has come; None where there is none and none is being made."""
    works = sorted(path.parent.glob(f"{path.name}.partial-*"), key=lambda work: work.stat().st_mtime)
    works = [work for work in works if work.is_dir()]
    if works:
        return _in_work(path, works[-1])
    if not (path / MANIFEST_NAME).is_file():
        return None
    try:
        manifest = read_manifest(path)
    except StoreError as error:
        return Progress(path, "store", "failed", ("row", "rows"), done=0, error=error.message)
    return Progress(
        path,
        "store",
        "complete",
        ("row", "rows"),
        done=manifest.rows,
        missing=0,
        quarantined=len(manifest.rejected),
        rows=manifest.rows,
    )


def _in_work(path: Path, work: Path) -> Progress:
    # Trajectories have a record each, blocks of many rows a folder each.
    folders = [work / "records", work / "blocks"]
    done = [entry for folder in folders if folder.is_dir() for entry in folder.iterdir() if entry.name[0] != "."]
    writing = work / "writing"
    changed = max(folder.stat().st_mtime for folder in (work, writing, *folders) if folder.is_dir())
    live = time.time() - changed < _QUIET_SECONDS
    running = len(list(writing.iterdir())) if live and writing.is_dir() else 0
    total = pieces_of(work)
    missing = None if total is None else max(0, total - len(done) - running)
    left = None
    if live and total is not None and len(done) > 1:
        times = sorted(entry.stat().st_mtime for entry in done)
        left = (times[-1] - times[0]) / (len(done) - 1) * (total - len(done))
    return Progress(
        path,
        "store",
        "running" if live else "stopped",
        ("piece", "pieces"),
        done=len(done),
        running=running,
        missing=missing,
        seconds_left=left,
    )
