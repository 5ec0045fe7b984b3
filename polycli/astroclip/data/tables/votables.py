"""Tables of VOTable files (XML), by astropy, with the columns that were asked for alone.

A VOTable may say that its data lie elsewhere, in another file or on a host. What a user names is read and nothing else,
so such files are refused, as are those with entities of their own.
"""

from __future__ import annotations

import mmap
import re
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from polycli.astroclip.data.columns import Column, column_of
from polycli.astroclip.data.tables.choosing import chosen_part
from polycli.astroclip.data.tables.table import Field, Reading
from polycli.errors import SourceError
from polycli.files.plain import reason_of

_ELSEWHERE = re.compile(rb"<(?:\w+:)?STREAM\b[^>]*\bhref\s*=", re.IGNORECASE)
_TABLE = re.compile(rb"<(?:\w+:)?TABLE[\s>/]")
_ENTITIES = re.compile(rb"<!(?:DOCTYPE|ENTITY)", re.IGNORECASE)
#: An encoding in which those could hide from a search for bytes.
_ENCODING = re.compile(rb"""<\?xml[^>]*encoding\s*=\s*["']([\w-]+)["']""")
_PLAIN_ENCODINGS = (b"utf-8", b"us-ascii", b"ascii", b"iso-8859-1", b"latin-1")


@dataclass(frozen=True)
class VoTable:
    """One TABLE of a VOTable file."""

    path: Path
    fields: Sequence[Field]
    remarks: Sequence[str]
    #: Its number among the tables of the file.
    number: int

    def read(self, names: Sequence[str]) -> Iterator[Column]:
        """The columns of these names; see `Table.read`."""
        places = {field.name: place for place, field in enumerate(self.fields)}
        wanted = sorted(places[name] for name in names)
        array = _array(self.path, self.number, wanted)
        for name in names:
            field = self.fields[places[name]]
            values = array[array.dtype.names[wanted.index(places[name])]]
            found = column_of(name, values, unit=field.unit, source=self.path.name)
            if found is None:
                raise SourceError(f"{self.path}: column {name} does not hold one value in each row")
            yield found


def open_votable(path: Path, reading: Reading) -> VoTable:
    """Find the table and its columns.

    Raises:
        SourceError: the file is damaged, points elsewhere, or has not the table that was asked for.
    """
    count = _count_tables(path)
    try:
        tables = _described_tables(path, count)
    except Exception as error:  # astropy raises whatever its parsers do
        raise SourceError(f"{path}: the VOTable is truncated or damaged: {reason_of(error)}") from error
    if not tables:
        raise SourceError(f"{path}: has no TABLE with columns")
    names = {number: name for number, (name, _) in enumerate(tables)}
    number, remarks = chosen_part(path, reading.part, names, what="TABLE", key="hdu")
    attributes = tables[number][1]
    called = [each.get("name") or each.get("ID") or "" for each in attributes]
    names_of = [
        each.get("ID") or f"{name}_{place}" if called.count(name) > 1 else name
        for place, (name, each) in enumerate(zip(called, attributes, strict=True))
    ]
    fields = [_field(name, each) for name, each in zip(names_of, attributes, strict=True)]
    return VoTable(path, fields, remarks, number)


def _described_tables(path: Path, count: int) -> list[tuple[str, list[dict[str, str]]]]:
    """The name of each TABLE and the attributes of its FIELDs; reads up to where the last one's rows begin."""
    from astropy.utils.xml.iterparser import get_xml_iterator

    found: list[tuple[str, list[dict[str, str]]]] = []
    with get_xml_iterator(str(path)) as events:
        for start, tag, data, _ in events:
            if start and tag == "TABLE":
                found.append((str(data.get("name") or data.get("ID") or ""), []))
            elif start and tag == "FIELD" and found:
                found[-1][1].append({str(key): str(value) for key, value in data.items()})
            elif tag == "DATA" and start and len(found) == count:
                break
    return found


def _array(path: Path, number: int, places: Sequence[int]) -> Any:  # noqa: ANN401  # a masked array of records
    from astropy.io.votable import parse

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            file = parse(path, columns=list(places), table_number=number, verify="ignore")
            return file.get_first_table().array
        except Exception as error:  # astropy raises whatever its parsers do
            raise SourceError(f"{path}: the VOTable is truncated or damaged: {reason_of(error)}") from error


def _field(name: str, attributes: dict[str, str]) -> Field:
    unit, kind, size = (attributes.get(key, "") for key in ("unit", "datatype", "arraysize"))
    is_text = kind in ("char", "unicodeChar")
    if "Complex" in kind:
        return Field(name, unit, "complex numbers")
    if (is_text and "x" in size) or (not is_text and size not in ("", "1")):
        return Field(name, unit, f"arrays of size {size}")
    return Field(name, unit)


def _count_tables(path: Path) -> int:
    """How many TABLEs a file has that can be read without opening anything else.

    Raises:
        SourceError: its data lie elsewhere, it has entities of its own, or is in another encoding than UTF-8.
    """
    if not path.stat().st_size:
        raise SourceError(f"{path}: is empty, a VOTable was expected")
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        encoding = _ENCODING.search(data[:200])
        if data[:2] in (b"\xff\xfe", b"\xfe\xff") or (
            encoding is not None and encoding[1].lower() not in _PLAIN_ENCODINGS
        ):
            raise SourceError(f"{path}: the VOTable is not in UTF-8", hint="write it anew, with TOPCAT or astropy")
        if _ELSEWHERE.search(data):
            raise SourceError(
                f"{path}: the VOTable's data lie elsewhere (STREAM with href), and nothing else is read",
                hint="write it anew with its data in it, with TOPCAT or astropy",
            )
        if _ENTITIES.search(data):
            raise SourceError(f"{path}: the VOTable declares entities of its own, which are not read")
        return len(_TABLE.findall(data))
