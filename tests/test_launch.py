"""python, torchrun and srun come to the same variables; local ranks end together and say why once."""

import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from polycli.errors import UserError
from polycli.launch import environment, first_host, free_port, start_ranks


def test_plain_python_is_one_process_with_a_port_of_its_own():
    settings = environment({})
    assert {**settings, "MASTER_PORT": ""} == {
        "RANK": "0",
        "LOCAL_RANK": "0",
        "WORLD_SIZE": "1",
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": "",
    }
    assert 1024 < int(settings["MASTER_PORT"]) < 65536


def test_what_torchrun_set_is_kept():
    given = {"RANK": "3", "LOCAL_RANK": "1", "WORLD_SIZE": "4", "MASTER_ADDR": "node7", "MASTER_PORT": "29500"}
    assert environment({**given, "SLURM_PROCID": "0", "SLURM_NTASKS": "9"}) == given


def test_srun_tasks_find_the_first_host_and_one_port():
    job = {"SLURM_NTASKS": "8", "SLURM_JOB_ID": "123456", "SLURM_JOB_NODELIST": "gpu[003-004,010]"}
    ranks = [environment({**job, "SLURM_PROCID": str(rank), "SLURM_LOCALID": str(rank % 4)}) for rank in range(8)]
    assert [settings["RANK"] for settings in ranks] == [str(rank) for rank in range(8)]
    assert [settings["LOCAL_RANK"] for settings in ranks] == ["0", "1", "2", "3"] * 2
    assert {(settings["MASTER_ADDR"], settings["MASTER_PORT"]) for settings in ranks} == {("gpu003", "23456")}


def test_a_batch_script_outside_srun_is_one_process():
    batch = {"ENVIRONMENT": "BATCH", "SLURM_PROCID": "0", "SLURM_NTASKS": "8", "SLURM_JOB_NODELIST": "n1"}
    assert environment(batch)["WORLD_SIZE"] == "1"
    assert environment({**batch, "SLURM_STEP_ID": "0"})["WORLD_SIZE"] == "8"


@pytest.mark.parametrize(
    ("nodes", "expected"),
    [
        ("node1", "node1"),
        ("node1,node2", "node1"),
        ("gpu[003-010,12],cpu5", "gpu003"),
        ("rack[2,5]-gpu", "rack2-gpu"),
        ("a-b[07]", "a-b07"),
    ],
)
def test_the_first_host_of_a_compressed_list(nodes, expected):
    assert first_host(nodes) == expected


def test_ranks_that_could_not_meet_are_refused():
    with pytest.raises(UserError, match="MASTER_PORT"):
        environment({"RANK": "1", "WORLD_SIZE": "2"})


def test_free_ports_can_be_bound():
    assert len({free_port() for _ in range(5)}) > 1


@pytest.fixture
def outside(monkeypatch):
    """No rank: an earlier test of this process may have joined a group."""
    for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.delenv(name, raising=False)


def ranks(count: int, program: str) -> int:
    head = "import os, sys, time\nrank = int(os.environ['RANK'])\n"
    return start_ranks(count, [sys.executable, "-c", head + textwrap.dedent(program)])


@pytest.mark.usefixtures("outside")
def test_every_rank_gets_its_place_and_rank_0_alone_has_stdout(capfd):
    code = ranks(3, "print(rank, os.environ['WORLD_SIZE'], os.environ['LOCAL_RANK'], os.environ['OMP_NUM_THREADS'])")
    assert code == 0
    assert capfd.readouterr().out == "0 3 0 1\n"


@pytest.mark.usefixtures("outside")
@pytest.mark.parametrize("expected", [1, 2, 75])
def test_the_exit_code_is_that_of_the_rank_that_failed_first(expected, monkeypatch):
    monkeypatch.setattr("polycli.launch.PREEMPTED_GRACE_SECONDS", 0.5)
    monkeypatch.setattr("polycli.launch.GRACE_SECONDS", 0.5)
    started = time.monotonic()
    assert ranks(3, f"time.sleep(100) if rank != 1 else sys.exit({expected})") == expected
    assert time.monotonic() - started < 10


@pytest.mark.usefixtures("outside")
def test_the_message_of_the_failed_rank_is_shown_and_those_of_the_others_are_not(capfd, monkeypatch):
    monkeypatch.setattr("polycli.launch.GRACE_SECONDS", 0.5)
    program = """
        print(f"hello from {rank}", file=sys.stderr, flush=True)
        if rank == 2: sys.exit("the reason")
        time.sleep(100)
    """
    assert ranks(3, program) == 1
    shown = capfd.readouterr().err
    assert shown.count("the reason") == 1
    assert "hello from 0" in shown
    assert "hello from 1" not in shown


@pytest.mark.usefixtures("outside")
def test_an_error_that_all_ranks_end_with_is_shown_once(capfd):
    assert ranks(3, "print('wrong recipe', file=sys.stderr); sys.exit(2)") == 2
    assert capfd.readouterr().err.count("wrong recipe") == 1


@pytest.mark.usefixtures("outside")
def test_a_rank_that_is_killed_takes_the_others_with_it(capfd, monkeypatch):
    monkeypatch.setattr("polycli.launch.GRACE_SECONDS", 0.5)
    assert ranks(2, "os.kill(os.getpid(), 9) if rank == 1 else time.sleep(100)") == 128 + 9
    assert "rank 1 was ended by SIGKILL" in capfd.readouterr().err


def test_signals_reach_every_rank():
    program = """
        import signal, sys, time
        from polycli.launch import start_ranks
        rank = '''
        import os, signal, sys, time
        signal.signal(signal.SIGUSR1, lambda *_: sys.exit(75))
        print("ready", flush=True)
        time.sleep(100)
        '''
        import textwrap
        sys.exit(start_ranks(2, [sys.executable, "-c", textwrap.dedent(rank)]))
    """
    variables = {name: value for name, value in os.environ.items() if name != "RANK"}
    parent = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(program)], stdout=subprocess.PIPE, text=True, env=variables
    )
    assert parent.stdout.readline() == "ready\n"
    time.sleep(0.5)  # rank 1 is silent
    parent.send_signal(signal.SIGUSR1)
    assert parent.wait(timeout=20) == 75
    parent.stdout.close()


RANK_THAT_WAITS = """
import os, sys, time
from pathlib import Path
from polycli.launch import join_process_group
join_process_group()
Path(sys.argv[1], str(os.getpid())).touch()
time.sleep(100)
"""


@pytest.mark.distributed
def test_ranks_end_with_the_process_that_started_them(tmp_path):
    # Otherwise they would go on writing to a run that the next start enters.
    rank = tmp_path / "rank.py"
    rank.write_text(RANK_THAT_WAITS)
    folder = tmp_path / "processes"
    folder.mkdir()
    program = (
        "import sys; from polycli.launch import start_ranks;start_ranks(2, [sys.executable, sys.argv[1], sys.argv[2]])"
    )
    variables = {name: value for name, value in os.environ.items() if name != "RANK"}
    parent = subprocess.Popen([sys.executable, "-c", program, str(rank), str(folder)], env=variables)
    wait_until(lambda: len(list(folder.iterdir())) == 2)
    parent.kill()
    parent.wait()
    wait_until(lambda: not any(is_alive(int(entry.name)) for entry in folder.iterdir()))


RANK_THAT_IS_SLOW = """
import os, sys, time
from pathlib import Path
Path(sys.argv[1], str(os.getpid())).touch()
while not Path(sys.argv[1], "go").exists():
    time.sleep(0.05)
from polycli.launch import join_process_group
join_process_group()
Path(sys.argv[1], "joined").touch()
"""


@pytest.mark.distributed
def test_ranks_whose_parent_was_killed_while_they_were_still_importing_never_join(tmp_path):
    # Both would go on as a whole run of which nobody knows, while the next start is told that the run is in use.
    rank = tmp_path / "rank.py"
    rank.write_text(RANK_THAT_IS_SLOW)
    folder = tmp_path / "processes"
    folder.mkdir()
    program = (
        "import sys; from polycli.launch import start_ranks;start_ranks(2, [sys.executable, sys.argv[1], sys.argv[2]])"
    )
    variables = {name: value for name, value in os.environ.items() if name != "RANK"}
    parent = subprocess.Popen([sys.executable, "-c", program, str(rank), str(folder)], env=variables)
    wait_until(lambda: len(list(folder.iterdir())) == 2)
    parent.kill()
    parent.wait()
    processes = [int(entry.name) for entry in folder.iterdir()]
    (folder / "go").touch()
    wait_until(lambda: not any(is_alive(process) for process in processes))
    assert not (folder / "joined").exists()


def wait_until(condition, seconds=100) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.05)


def is_alive(process: int) -> bool:
    try:
        state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def test_a_rank_cannot_start_ranks(monkeypatch):
    monkeypatch.setenv("RANK", "0")
    with pytest.raises(UserError, match="is a rank already"):
        start_ranks(2, ["true"])


ENDING = """
import atexit, sys, threading, time
from polycli.launch import end_process
atexit.register(lambda: print("said at the end", flush=True))
threading.Thread(target=time.sleep, args=(60,)).start()
sys.stdout.write("written, ")
end_process(75)
"""


def test_a_rank_ends_with_its_code_though_threads_of_others_are_still_there():
    several = os.environ | {"RANK": "1", "WORLD_SIZE": "2", "MASTER_PORT": "1"}
    started = time.monotonic()
    ended = subprocess.run([sys.executable, "-c", ENDING], env=several, capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stdout) == (75, "written, said at the end\n")
    assert time.monotonic() - started < 30
