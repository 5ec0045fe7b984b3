"""Puts a result in its place: whole or not at all, by one process, and nothing is left of one that was killed.

Beside the target NAME, for as long as something is written:

    .NAME.partial-writing/
        lock        held by the process that writes; one that was killed holds it no more
        owner       that process's host and number, for file systems without locks
        new/NAME    what becomes the target with one rename
        old/NAME    what stood there, until the new one does
        parts.json  of a folder that keeps what else is in it: the parts that are replaced one by one, the last of which
                    stands for all; new/PART and old/PART as above

The next command that writes there puts back or clears what a killed one left.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import json
import os
import shutil
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from polycli import console
from polycli.errors import BusyError, PolycliError

#: Reasons of the system that are about the place and no one's input.
_REFUSALS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO)
#: What a file system without locks answers.
WITHOUT_LOCKS = (errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS)
_NOTHING_LEFT = "nothing was left behind; make room, or give another --output, and run the same line again"
_PARTS = "parts.json"
_TRIES = 20
#: Of renameat2: paths are of the working directory, and the two names are exchanged.
_HERE, _EXCHANGE = -100, 2


def clear_up(target: Path) -> None:
    """Put back or remove what a killed command has left of writing `target`.

    Raises:
        BusyError: a living one writes there.
    """
    if os.path.lexists(_work_folder(target)):
        with holding(target, what="it"):
            pass


@contextmanager
def holding(target: Path, *, what: str, hint: str = _NOTHING_LEFT) -> Iterator[Path]:
    """A folder beside `target` to work in, cleared, which no other process has until the block ends; then it is gone.

    Raises:
        BusyError: another process has it.
        PolycliError: the disk is full or refuses a write, in the block or before.
    """
    work = _work_folder(target)
    lock: IO[str] | None = None
    made = missing_parents(target)
    try:
        with telling_refusals(target, work, what=what, hint=hint):
            lock = _take(work, target)
            _settle(work, target)
            yield work
    finally:
        if lock is not None:
            # Where even putting back is refused, what was moved away waits for the next command.
            if os.path.lexists(target) or not os.path.lexists(_moved_away(work, target)):
                shutil.rmtree(work, ignore_errors=True)
            lock.close()
        remove_empty(made)


@contextmanager
def telling_refusals(target: Path, work: Path, *, what: str, hint: str = _NOTHING_LEFT) -> Iterator[None]:
    """Turn the system's refusal to write in `work` into a sentence about `target`.

    Raises:
        PolycliError: the disk is full, or something else is wrong with it.
    """
    try:
        yield
    except Exception as error:
        reason = refusal(error, work)
        if reason is None:
            raise
        raise PolycliError(
            f"{target}: {what} cannot be written: {reason}",
            hint=hint,
        ) from error


def publish(new: Path, target: Path, work: Path) -> None:
    """Put `new` in the place of `target`, whatever of the two is a folder; nobody finds half of either.

    Raises:
        OSError: the system refuses it; then what stood there stands there again.
    """
    _make_last(new)
    if target.is_dir() and new.is_dir() and _exchange(new, target):
        _make_last(target.parent)
        remove(new)
        return
    old = _moved_away(work, target)
    if os.path.lexists(target) and (target.is_dir() or new.is_dir()):
        old.parent.mkdir(exist_ok=True)
        target.rename(old)
    try:
        new.replace(target)
    except OSError:
        if os.path.lexists(old):
            old.rename(target)
        raise
    _make_last(target.parent)
    remove(old)


def publish_parts(new: Path, folder: Path, parts: Sequence[str], work: Path) -> None:
    """Put what is in `new` in the place of these parts of `folder`, whose last one stands for all; delete the others.

    Killed on the way, the next command undoes it, unless the last part had come.

    Raises:
        OSError: the system refuses it.
    """
    coming = [part for part in parts if os.path.lexists(new / part)]
    (work / _PARTS).write_text(json.dumps({"folder": str(folder.absolute()), "parts": coming}), encoding="utf-8")
    old = work / "old"
    old.mkdir()
    for part in reversed(parts):
        if os.path.lexists(folder / part):
            (folder / part).rename(old / part)
    for part in coming:
        (new / part).rename(folder / part)
    _make_last(folder)


def _exchange(one: Path, other: Path) -> bool:
    """Let two folders change their names in one step, so that neither is ever absent; False where that is not known.

    Linux has a call for it, which some file systems, such as NFS, do not know, and Python has no name for it.
    """
    rename = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if rename is None:
        return False
    done = rename(_HERE, os.fsencode(one), _HERE, os.fsencode(other), _EXCHANGE)
    return int(done) == 0


def _undo_parts(work: Path) -> None:
    """Undoes a publication that was killed within `publish_parts`: what came goes and what went returns, unless all had
    come.
    """
    try:
        noted = json.loads((work / _PARTS).read_text(encoding="utf-8"))
        folder, coming = Path(noted["folder"]), [str(part) for part in noted["parts"]]
    except (OSError, ValueError, KeyError, TypeError):
        return
    if not coming or (os.path.lexists(folder / coming[-1]) and not os.path.lexists(work / "new" / coming[-1])):
        return
    for part in coming:
        if not os.path.lexists(work / "new" / part):
            remove(folder / part)
    for moved in (work / "old").iterdir() if (work / "old").is_dir() else ():
        moved.rename(folder / moved.name)


def remove(path: Path) -> None:
    """Delete a file or a folder, if it is there; of a link, the link alone."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def refusal(error: BaseException, work: Path) -> str | None:
    """Returns why the system refused to write in `work`, if that is what `error` says; None for any other error.

    Libraries tell it in exceptions of their own, with the system's words in the text.
    """
    link: BaseException | None = error
    while link is not None:
        if isinstance(link, PolycliError):
            return None
        if isinstance(link, OSError) and (link.errno in _REFUSALS or _names(link, work)):
            return os.strerror(link.errno) if link.errno else str(link)
        for number in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            if os.strerror(number) in str(link):
                return os.strerror(number)
        link = link.__cause__ or link.__context__
    return None


def _names(error: OSError, work: Path) -> bool:
    """Whether the system named the work folder or its parent: another path is another's fault."""
    if not isinstance(error.filename, str) or error.errno == errno.ENOENT:
        return False
    named = Path(error.filename).absolute()
    return named.is_relative_to(work.absolute()) or named == work.parent.absolute()


def _work_folder(target: Path) -> Path:
    return target.with_name(f".{target.name}.partial-writing")


def _moved_away(work: Path, target: Path) -> Path:
    return work / "old" / target.name


def missing_parents(target: Path) -> list[Path]:
    """The folders that must be made for `target`, the innermost first."""
    return [folder for folder in target.parents if not folder.exists()]


def remove_empty(folders: Sequence[Path]) -> None:
    """Delete those of these folders in which nothing came to be."""
    for folder in folders:
        with suppress(OSError):
            folder.rmdir()


def take_lock(path: Path, *, shared: bool = False) -> IO[str] | None:
    """The lock file at `path`, made with its folder, held until it is closed or the process ends.

    Alone, or beside others that hold it `shared`. None where another process holds it otherwise.

    Raises:
        OSError: the system refuses it; with an errno of `WITHOUT_LOCKS` where its file system has no locks.
    """
    for _ in range(_TRIES):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            file = path.open("a", encoding="utf-8")
        except FileNotFoundError:
            continue  # Its last owner has just removed it, with the folder.
        try:
            fcntl.flock(file, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
        except OSError as error:
            file.close()
            if isinstance(error, BlockingIOError):
                return None
            raise
        with suppress(FileNotFoundError):
            if os.fstat(file.fileno()).st_ino == path.stat().st_ino:
                return file
        file.close()
    return None


def _take(work: Path, target: Path) -> IO[str]:
    """The lock of the work folder, which is made."""
    try:
        file = take_lock(work / "lock")
    except OSError as error:
        if error.errno not in WITHOUT_LOCKS:
            raise
        file = None if _owner_may_live(work) else (work / "lock").open("a", encoding="utf-8")
    if file is None:
        raise BusyError(
            f"{target}: another process is writing there now",
            hint=f"wait for it, or give another --output; if there is none: rm -r {work}",
        )
    (work / "owner").write_text(f"{socket.gethostname()} {os.getpid()}\n", encoding="utf-8")
    return file


def _owner_may_live(work: Path) -> bool:
    """Whether the process that made the folder may still be at work, where the file system has no locks."""
    try:
        host, number = (work / "owner").read_text(encoding="utf-8").split()
        if host != socket.gethostname():
            return True
        os.kill(int(number), 0)
    except (FileNotFoundError, ProcessLookupError):
        return False
    except (PermissionError, ValueError):
        return True
    return True


def _settle(work: Path, target: Path) -> None:
    """Put back what a killed overwrite had moved away, and clear the rest."""
    _undo_parts(work)
    old = _moved_away(work, target)
    if os.path.lexists(old) and not os.path.lexists(target):
        old.rename(target)
        console.warn(f"{target}: a command that was killed had moved it away; it is back")
    for entry in work.iterdir():
        if entry.name not in ("lock", "owner"):
            remove(entry)


def _make_last(path: Path) -> None:
    """Have the system write a file's content, or a folder's names, to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
