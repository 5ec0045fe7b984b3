"""Joins a table onto objects, by id or by position: its columns become properties."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polycli.astroclip.data.columns import Column
from polycli.astroclip.data.pairing import match_sky
from polycli.astroclip.data.table_files import find_column, read_table
from polycli.astroclip.recipe.preparing import CatalogueSection
from polycli.console import say, warn
from polycli.errors import SourceError
from polycli.paths import plain_path

ID_NAMES = ("TARGETID", "targetid", "object_id", "OBJECT_ID", "id", "ID")
RA_NAMES = ("RA", "TARGET_RA", "ra")
DEC_NAMES = ("DEC", "TARGET_DEC", "dec")


def join_catalogue(
    section: CatalogueSection, ids: NDArray[Any], ra: NDArray[np.float64], dec: NDArray[np.float64]
) -> tuple[list[Column], NDArray[np.float64] | None]:
    """The catalogue's columns for these objects, and its redshifts where the recipe names them.

    Raises:
        SourceError: the file or a column is not there, an id of an object stands in it twice, or nothing matches.
    """
    path = plain_path(section.path)
    columns = read_table(path)
    if section.by == "id":
        names = ID_NAMES if section.id_column is None else (section.id_column,)
        key = find_column(columns, names, path=path, what="the ids to join by")
        places = _by_id(ids, key, path)
        used = {key.name}
    else:
        right, up = (
            find_column(columns, names if given is None else (given,), path=path, what="a position to join by")
            for names, given in ((RA_NAMES, section.ra_column), (DEC_NAMES, section.dec_column))
        )
        places = np.full(len(ids), -1, np.int64)
        theirs, height = as_numbers(right, path), as_numbers(up, path)
        # Catalogues mark what is unknown by numbers such as -999.
        height[np.abs(height) > 90] = np.nan
        found = match_sky(ra, dec, theirs, height, section.radius_arcsec)
        places[found.first] = found.second
        used = {right.name, up.name}
        if found.contested:
            warn(f"{path}: {found.contested} further matches in reach; the nearest were taken")
    matched = int((places >= 0).sum())
    if not matched:
        raise SourceError(
            f"{path}: none of its {len(columns[0].values)} rows belongs to one of the {len(ids)} objects",
            hint=f"joined by {section.by}: look at id_column, or join the other way",
        )
    say(f"{path}: {matched:,} of {len(ids):,} objects are in it")
    redshift = None
    if section.redshift is not None:
        column = find_column(columns, [section.redshift], path=path, what="the redshift")
        redshift = as_numbers(column.take(places), path)
        used.add(column.name)
    if section.columns:
        chosen = [find_column(columns, [name], path=path, what="named in the recipe") for name in section.columns]
    else:
        chosen = [column for column in columns if column.name not in used]
    return [column.take(places).renamed(section.prefix + column.name) for column in chosen], redshift


def as_numbers(column: Column, path: Path) -> NDArray[np.float64]:
    """Float64, NaN where there is nothing.

    Raises:
        SourceError: the column is text.
    """
    if column.kind == "text":
        raise SourceError(f"{path}: column {column.name} is text, numbers were expected")
    values = column.values.astype(np.float64)
    if column.valid is not None:
        values[~column.valid] = np.nan
    return values


def _by_id(ids: NDArray[Any], key: Column, path: Path) -> NDArray[np.int64]:
    """Row of the catalogue for each id, -1 where there is none."""
    rows = np.arange(len(key.values)) if key.valid is None else np.flatnonzero(key.valid)
    keys = key.values[rows]
    if key.kind == "float":
        raise SourceError(
            f"{path}: column {key.name} holds floats, which change ids such as 39633297352951412",
            hint="write the ids as integers or text",
        )
    if ids.dtype != object and key.kind == "text":
        keys = _parsed(keys, key.name, path)
    elif ids.dtype == object and key.kind == "integer":
        keys = np.array([str(value) for value in keys.tolist()], dtype=object)
    one, other = (ids.astype(str), keys.astype(str)) if ids.dtype == object else (ids, keys)
    order = np.argsort(other, kind="stable")
    ordered = other[order]
    start, stop = np.searchsorted(ordered, one, "left"), np.searchsorted(ordered, one, "right")
    twice = np.flatnonzero(stop - start > 1)
    if twice.size:
        raise SourceError(
            f"{path}: id {ids[twice[0]]} stands in {key.name} {int((stop - start)[twice[0]])} times, as do "
            f"{twice.size - 1} others: which row belongs to the object cannot be told",
            hint="leave one row for each id",
        )
    places = np.full(len(ids), -1, np.int64)
    found = stop > start
    places[found] = rows[order[start[found]]]
    return places


def _parsed(keys: NDArray[Any], name: str, path: Path) -> NDArray[np.int64]:
    """Text ids as the integers that they spell, digit by digit."""
    try:
        return np.array([int(text) for text in keys.tolist()], np.int64)
    except (ValueError, OverflowError) as error:
        raise SourceError(f"{path}: column {name} is text, the objects' ids are integers: {error}") from error
