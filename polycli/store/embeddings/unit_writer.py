"""Writes one unit of embeddings: beside its place, read back, noted with rows and hashes, and then renamed."""

from __future__ import annotations

import errno
import shutil
import socket
import time
from contextlib import suppress
from pathlib import Path

from polycli.errors import PolycliError
from polycli.publishing import remove
from polycli.store.embeddings.manifest import table_folder
from polycli.store.embeddings.owners import owned_name
from polycli.store.embeddings.parts import PartWriter, Tables, tables_in
from polycli.store.embeddings.units import NOTE_NAME, UnitFile, UnitNote, UnitPlace
from polycli.store.hashing import file_hash
from polycli.store.staging import sync_folder, sync_trees, write_text

#: Rows of a unit that are read back at a time.
_CHECKED_ROWS = 4096


class UnitWriter:
    """Takes the tables of one unit, block by block; what it writes appears whole when `publish` is called."""

    def __init__(self, place: UnitPlace, unit: int, *, scratch: Path | None = None) -> None:
        """Make a folder for the unit; with `scratch`, its files are written there first, and then copied at once.

        Raises:
            FileNotFoundError: the embeddings were published meanwhile, and their units are gone.
        """
        self.place, self.unit = place, unit
        self._folder = place.work / "units" / owned_name(f".{unit:06d}")
        self._started = time.monotonic()
        #: Where its files are written before they are copied there.
        self._written = self._folder
        if scratch is not None:
            self._written = scratch / owned_name(f"polycli-{place.target.name}-{unit:06d}")
        remove(self._folder)
        remove(self._written)
        # Without parents: a process that comes late must not make the place anew.
        self._folder.mkdir()
        self._written.mkdir(exist_ok=True)
        self._parts = PartWriter(self._written, unit)

    def write(self, tables: Tables) -> None:
        """Add a block of rows to each table."""
        self._parts.write(tables)

    def publish(self, *, rows: int, quarantined: int) -> UnitNote:
        """Close the files, read them back, note their hashes, and give the unit its name, unless another one has it.

        Args:
            rows: how many rows of the data are in the unit.
            quarantined: how many of them could not be embedded.

        Raises:
            PolycliError: a file reads back differently.
            OSError: the system refuses it.
        """
        self._parts.close()
        if self._written != self._folder:
            shutil.copytree(self._written, self._folder, dirs_exist_ok=True)
            sync_trees([self._folder])
        note = UnitNote(
            unit=self.unit,
            rows=rows,
            quarantined=quarantined,
            files={table: self._checked(table) for table in tables_in(self._folder) if self._path(table).is_file()},
            seconds=time.monotonic() - self._started,
            finished=time.time(),
            host=socket.gethostname(),
        )
        write_text(self._folder / NOTE_NAME, note.model_dump_json())
        try:
            self._folder.rename(self.place.folder(self.unit))
        except OSError as error:
            # Another process had the same unit in hand, and the two are the same.
            if error.errno not in (errno.EEXIST, errno.ENOTEMPTY):
                raise
            shutil.rmtree(self._folder, ignore_errors=True)
        sync_folder(self._folder.parent)
        return note

    def discard(self) -> None:
        """Close and remove what is not published."""
        with suppress(OSError):
            self._parts.close()
        shutil.rmtree(self._folder, ignore_errors=True)
        shutil.rmtree(self._written, ignore_errors=True)

    def _checked(self, table: str) -> UnitFile:
        """Read a file back and describe it."""
        from pyarrow import ArrowException, parquet

        path, rows = self._path(table), 0
        try:
            with parquet.ParquetFile(path, page_checksum_verification=True) as file:
                for batch in file.iter_batches(_CHECKED_ROWS, use_threads=False):
                    rows += len(batch)
        except ArrowException as error:
            raise PolycliError(f"{path}: what was written cannot be read back: {error}") from error
        sync_folder(path.parent)
        return UnitFile(rows=rows, size=path.stat().st_size, sha256=file_hash(path))

    def _path(self, table: str) -> Path:
        return table_folder(self._folder, table) / self._parts.name
