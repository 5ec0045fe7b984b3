"""python, torchrun or srun: one process group, however a command was started, with every variable that DeepSpeed needs.

`--nproc N` starts N local ranks here, without torchrun, so that exit codes and messages reach the user unchanged. torch
is imported when a group is joined, not before.
"""

from __future__ import annotations

import atexit
import contextlib
import ctypes
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import FrameType
from typing import IO, NoReturn

from polycli import stopping
from polycli.errors import MissingDependencyError, UserError

#: Set in ranks that `start_local_ranks` started, to the process id of their parent; they end with it.
LOCAL_RANKS_VARIABLE = "POLYCLI_LOCAL_RANKS"
#: Seconds that the other ranks have to end by themselves once one has failed. All ranks may be ending with the same
#: error, and rank 0 is the one that says it.
GRACE_SECONDS = 4.0
#: Seconds that they have where the first one ended with 75: it has saved, and so have they.
PREEMPTED_GRACE_SECONDS = 30.0
_LOOPBACK = "127.0.0.1"
_KEPT_LINES = 60


@dataclass(frozen=True)
class World:
    """The process group as one rank sees it."""

    rank: int = 0
    size: int = 1
    local_rank: int = 0


def join_process_group() -> World:
    """Enter the process group that the environment describes: gloo on CPUs, nccl on GPUs. Calling again is safe.

    Sets RANK, LOCAL_RANK, WORLD_SIZE, MASTER_ADDR and MASTER_PORT where the launcher did not.
    """
    settings = environment(os.environ)
    os.environ.update(settings)
    if settings["MASTER_ADDR"] == _LOOPBACK:
        # A host name that does not resolve would otherwise delay or stop gloo.
        os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    if LOCAL_RANKS_VARIABLE in os.environ:
        _die_with_parent()
    world = World(int(settings["RANK"]), int(settings["WORLD_SIZE"]), int(settings["LOCAL_RANK"]))
    try:
        import torch
        from torch import distributed
    except ImportError as error:  # pragma: no cover - torch is a dependency
        raise MissingDependencyError("PyTorch is not installed", hint="pip install torch") from error
    if not distributed.is_initialized():
        if torch.cuda.is_available():
            torch.cuda.set_device(world.local_rank % torch.cuda.device_count())
            distributed.init_process_group("nccl")
        else:
            distributed.init_process_group("gloo")
    return world


def leave_process_group() -> None:
    """Leave the group, if this process is in one: the last thing that a command does, when no rank waits for this one.

    It is nothing for the end of a verb: DeepSpeed keeps the first group that it sees, so a process joins only once.
    """
    distributed = sys.modules.get("torch.distributed")
    if distributed is not None and distributed.is_initialized() and distributed.get_world_size() > 1:
        distributed.destroy_process_group()


def end_process(code: int) -> NoReturn:
    """End this process with a code; where it is one of several ranks, at once after what is registered for the end.

    DeepSpeed holds groups beyond their destruction, so gloo's threads still run when Python ends. C++ then destroys
    them as they are and aborts, about once in ten times: a training that is whole would end with 134.
    """
    try:
        several = int(environment(os.environ)["WORLD_SIZE"]) > 1
    except (UserError, ValueError):
        several = False
    if not several:
        sys.exit(code)
    atexit._run_exitfuncs()  # noqa: SLF001  # There is no other way to run them and not end.
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    os._exit(code)


def environment(variables: Mapping[str, str]) -> dict[str, str]:
    """RANK, LOCAL_RANK, WORLD_SIZE, MASTER_ADDR and MASTER_PORT for the launcher that set `variables`.

    torchrun sets all five. srun sets its own names. Neither means one process.
    """
    if "RANK" in variables and "WORLD_SIZE" in variables:
        size = int(variables["WORLD_SIZE"])
        address = variables.get("MASTER_ADDR", _LOOPBACK)
        port = variables.get("MASTER_PORT")
        if port is None and size > 1:
            raise UserError(
                "RANK and WORLD_SIZE are set and MASTER_PORT is not, so the ranks cannot find each other",
                hint="start with torchrun, srun or --nproc",
            )
        return {
            "RANK": variables["RANK"],
            "LOCAL_RANK": variables.get("LOCAL_RANK", variables["RANK"] if size == 1 else "0"),
            "WORLD_SIZE": variables["WORLD_SIZE"],
            "MASTER_ADDR": address,
            "MASTER_PORT": port or str(free_port()),
        }
    if _is_srun_task(variables):
        job = int(variables.get("SLURM_JOB_ID", "0"))
        return {
            "RANK": variables["SLURM_PROCID"],
            "LOCAL_RANK": variables.get("SLURM_LOCALID", "0"),
            "WORLD_SIZE": variables["SLURM_NTASKS"],
            "MASTER_ADDR": variables.get("MASTER_ADDR")
            or first_host(variables.get("SLURM_STEP_NODELIST") or variables.get("SLURM_JOB_NODELIST", _LOOPBACK)),
            # All tasks must come to the same port without speaking to each other.
            "MASTER_PORT": variables.get("MASTER_PORT") or str(20000 + job % 20000),
        }
    return {
        "RANK": "0",
        "LOCAL_RANK": "0",
        "WORLD_SIZE": "1",
        "MASTER_ADDR": variables.get("MASTER_ADDR", _LOOPBACK),
        "MASTER_PORT": variables.get("MASTER_PORT") or str(free_port()),
    }


def first_host(nodes: str) -> str:
    """The first host of Slurm's compressed list: `gpu[003-010,12],cpu5` is `gpu003`."""
    match = re.match(r"([^,\[]*)(?:\[([^\]]*)\])?([^,]*)", nodes)
    if match is None:
        return nodes
    prefix, choices, suffix = match.groups()
    number = re.split(r"[,-]", choices)[0] if choices else ""
    return f"{prefix}{number}{suffix}"


def free_port() -> int:
    """A TCP port on this machine that nobody listened on a moment ago."""
    with socket.socket() as listener:
        listener.bind((_LOOPBACK, 0))
        return int(listener.getsockname()[1])


def start_local_ranks(nproc: int, arguments: Sequence[str]) -> int:
    """Run `python -m polycli ARGUMENTS` as `nproc` ranks on this machine and return one exit code for all of them.

    Rank 0 speaks; another rank is heard only where it is the one that failed. Signals go to every rank. The exit code
    is that of the rank that failed first.
    """
    return start_ranks(nproc, [sys.executable, "-m", "polycli", *arguments])


def start_ranks(nproc: int, command: Sequence[str]) -> int:
    """The same for any command that joins the process group."""
    if "RANK" in os.environ or _is_srun_task(os.environ):
        raise UserError(
            "--nproc starts local ranks, and this process is a rank already (RANK or SLURM_PROCID is set)",
            hint="leave --nproc out under torchrun and srun",
        )
    port = free_port()
    ranks = [_Rank(rank, nproc, port, command) for rank in range(nproc)]
    terminals = stopping.terminals()

    def forward(number: int, frame: FrameType | None) -> None:
        del frame
        if number == signal.SIGHUP:
            stopping.let_go_of(terminals)
        for rank in ranks:
            if rank.process.poll() is None:
                rank.process.send_signal(number)

    handlers = stopping.listen(forward)
    code = None
    try:
        code = _wait(ranks)
    finally:
        (stopping.restore_later if code == stopping.PREEMPTED else stopping.restore)(handlers)
        for rank in ranks:
            rank.kill()
    return code


class _Rank:
    """One local rank: its process, and, for all but rank 0, the last lines that it wrote."""

    def __init__(self, rank: int, size: int, port: int, command: Sequence[str]) -> None:
        self.rank = rank
        variables = dict(os.environ)
        variables.setdefault("OMP_NUM_THREADS", "1")
        variables.update(
            RANK=str(rank),
            LOCAL_RANK=str(rank),
            WORLD_SIZE=str(size),
            MASTER_ADDR=_LOOPBACK,
            MASTER_PORT=str(port),
            **{LOCAL_RANKS_VARIABLE: str(os.getpid())},
        )
        quiet = rank != 0
        # A session of its own: Ctrl-C in a terminal then reaches the ranks once, through the parent.
        self.process = subprocess.Popen(
            command,
            env=variables,
            start_new_session=True,
            stdout=subprocess.DEVNULL if quiet else None,
            stderr=subprocess.PIPE if quiet else None,
            text=True if quiet else None,
        )
        self.lines: deque[str] = deque(maxlen=_KEPT_LINES)
        self.reader = threading.Thread(target=self._keep, args=(self.process.stderr,), daemon=True)
        self.reader.start()

    def _keep(self, stream: IO[str] | None) -> None:
        for line in stream or ():
            self.lines.append(line)

    def message(self) -> str:
        """The last lines that the rank wrote on stderr."""
        self.reader.join(timeout=2)
        return "".join(self.lines)

    def kill(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()


def _wait(ranks: Sequence[_Rank]) -> int:
    """Wait for all ranks; once one has failed, end the others. The exit code of the first failure, 0 without one."""
    failed: _Rank | None = None
    deadline = float("inf")
    while True:
        codes = [rank.process.poll() for rank in ranks]
        if failed is None:
            # Rank 0 comes first among those that failed at the same time: its message is on the screen already.
            failed = next((rank for rank, code in zip(ranks, codes, strict=True) if code not in {None, 0}), None)
            if failed is not None:
                preempted = failed.process.returncode == stopping.PREEMPTED
                deadline = time.monotonic() + (PREEMPTED_GRACE_SECONDS if preempted else GRACE_SECONDS)
        if all(code is not None for code in codes) or time.monotonic() > deadline:
            break
        time.sleep(0.02)
    for rank in ranks:
        rank.kill()
    if failed is None:
        return 0
    return _explain(ranks, failed)


def _explain(ranks: Sequence[_Rank], failed: _Rank) -> int:
    """Say what the failed rank said, where rank 0 has not said it, and turn a death by signal into a shell's code."""
    code = int(failed.process.returncode)
    said_by_rank_zero = failed.rank == 0 or ranks[0].process.returncode == code
    if not said_by_rank_zero:
        sys.stderr.write(failed.message())
    if code < 0:
        name = signal.Signals(-code).name
        hint = "; out of memory, perhaps" if name == "SIGKILL" else ""
        sys.stderr.write(f"error: rank {failed.rank} was ended by {name}{hint}\n")
        return 128 - code
    return code


def _is_srun_task(variables: Mapping[str, str]) -> bool:
    """Whether srun started this process. A batch script outside srun sees the job's variables and is one process."""
    in_batch_script = variables.get("ENVIRONMENT") == "BATCH" and "SLURM_STEP_ID" not in variables
    return "SLURM_PROCID" in variables and "SLURM_NTASKS" in variables and not in_batch_script


def _die_with_parent() -> None:
    """Ask Linux to end this process when the one that started it ends, so that no orphan goes on writing to a run."""
    if sys.platform != "linux":
        return
    set_parent_death_signal = 1
    ctypes.CDLL(None, use_errno=True).prctl(set_parent_death_signal, signal.SIGKILL, 0, 0, 0)
    # A parent that was killed while this process was still importing sends no signal any more.
    if os.environ[LOCAL_RANKS_VARIABLE] != str(os.getppid()):
        os._exit(1)
