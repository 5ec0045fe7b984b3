"""A file for HDF5 to write to, such that a full disk ends in a sentence and not in a crash of the library."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any


class SafeFile(io.FileIO):
    """A file for HDF5 to write to, which tells us of a full disk, and HDF5 nothing.

    The HDF5 library ends the process with a segmentation fault when a file that it has open refuses a write, and may do
    so when it reads back what it has not written: from the first refusal on, what it writes is kept in memory, which
    callers bound by a `check` behind each write of theirs.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(path, "w+")
        self._refused: OSError | None = None
        #: Where they begin, and the writes since the first that was refused, oldest first.
        self._kept: list[tuple[int, bytes]] = []

    def write(self, data: Any) -> int:  # noqa: ANN401  # Whatever has bytes.
        """All of it, or nothing more once a write was refused."""
        view = memoryview(data).cast("B")
        begin, written = self.tell(), 0
        try:
            while self._refused is None and written < len(view):
                written += super().write(view[written:]) or 0
        except OSError as error:
            self._refused = error
        if self._refused is not None:
            self._kept.append((begin, bytes(view)))
            self.seek(begin + len(view))
        return len(view)

    def readinto(self, buffer: Any) -> int:  # noqa: ANN401  # Whatever takes bytes.
        """Reads what was written, whether it has reached the disk or not; zeros where nothing was."""
        view = memoryview(buffer).cast("B")
        begin = self.tell()
        found = super().readinto(view) or 0
        if self._refused is None:
            return found
        view[found:] = bytes(len(view) - found)
        for start, content in self._kept:
            first, last = max(start, begin), min(start + len(content), begin + len(view))
            if first < last:
                view[first - begin : last - begin] = content[first - start : last - start]
        self.seek(begin + len(view))
        return len(view)

    def truncate(self, size: int | None = None) -> int:
        """Sets the file's size to what HDF5 asks for, and keeps an error of the system for later."""
        try:
            return super().truncate(size) if self._refused is None else size or 0
        except OSError as error:
            self._refused = error
            return size or 0

    def check(self) -> None:
        """Raise the OSError of the first write that was refused, if one was."""
        if self._refused is not None:
            raise self._refused

    def __exit__(self, *raised: object) -> None:
        self.close()
        self.check()
