"""Writes embeddings: vectors in the rows of the catalogue that they belong to, as Parquet or zarr.

    EMBEDDINGS/            _MANIFEST.json and part-00000.parquet, ..., one for each process that wrote
    EMBEDDINGS.parquet     one file; the manifest is in its metadata, under `polycli`
    EMBEDDINGS.zarr        a group with one array per column; the manifest is in its attributes, under `polycli`

Vectors are fixed-size lists in Parquet and (rows, width) in zarr. All appear whole, under their names, at the end.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np
from numpy.typing import NDArray

from polycli.errors import PolycliError, UserError
from polycli.paths import refuse_unwritable, remove, replace
from polycli.requests import JsonDocument
from polycli.store.hashing import file_hash
from polycli.store.staging import sync_folder, sync_tree, write_text

if TYPE_CHECKING:
    import pyarrow as pa

#: With the underscore, readers of folders of Parquet files pass over it.
MANIFEST_NAME = "_MANIFEST.json"
#: Under this name the manifest lies in a Parquet file's metadata and in a zarr group's attributes.
METADATA_KEY = "polycli"
_ZARR_ROWS = 4096


@dataclass(frozen=True)
class EmbeddingsHeader:
    """What embeddings say about themselves."""

    family: str
    #: By column: width and dtype of its vectors.
    vectors: Mapping[str, tuple[int, Literal["float16", "float32"]]]
    #: The model, its hash, the version.
    provenance: Mapping[str, Any]
    #: By name of the data: hash of the store.
    store_hash: Mapping[str, str]
    options: Mapping[str, Any] = field(default_factory=dict)

    def manifest(self, rows: int, files: Mapping[str, JsonDocument]) -> JsonDocument:
        """The manifest as JSON."""
        vectors = {name: {"width": width, "dtype": kind} for name, (width, kind) in self.vectors.items()}
        return {
            "format": "polycli-embeddings",
            "schema_version": 1,
            "rows": rows,
            **asdict(self),
            "vectors": vectors,
            "files": dict(files),
        }


def refuse_target(target: Path, *, overwrite: bool) -> None:
    """Raise UserError where embeddings cannot be written to `target`; leaves nothing behind."""
    if target.suffix not in {"", ".parquet", ".zarr"}:
        raise UserError(
            f"{target}: the suffix says the format: .parquet, .zarr, or none for a folder of Parquet files",
            hint=f"--output {target.with_suffix('.parquet')}",
        )
    if target.exists() and not overwrite:
        raise UserError(f"{target}: exists already", hint="give another --output, or --set overwrite=true")
    refuse_unwritable(target.parent, what="embeddings")


def partial_folder(target: Path) -> Path:
    """Make the folder that all processes write their parts into; called by one of them."""
    folder = target.with_name(f".{target.name}.partial-{os.getpid()}")
    target.parent.mkdir(parents=True, exist_ok=True)
    remove(folder)
    folder.mkdir()
    return folder


class PartWriter:
    """One process's rows, appended table by table."""

    def __init__(self, partial: Path, rank: int) -> None:
        self.path = partial / f"part-{rank:05d}.parquet"
        self._writer: Any = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if self._writer is None:
            return
        try:
            self._writer.close()
            _sync(self.path)
        except OSError as error:
            # After a write that was refused, so is the end of the file, and the first refusal is the one to tell.
            if kind is None:
                raise _write_error(self.path, error) from error

    def write(self, columns: pa.Table, vectors: Mapping[str, NDArray[Any]]) -> None:
        """Add rows: the catalogue's columns, and (rows, width) vectors by column name."""
        import pyarrow as pa
        from pyarrow import parquet

        table = columns
        for name, values in vectors.items():
            flat = pa.array(np.ascontiguousarray(values).reshape(-1))
            table = table.append_column(name, pa.FixedSizeListArray.from_arrays(flat, values.shape[1]))
        try:
            if self._writer is None:
                self._writer = parquet.ParquetWriter(self.path, table.schema)
            self._writer.write_table(table)
        except OSError as error:
            raise _write_error(self.path, error) from error


def publish(partial: Path, target: Path, header: EmbeddingsHeader) -> int:
    """Make `target` of all parts, in the order of their names; returns the number of rows. Called by one process."""
    try:
        parts = sorted(partial.glob("part-*.parquet"))
        rows = sum(_rows(part) for part in parts)
        if target.suffix == ".parquet":
            whole = partial / "whole"
            _join(parts, whole, header.manifest(rows, {}))
        elif target.suffix == ".zarr":
            whole = partial / "whole"
            _to_zarr(parts, whole, rows, header.manifest(rows, {}))
        else:
            whole = partial
            files = {
                part.name: {"rows": _rows(part), "size": part.stat().st_size, "sha256": file_hash(part)}
                for part in parts
            }
            text = json.dumps(header.manifest(rows, files), indent=1) + "\n"
            write_text(partial / MANIFEST_NAME, text)
        if whole.is_file():
            _sync(whole)
        sync_tree(partial)
        replace(whole, target)
        sync_folder(target.parent)
    except OSError as error:
        raise _write_error(target, error) from error
    finally:
        remove(partial)
    return rows


def _write_error(path: Path, error: OSError) -> PolycliError:
    """What to say when the system refuses a write: nothing is kept of embeddings that are not whole."""
    return PolycliError(
        f"{path}: cannot be written ({error.strerror or error})",
        hint="nothing was published; make room, or choose another --output, and run the same line again",
    )


def _sync(file: Path) -> None:
    """Make the content of a file last."""
    with file.open("rb") as opened:
        os.fsync(opened.fileno())


def _rows(part: Path) -> int:
    from pyarrow import parquet

    return int(parquet.ParquetFile(part).metadata.num_rows)


def _tables(parts: list[Path]) -> Iterator[Any]:
    from pyarrow import parquet

    for part in parts:
        file = parquet.ParquetFile(part)
        for group in range(file.num_row_groups):
            yield file.read_row_group(group)


def _join(parts: list[Path], whole: Path, manifest: JsonDocument) -> None:
    from pyarrow import parquet

    schema = parquet.read_schema(parts[0])
    metadata = {**(schema.metadata or {}), METADATA_KEY.encode(): json.dumps(manifest).encode()}
    with parquet.ParquetWriter(whole, schema.with_metadata(metadata)) as writer:
        for table in _tables(parts):
            writer.write_table(table.replace_schema_metadata(metadata))


def _to_zarr(parts: list[Path], whole: Path, rows: int, manifest: JsonDocument) -> None:
    """Numbers as they are; gaps in integers have an array `<name>_null`; texts as variable-length strings."""
    import pyarrow as pa
    import zarr

    group = zarr.create_group(store=whole)
    group.attrs[METADATA_KEY] = manifest
    place = 0
    for table in _tables(parts):
        for name, column in zip(table.column_names, table.columns, strict=True):
            for array, values in _arrays(name, column.combine_chunks(), pa):
                if array not in group:
                    dtype: Any = "str" if values.dtype == object else values.dtype
                    group.create_array(
                        array, shape=(rows, *values.shape[1:]), dtype=dtype, chunks=(_ZARR_ROWS, *values.shape[1:])
                    )
                group[array][place : place + len(values)] = values  # type: ignore[index]
        place += len(table)


def _arrays(name: str, column: Any, pa: Any) -> Iterator[tuple[str, NDArray[Any]]]:  # noqa: ANN401  # pyarrow has no types.
    kind = column.type
    if pa.types.is_fixed_size_list(kind):
        yield name, column.flatten().to_numpy(zero_copy_only=False).reshape(-1, kind.list_size)
        return
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        yield name, np.array(["" if value is None else value for value in column.to_pylist()], dtype=object)
        return
    if column.null_count and not pa.types.is_floating(kind):
        yield f"{name}_null", column.is_null().to_numpy(zero_copy_only=False)
        column = column.fill_null(False if pa.types.is_boolean(kind) else 0)
    yield name, column.to_numpy(zero_copy_only=False)
