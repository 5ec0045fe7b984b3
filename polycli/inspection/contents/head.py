"""The first rows of a file, a store or a catalogue, as a table: `polycli inspect PATH --head N`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polycli.errors import UserError
from polycli.families import find_family
from polycli.files.plain import check_plain, open_plain
from polycli.inspection.contents.cells import Cell, cell_of, plain_value

#: Bytes of a line of text that are shown.
_LONGEST_LINE = 400
#: So many entries of a folder are looked into for rows.
_ENTRIES = 20
_TEXTS = (".csv", ".tsv", ".txt", ".dat", ".ecsv", ".jsonl", ".ndjson", ".json", ".yaml", ".yml", ".md", ".py")


@dataclass(frozen=True)
class Head:
    """Some rows: columns of values, or lines of text as they stand in the file."""

    columns: Mapping[str, Sequence[Any]]
    lines: tuple[str, ...] = ()
    #: Of a folder of files or stores, the one whose rows these are.
    of: str = ""

    def cells(self) -> list[list[Cell]]:
        """The rows as texts, long values shortened."""
        return [[cell_of(value) for value in row] for row in zip(*self.columns.values(), strict=True)]

    def text(self) -> str:
        """The rows as people read them, within the screen."""
        from polycli.report.table import Table, as_text

        if self.lines:
            return "\n".join([f"{self.of}:", *self.lines] if self.of else self.lines)
        return as_text(Table(self.of, tuple(self.columns), self.cells())).strip("\n")

    def document(self) -> list[dict[str, object]] | list[str]:
        """Returns the rows as JSON has them."""
        if self.lines:
            return list(self.lines)
        rows = zip(*self.columns.values(), strict=True)
        return [dict(zip(self.columns, map(plain_value, row), strict=True)) for row in rows]


def read_head(path: Path, rows: int) -> Head:
    """The first `rows` rows of whatever is at `path`.

    Raises:
        UserError: it has no rows that polycli can show, or is damaged.
    """
    if path.is_dir():
        return _of_folder(path, rows)
    size = check_plain(path)
    with open_plain(path) as file:
        start = file.read(16)
    if size == 0:
        raise UserError(f"{path}: is empty")
    for recognises, reads in _READERS:
        if recognises(start, path):
            return reads(path, rows)
    raise UserError(
        f"{path}: polycli knows no rows in such a file",
        hint="rows are shown of tables, JSON lines, FITS, HDF5, npy, npz, Parquet, HATS, stores and embeddings",
    )


def _of_folder(path: Path, rows: int) -> Head:
    if (path / "MANIFEST.json").is_file():
        from polycli.store.reader import open_store

        store = open_store(path)
        count = min(rows, store.manifest.rows)
        own = find_family(store.manifest.family).inspects().rows(path, count)
        numbers = np.arange(count)
        shared: dict[str, Sequence[Any]] = {"row": numbers.tolist(), "id": store.row_ids(numbers)}
        shared["split"] = store.split_names(numbers)
        return Head({**shared, **{name: values for name, values in own.items() if name not in shared}})
    parquets = sorted(path.glob("**/*.parquet"))
    if parquets:
        return _parquet(parquets[0], rows)
    # A run has a log and metrics, but no rows.
    entries = [] if (path / "status.json").is_file() else sorted(path.iterdir())[:_ENTRIES]
    for entry in (each for each in entries if each.is_file() or (each / "MANIFEST.json").is_file()):
        with suppress(UserError):
            return replace(read_head(entry, rows), of=entry.name)
    raise UserError(f"{path}: polycli knows no rows in such a folder", hint=f"polycli inspect {path} says what it is")


def _parquet(path: Path, rows: int) -> Head:
    from polycli.files.parquet import open_parquet

    with open_parquet(path) as file:
        table = next(iter(file.iter_batches(batch_size=rows)), None)
        columns = {} if table is None else {name: table[name].to_pylist() for name in table.schema.names}
    return Head(columns)


def _fits(path: Path, rows: int) -> Head:
    from polycli.files.fits_files import open_fits

    with open_fits(path) as units:
        for unit in units:
            if hasattr(unit, "columns") and len(unit.columns):
                data = unit.data[:rows]
                return Head({name: list(data[name]) for name in data.names})
    raise UserError(f"{path}: none of its HDUs is a table", hint="--figure OUT.png shows its images")


def _hdf5(path: Path, rows: int) -> Head:
    import h5py

    from polycli.files.hdf5 import open_hdf5

    found: dict[str, tuple[int, NDArray[Any]]] = {}
    with open_hdf5(path) as file:

        def note(name: str, node: object) -> None:
            if isinstance(node, h5py.Dataset) and node.ndim:
                found[name] = (node.shape[0], node[:rows])

        file.visititems(note)
    return _of_arrays(path, found)


def _numpy(path: Path, rows: int) -> Head:
    from polycli.files.numpy_files import npz_headers, open_npy, read_npz

    if path.suffix != ".npz":
        array = open_npy(path)
        return _of_arrays(path, {path.stem: (len(array), array[:rows])} if array.ndim else {})
    names = [name for name, header in npz_headers(path).items() if header.shape]
    arrays = {name: read_npz(path, name) for name in names}
    return _of_arrays(path, {name: (len(array), array[:rows]) for name, array in arrays.items()})


def _of_arrays(path: Path, arrays: Mapping[str, tuple[int, NDArray[Any]]]) -> Head:
    """The rows of arrays that have equally many; where lengths differ, those of the most common length."""
    if not arrays:
        raise UserError(f"{path}: none of its arrays has rows")
    lengths = [length for length, _ in arrays.values()]
    common = max(dict.fromkeys(lengths), key=lengths.count)
    columns: dict[str, Sequence[Any]] = {}
    for name, (length, values) in arrays.items():
        if length != common:
            continue
        if values.dtype.names:
            columns |= {f"{name}.{field}": list(values[field]) for field in values.dtype.names}
        else:
            columns[name] = list(values)
    return Head(columns)


def _text(path: Path, rows: int) -> Head:
    from polycli.files.streams import form_of, open_text

    with open_text(path, form_of(path)) as file:
        lines = [line[:_LONGEST_LINE].decode("utf-8", "replace").rstrip("\r\n") for line in islice(file, rows)]
    return Head({}, tuple(lines))


_READERS: tuple[tuple[Callable[[bytes, Path], bool], Callable[[Path, int], Head]], ...] = (
    (lambda start, path: start.startswith(b"\x89HDF\r\n\x1a\n") or path.suffix in {".h5", ".hdf5"}, _hdf5),
    (lambda start, _: start.startswith(b"SIMPLE  ="), _fits),
    (lambda start, path: start.startswith(b"\x93NUMPY") or path.suffix == ".npz", _numpy),
    (lambda start, _: start.startswith(b"PAR1"), _parquet),
    (lambda start, path: b"\0" not in start and bool(set(path.suffixes) & set(_TEXTS)), _text),
)
