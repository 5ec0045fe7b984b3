"""The same line again and again: `polycli pretrain mpp` with --nproc, torchrun and srun, killed, stopped, resumed."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from polycli.checkpoints.manifest import verify
from polycli.mpp.prepare import run as prepare
from polycli.requests import PrepareRequest

pytestmark = [pytest.mark.slow, pytest.mark.stress, pytest.mark.distributed, pytest.mark.timeout(3600)]

RECIPE = """
family: mpp
verb: pretrain
model: {embed_dim: 16, num_heads: 2, blocks: 2, patch_size: 4, predicts: change, drop_path: 0.1, layer_scale: 0.1}
data: {history: 3, draws_per_step: 1, validation_windows: 4, workers: 0}
train: {steps: 60, global_batch_size: 4, micro_batch_size: 2, seed: 5, validate_every: 10, checkpoint_every: 4}
engine: {zero_stage: 2}
log: {every: 1}
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory, pdebench) -> Path:
    """A folder with a recipe, a store, and the run that nobody disturbed."""
    folder = tmp_path_factory.mktemp("command")
    (folder / "tiny.yaml").write_text(RECIPE)
    pdebench.shallow_water(folder / "in/swe.h5", trajectories=8, grid=(16, 16))
    prepare(PrepareRequest(source="pdebench", inputs=(folder / "in",), output=folder / "stores", workers=1))
    process = start(folder, "whole", "--nproc", "2")
    assert process.wait(300) == 0
    return folder


def line(output: str, *options: str) -> list[str]:
    words = ["pretrain", "mpp", "--recipe", "tiny.yaml", "--data", "stores", "--output", output, *options]
    return ["-m", "polycli", *words]


def clean(**variables: object) -> dict[str, str]:
    return {**os.environ, "OMP_NUM_THREADS": "1", **{name: str(value) for name, value in variables.items()}}


def start(folder: Path, output: str, *options: str) -> subprocess.Popen:
    return popen(folder, [sys.executable, *line(output, *options)], clean())


def torchrun(folder: Path, output: str) -> subprocess.Popen:
    command = [str(Path(sys.executable).with_name("torchrun")), "--standalone", "--nproc-per-node=2"]
    return popen(folder, [*command, *line(output)], clean(PET_SIGNALS_TO_HANDLE="SIGTERM,SIGINT,SIGUSR1"))


def popen(folder: Path, command: list[str], environment: dict[str, str]) -> subprocess.Popen:
    with (folder / "output.txt").open("a") as output:
        return subprocess.Popen(
            command, cwd=folder, env=environment, stdout=output, stderr=output, start_new_session=True
        )


def srun(folder: Path, output: str, job: int) -> list[subprocess.Popen]:
    """Two tasks as srun would start them."""
    return [
        popen(
            folder,
            [sys.executable, *line(output)],
            clean(
                SLURM_JOB_ID=job,
                SLURM_STEP_ID=0,
                SLURM_NTASKS=2,
                SLURM_PROCID=rank,
                SLURM_LOCALID=rank,
                SLURM_STEP_NODELIST=socket.gethostname(),
            ),
        )
        for rank in range(2)
    ]


def metrics_of(run: Path) -> list[dict]:
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [{key: value for key, value in line.items() if key != "speed"} for line in lines]


def steps_of(run: Path) -> int:
    """How many lines of metrics there are."""
    return len((run / "metrics.jsonl").read_text().splitlines()) if (run / "metrics.jsonl").exists() else 0


def unfinished(run: Path) -> set[str]:
    return {path.name for path in (run / "checkpoints").glob(".*partial*")}


def wait_until(condition: Callable[[], bool], process: subprocess.Popen, seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert process.poll() is None, "it ended before it could be disturbed"
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.001)


def wait_for_more_steps(run: Path, process: subprocess.Popen) -> None:
    log = run / "log.txt"
    starts = log.read_text().count(" to 60, from") if log.exists() else 0
    wait_until(lambda: log.exists() and log.read_text().count(" to 60, from") > starts, process)
    before = steps_of(run)
    wait_until(lambda: steps_of(run) > before, process)


def assert_same_as_whole(place: Path, name: str) -> None:
    assert metrics_of(place / name) == metrics_of(place / "whole")
    assert json.loads((place / name / "status.json").read_text())["state"] == "complete"


def test_the_command_killed_in_its_start_in_a_save_and_in_a_step_goes_on_each_time(place):
    run = place / "killed"
    draw = np.random.default_rng(1)
    in_saves = 0
    for moment in ("start", "save", "step"):
        process = start(place, "killed", "--nproc", "2")
        if moment == "start":
            time.sleep(draw.uniform(0.5, 3.0))
        elif moment == "save":
            before = unfinished(run)
            wait_until(lambda before=before: bool(unfinished(run) - before), process)
        else:
            wait_for_more_steps(run, process)
            time.sleep(draw.uniform(0, 0.3))
        # The ranks are in sessions of their own and follow their parent by themselves.
        os.killpg(process.pid, signal.SIGKILL)
        assert process.wait(30) == -signal.SIGKILL
        in_saves += moment == "save" and bool(unfinished(run) - before)
        for checkpoint in (run / "checkpoints").glob("step-*"):
            verify(checkpoint)
    assert in_saves >= 1
    assert start(place, "killed", "--nproc", "2").wait(300) == 0
    assert_same_as_whole(place, "killed")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1])
def test_the_command_stopped_by_a_signal_exits_with_75_and_goes_on(place, number):
    name = f"stopped-{number.name}"
    process = start(place, name, "--nproc", "2")
    wait_for_more_steps(place / name, process)
    process.send_signal(number)
    assert process.wait(60) == 75
    status = json.loads((place / name / "status.json").read_text())
    assert (status["state"], status["message"]) == ("preempted", f"stopped by {number.name}")
    assert start(place, name, "--nproc", "2").wait(300) == 0
    assert_same_as_whole(place, name)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1])
def test_torchrun_passes_signals_on_and_status_tells_what_its_exit_code_hides(place, number):
    name = f"torchrun-{number.name}"
    process = torchrun(place, name)
    wait_for_more_steps(place / name, process)
    process.send_signal(number)
    assert process.wait(60) != 0
    status = json.loads((place / name / "status.json").read_text())
    assert (status["state"], status["message"]) == ("preempted", f"stopped by {number.name}")
    assert torchrun(place, name).wait(300) == 0
    assert_same_as_whole(place, name)


def test_srun_signals_every_task_and_all_exit_with_75(place):
    tasks = srun(place, "srun", job=os.getpid())
    wait_for_more_steps(place / "srun", tasks[0])
    for task in tasks:
        task.send_signal(signal.SIGUSR1)
    assert [task.wait(60) for task in tasks] == [75, 75]
    assert json.loads((place / "srun/status.json").read_text())["state"] == "preempted"
    assert [task.wait(300) for task in srun(place, "srun", job=os.getpid() + 1)] == [0, 0]
    assert_same_as_whole(place, "srun")


@pytest.mark.parametrize("launcher", ["torchrun", "srun"])
def test_a_rank_that_is_killed_takes_the_others_down_within_seconds_and_without_tracebacks(place, launcher):
    name = f"lost-{launcher}"
    said = len((place / "output.txt").read_text())
    if launcher == "torchrun":
        process = torchrun(place, name)
        wait_for_more_steps(place / name, process)
        os.kill(newest_child(process.pid), signal.SIGKILL)
        assert process.wait(60) != 0
    else:
        tasks = srun(place, name, job=os.getpid() + 2)
        wait_for_more_steps(place / name, tasks[0])
        tasks[1].kill()
        assert tasks[0].wait(30) == 1
    ours = (place / "output.txt").read_text()[said:]
    assert ours.count("another process of this run has ended") == 1
    assert "site-packages/torch/nn" not in ours


def newest_child(parent: int) -> int:
    """Of the ranks that torchrun has started, the last one."""
    return max(int(child) for child in Path(f"/proc/{parent}/task/{parent}/children").read_text().split())
