"""Work is shared out to fresh processes, and what goes wrong in one is said in the parent."""

import math
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

import polycli
from polycli.errors import PolycliError
from polycli.store.processes import Workers, processor_count


@pytest.mark.parametrize("count", [0, 1, 2])
def test_every_task_comes_back_once_with_its_result(count):
    with Workers(count) as workers:
        assert dict(workers.unordered(math.sqrt, [0.0, 1.0, 4.0, 9.0])) == {0.0: 0.0, 1.0: 1.0, 4.0: 2.0, 9.0: 3.0}


def test_one_worker_is_this_process_and_two_are_others():
    with Workers(1) as workers:
        assert {result for _, result in workers.unordered(os.getpgid, [0, 0])} == {os.getpgid(0)}
    with Workers(2) as workers:
        identities = {result for _, result in workers.unordered(eval, ["__import__('os').getpid()"] * 2)}
    assert os.getpid() not in identities


def test_what_a_task_raises_is_raised_here():
    with Workers(2) as workers, pytest.raises(ValueError, match=r"math domain error|nonnegative"):
        list(workers.unordered(math.sqrt, [1.0, -1.0]))


def test_a_worker_that_dies_is_said_with_what_to_do():
    with Workers(2) as workers, pytest.raises(PolycliError, match="a worker process was killed") as caught:
        list(workers.unordered(os._exit, [3, 3]))
    assert "--workers" in caught.value.hint


def test_without_a_number_there_is_a_worker_for_each_processor():
    assert Workers(None).count == processor_count() >= 1


def test_a_killed_command_leaves_nothing_in_the_temporary_folder(tmp_path):
    """The fork server left `pymp-*` there."""
    script = """
        import os, signal
        from polycli.store.processes import Workers

        if __name__ == "__main__":
            with Workers(2) as workers:
                for task, identity in workers.unordered(eval, ["__import__('os').getpid()"] * 2):
                    pass
                os.kill(os.getpid(), signal.SIGKILL)
    """
    (tmp_path / "script.py").write_text(textwrap.dedent(script))
    (tmp_path / "temporary").mkdir()
    root = str(Path(polycli.__file__).parents[1])
    environment = {**os.environ, "TMPDIR": str(tmp_path / "temporary"), "PYTHONPATH": root}
    ended = subprocess.run([sys.executable, tmp_path / "script.py"], env=environment, timeout=60, check=False)
    assert ended.returncode == -signal.SIGKILL
    assert list((tmp_path / "temporary").iterdir()) == []
