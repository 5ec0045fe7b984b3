"""Vectors on disk: Parquet or zarr, written batch by batch under a temporary name and renamed when whole.

Parquet: TARGET.parquet with `record_id` and `vector`, and TARGET.numbers.parquet with `record`, `record_id`,
`key_path`, `value` and `vector`, a row for each number. zarr (v3): `vectors` (record, dimension) and, for numbers,
`number_vectors` (number, dimension), `number_record` (place of its record), `number_value` and `number_key` (place in
the attribute `key_paths`); ids are UTF-8 bytes in `record_id`, cut by `record_id_offsets`. Where vectors come from
stands in the schema's metadata under `polycli`, or in the attributes.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from polycli.errors import UserError
from polycli.paths import refuse_unwritable, remove, replace
from polycli.requests import JsonDocument

FORMAT = "polycli-embeddings"
_CHUNK_ROWS = 1024


@dataclass(frozen=True)
class Vectors:
    """The vectors of some records, and of their numbers."""

    ids: tuple[str, ...]
    #: (records, dimension)
    records: NDArray[np.float32]
    #: (numbers, dimension); none where they are not wanted.
    numbers: NDArray[np.float32]
    #: For each number its record's place among these, its key path's place, and its value.
    number_record: NDArray[np.int64]
    number_key: NDArray[np.int32]
    number_value: NDArray[np.float64]


class VectorWriter(Protocol):
    """Takes vectors batch by batch."""

    def write(self, vectors: Vectors, key_paths: Sequence[str]) -> None:
        """Some more records; `number_key` counts in `key_paths`."""
        ...

    def close(self) -> None:
        """No more will come."""
        ...


def numbers_file(target: Path) -> Path:
    """Where the vectors of numbers stand beside those of records in Parquet."""
    return target.with_suffix(".numbers.parquet")


def refuse_target(target: Path, *, overwrite: bool) -> None:
    """Raise UserError where vectors cannot be written to `target`; leaves nothing behind."""
    if target.suffix not in {".parquet", ".zarr"}:
        raise UserError(
            f"{target}: the suffix says the format: .parquet or .zarr",
            hint=f"--output {target.with_suffix('.parquet')}",
        )
    files = [target, numbers_file(target)] if target.suffix == ".parquet" else [target]
    for file in files:
        if file.exists() and not overwrite:
            raise UserError(f"{file}: exists already", hint="give another --output, or --set overwrite=true")
    refuse_unwritable(target.parent, what="embeddings")


@contextmanager
def writing(target: Path, provenance: JsonDocument, dimension: int, *, numbers: bool) -> Iterator[VectorWriter]:
    """What takes vectors; the target appears, whole, when the block ends without an exception."""
    target.parent.mkdir(parents=True, exist_ok=True)
    unfinished = target.with_name(f".{target.name}.partial-{os.getpid()}")
    beside = numbers_file(unfinished)
    remove(unfinished)
    try:
        writer: ZarrWriter | ParquetWriter
        if target.suffix == ".zarr":
            writer = ZarrWriter(unfinished, provenance, dimension, numbers=numbers)
        else:
            writer = ParquetWriter(unfinished, beside if numbers else None, provenance, dimension)
        try:
            yield writer
        finally:
            writer.close()
        if target.suffix == ".parquet":
            # Numbers first: who finds the records finds what belongs to them.
            if numbers:
                replace(beside, numbers_file(target))
            else:
                remove(numbers_file(target))
        replace(unfinished, target)
    finally:
        remove(unfinished)
        remove(beside)


class ParquetWriter:
    """Two files, of which one is optional."""

    def __init__(self, records: Path, numbers: Path | None, provenance: JsonDocument, dimension: int) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        vector = pa.list_(pa.float32(), dimension)
        metadata = {"polycli": json.dumps({"format": FORMAT, **provenance})}
        self._records_schema = pa.schema([("record_id", pa.string()), ("vector", vector)], metadata=metadata)
        self._numbers_schema = pa.schema(
            [
                ("record", pa.int64()),
                ("record_id", pa.string()),
                ("key_path", pa.dictionary(pa.int32(), pa.string())),
                ("value", pa.float64()),
                ("vector", vector),
            ],
            metadata=metadata,
        )
        self._records = pq.ParquetWriter(records, self._records_schema, compression="zstd")
        self._numbers = None if numbers is None else pq.ParquetWriter(numbers, self._numbers_schema, compression="zstd")
        self._count = 0

    def write(self, vectors: Vectors, key_paths: Sequence[str]) -> None:
        """A row group in each file."""
        import pyarrow as pa

        ids = pa.array(vectors.ids, pa.string())
        self._records.write_table(
            pa.table([ids, _fixed(vectors.records, self._records_schema)], schema=self._records_schema)
        )
        if self._numbers is not None and len(vectors.numbers):
            keys = pa.DictionaryArray.from_arrays(pa.array(vectors.number_key), pa.array(key_paths, pa.string()))
            self._numbers.write_table(
                pa.table(
                    [
                        pa.array(vectors.number_record + self._count),
                        ids.take(pa.array(vectors.number_record)),
                        keys,
                        pa.array(vectors.number_value),
                        _fixed(vectors.numbers, self._numbers_schema),
                    ],
                    schema=self._numbers_schema,
                )
            )
        self._count += len(vectors.ids)

    def close(self) -> None:
        """End both files."""
        self._records.close()
        if self._numbers is not None:
            self._numbers.close()


class ZarrWriter:
    """One group; arrays grow with every batch."""

    def __init__(self, path: Path, provenance: JsonDocument, dimension: int, *, numbers: bool) -> None:
        import zarr

        self._group = zarr.open_group(path, mode="w", zarr_format=3)
        self._provenance = provenance
        self._key_paths: dict[str, int] = {}
        self._count = 0
        self._numbers = numbers
        self._arrays: dict[str, Any] = {}
        self._create("vectors", (dimension,), "float32")
        self._create("record_id", (), "uint8", chunk=1 << 16)
        self._create("record_id_offsets", (), "int64")
        self._arrays["record_id_offsets"].append(np.zeros(1, dtype=np.int64))
        if numbers:
            self._create("number_vectors", (dimension,), "float32")
            for name, kind in (("number_record", "int64"), ("number_key", "int32"), ("number_value", "float64")):
                self._create(name, (), kind)

    def write(self, vectors: Vectors, key_paths: Sequence[str]) -> None:
        """Append to all arrays."""
        texts = [name.encode() for name in vectors.ids]
        end = int(self._arrays["record_id_offsets"][-1])
        self._arrays["vectors"].append(vectors.records)
        self._arrays["record_id"].append(np.frombuffer(b"".join(texts), dtype=np.uint8))
        self._arrays["record_id_offsets"].append(end + np.cumsum([len(text) for text in texts], dtype=np.int64))
        if self._numbers and len(vectors.numbers):
            places = np.array([self._key_paths.setdefault(path, len(self._key_paths)) for path in key_paths])
            self._arrays["number_vectors"].append(vectors.numbers)
            self._arrays["number_record"].append(vectors.number_record + self._count)
            self._arrays["number_key"].append(places[vectors.number_key].astype(np.int32))
            self._arrays["number_value"].append(vectors.number_value)
        self._count += len(vectors.ids)

    def close(self) -> None:
        """Write the attributes."""
        self._group.attrs.update({"format": FORMAT, **self._provenance, "key_paths": list(self._key_paths)})

    def _create(self, name: str, rest: tuple[int, ...], kind: str, chunk: int = _CHUNK_ROWS) -> None:
        from zarr.codecs import BloscCodec, Crc32cCodec

        self._arrays[name] = self._group.create_array(
            name,
            shape=(0, *rest),
            chunks=(chunk, *rest),
            dtype=kind,
            # As in stores: a flipped bit is found, and a chunk of zeros is written rather than left out.
            compressors=[BloscCodec(cname="lz4", typesize=np.dtype(kind).itemsize), Crc32cCodec()],
            config={"write_empty_chunks": True},
        )


def _fixed(vectors: NDArray[np.float32], schema: Any) -> Any:  # noqa: ANN401  # pyarrow
    import pyarrow as pa

    return pa.FixedSizeListArray.from_arrays(pa.array(vectors.reshape(-1)), type=schema.field("vector").type)
