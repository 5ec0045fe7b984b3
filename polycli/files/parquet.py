"""Parquet files from anybody: opened with a sentence for whatever pyarrow cannot make sense of."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from polycli.errors import SourceError
from polycli.files.plain import check_plain, reason_of, refuse_claim

#: Bytes of the narrowest value of a column once it is decoded.
_NARROWEST = 1


@contextmanager
def open_parquet(path: Path, *, buffer: int = 0) -> Iterator[Any]:
    """The file, as pyarrow's ParquetFile; `buffer` as for `parquet_file`.

    Raises:
        SourceError: it is no Parquet file, truncated or damaged, here or where the block reads it, or claims to hold
            far more than it can.
    """
    with reading_parquet(path), parquet_file(path, buffer=buffer) as file:
        yield file


def parquet_file(path: Path, *, buffer: int = 0) -> Any:  # noqa: ANN401  # pyarrow has no types
    """The file, as pyarrow's ParquetFile, to be closed; opened and read within `reading_parquet`, for what it raises.

    With a `buffer`, so many bytes of a column chunk are in memory at a time; else the whole chunk, which reads faster.
    """
    from pyarrow.parquet import ParquetFile

    check_plain(path)
    # Told to buffer alone, pyarrow still fetches all column chunks of a row group first.
    file = ParquetFile(path, buffer_size=buffer, pre_buffer=not buffer)
    about = file.metadata
    refuse_claim(path, about.num_rows * about.num_columns * _NARROWEST)
    return file


@contextmanager
def reading_parquet(path: Path) -> Iterator[None]:
    """A block in which what pyarrow raises ends in a sentence about the file.

    Raises:
        SourceError: as `open_parquet`.
    """
    import pyarrow as pa

    try:
        yield
    except (pa.ArrowException, OSError, ValueError, TypeError, LookupError, OverflowError) as error:
        raise SourceError(f"{path}: the Parquet file is truncated or damaged, or none: {reason_of(error)}") from error
