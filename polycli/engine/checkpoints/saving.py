"""One rank's files of a checkpoint, written by a thread of their own while training goes on."""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from torch import Tensor

from polycli.checkpoints.durable import write_tensors, write_text
from polycli.checkpoints.manifest import CheckpointFile


@dataclass(frozen=True)
class DescribedTensors:
    """Tensors with the metadata that their file carries."""

    tensors: dict[str, Tensor]
    metadata: Mapping[str, str]


#: A file by its path in the checkpoint: its text, or its tensors, on the CPU and nobody else's.
Contents = dict[str, str | dict[str, Tensor] | DescribedTensors]


@dataclass(frozen=True)
class Written:
    """How it went on one rank."""

    files: Mapping[str, CheckpointFile] = field(default_factory=dict)
    #: What the disk refused, for people; None where everything is on it.
    refusal: str | None = None


class Writer:
    """Writes as soon as it is made."""

    def __init__(self, directory: Path, contents: Contents) -> None:
        self._directory, self._contents = directory, contents
        self._written: Written | None = None
        self._fault: BaseException | None = None
        # A daemon: what a process that ends in the middle of a save leaves is cleared by the next start.
        self._thread = threading.Thread(target=self._write, name="checkpoint", daemon=True)
        self._thread.start()

    @property
    def busy(self) -> bool:
        """Whether something is still to be written."""
        return self._thread.is_alive()

    def result(self) -> Written:
        """Wait for the end."""
        self._thread.join()
        if self._written is None:
            raise RuntimeError(f"{self._directory}: the thread that writes it failed") from self._fault
        return self._written

    def _write(self) -> None:
        try:
            self._written = _written(self._directory, self._contents)
        except BaseException as error:  # noqa: BLE001  # It is raised where the result is asked for.
            self._fault = error


def refusal_of(error: OSError) -> str:
    """Say what a disk refused and where: `No space left on device: RUN/checkpoints/...`."""
    reason = os.strerror(error.errno) if error.errno else str(error)
    return f"{reason}: {error.filename}" if error.filename else reason


def _written(directory: Path, contents: Contents) -> Written:
    files = {}
    try:
        while contents:
            # Taken out one by one: memory is free again as soon as it is on the disk.
            name, content = contents.popitem()
            path = directory / name
            files[name] = _write_file(path, content)
    except OSError as error:
        return Written(refusal=refusal_of(error))
    return Written(files)


def _write_file(path: Path, content: str | dict[str, Tensor] | DescribedTensors) -> CheckpointFile:
    if isinstance(content, str):
        return write_text(path, content)
    if isinstance(content, DescribedTensors):
        return write_tensors(path, content.tensors, content.metadata)
    return write_tensors(path, content)
