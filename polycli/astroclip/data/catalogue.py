"""Joins a table onto objects, by id, by position or by the order of rows: its columns become properties."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polycli.astroclip.data.columns import Column
from polycli.astroclip.data.pairing import match_sky
from polycli.astroclip.data.table_files import find_name, nearest_names
from polycli.astroclip.data.tables.hats_tables import HatsTable
from polycli.astroclip.data.tables.marks import say_suspicious, suspicious_marks, without_marks
from polycli.astroclip.data.tables.matching import rows_by_id
from polycli.astroclip.data.tables.opening import open_table, read_columns
from polycli.astroclip.data.tables.positions import degrees, numbers_of, refuse_two_positions, refuse_velocities
from polycli.astroclip.data.tables.presets import with_preset
from polycli.astroclip.data.tables.selecting import chosen_rows
from polycli.astroclip.data.tables.spellings import POSITIONS, id_name, position_names, redshift_name
from polycli.astroclip.data.tables.table import Reading, Table, usable
from polycli.astroclip.recipe.preparing import CatalogueSection
from polycli.console import first_few, note, say, warn
from polycli.errors import SourceError
from polycli.names import clean
from polycli.paths import plain_path

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Objects:
    """The objects that a catalogue is joined onto; one array entry for each."""

    ids: NDArray[Any]
    ra: Floats
    dec: Floats
    #: What the source calls the ids.
    id_name: str = "object_id"
    #: The place of each object in its source, before any was left out; None where two sources were paired.
    order: NDArray[np.int64] | None = None
    #: How many objects the source has; None where a limit kept it from counting.
    listed: int | None = None
    #: Whether the source, or a catalogue before, gave redshifts.
    has_redshifts: bool = False


@dataclass(frozen=True)
class Joined:
    """The columns, redshifts and positions that a catalogue has of the objects."""

    columns: list[Column]
    #: Its redshifts, NaN where it has none; None where none were taken from it.
    redshift: Floats | None = None
    #: Its positions, NaN where it has none; None where it has no columns of them.
    position: tuple[Floats, Floats] | None = None


def join_catalogue(section: CatalogueSection, objects: Objects) -> Joined:
    """The catalogue's columns for these objects, its positions, and its redshifts where the recipe names them.

    A column that is clearly of redshifts is taken for them where the objects have none.

    Raises:
        SourceError: the file or a column is not there, an id of an object stands in it twice or is at two positions,
            rows do not fit, or nothing matches.
    """
    path = plain_path(section.path)
    texts = tuple(str(mark) for mark in section.null)
    table = open_table(path, Reading(section.hdu, texts))
    section = with_preset(section, [field.name for field in table.fields], path)
    if isinstance(table, HatsTable) and section.by == "sky":
        table = table.near(objects.ra, objects.dec, section.radius_arcsec)
    for remark in table.remarks:
        note(f"{path}: {remark}")
    reader = _Reader(section, path, table)
    rows = chosen_rows(table, section.where, section.null)
    places = reader.places(objects, rows)
    matched = int((places >= 0).sum())
    if not matched:
        count = "rows" if rows is None else f"rows with {section.where}"
        number = reader.count if rows is None else len(rows)
        raise SourceError(
            f"{path}: none of its {number} {count} belongs to one of the {len(objects.ids)} objects",
            hint=f"joined by {section.by}: look at id_column, or join the other way",
        )
    say(f"{path}: {matched:,} of {len(objects.ids):,} objects are in it")
    position = reader.position(objects, places)
    redshift = reader.redshift(objects, places)
    return Joined(reader.properties(places), redshift, position)


class _Reader:
    """Reads columns of one table at the objects' rows, and remembers which have been used."""

    def __init__(self, section: CatalogueSection, path: Path, table: Table) -> None:
        self.section, self.path, self.table = section, path, table
        self.names = [field.name for field in table.fields]
        self.used: set[str] = set()
        self.count = 0
        self.marked = 0
        self._refuse_names()

    def whole(self, *names: str) -> list[Column]:
        """Columns of all rows, marks of missing values taken for what they are."""
        columns = [self._without_marks(column) for column in read_columns(self.table, names)]
        self.count = len(columns[0].values)
        self.used |= set(names)
        return columns

    def places(self, objects: Objects, rows: NDArray[np.int64] | None) -> NDArray[np.int64]:
        """The row of the table for each object, -1 where there is none; `rows` are those that may be taken."""
        if self.section.by == "id":
            return self._by_id(objects, rows)
        if self.section.by == "sky":
            return self._by_sky(objects, rows)
        return self._by_row(objects, rows)

    def position(self, objects: Objects, places: NDArray[np.int64]) -> tuple[Floats, Floats] | None:
        """The positions of the matched rows, compared with the objects' where these have any."""
        names = self._position_names()
        if names is None or self.section.by == "sky" or self._asked(*names):
            return None
        right, up = self.whole(*names)
        ra, dec, remarks = degrees(right, up, self.section.ra_unit, self.path)
        for remark in remarks:
            note(f"{self.path}: {remark}")
        there = places >= 0
        theirs = (np.where(there, ra[places], np.nan), np.where(there, dec[places], np.nan))
        refuse_two_positions(
            objects.ids,
            (objects.ra, objects.dec),
            theirs,
            self.section.max_separation_arcsec,
            path=self.path,
            names=names,
        )
        new = int((np.isfinite(theirs[0]) & ~np.isfinite(objects.ra)).sum())
        note(
            f"{self.path}: {' and '.join(names)} are positions, no properties; "
            + (f"{new:,} objects get theirs from them" if new else self._compared())
        )
        return theirs

    def _compared(self) -> str:
        most = self.section.max_separation_arcsec
        return "not compared with the objects'" if most is None else f"each within {most:g} arcsec of its object's"

    def redshift(self, objects: Objects, places: NDArray[np.int64]) -> Floats | None:
        """The redshifts of the matched rows: the column that the recipe names, else a clear one if there are none."""
        name = self.section.redshift
        if name is None:
            found = redshift_name(usable(self.table.fields))
            if found is None or objects.has_redshifts or self._asked(found):
                return None
            kind = next(iter(self.whole(found)))
            if kind.kind == "text":
                return None
            refuse_velocities(kind, self.path)
            note(f"{self.path}: {found} is taken for the redshift; `redshift` of the catalogue names another column")
            values = numbers_of(kind, self.path)
        else:
            find_name(self.names, [name], path=self.path, what="the redshift")
            column = self.whole(name)[0]
            refuse_velocities(column, self.path)
            values = numbers_of(column, self.path)
        return np.where(places >= 0, values[places], np.nan)

    def properties(self, places: NDArray[np.int64]) -> list[Column]:
        """The other columns, or those that the recipe names, at the objects' rows."""
        section = self.section
        can = usable(self.table.fields)
        if section.columns:
            wanted = [
                find_name(self.names, [name], path=self.path, what="named in the recipe") for name in section.columns
            ]
        else:
            wanted = [name for name in can if name not in self.used]
            self._say_left_out()
        properties, suspicious = [], []
        for column in read_columns(self.table, wanted):
            clear = self._without_marks(column)
            if suspicious_marks(clear):
                suspicious.append(clear)
            properties.append(clear.take(places).renamed(section.prefix + column.name))
        if section.null:
            note(f"{self.path}: {self.marked:,} values are marked as missing")
        say_suspicious(suspicious, what=str(self.path), key="null")
        return properties

    def _without_marks(self, column: Column) -> Column:
        if self.count and len(column.values) != self.count:
            raise SourceError(
                f"{self.path}: column {clean(column.name)} has {len(column.values)} rows, {self.count} were expected",
                hint="the file is damaged: fetch it again",
            )
        clear, count = without_marks(column, self.section.null)
        self.marked += count
        return clear

    def _by_id(self, objects: Objects, rows: NDArray[np.int64] | None) -> NDArray[np.int64]:
        section = self.section
        name = id_name(usable(self.table.fields), objects.id_name) if section.id_column is None else section.id_column
        if name is None:
            raise SourceError(
                f"{self.path}: has no column TARGETID or object_id or {objects.id_name} (the ids to join by)",
                hint=f"id_column names it: {nearest_names(objects.id_name, self.names)}",
            )
        find_name(self.names, [name], path=self.path, what="the ids to join by")
        (key,) = self.whole(name)
        primary = next((each for each in self.names if each.upper().endswith("PRIMARY")), None)
        hint = f"leave one row for each id, by where: {primary} perhaps" if primary else "leave one row for each id"
        found = rows_by_id(objects.ids, key if rows is None else key.take(rows), self.path, hint=hint)
        for remark in found.remarks:
            note(f"{self.path}: {remark}")
        return _in_file(found.rows, rows)

    def _by_sky(self, objects: Objects, rows: NDArray[np.int64] | None) -> NDArray[np.int64]:
        names = self._position_names()
        if names is None:
            raise SourceError(
                f"{self.path}: has no column RA or TARGET_RA or ra, nor another spelling (a position to join by)",
                hint=f"ra_column and dec_column name them: {nearest_names('ra', self.names)}",
            )
        right, up = self.whole(*names)
        ra, dec, remarks = degrees(right, up, self.section.ra_unit, self.path)
        for remark in remarks:
            note(f"{self.path}: {remark}")
        if rows is not None:
            ra, dec = ra[rows], dec[rows]
        found = match_sky(objects.ra, objects.dec, ra, dec, self.section.radius_arcsec)
        self._refuse_hours(objects, ra, dec, len(found.first), remarks)
        places = np.full(len(objects.ids), -1, np.int64)
        places[found.first] = found.second
        if found.contested:
            warn(f"{self.path}: {found.contested} further matches in reach; the nearest were taken")
        return _in_file(places, rows)

    def _by_row(self, objects: Objects, rows: NDArray[np.int64] | None) -> NDArray[np.int64]:
        if rows is not None:
            raise SourceError(f"{self.path}: by: row counts all rows, and where leaves some out", hint="by: id or sky")
        if objects.order is None:
            raise SourceError(
                f"{self.path}: by: row is for one source, and pairs of two have no order of rows", hint="by: id or sky"
            )
        first = next(iter(read_columns(self.table, usable(self.table.fields)[:1])))
        self.count = len(first.values)
        if objects.listed is not None and self.count != objects.listed:
            raise SourceError(
                f"{self.path}: has {self.count} rows, and the source lists {objects.listed} objects: by: row needs one "
                "row for each object, in the source's order",
                hint="by: id or sky",
            )
        if objects.order.max(initial=-1) >= self.count:
            raise SourceError(f"{self.path}: has {self.count} rows, fewer than the source has objects")
        note(f"{self.path}: joined by the order of rows alone: row i is taken for object i of the source")
        return objects.order

    def _position_names(self) -> tuple[str, str] | None:
        section = self.section
        if section.ra_column is None and section.dec_column is None:
            return position_names(usable(self.table.fields))
        pairs = ((section.ra_column, 0), (section.dec_column, 1))
        found = []
        for given, which in pairs:
            wanted = [given] if given else [name for pair in POSITIONS for name in (pair[which], pair[which].upper())]
            found.append(find_name(self.names, wanted, path=self.path, what="a position to join by"))
        return found[0], found[1]

    def _refuse_hours(self, objects: Objects, ra: Floats, dec: Floats, matched: int, remarks: Sequence[str]) -> None:
        """Refuse right ascensions that fit far better if they are in hours."""
        known = ra[np.isfinite(ra)]
        if self.section.ra_unit is not None or remarks or not len(known) or known.min() < 0 or known.max() > 24:
            return
        better = len(match_sky(objects.ra, objects.dec, ra * 15, dec, self.section.radius_arcsec).first)
        if better > matched:
            raise SourceError(
                f"{self.path}: {matched} of {len(objects.ids)} objects match by right ascension in degrees, and "
                f"{better} if it is in hours",
                hint="ra_unit: hour, or ra_unit: degree if that is what it is",
            )

    def _refuse_names(self) -> None:
        asked = [*self.section.columns, self.section.redshift, self.section.id_column]
        unusable = {field.name: field.unusable for field in self.table.fields if field.unusable}
        wrong = next((name for name in asked if name in unusable), None)
        if wrong is not None:
            raise SourceError(f"{self.path}: column {wrong} holds {unusable[wrong]}, one value was expected")

    def _asked(self, *names: str) -> bool:
        return any(name in self.section.columns for name in names)

    def _say_left_out(self) -> None:
        left = [f"{clean(field.name)} ({field.unusable})" for field in self.table.fields if field.unusable]
        if left:
            note(f"{self.path}: left out: {first_few(left, 6)}")


def _in_file(places: NDArray[np.int64], rows: NDArray[np.int64] | None) -> NDArray[np.int64]:
    """Places among some rows as places in the file."""
    return places if rows is None or not len(rows) else np.where(places >= 0, rows[places], -1)


def with_position(objects: Objects, position: tuple[Floats, Floats] | None) -> Objects:
    """The objects with a catalogue's positions where they have none."""
    if position is None:
        return objects
    unknown = ~(np.isfinite(objects.ra) & np.isfinite(objects.dec))
    ra, dec = (np.where(unknown, new, old) for new, old in zip(position, (objects.ra, objects.dec), strict=True))
    return replace(objects, ra=ra, dec=dec)
