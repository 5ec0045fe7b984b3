"""HATS catalogues and collections of others: what their properties say, and the columns that all partitions share."""

from __future__ import annotations

from pathlib import Path

from polycli.files.parquet import open_parquet
from polycli.files.plain import read_bytes
from polycli.inspection.contents.listing import listing
from polycli.inspection.finding import Finding, describe

_NAMES = ("hats.properties", "properties", "collection.properties")
_LONGEST = 2**20


def hats_properties(folder: Path) -> dict[str, str]:
    """The properties of a HATS folder, in Java's form; empty where it is none."""
    for name in _NAMES:
        try:
            text = read_bytes(folder / name, _LONGEST).decode("utf-8")
        except (OSError, UnicodeDecodeError):
            continue
        lines = [line for line in text.splitlines() if "=" in line and not line.startswith(("#", "!"))]
        found = {key.strip(): value.strip() for key, _, value in (line.partition("=") for line in lines)}
        if any(key.startswith("hats_") or key in {"obs_collection", "all_margins"} for key in found):
            return found
    return {}


def describe_hats(folder: Path, properties: dict[str, str]) -> Finding:
    """Describes a catalogue by its properties, partitions and columns; a collection by what it is made of.

    Raises:
        SourceError: its table of columns is damaged.
    """
    name = properties.get("obs_collection", folder.name)
    if "hats_primary_table_url" in properties:
        facts: dict[str, object] = {
            "objects in": properties["hats_primary_table_url"],
            "margins": properties.get("all_margins"),
            "indexes": properties.get("all_indexes"),
            "more": f"polycli inspect {folder / properties['hats_primary_table_url']}",
        }
        return describe(folder, f"a HATS collection, {name}", facts)
    columns: dict[str, str] = {}
    if (folder / "dataset" / "_common_metadata").is_file():
        with open_parquet(folder / "dataset" / "_common_metadata") as file:
            columns = {column.name: str(column.type) for column in file.schema_arrow}
    facts = {
        "type": properties.get("dataproduct_type"),
        "rows": properties.get("hats_nrows"),
        "partitions": sum(1 for _ in folder.glob("dataset/Norder=*/Dir=*/Npix=*")),
        "position": " and ".join(filter(None, (properties.get("hats_col_ra"), properties.get("hats_col_dec")))),
        "healpix": properties.get("hats_col_healpix"),
    }
    kind = f"a HATS catalogue, {name}"
    known = {key: value for key, value in facts.items() if value not in (None, "", 0)}
    document = {"kind": kind, "path": str(folder), **known, "columns": [f"{n} {t}" for n, t in columns.items()]}
    return listing(describe(folder, kind, facts, document), "columns", columns)
