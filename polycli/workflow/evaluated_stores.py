"""Finds the stores that an evaluation works on, its run's own or others, and the folder where it writes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from polycli.console import say, warn
from polycli.errors import StoreError
from polycli.paths import refuse_unwritable
from polycli.requests import EvalRequest
from polycli.store.reader import Store
from polycli.workflow.run_stores import stores_of_run
from polycli.workflow.stores import open_stores


def evaluated_stores(data: Sequence[Path], *, family: str, model_file: Path, run: Path | None) -> list[Store]:
    """The stores of `--data` or, where there is none, those that the run of `model_file` was trained on; by name.

    Raises:
        StoreError: none is named or found, or one is gone.
    """
    known = stores_of_run(run)
    if not data:
        if not known:
            raise StoreError(
                f"there is no data to evaluate on, and {model_file} lies in no run that names its stores",
                hint="give --data STORE",
            )
        gone = [entry.path for entry in known.values() if not Path(entry.path).exists()]
        if gone:
            raise StoreError(
                f"{gone[0]}: the run was trained on this store, which is not there", hint="give --data STORE"
            )
        say(f"data: the run's own stores, {', '.join(known)}")
    stores = open_stores(data or [entry.path for entry in known.values()], family=family, verify="auto")
    for store in stores:
        trained = known.get(store.name)
        if trained is not None and trained.store_hash != store.manifest.store_hash:
            warn(f"{store.path}: not the store that the run was trained on, though it has the same name")
    return stores


def output_folder(request: EvalRequest, run: Path | None) -> Path:
    """Chooses the folder to write to: `--output`, else RUN/eval/SPLIT, else ./eval.

    Raises:
        UserError: nothing can be written there.
    """
    if request.output is not None:
        folder = request.output.resolve()
    else:
        folder = Path.cwd() / "eval" if run is None else run / "eval" / request.split
    refuse_unwritable(folder, what="scores")
    return folder
