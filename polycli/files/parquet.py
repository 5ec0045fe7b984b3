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
def open_parquet(path: Path) -> Iterator[Any]:
    """The file, as pyarrow's ParquetFile.

    Raises:
        SourceError: it is no Parquet file, truncated or damaged, here or where the block reads it, or claims to hold
            far more than it can.
    """
    import pyarrow as pa
    from pyarrow.parquet import ParquetFile

    check_plain(path)
    try:
        with ParquetFile(path) as file:
            about = file.metadata
            refuse_claim(path, about.num_rows * about.num_columns * _NARROWEST)
            yield file
    except (pa.ArrowException, OSError, ValueError, TypeError, LookupError, OverflowError) as error:
        raise SourceError(f"{path}: the Parquet file is truncated or damaged, or none: {reason_of(error)}") from error
