"""Tables of predicted parameters on disk, a row for each trajectory: CSV, Parquet or JSON, by the name's ending."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from polycli.names import cell, free_names
from polycli.outputs import OutputKind
from polycli.requests import JsonDocument
from polycli.store.embeddings.manifest import METADATA_KEY, PARQUET_SEAL_KEY
from polycli.store.sealing import new_seal, seal

FORMAT = "polycli-parameters"
#: Columns before the parameters, and the one behind them.
_FIRST, _LAST = ("trajectory", "dataset", "split", "windows"), "outside_training"


@dataclass(frozen=True)
class ParameterRow:
    """The predicted parameters of one trajectory."""

    trajectory: str
    dataset: str
    split: str | None
    #: Windows over which the answers were averaged.
    windows: int
    values: Mapping[str, float]
    #: Parameters whose predicted value lies outside of those that trained.
    outside: tuple[str, ...]


def columns_of(targets: Sequence[str]) -> dict[str, str]:
    """Maps each parameter to the name of its column."""
    names = free_names(list(targets), taken=[*_FIRST, _LAST], prefix="parameter_")
    return dict(zip(targets, names, strict=True))


def write_parameters(path: Path, rows: Sequence[ParameterRow], targets: Sequence[str], document: JsonDocument) -> None:
    """Write rows in the format that the ending of `path` says; CSV has no place for the document."""
    columns = columns_of(targets)
    if path.suffix == ".csv":
        with path.open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow([cell(name) for name in (*_FIRST, *columns.values(), _LAST)])
            for row in rows:
                numbers = [repr(row.values[name]) for name in targets]
                texts = [cell(row.trajectory), cell(row.dataset), row.split or "", row.windows]
                writer.writerow([*texts, *numbers, cell(";".join(row.outside))])
        return
    about = {"format": FORMAT, **document}
    if path.suffix == ".json":
        listed = [_record(row, columns) for row in rows]
        text = json.dumps({**about, "trajectories": listed}, indent=1, ensure_ascii=False, allow_nan=False)
        path.write_text(text + "\n", encoding="utf-8")
        return
    _write_parquet(path, [_record(row, columns) for row in rows], about)


def _record(row: ParameterRow, columns: Mapping[str, str]) -> JsonDocument:
    first = {"trajectory": row.trajectory, "dataset": row.dataset, "split": row.split, "windows": row.windows}
    return {**first, **{column: row.values[name] for name, column in columns.items()}, _LAST: list(row.outside)}


def _write_parquet(path: Path, records: Sequence[JsonDocument], about: JsonDocument) -> None:
    import pyarrow as pa
    from pyarrow import parquet

    fixed = {"split": pa.string(), _LAST: pa.list_(pa.string())}
    table = pa.table(
        {name: pa.array([record[name] for record in records], fixed.get(name)) for name in records[0]},
        metadata={METADATA_KEY: json.dumps(about)},
    )
    token = new_seal()
    with parquet.ParquetWriter(path, table.schema, write_page_checksum=True) as writer:
        writer.write_table(table)
        writer.add_key_value_metadata({PARQUET_SEAL_KEY: token})
    seal(path, token)


def _are_parameters(path: Path) -> bool:
    """Whether a file holds such a table, by its header, its document or its metadata."""
    try:
        if path.suffix == ".csv":
            with path.open(encoding="utf-8", newline="") as file:
                header = next(csv.reader(file), [])
            return tuple(header[: len(_FIRST)]) == _FIRST and header[-1] == _LAST
        if path.suffix == ".json":
            said = json.loads(path.read_text(encoding="utf-8"))
        else:
            from pyarrow import ArrowException, parquet

            try:
                said = json.loads((parquet.read_schema(path).metadata or {}).get(METADATA_KEY.encode(), b"{}"))
            except ArrowException:
                return False
    except (OSError, ValueError, csv.Error):
        return False
    return isinstance(said, dict) and said.get("format") == FORMAT


PARAMETERS = OutputKind("parameters", (".csv", ".parquet", ".json"), _are_parameters)
