"""Signals from outside: a lost terminal, and more signals while a run that has saved is leaving."""

import fcntl
import json
import os
import pty
import signal
import subprocess
import sys
import termios
import time
from contextlib import suppress
from pathlib import Path

import pytest

from polycli import stopping

SCRIPT = Path(__file__).with_name("leaving.py")
PATIENCE_SECONDS = 100


def wait_until(condition, process) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not condition() and process.poll() is None:
        assert time.monotonic() < deadline
        time.sleep(0.01)


def state_of(run: Path) -> dict:
    with suppress(OSError):
        return json.loads((run / "status.json").read_text())
    return {}


def has_trained(run: Path) -> bool:
    return (run / "metrics.jsonl").is_file() and (run / "metrics.jsonl").stat().st_size > 0


def environment() -> dict[str, str]:
    launcher = {"RANK", "LOCAL_RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"}
    return {name: value for name, value in os.environ.items() if name not in launcher}


def test_a_lost_terminal_saves_the_run_and_no_further_signal_changes_its_exit_code(tmp_path):
    def in_a_terminal_of_its_own():
        signal.signal(signal.SIGHUP, signal.SIG_DFL)  # The tests themselves may run under nohup.
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)

    terminal, end = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, str(SCRIPT), str(tmp_path / "run")],
        stdin=end,
        stdout=end,
        stderr=end,
        start_new_session=True,
        preexec_fn=in_a_terminal_of_its_own,  # noqa: PLW1509  # A terminal is taken between fork and exec.
        env=environment(),
    )
    os.close(end)
    wait_until(lambda: has_trained(tmp_path / "run"), process)
    os.close(terminal)
    wait_until(lambda: state_of(tmp_path / "run").get("state") == "preempted", process)
    while process.poll() is None:
        for number in stopping.STOP_SIGNALS:
            process.send_signal(number)
        time.sleep(0.01)
    assert process.returncode == 75
    status = state_of(tmp_path / "run")
    assert (status["state"], status["message"]) == ("preempted", "stopped by SIGHUP")
    assert (tmp_path / "run" / status["checkpoint"] / "MANIFEST.json").is_file()


def test_nohup_keeps_a_process_from_hearing_sighup():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        handlers = stopping.listen(lambda *_: None)
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
        assert signal.SIGHUP not in handlers
        stopping.restore(handlers)
    finally:
        signal.signal(signal.SIGHUP, before)


def test_a_process_that_lives_on_after_it_has_saved_hears_signals_again(monkeypatch):
    heard = []
    before = signal.signal(signal.SIGUSR1, lambda number, _: heard.append(number))
    try:
        handlers = stopping.listen(lambda *_: None)
        stopping.restore_later(handlers)
        signal.raise_signal(signal.SIGUSR1)
        assert heard == []
        later = time.monotonic() + stopping.LEAVING_SECONDS + 1
        monkeypatch.setattr(stopping.time, "monotonic", lambda: later)
        signal.raise_signal(signal.SIGUSR1)
        assert heard == [signal.SIGUSR1]
        assert signal.getsignal(signal.SIGTERM) == handlers[signal.SIGTERM]
    finally:
        signal.signal(signal.SIGUSR1, before)


@pytest.mark.parametrize("descriptor", [1, 2])
def test_what_is_no_terminal_is_kept_when_one_is_lost(descriptor, capfd):
    assert descriptor not in stopping.terminals()
    stopping.let_go_of(stopping.terminals())
    os.write(descriptor, b"heard")
    assert "heard" in "".join(capfd.readouterr())
