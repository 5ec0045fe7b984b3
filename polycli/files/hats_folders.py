"""Folders in HATS, the layout of survey catalogues in Parquet: which of their files hold the objects, and where.

A catalogue has `hats.properties` and one Parquet file, or a folder of them, for each HEALPix pixel; a collection names
its catalogue of objects in `collection.properties`. Margins, indexes and extensions beside it hold no further objects.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from polycli.errors import SourceError
from polycli.files.plain import read_bytes, reason_of

_COLLECTION = "collection.properties"
#: The second is what catalogues of HiPSCat and older readers know.
_PROPERTIES = ("hats.properties", "properties")
_PARTITIONS = "partition_info.csv"
#: Kinds of catalogues whose rows are objects; the others repeat or point to them.
_OBJECTS = ("object", "source")
#: Bytes of the longest file of properties, and of the longest table of partitions: a million of them.
_LONGEST, _LONGEST_TABLE = 2**20, 64 * 2**20
_DIRECTORY = 10_000
_SUFFIX = ".parquet"


@dataclass(frozen=True)
class HatsCatalogue:
    """A catalogue of objects: its Parquet files in the order of the sky, and the names of its positions."""

    folder: Path
    files: tuple[Path, ...]
    #: Columns of right ascension and declination in degrees; None where the properties do not say.
    ra: str | None
    dec: str | None


def is_hats(path: Path) -> bool:
    """Whether a folder is a HATS catalogue or collection."""
    return path.is_dir() and any((path / name).is_file() for name in (_COLLECTION, *_PROPERTIES))


def open_hats(path: Path) -> HatsCatalogue:
    """The catalogue of objects of a folder, itself or a collection's.

    Raises:
        SourceError: its properties cannot be read or name no catalogue, it holds no objects, or partitions are missing.
    """
    folder = path
    if (path / _COLLECTION).is_file():
        primary = _properties(path / _COLLECTION).get("hats_primary_table_url", "")
        folder = path / primary
        if not primary or PurePosixPath(primary).is_absolute() or ".." in PurePosixPath(primary).parts:
            raise SourceError(
                f"{path / _COLLECTION}: names no catalogue beside it: hats_primary_table_url is {primary!r}"
            )
    file = next((folder / name for name in _PROPERTIES if (folder / name).is_file()), None)
    if file is None:
        raise SourceError(f"{folder}: no HATS catalogue: it has no {_PROPERTIES[0]}", hint="fetch the collection again")
    properties = _properties(file)
    kind = properties.get("dataproduct_type", properties.get("catalog_type", _OBJECTS[0]))
    if kind not in _OBJECTS:
        raise SourceError(
            f"{folder}: is a catalogue of type {kind}, one of objects was expected",
            hint=f"give the collection, {folder.parent}, or its catalogue of objects",
        )
    files = _files(folder, properties.get("hats_npix_suffix", _SUFFIX))
    missing = [each for each in files if not each.is_file()]
    if missing:
        raise SourceError(
            f"{folder}: {len(missing)} of {len(files)} partitions are missing, the first is {missing[0]}",
            hint="fetch them again, or give the files that are there as inputs, not the catalogue",
        )
    if not files:
        raise SourceError(f"{folder}: the catalogue has no partitions")
    return HatsCatalogue(folder, tuple(files), properties.get("hats_col_ra"), properties.get("hats_col_dec"))


def _properties(path: Path) -> dict[str, str]:
    """The entries of a file in Java's form: `key=value`, comments with `#` or `!`."""
    try:
        text = read_bytes(path, _LONGEST).decode("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise SourceError(f"{path}: the properties cannot be read: {reason_of(error)}") from error
    lines = [line.strip() for line in text.splitlines()]
    pairs = [line.partition("=") for line in lines if line and line[0] not in "#!"]
    return {key.strip(): value.strip().replace("\\:", ":") for key, _, value in pairs}


def _files(folder: Path, suffix: str) -> list[Path]:
    """The Parquet files of all partitions, by the table of them, or as they lie where there is none."""
    dataset = folder / "dataset"
    if not dataset.is_dir():
        # HiPSCat, from which HATS comes, has the pixels at the catalogue's root.
        dataset = folder
    table = folder / _PARTITIONS
    pixels = _pixels(table) if table.is_file() else _found(dataset)
    files: list[Path] = []
    for order, number in sorted(pixels, key=lambda pixel: pixel[1] << (2 * (29 - pixel[0]))):
        directory = dataset / f"Norder={order}" / f"Dir={number // _DIRECTORY * _DIRECTORY}"
        place = directory / f"Npix={number}"
        if suffix == "/" or place.is_dir():
            files += sorted(place.glob(f"*{_SUFFIX}")) or [place / _SUFFIX]
        else:
            files.append(directory / f"Npix={number}{suffix}")
    return files


def _pixels(table: Path) -> list[tuple[int, int]]:
    try:
        lines = read_bytes(table, _LONGEST_TABLE).decode("utf-8").splitlines()
        return [(int(row["Norder"]), int(row["Npix"])) for row in csv.DictReader(lines)]
    except (OSError, UnicodeDecodeError, KeyError, TypeError, ValueError) as error:
        raise SourceError(f"{table}: the table of partitions cannot be read: {reason_of(error)}") from error


def _found(dataset: Path) -> list[tuple[int, int]]:
    pixels = set()
    for path in dataset.glob("Norder=*/Dir=*/Npix=*"):
        order, number = path.parts[-3].removeprefix("Norder="), path.name.removeprefix("Npix=").removesuffix(_SUFFIX)
        if order.isdecimal() and number.isdecimal():
            pixels.add((int(order), int(number)))
    return sorted(pixels)
