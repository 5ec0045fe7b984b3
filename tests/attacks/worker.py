"""Runs command lines of polycli one after the other, each in a process of its own that starts at once: a forked one.

Reads one JSON request a line, `{"arguments", "folder", "seconds"}`, and answers with one: exit code, what was said, the
memory that was taken beyond what a process begins with, and the time. A process may take two gigabytes, and no longer
than it is allowed; what dies of it is told from what ends by itself.
"""

import contextlib
import gc
import importlib
import json
import os
import resource
import signal
import sys
import time
from pathlib import Path

#: Bytes of address space beyond those of the worker itself.
MEMORY = 2 * 2**30
#: What commands import anyway, and what takes its time.
LIBRARIES = (
    "h5py",
    "matplotlib.figure",
    "numpy",
    "pyarrow.parquet",
    "scipy.io",
    "sklearn.neighbors",
    "tensorstore",
    "torch",
    "torch._dynamo",
    "zarr",
    "astropy.io.fits",
    "astropy.table",
    "astropy.units",
    "polycli.cli",
    "polycli.commands.verbs",
    "polycli.engine.train",
    *(f"polycli.{family}.{verb}" for family in ("mpp", "xval", "astroclip") for verb in ("prepare", "eval", "predict")),
    *(f"polycli.{family}.pretrain" for family in ("mpp", "xval", "astroclip")),
    "polycli.inspection.files",
)


def address_space() -> int:
    """Bytes that this process has mapped."""
    return int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()


def resident() -> int:
    """The most bytes that this process held so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def run(request: dict) -> dict:
    """Fork, run, wait."""
    folder = Path(request["folder"])
    files = [folder / ".stdout", folder / ".stderr"]
    started = time.monotonic()
    child = os.fork()
    if child == 0:
        _run_here(request, folder, files)
    code, usage = _wait(child, started + request["seconds"])
    said = [path.read_bytes().decode("utf-8", "replace") if path.exists() else "" for path in files]
    for path in files:
        path.unlink(missing_ok=True)
    return {
        "code": code,
        "stdout": said[0],
        "stderr": said[1],
        "memory": max(0, usage.ru_maxrss * 1024 - resident()),
        "seconds": time.monotonic() - started,
    }


def _run_here(request: dict, folder: Path, files: list[Path]) -> None:
    os.setsid()
    os.chdir(folder)
    for descriptor, path in zip((1, 2), files, strict=True):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), descriptor)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    if request.get("limited", True):
        most = address_space() + MEMORY
        resource.setrlimit(resource.RLIMIT_AS, (most, most))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    os.environ["TMPDIR"] = str(folder)
    os.environ.update(request.get("environment", {}))
    code = 70
    try:
        from polycli.__main__ import run as polycli

        code = polycli(request["arguments"])
    except BaseException as error:  # noqa: BLE001  # whatever leaves `run` is a fault, and is told as one
        print(f"LEFT RUN: {type(error).__name__}: {error}", file=sys.stderr)
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code if isinstance(code, int) else 71)


def _wait(child: int, until: float) -> tuple[int, resource.struct_rusage]:
    while time.monotonic() < until:
        done, status, usage = os.wait4(child, os.WNOHANG)
        if done:
            _end_group(child)
            return os.waitstatus_to_exitcode(status), usage
        time.sleep(0.002)
    _end_group(child)
    _, _, usage = os.wait4(child, 0)
    return -999, usage


def _end_group(child: int) -> None:
    """End what the command started and left, ranks or workers; the group is its own."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child, signal.SIGKILL)


def main() -> None:
    """Answer requests until there are no more."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    for name in LIBRARIES:
        importlib.import_module(name)
    import torch

    torch.set_num_threads(1)
    gc.freeze()
    print(json.dumps({"ready": True}), file=answers, flush=True)
    for line in sys.stdin:
        print(json.dumps(run(json.loads(line))), file=answers, flush=True)


if __name__ == "__main__":
    main()
