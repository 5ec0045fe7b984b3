"""Results come whole or not at all: kills between any two renames, races, refused writes, and what is left of them."""

import errno
import json
import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from polycli import publishing
from polycli.errors import PolycliError, SourceError, UserError
from polycli.publishing import clear_up, holding, publish, publish_parts

KILLED = 9


def in_a_child(action) -> int:
    """The exit code of a fork that does something."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            action()
            code = 0
        except UserError:
            code = UserError.exit_code
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def killed_at(rename: int, action) -> bool:
    """Do something in a process that is killed before its rename of this number; whether it came so far."""

    def counted():
        left = [rename]

        def dying(kind):
            def move(self, target):
                if left[0] == 0:
                    os._exit(KILLED)
                left[0] -= 1
                return kind(self, target)

            return move

        Path.rename, Path.replace = dying(Path.rename), dying(Path.replace)
        action()

    code = in_a_child(counted)
    assert code in (0, KILLED)
    return code == KILLED


def write(target: Path, text: str, *, folder: bool) -> None:
    with holding(target, what="things") as work:
        new = work / "new" / target.name
        new.parent.mkdir()
        if folder:
            new.mkdir()
            new = new / "content"
        new.write_text(text)
        publish(work / "new" / target.name, target, work)


def content(target: Path) -> str:
    return (target / "content" if target.is_dir() else target).read_text()


def no_exchange(monkeypatch):
    """The file system, like NFS, cannot exchange two names."""
    monkeypatch.setattr(publishing, "_exchange", lambda one, other: False)


@pytest.mark.parametrize("was_folder", [False, True])
@pytest.mark.parametrize("is_folder", [False, True])
def test_killed_at_any_rename_the_old_or_the_new_is_there_after_the_next_start(
    tmp_path, monkeypatch, was_folder, is_folder
):
    no_exchange(monkeypatch)
    target = tmp_path / "things"
    rename, killed = 0, True
    while killed:
        publishing.remove(target)
        write(target, "old", folder=was_folder)
        killed = killed_at(rename, lambda: write(target, "new", folder=is_folder))
        clear_up(target)
        assert content(target) in (("old", "new") if killed else ("new",))
        assert os.listdir(tmp_path) == ["things"]  # noqa: PTH208
        rename += 1
    assert rename > 1


def test_a_folder_that_is_replaced_is_never_absent(tmp_path):
    """Whoever reads a catalogue while it grows finds it; between two renames there was none."""
    target, seen = tmp_path / "things", set()
    write(target, "0", folder=True)
    stop = threading.Event()

    def look():
        while not stop.is_set():
            seen.add((target / "content").exists())

    with ThreadPoolExecutor(1) as pool:
        looking = pool.submit(look)
        for number in range(1, 60):
            write(target, str(number), folder=True)
        stop.set()
        looking.result()
    assert seen == {True}
    assert (content(target), os.listdir(tmp_path)) == ("59", ["things"])  # noqa: PTH208


def test_killed_at_any_rename_the_parts_of_a_folder_are_those_of_before_or_of_after(tmp_path):
    folder = tmp_path / "scores"
    parts = ("rollouts", "figures", "report.html", "scores.json")

    def write_parts(text, *names):
        with holding(folder, what="scores") as work:
            new = work / "new"
            new.mkdir()
            for name in names:
                (new / name).write_text(text)
            folder.mkdir(exist_ok=True)
            publish_parts(new, folder, parts, work)

    def there():
        return {path.name: path.read_text() for path in folder.iterdir()}

    for before in ((), ("rollouts", "figures", "scores.json")):
        rename, killed = 0, True
        while killed:
            publishing.remove(folder)
            folder.mkdir()
            (folder / "mine.txt").write_text("mine")
            if before:
                write_parts("old", *before)
            old = there()
            killed = killed_at(rename, lambda: write_parts("new", "figures", "report.html", "scores.json"))
            clear_up(folder)
            new = {"mine.txt": "mine", "figures": "new", "report.html": "new", "scores.json": "new"}
            assert there() in ((old, new) if killed else (new,))
            assert os.listdir(tmp_path) == ["scores"]  # noqa: PTH208
            rename += 1
        assert rename > 3


def test_what_a_killed_process_was_writing_is_gone_after_the_next_start(tmp_path):
    target = tmp_path / "things.zarr"

    def die():
        with holding(target, what="things") as work:
            (work / "half").write_text("half")
            os._exit(KILLED)

    assert in_a_child(die) == KILLED
    assert [path.name for path in tmp_path.iterdir()] == [".things.zarr.partial-writing"]
    clear_up(target)
    assert list(tmp_path.iterdir()) == []


def test_of_two_processes_one_writes_and_the_other_gets_one_sentence(tmp_path):
    target = tmp_path / "things"
    with holding(target, what="things") as work:
        (work / "half").write_text("half")
        # A lock of this process would not hold against itself.
        assert in_a_child(lambda: clear_up(target)) == 2
        assert in_a_child(lambda: write(target, "theirs", folder=False)) == 2
        assert (work / "half").read_text() == "half"
    assert list(tmp_path.iterdir()) == []


def test_of_many_processes_at_once_each_writes_or_says_that_another_does(tmp_path):
    target, codes = tmp_path / "things", []
    start = time.monotonic() + 0.3
    children = []
    for number in range(12):
        child = os.fork()
        if child == 0:
            code = 1
            try:
                while time.monotonic() < start:
                    pass
                write(target, str(number), folder=True)
                code = 0
            except UserError:
                code = 2
            finally:
                os._exit(code)
        children.append(child)
    codes = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
    assert set(codes) <= {0, 2}
    assert codes[int(content(target))] == 0
    assert [path.name for path in tmp_path.iterdir()] == ["things"]


def test_where_the_file_system_has_no_locks_a_living_owner_counts_and_a_dead_one_does_not(tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(publishing.fcntl, "flock", refuse)
    target = tmp_path / "things"

    def die():
        with holding(target, what="things"):
            os._exit(KILLED)

    assert in_a_child(die) == KILLED
    write(target, "mine", folder=False)
    assert content(target) == "mine"
    with holding(target, what="things"):
        assert in_a_child(lambda: clear_up(target)) == 2
    work = tmp_path / ".things.partial-writing"
    work.mkdir()
    (work / "owner").write_text("another-host 1\n")
    with pytest.raises(UserError, match="another process is writing there now"):
        clear_up(target)


def test_a_full_disk_is_one_sentence_and_leaves_nothing(tmp_path, full_disk):
    target = tmp_path / "new" / "deeper" / "things"
    with (
        full_disk(1000),
        pytest.raises(PolycliError, match=r"things: things cannot be written: File too large") as caught,
    ):
        write(target, "x" * 2000, folder=False)
    assert caught.value.exit_code == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, "No space left on device"),
        ValueError("INTERNAL: Failed to write: No space left on device [OS error 28]"),
        RuntimeError("Can't write data (file write failed: errno = 28, error message = 'No space left on device')"),
    ],
)
def test_a_full_disk_is_known_in_the_words_of_every_library(tmp_path, error):
    with pytest.raises(PolycliError, match="No space left on device") as caught, holding(tmp_path / "x", what="it"):
        raise error
    assert type(caught.value) is PolycliError


@pytest.mark.parametrize(
    "error", [FileNotFoundError(2, "No such file", "input.csv"), SourceError("bad"), KeyError("x")]
)
def test_what_is_no_refusal_of_the_place_passes_as_it_is(tmp_path, error):
    with pytest.raises(type(error)) as caught, holding(tmp_path / "x", what="it"):
        raise error
    assert caught.value is error


def test_where_even_putting_back_is_refused_the_old_waits_for_the_next_command(tmp_path, monkeypatch):
    no_exchange(monkeypatch)
    target = tmp_path / "things"
    write(target, "old", folder=True)
    rename = Path.rename

    def refuse(self, goal):
        if Path(goal) == target:
            raise OSError(errno.EIO, "Input/output error")
        return rename(self, goal)

    with monkeypatch.context() as patched:
        patched.setattr(Path, "rename", refuse)
        patched.setattr(Path, "replace", refuse)
        with pytest.raises(PolycliError, match="Input/output error"):
            write(target, "new", folder=True)
    assert not target.exists()
    clear_up(target)
    assert content(target) == "old"
    assert json.dumps([path.name for path in tmp_path.iterdir()]) == '["things"]'
