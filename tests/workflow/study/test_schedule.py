"""The commands of a study, one or several at a time: what they are given of the machine, and how a signal ends them."""

import os
import signal
import subprocess
import threading
import time
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest

from polycli.errors import PreemptedError
from polycli.workflow.study import schedule
from polycli.workflow.study.schedule import Processes, Task, run_tasks


@pytest.fixture
def commands(monkeypatch):
    """Stands in for the commands: keeps those that were started; `during` is what happens while one runs."""
    found = SimpleNamespace(started=[], during=lambda process: 0)

    class Process:
        def __init__(self, words, **options):
            self.options, self.terminated, self.times_terminated = options, threading.Event(), 0
            found.started.append(self)

        def wait(self):
            return found.during(self)

        def terminate(self):
            self.times_terminated += 1
            self.terminated.set()

    monkeypatch.setattr(subprocess, "Popen", Process)
    return found


def independent(processes):
    """Four tasks that need nothing of each other."""
    return [Task(Path(name), frozenset(), partial(processes.run, ["pretrain", name])) for name in "abcd"]


@pytest.mark.parametrize("jobs", [1, 2])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGUSR1])
def test_a_signal_ends_all_commands_that_run_once_each_and_starts_no_other(commands, number, jobs):
    all_ = threading.Barrier(jobs)

    def during(process):
        if all_.wait(timeout=10) == 0:
            os.kill(os.getpid(), number)
        process.terminated.wait(timeout=10)
        time.sleep(0.3)  # Saving takes a while.
        return 75

    commands.during = during
    processes = Processes(jobs)
    # A study that does not listen must fail this test, not end all of them.
    before = signal.signal(number, lambda *_: None)
    try:
        with pytest.raises(PreemptedError, match=f"stopped by {number.name}") as caught:
            run_tasks(independent(processes), processes)
    finally:
        signal.signal(number, before)
    assert caught.value.exit_code == 75
    # A second signal would end a run before it has saved.
    assert [process.times_terminated for process in commands.started] == [1] * jobs


def test_after_a_stop_no_command_starts(commands):
    processes = Processes(2)
    processes.stop()
    assert processes.run(["pretrain", "mpp"]) == 75
    assert commands.started == []


@pytest.mark.parametrize(("jobs", "given", "threads"), [(2, None, "3"), (8, None, "1"), (2, "5", "5")])
def test_commands_share_the_cores_unless_the_user_says_how_many_threads(commands, monkeypatch, jobs, given, threads):
    monkeypatch.setattr(schedule, "processor_count", lambda: 6)
    monkeypatch.delenv("OMP_NUM_THREADS")
    if given is not None:
        monkeypatch.setenv("OMP_NUM_THREADS", given)
    processes = Processes(jobs)
    processes.run(["eval", "mpp"])
    processes.run(["pretrain", "mpp", "--nproc", "2"])
    found = [process.options["env"].get("OMP_NUM_THREADS") for process in commands.started]
    assert found == [threads, given], "ranks have one thread each, by --nproc"


def test_a_command_that_runs_alone_is_told_what_the_study_was_told(commands):
    Processes(1).run(["pretrain", "mpp"])
    assert [process.options["env"] for process in commands.started] == [None]


def test_commands_that_run_beside_others_leave_stdout_alone_and_meet_at_no_port(commands, monkeypatch):
    ports = iter([50001, 50002])
    monkeypatch.setattr(schedule, "free_port", lambda: next(ports))
    monkeypatch.setenv("MASTER_PORT", "50000")
    processes = Processes(2)
    processes.run(["pretrain", "mpp"])
    processes.run(["pretrain", "mpp"])
    assert [process.options["env"]["MASTER_PORT"] for process in commands.started] == ["50001", "50002"]
    assert {process.options["stdout"] for process in commands.started} == {subprocess.DEVNULL}
