"""Starts contrast_ranks.py on some ranks, together, for tests that compare two ranks with one."""

import os
import subprocess
import sys
from pathlib import Path

from polycli.launch import free_port

RANKS = Path(__file__).with_name("contrast_ranks.py")


def start(task: str, folder: Path, ranks: int) -> None:
    """Run a task of contrast_ranks.py, which reads inputs.pt of the folder and writes outputs-RANKS.pt."""
    port = str(free_port())
    children = []
    for rank in range(ranks):
        variables = {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(ranks), "MASTER_PORT": port}
        variables |= {"MASTER_ADDR": "127.0.0.1", "OMP_NUM_THREADS": "1"}
        line = [sys.executable, str(RANKS), task, str(folder)]
        children.append(subprocess.Popen(line, env={**os.environ, **variables}, stderr=subprocess.PIPE, text=True))
    problems = [child.communicate(timeout=200)[1] for child in children]
    assert all(child.returncode == 0 for child in children), "\n".join(problems)
