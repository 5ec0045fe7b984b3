"""The manifest of embeddings, and where their tables lie in each form."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from polycli.requests import JsonDocument

if TYPE_CHECKING:
    import pyarrow as pa

FORMAT = "polycli-embeddings"
SCHEMA_VERSION = 2
#: With the underscore, readers of folders of Parquet files pass over it.
MANIFEST_NAME = "_MANIFEST.json"
#: Under this name the manifest lies in a Parquet file's metadata and in a zarr group's attributes.
METADATA_KEY = "polycli"
#: In the manifest as JSON, and in a Parquet file's metadata with `polycli.` before it: the seal of the file.
SEAL_KEY = "sha256"
PARQUET_SEAL_KEY = f"{METADATA_KEY}.{SEAL_KEY}"
#: The name of the table that has a row for each row of the data; every other table has a name that users read.
ROWS = ""


@dataclass(frozen=True)
class EmbeddingsHeader:
    """The origin of embeddings: the family, the model and the data."""

    family: str
    #: The model, its hash, the version.
    provenance: Mapping[str, Any]
    #: By name of the data: hash of the store; empty where the data were files.
    store_hash: Mapping[str, str]
    options: Mapping[str, Any] = field(default_factory=dict)
    #: What was given as data, in order.
    data: Sequence[str] = ()
    #: A hash of everything that decides what the rows are, the settings among it, and the rows of each of the data;
    #: `store.embeddings.plan` has them.
    plan: str = ""
    settings: Mapping[str, Any] = field(default_factory=dict)
    sources: Sequence[JsonDocument] = ()
    #: How many rows of the data could not be embedded; the table `quarantined` says which and why.
    quarantined: int = 0


@dataclass(frozen=True)
class TableFacts:
    """The manifest's entry for one table."""

    rows: int
    #: By column: `{"width": 512, "dtype": "float32"}`.
    vectors: Mapping[str, JsonDocument]


def manifest(
    header: EmbeddingsHeader, tables: Mapping[str, TableFacts], files: Mapping[str, JsonDocument] | None = None
) -> JsonDocument:
    """The manifest as JSON; `files` are all others that belong to the embeddings, by their path beside the manifest.

    Of each it says the size, the SHA-256 and, of Parquet, the rows.
    """
    return {
        "format": FORMAT,
        "schema_version": SCHEMA_VERSION,
        **asdict(tables[ROWS]),
        "tables": {name: asdict(facts) for name, facts in tables.items() if name != ROWS},
        **asdict(header),
        "data": list(header.data),
        "files": dict(sorted((files or {}).items())),
    }


def vectors_of(schema: pa.Schema) -> dict[str, JsonDocument]:
    """Width and type of the columns that hold vectors, in order."""
    import pyarrow as pa

    widths = {"halffloat": "float16", "float": "float32"}
    return {
        column.name: {"width": column.type.list_size, "dtype": widths[str(column.type.value_type)]}
        for column in schema
        if pa.types.is_fixed_size_list(column.type)
    }


def table_file(target: Path, table: str) -> Path:
    """The Parquet file of a table.

    Example:
        >>> table_file(Path("records.parquet"), "numbers").name
        'records.numbers.parquet'
    """
    return target if table == ROWS else target.with_suffix(f".{table}.parquet")


def table_folder(folder: Path, table: str) -> Path:
    """The folder with the parts of a table; readers of the whole folder pass over names with an underscore."""
    return folder if table == ROWS else folder / f"_{table}"
