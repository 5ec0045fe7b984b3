"""Hands the units of an embed to a running Dask cluster, whose workers write them beside the target, on shared disks.

A worker is given the number of a unit and opens checkpoint and data once. As everywhere, a unit that is there is
finished: those of a worker that died are handed out again, and a start that is killed leaves what its workers made.
"""

from __future__ import annotations

import socket
import threading
import uuid
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import CancelledError
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic

from polycli.console import progress, say
from polycli.engine.signals import StopRequest
from polycli.errors import MissingDependencyError, PolycliError, StoreError, UserError
from polycli.launch import World
from polycli.paths import expand_paths
from polycli.requests import EmbedRequest
from polycli.store.embeddings.growing import schemas_of
from polycli.store.embeddings.plan import Plan
from polycli.store.embeddings.units import UnitPlace
from polycli.workflow.embedding.rows import Batch, Opened, Rows
from polycli.workflow.embedding.work import Share, Worker

if TYPE_CHECKING:
    from distributed import Client, Future

#: Opens checkpoint and data for a request; picklable, as a function of a module with settings is.
Opener = Callable[[EmbedRequest], Opened[Batch]]
#: A unit whose workers died is handed out again so many times; each time Dask itself has tried it on some workers.
_HANDED_OUT = 3
_ANSWERS_SECONDS = 30.0
_LOOK_SECONDS = 0.5


@dataclass(frozen=True)
class UnitTask(Generic[Batch]):
    """Everything that a worker must know to embed any unit."""

    #: With absolute paths.
    request: EmbedRequest
    opener: Opener[Batch]
    fingerprint: str
    most_quarantined: float
    #: Of a forward pass, as on the machine that hands out: sums in another order have other last digits.
    threads: int


@dataclass(frozen=True)
class UnitOutcome:
    """The answer of a worker: the rows of a unit, or its error."""

    rows: int = 0
    error: PolycliError | None = None


def embed_on_dask(
    request: EmbedRequest,
    opener: Opener[Batch],
    plan: Plan,
    data: Sequence[Rows[Batch]],
    *,
    stop: StopRequest,
    most_quarantined: float,
) -> None:
    """Have the workers of a Dask cluster embed all units that are missing, until they are there or a signal comes.

    Raises:
        UserError: no scheduler answers, or the rows cannot be taken in any order.
        PolycliError: a unit failed, or its workers died again and again; finished units are kept.
    """
    for rows in data:
        if rows.take is None:
            raise UserError(
                f"{rows.name}: is read from front to end, so its rows cannot be handed out by --dask",
                hint="prepare a store of it; or share the work out by --part",
            )
    place = UnitPlace(request.output)
    task = _task(request, opener, plan, most_quarantined)
    sources = range(plan.kept, len(plan.sources))
    rows_of = {unit.number: unit.end - unit.first for source in sources for unit in plan.units_of(source)}
    missing = sorted(set(rows_of) - place.done())
    with _client(str(request.dask)) as client, progress(sum(map(rows_of.__getitem__, missing)), "embedding") as bar:
        for outcome in _outcomes(client, task, missing, stop):
            if outcome.error is not None:
                raise outcome.error
            bar.advance(outcome.rows)


def embed_unit(task: UnitTask[Batch], unit: int) -> UnitOutcome:
    """Embed one unit in this process, unless it is there; a process embeds one at a time, however many are asked of it.

    Errors are answered, not raised, so that the one who asked can tell them as those of its own.
    """
    try:
        with _ONE_AT_A_TIME:
            return UnitOutcome(_worker(task).unit(unit))
    except PolycliError as error:
        return UnitOutcome(error=error)
    except Exception as error:  # noqa: BLE001  # It is told where a user reads it, with the name of the machine.
        told = PolycliError(f"a worker on {socket.gethostname()}: {type(error).__name__}: {error}")
        return UnitOutcome(error=told)


def _task(request: EmbedRequest, opener: Opener[Batch], plan: Plan, most_quarantined: float) -> UnitTask[Batch]:
    import torch

    there = replace(
        request,
        checkpoint=request.checkpoint.absolute(),
        data=tuple(path.absolute() for path in expand_paths(request.data)),
        output=request.output.absolute(),
        line=(),
    )
    return UnitTask(there, opener, plan.fingerprint, most_quarantined, torch.get_num_threads())


def _outcomes(client: Client, task: UnitTask[Batch], units: Sequence[int], stop: StopRequest) -> Iterator[UnitOutcome]:
    """The outcomes of units, as they come; those whose workers died are handed out again."""
    from distributed import wait

    def handed_out(unit: int) -> Future:
        return client.submit(embed_unit, task, unit, key=f"polycli-embed-{unit}-{uuid.uuid4().hex}", pure=False)

    waiting = {handed_out(unit): (unit, 1) for unit in units}
    try:
        while waiting and not stop.signal_number:
            try:
                ended = wait(list(waiting), timeout=_LOOK_SECONDS, return_when="FIRST_COMPLETED").done
            except TimeoutError:
                _refuse_lost(client)
                continue
            for future in ended:
                unit, times = waiting.pop(future)
                outcome = _answer(future, unit)
                if outcome is not None:
                    yield outcome
                    continue
                _refuse_lost(client)
                if times == _HANDED_OUT:
                    raise PolycliError(
                        f"unit {unit}: every worker that began with it died, {times} times over",
                        hint="see the workers' logs, their memory first; finished units are kept",
                    )
                waiting[handed_out(unit)] = (unit, times + 1)
    finally:
        client.cancel(list(waiting))


def _answer(future: Future, unit: int) -> UnitOutcome | None:
    """The answer of a worker; None where it died, be it with the answer in its memory."""
    from distributed.scheduler import KilledWorker

    try:
        outcome: UnitOutcome = future.result()
    except (KilledWorker, CancelledError):
        return None
    except Exception as error:  # noqa: BLE001  # Dask's own, such as a worker that cannot import polycli.
        return UnitOutcome(error=PolycliError(f"unit {unit}: {error}", hint="finished units are kept"))
    return outcome


@contextmanager
def _client(address: str) -> Iterator[Client]:
    """A client of the scheduler at an address, or of the one that a scheduler file tells of.

    Raises:
        MissingDependencyError: Dask is not installed.
        UserError: none answers.
    """
    try:
        from distributed import Client
    except ImportError as error:
        raise MissingDependencyError(
            "--dask needs the package distributed, which is not installed", hint="pip install 'polycli[dask]'"
        ) from error
    where: dict[str, object] = {"scheduler_file": address} if Path(address).is_file() else {"address": address}
    try:
        client = Client(**where, timeout=_ANSWERS_SECONDS, set_as_default=False)
    except (OSError, ValueError, TimeoutError) as error:
        raise UserError(
            f"--dask {address}: no scheduler answers there: {error}",
            hint="give an address like tcp://host:8786, or the file of `dask scheduler --scheduler-file`",
        ) from error
    with client, client.as_current():
        count = len(client.scheduler_info(n_workers=-1)["workers"])
        say(f"{address}: {count} workers" if count else f"{address}: no worker is there yet; units wait for some")
        yield client


def _refuse_lost(client: Client) -> None:
    if client.status not in ("running", "connecting"):
        raise PolycliError(
            "the Dask scheduler is gone", hint="finished units are kept: start a cluster, and run the same line again"
        )


#: What this process has opened last, and by which task.
_opened: list[tuple[str, Worker[Any]]] = []
_ONE_AT_A_TIME = threading.Lock()


def _worker(task: UnitTask[Batch]) -> Worker[Batch]:
    """The model and data of a task, opened once in a process."""
    import torch

    key = f"{task.fingerprint} {task.request.output}"
    if not _opened or _opened[0][0] != key:
        place = UnitPlace(task.request.output)
        plan = place.plan()
        if plan is None:
            raise StoreError(
                f"{place.work}: is not seen by a worker on {socket.gethostname()}",
                hint="all workers need the folder of the output under the same path",
            )
        torch.set_num_threads(task.threads)
        rows = {each.identity: each for each in task.opener(task.request).rows}
        sources = plan.sources[plan.kept :]
        if other := [source.name for source in sources if source.identity not in rows]:
            raise StoreError(f"{other[0]}: a worker on {socket.gethostname()} finds other rows in it than were planned")
        _opened[:] = [
            (
                key,
                Worker(
                    place,
                    plan,
                    [rows[source.identity] for source in sources],
                    Share(World(), None, frozenset()),
                    stop=StopRequest(),
                    most_quarantined=task.most_quarantined,
                    schemas=schemas_of(task.request.output) if plan.kept else {},
                    scratch=task.request.scratch,
                ),
            )
        ]
    return _opened[0][1]
