"""What a kill has cut short in the cache of torch.compile is known, cleared and compiled again."""

import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from polycli.engine.deepspeed import compile_cache
from polycli.engine.deepspeed.compile_cache import clear_cut_libraries, is_cut, sentence

LIBRARY = next(Path(np.__file__).parent.rglob("*.so"))
OLD = time.time() - 60


@pytest.fixture
def library(tmp_path):
    """A copy of a shared library, a minute old."""
    path = tmp_path / "cache/ab/kernel.so"
    path.parent.mkdir(parents=True)
    path.write_bytes(LIBRARY.read_bytes())
    os.utime(path, (OLD, OLD))
    return path


def cut(path, size) -> None:
    with path.open("r+b") as file:
        file.truncate(size)
    os.utime(path, (OLD, OLD))


@pytest.mark.parametrize("left", [0, 3, 63, 64, 5000, 0.5, -1])
def test_a_library_without_its_end_is_cut_and_a_whole_one_is_not(library, left):
    assert not is_cut(library)
    size = library.stat().st_size
    cut(library, int(left * size) if isinstance(left, float) else left % size if left < 0 else left)
    assert is_cut(library)


def test_a_file_of_zeros_as_a_lost_disk_cache_leaves_it_is_cut(library):
    library.write_bytes(bytes(library.stat().st_size))
    assert is_cut(library)


def test_only_what_is_cut_is_cleared(library, tmp_path):
    whole, source = library.with_name("whole.so"), library.with_suffix(".cpp")
    whole.write_bytes(library.read_bytes())
    source.write_text("int main;")
    cut(library, 1000)
    assert clear_cut_libraries([tmp_path / "cache", tmp_path / "nowhere"]) == [library]
    assert not library.exists()
    assert whole.exists()
    assert source.exists()
    assert sentence([library]) == (
        "cleared 1 library that was cut short from the cache of torch.compile, which makes them again "
        f"({library.parent})"
    )
    assert clear_cut_libraries([tmp_path / "cache"]) == []


def test_a_library_that_is_being_linked_is_waited_for(library, tmp_path, monkeypatch):
    monkeypatch.setattr(compile_cache, "SETTLED_SECONDS", 0.2)
    content = library.read_bytes()
    library.write_bytes(content[:1000])
    # The linker writes on while somebody waits.
    monkeypatch.setattr(compile_cache.time, "sleep", lambda _: library.write_bytes(content))
    assert clear_cut_libraries([tmp_path]) == []
    assert library.read_bytes() == content


TRAINING = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from toy import ToyTask, train_toy
from polycli.launch import join_process_group
task = ToyTask()
task.blocks = lambda: ()  # the model as a whole
train_toy(Path(sys.argv[2]), task, join_process_group(), train__steps=2, engine__compile=True)
"""


@pytest.mark.slow
@pytest.mark.timeout(700)
def test_a_run_on_a_machine_whose_compile_cache_was_cut_goes_on(tmp_path):
    launcher = {"RANK", "LOCAL_RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"}
    variables = {name: value for name, value in os.environ.items() if name not in launcher}
    (tmp_path / "tmp").mkdir()
    variables |= {"TMPDIR": str(tmp_path / "tmp"), "TORCHINDUCTOR_CACHE_DIR": str(tmp_path / "cache")}

    def train(name):
        command = [sys.executable, "-c", TRAINING, str(Path(__file__).parents[1]), str(tmp_path / name)]
        return subprocess.run(command, env=variables, capture_output=True, text=True, timeout=300, check=False)

    assert train("first").returncode == 0
    libraries = [*tmp_path.rglob("*.main.so")]
    assert libraries
    for library in libraries:
        cut(library, 5000)
    done = train("second")
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("cut short from the cache of torch.compile") == 1
    assert not [*tmp_path.rglob("*.gch")]
