"""Plain files alone are opened, no more of them is read than expected, and no more is held than their size allows.

A named pipe blocks whoever opens it, a device never ends, and a few bytes can claim an array of any size.
"""

from __future__ import annotations

import errno
import os
import stat
from io import BufferedReader
from pathlib import Path

from polycli.errors import SourceError, UserError
from polycli.names import shortened_name

#: Bytes that a file may claim to hold whatever its size, and how many times its size, beyond that: real numbers are
#: never packed more tightly, constant ones are not worth a data set.
ALWAYS_ALLOWED = 256 * 2**20
MOST_PACKED = 200
_KINDS = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a named pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)


def check_plain(path: Path, failing: type[UserError] = SourceError) -> int:
    """The size of a plain file, for libraries that open files by themselves.

    Raises:
        UserError: of the class `failing`: the file is not there, cannot be looked at, or is no plain file.
    """
    try:
        status = path.stat()
    except FileNotFoundError as error:
        raise failing(f"{path}: no such file") from error
    except (OSError, ValueError) as error:
        raise failing(f"{path}: cannot be read: {reason_of(error)}") from error
    if not stat.S_ISREG(status.st_mode):
        raise failing(f"{path}: {kind_of(status.st_mode)}, a file was expected")
    return status.st_size


def open_plain(path: Path) -> BufferedReader:
    """The file, opened for reading.

    Raises:
        OSError: it is not there, cannot be read, or is no plain file: `strerror` says which.
    """
    try:
        # Without the flag, opening a named pipe waits for somebody who writes into it.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except ValueError as error:
        raise OSError(errno.EINVAL, str(error), str(path)) from error
    mode = os.fstat(descriptor).st_mode
    if not stat.S_ISREG(mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, f"{kind_of(mode)}, a file was expected", str(path))
    return os.fdopen(descriptor, "rb")


def read_bytes(path: Path, most: int) -> bytes:
    """All of a file that has `most` bytes at most.

    Raises:
        OSError: as `open_plain`, or it is larger.
    """
    with open_plain(path) as file:
        data = file.read(most + 1)
    if len(data) > most:
        raise OSError(errno.EFBIG, f"larger than {most} bytes", str(path))
    return data


def reason_of(error: Exception) -> str:
    """Says why a file could not be read, as the end of a sentence, in the words of the system or the library."""
    said = error.strerror if isinstance(error, OSError) and error.strerror else str(error).strip()
    return shortened_name(said or type(error).__name__)


def kind_of(mode: int) -> str:
    """Names the kind of something that is no plain file, in words."""
    return next((name for test, name in _KINDS if test(mode)), "no plain file")


def refuse_claim(path: Path, claimed: int) -> None:
    """Refuse numbers that cannot be in the file, before memory is taken for them.

    Raises:
        SourceError: `claimed` bytes are far more than the file can hold, however well it is packed.
    """
    size = check_plain(path)
    if claimed > max(ALWAYS_ALLOWED, MOST_PACKED * size):
        raise SourceError(f"{path}: it claims {claimed:,} bytes, in a file of {size:,}")
