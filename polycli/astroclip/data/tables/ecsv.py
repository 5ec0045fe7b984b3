"""The header of an ECSV file: which columns it has, of which types and units (Astropy Proposal for Enhancement 6)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from polycli.errors import SourceError
from polycli.files.plain import reason_of

_FIRST_LINE = "# %ECSV"


@dataclass(frozen=True)
class EcsvColumn:
    """A column as the header declares it."""

    name: str
    datatype: str
    unit: str
    unusable: str


def ecsv_header(path: Path, comments: Sequence[str]) -> tuple[str, list[EcsvColumn]] | None:
    """The delimiter and the columns; None where the comments are of no ECSV file.

    Raises:
        SourceError: the header is no YAML, or not as the format has it.
    """
    if not comments or not comments[0].startswith(_FIRST_LINE):
        return None
    from astropy.table.meta import YamlParseError, get_header_from_yaml

    try:
        header = get_header_from_yaml([line[2:] for line in comments[1:]])
        columns = [
            EcsvColumn(
                name=str(column["name"]),
                datatype=str(column["datatype"]),
                unit=str(column.get("unit") or ""),
                unusable=_unusable(str(column["datatype"]), str(column.get("subtype") or "")),
            )
            for column in header["datatype"]
        ]
        delimiter = str(header.get("delimiter", " "))
    except (YamlParseError, LookupError, TypeError, ValueError, AttributeError) as error:
        raise SourceError(f"{path}: the ECSV header cannot be read: {reason_of(error)}") from error
    if delimiter not in (" ", ","):
        raise SourceError(f"{path}: the ECSV header has the delimiter {delimiter!r}, a blank or a comma was expected")
    return delimiter, columns


def _unusable(datatype: str, subtype: str) -> str:
    if "complex" in datatype:
        return "complex numbers"
    return f"values of the type {subtype}" if datatype == "string" and subtype else ""
