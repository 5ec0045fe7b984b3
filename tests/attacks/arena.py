"""What attacks begin with: small stores, runs and source files of every family, sound all of them."""

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parents[1]


@dataclass(frozen=True)
class Answer:
    """How one command ended."""

    arguments: tuple[str, ...]
    code: int
    stdout: str
    stderr: str
    memory: int
    seconds: float

    @property
    def document(self) -> object:
        """What `--json` printed."""
        return json.loads(self.stdout)


class Worker:
    """The process that runs commands, begun anew should it ever end."""

    def __init__(self) -> None:
        self._process: subprocess.Popen | None = None

    def polycli(self, *arguments: str, folder: Path, seconds: float = 30, limited: bool = True) -> Answer:
        """Run one command line in a folder."""
        words = [str(argument) for argument in arguments]
        request = {"arguments": words, "folder": str(folder), "seconds": seconds, "limited": limited}
        answer = self._ask(request)
        return Answer(tuple(words), **answer)

    def _ask(self, request: dict) -> dict:
        if self._process is None or self._process.poll() is not None:
            self._begin()
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            raise AssertionError(f"the worker ended with {self._process.wait()} at {request['arguments']}")
        return json.loads(line)

    def _begin(self) -> None:
        import os

        kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
        threads = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
        # One arena of malloc: the limit is on address space, of which each thread would take its own.
        rest = {"PYTHONPATH": str(ROOT), "CUDA_VISIBLE_DEVICES": "", "MALLOC_ARENA_MAX": "1", "TERM": "dumb"}
        self._process = subprocess.Popen(
            [sys.executable, "-W", "ignore::DeprecationWarning", str(HERE / "worker.py")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**kept, **threads, **rest},
            text=True,
        )
        assert self._process.stdout.readline()

    def close(self) -> None:
        """End the process."""
        if self._process is not None:
            self._process.stdin.close()
            self._process.wait(timeout=30)
            self._process.stdout.close()


def sets(values: dict) -> list[str]:
    """`--set` for each of the values."""
    return [word for key, value in values.items() for word in ("--set", f"{key}={value}")]


TRAIN = {
    "train.steps": 2,
    "train.validate_every": 2,
    "train.checkpoint_every": 2,
    "train.global_batch_size": 4,
    "train.micro_batch_size": 4,
    "train.save_in_background": "false",
    "schedule.warmup_steps": 0,
    "log.every": 1,
    "data.workers": 0,
}
SPLIT = {"split.validation": 0.25, "split.test": 0.25}
NETWORK = {"model.embed_dim": 24, "model.num_heads": 2, "model.blocks": 2}


def build(worker: Worker, folder: Path) -> None:
    """Fill a folder with stores, runs and embeddings; everything in it is made by polycli itself."""

    def made(words: str, settings: dict) -> None:
        answer = worker.polycli(*words.split(), *sets(settings), folder=folder, seconds=300, limited=False)
        assert answer.code == 0, f"{words}: {answer.stderr[-2000:]}"

    system = "{system: shallow_water, trajectories: 6, frames: 8, grid: 16}"
    made("prepare mpp --workers 1 --source simulate --output stores", {"simulate.swe": system} | SPLIT)
    (folder / "stores").rename(folder / "mpp-stores")
    store = next((folder / "mpp-stores").glob("*.zarr"))
    store.rename(folder / "mpp.zarr")
    (folder / "mpp-stores").rmdir()
    rows = [f"star {n},{0.5 + n % 7},{(0.5 + n % 7) ** 0.8:.4f},{n % 3}" for n in range(60)]
    (folder / "table.csv").write_text("\n".join(["name,mass (kg),radius,kind", *rows]) + "\n")
    made("prepare xval --workers 1 --source table --input table.csv --output xval.zarr", SPLIT)
    mock = SPLIT | {"mock.objects": 24, "mock.size": 64}
    made("prepare astroclip --workers 1 --source mock --recipe astroclip_demo_data --output astroclip.zarr", mock)
    made(
        "pretrain mpp --recipe mpp_demo --data mpp.zarr --output mpp-run",
        TRAIN | NETWORK | {"data.validation_windows": 4, "train.global_batch_size": 16},
    )
    numbers = TRAIN | NETWORK | {"model.feed_forward": 48, "data.validation_records": 8}
    made("pretrain xval --recipe xval_demo --data xval.zarr --output xval-run", numbers)
    encoder = {"model.spectrum.embed_dim": 24, "model.spectrum.depth": 1, "model.spectrum.num_heads": 2}
    spectra = TRAIN | encoder | {"data.validation_objects": 4}
    made("pretrain astroclip --recipe astroclip_demo_spectrum --data astroclip.zarr --output astroclip-run", spectra)
    for suffix in ("", ".parquet", ".zarr"):
        made(f"embed xval --checkpoint xval-run --data xval.zarr --output vectors{suffix}", {})
