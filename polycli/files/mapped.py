"""Files in the address space: vectors are compared where the system's cache has them, without a copy of them.

Published files are replaced, never written to, so what is mapped stays what it is. Each look checks that the file is
the one that was mapped; only one that is cut by another program at that very moment, or a disk that fails, ends the
process, as with every mapped file.
"""

from __future__ import annotations

import mmap
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

#: Each holds an open file; a survey has more of them than a process may open.
_MOST_MAPPED = 64


def mapped_bytes(file: Path, end: int) -> NDArray[np.uint8] | None:
    """(size,) the bytes of a file that has at least `end` of them; None where the system maps no such file.

    Raises:
        EOFError: the file is shorter.
        OSError: it cannot be opened.
    """
    about = file.stat()
    if about.st_size < end:
        raise EOFError(f"the file ends at byte {about.st_size}, and its vectors go on")
    return _mapped(file, about.st_size, about.st_mtime_ns, about.st_ino)


@lru_cache(maxsize=_MOST_MAPPED)
def _mapped(file: Path, size: int, changed: int, number: int) -> NDArray[np.uint8] | None:  # noqa: ARG001
    """Maps one state of a file: other states have another size, time or number."""
    with file.open("rb") as opened:
        try:
            return np.frombuffer(mmap.mmap(opened.fileno(), size, access=mmap.ACCESS_READ), np.uint8)
        except (OSError, ValueError):
            return None


class Writable:
    """Read-only numbers under a name that torch takes without a warning: nobody may write to them."""

    def __init__(self, values: NDArray[Any]) -> None:
        self._values = values  # Kept, for the memory is theirs.
        self.__array_interface__ = {**values.__array_interface__, "data": (values.ctypes.data, False)}
