"""A file for HDF5 to write to, such that a full disk ends in a sentence and not in a crash of the library."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any


class SafeFile(io.FileIO):
    """A file for HDF5 to write to, which tells us of a full disk, and HDF5 nothing.

    The HDF5 library ends the process with a segmentation fault when a file that it has open refuses a write.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(path, "w+")
        self._refused: OSError | None = None

    def write(self, data: Any) -> int:  # noqa: ANN401  # Whatever has bytes.
        """All of it, or nothing more once a write was refused."""
        view = memoryview(data).cast("B")
        written = 0
        try:
            while self._refused is None and written < len(view):
                written += super().write(view[written:]) or 0
        except OSError as error:
            self._refused = error
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
