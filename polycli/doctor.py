"""`polycli doctor`: what this machine has, and what is missing. torch is asked in a child process, the rest by name."""

from __future__ import annotations

import getpass
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Any, Literal

from polycli import __version__

State = Literal["ok", "warn", "fail"]

#: What polycli cannot run without, and what only DeepSpeed or some users need.
REQUIRED = (
    "typer", "rich", "pyyaml", "pydantic", "numpy", "torch", "zarr", "tensorstore", "h5py", "astropy", "safetensors",
    "tokenizers", "pyarrow", "scikit-learn", "matplotlib", "jaxtyping",
)  # fmt: skip
TRAINING = ("deepspeed", "pytorch-optimizer")
OPTIONAL = ("tensorboard", "wandb")
#: Below these, doctor warns: a small demo needs about this much.
MEMORY_BYTES = 4 * 2**30
DISK_BYTES = 2 * 2**30
_SECONDS = 120
#: Asked in a child process: importing torch and DeepSpeed takes seconds, writes to stdout, and may end the process.
_DEVICES = """
import json, torch
print(json.dumps({
    "cuda": torch.version.cuda,
    "devices": [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())],
    "threads": torch.get_num_threads(),
    "bfloat16": torch.cuda.is_available() and torch.cuda.is_bf16_supported(),
}))
"""
_CODECS = """
import json, numpy, zarr
from zarr.codecs import BloscCodec, Crc32cCodec, ZstdCodec
store = zarr.storage.MemoryStore()
array = zarr.create_array(store, shape=(8, 8), chunks=(4, 4), shards=(8, 8), dtype="f4",
    compressors=[BloscCodec(cname="lz4"), Crc32cCodec()])
values = numpy.arange(64, dtype="f4").reshape(8, 8)
array[:] = values
print(json.dumps({"equal": bool((array[:] == values).all())}))
"""


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at."""

    name: str
    state: State
    message: str
    hint: str | None = None

    def line(self) -> str:
        """Renders the finding for people."""
        ending = f" ({self.hint})" if self.hint else ""
        return f"{self.state.ljust(4)}  {self.name}: {self.message}{ending}"

    def as_document(self) -> dict[str, object]:
        """Returns the finding as `--json` prints it."""
        return asdict(self)


def examine() -> list[Finding]:
    """Look at everything. No look ends the others, and nothing is changed but for a file that is removed again."""
    findings = [_python(), *_packages(), _devices(), _compiler(), _communication(), _cache(), _codecs()]
    return [*findings, _memory(), _disk(), _recipes()]


def _python() -> Finding:
    version = platform.python_version()
    name = f"Python {version}, polycli {__version__}, {platform.system()} {platform.machine()}"
    return Finding("python", "ok", name)


def _packages() -> list[Finding]:
    required = {name: _version(name) for name in REQUIRED}
    training = {name: _version(name) for name in TRAINING}
    optional = {name: _version(name) for name in OPTIONAL}
    missing = [name for name, version in required.items() if version is None]
    present = ", ".join(f"{name} {version}" for name, version in required.items() if version)
    findings = [Finding("packages", "ok", present)]
    if missing:
        findings.append(Finding("packages", "fail", f"missing: {', '.join(missing)}", "pip install polycli"))
    lacking = [name for name, version in training.items() if version is None]
    if lacking:
        findings.append(
            Finding(
                "training",
                "warn",
                f"missing: {', '.join(lacking)}; pretrain and finetune need them",
                f"pip install {' '.join(lacking)}",
            )
        )
    else:
        findings.append(Finding("training", "ok", ", ".join(f"{name} {version}" for name, version in training.items())))
    extras = ", ".join(f"{name} {version or 'not installed'}" for name, version in optional.items())
    return [*findings, Finding("extras", "ok", extras)]


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _devices() -> Finding:
    found = _ask_child(_DEVICES)
    if isinstance(found, str):
        return Finding("devices", "fail", f"torch cannot be imported: {found}", "install torch again")
    cores = f"{_cores()} CPU cores, torch uses {found['threads']}"
    if found["devices"]:
        kind = "with" if found["bfloat16"] else "without"
        names = ", ".join(found["devices"])
        return Finding("devices", "ok", f"{names} (CUDA {found['cuda']}, {kind} bfloat16); {cores}")
    if found["cuda"]:
        return Finding("devices", "warn", f"torch is built for CUDA {found['cuda']} and sees no GPU; {cores}")
    return Finding("devices", "ok", f"no GPU; {cores}")


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _compiler() -> Finding:
    from polycli.engine.deepspeed.compiler import find_compiler

    path = find_compiler()
    if path is None:
        return Finding("compiler", "warn", "no C++ compiler; engine.compile alone needs one", "install g++, or set CXX")
    said = subprocess.run([path, "--version"], capture_output=True, text=True, check=False).stdout
    return Finding("compiler", "ok", f"{(said.splitlines() or [path])[0]}, for engine.compile")


def _communication() -> Finding:
    """DeepSpeed offers a compiled all-reduce for the CPU; polycli leaves it out, and this says so."""
    if _version("deepspeed") is None:
        return Finding("CPU ranks", "warn", "DeepSpeed is not installed; pretrain and finetune need it")
    return Finding("CPU ranks", "ok", "speak over gloo; DeepSpeed's own CPU operation is not used, nothing is compiled")


def _cache() -> Finding:
    """Checks the folder where `engine.compile` keeps what it has compiled."""
    folder = Path(os.environ.get("TORCHINDUCTOR_CACHE_DIR") or _default_cache())
    there = next(parent for parent in (folder, *folder.absolute().parents) if parent.exists())
    try:
        with tempfile.NamedTemporaryFile(dir=there):
            pass
    except OSError as error:
        hint = "set TORCHINDUCTOR_CACHE_DIR to a folder of your own"
        return Finding("compile cache", "warn", f"{folder} cannot be written: {error.strerror}", hint)
    return Finding("compile cache", "ok", f"{folder} is writable")


def _default_cache() -> Path:
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # A number without a name, as containers give it.
        user = str(os.getuid())
    return Path(tempfile.gettempdir()) / f"torchinductor_{user}"


def _codecs() -> Finding:
    found = _ask_child(_CODECS)
    if isinstance(found, str) or not found["equal"]:
        message = found if isinstance(found, str) else "what was written does not read back equal"
        return Finding("zarr codecs", "fail", f"blosc-lz4 with crc32c in shards does not work: {message}")
    return Finding("zarr codecs", "ok", "blosc-lz4 with crc32c in shards writes and reads back")


def _memory() -> Finding:
    try:
        text = Path("/proc/meminfo").read_text(encoding="ascii")
    except OSError:
        return Finding("memory", "ok", "not known on this system")
    available = next((int(line.split()[1]) * 1024 for line in text.splitlines() if line.startswith("MemAvailable")), 0)
    limit = _container_limit()
    free = available if limit is None else min(available, limit)
    state: State = "ok" if free >= MEMORY_BYTES else "warn"
    return Finding("memory", state, f"{free / 2**30:.1f} GiB free")


def _container_limit() -> int | None:
    """Returns the bytes that the container may still use, where one limits it (cgroup v2)."""
    try:
        limit = Path("/sys/fs/cgroup/memory.max").read_text(encoding="ascii").strip()
        used = Path("/sys/fs/cgroup/memory.current").read_text(encoding="ascii").strip()
    except OSError:
        return None
    return int(limit) - int(used) if limit.isdigit() else None


def _disk() -> Finding:
    free = shutil.disk_usage(Path.cwd()).free
    state: State = "ok" if free >= DISK_BYTES else "warn"
    return Finding("disk", state, f"{free / 2**30:.1f} GiB free in {Path.cwd()}")


def _recipes() -> Finding:
    from polycli.recipes.files import recipes_folder, shipped_names

    names = shipped_names()
    if names:
        return Finding("recipes", "ok", f"{len(names)} in {recipes_folder()}")
    return Finding("recipes", "fail", f"none in {recipes_folder()}", "install polycli again")


def _ask_child(program: str) -> dict[str, Any] | str:
    """The JSON that a small program prints, or why it did not."""
    try:
        done = subprocess.run(
            [sys.executable, "-c", program], capture_output=True, text=True, timeout=_SECONDS, check=False
        )
        document: dict[str, Any] = json.loads(done.stdout.splitlines()[-1]) if done.returncode == 0 else {}
    except (OSError, subprocess.TimeoutExpired, ValueError, IndexError) as error:
        return str(error)
    return document or (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
