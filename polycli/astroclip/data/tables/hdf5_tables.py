"""Tables of HDF5 files: a dataset of records, or one dataset for each column, at the root or in a group."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from polycli.astroclip.data.columns import Column, column_of
from polycli.astroclip.data.table_files import nearest_names
from polycli.astroclip.data.tables.astropy_units import units_described
from polycli.astroclip.data.tables.table import Field, Reading
from polycli.errors import SourceError
from polycli.files.hdf5 import open_hdf5

#: How astropy calls the dataset of texts that describes a table, behind the table's name.
_ABOUT = "__table_column_meta__"


@dataclass(frozen=True)
class Hdf5Table:
    """A dataset of records, or a group of vectors, whose types were read."""

    path: Path
    fields: Sequence[Field]
    remarks: Sequence[str]
    #: The dataset of records, or the group of the vectors.
    place: str
    records: bool

    def read(self, names: Sequence[str]) -> Iterator[Column]:
        """The columns of these names; see `Table.read`."""
        units = {field.name: field.unit for field in self.fields}
        with open_hdf5(self.path) as file:
            for name in names:
                item = file[self.place].fields(name) if self.records else file[self.place][name]
                found = column_of(name, item[()], unit=units.get(name, ""), source=self.path.name)
                if found is None:
                    raise SourceError(f"{self.path}: column {name} does not hold one value in each row")
                yield found


def open_hdf5_table(path: Path, reading: Reading) -> Hdf5Table:
    """Look for the table.

    Raises:
        SourceError: the file is damaged, holds no table, vectors differ in length, or what was asked for is not there.
    """
    import h5py

    with open_hdf5(path) as file:
        place, remarks = "/" if reading.part is None else str(reading.part), []
        if place not in file:
            raise SourceError(f"{path}: has no dataset or group {place}", hint=nearest_names(place, list(file)))
        inside = file[place]
        if isinstance(inside, h5py.Dataset):
            datasets = {place: inside}
        else:
            datasets = {name: item for name, item in inside.items() if isinstance(item, h5py.Dataset)}
        datasets = {name: item for name, item in datasets.items() if _ABOUT not in name}
        records = [name for name, item in datasets.items() if item.dtype.names and item.ndim == 1]
        if records:
            chosen = datasets[records[0]]
            if len(records) > 1:
                others = ", ".join(records[1:])
                remarks.append(f"read from the table {records[0]}; hdu takes another one: {others}")
            units = _units(chosen)
            fields = [_field(name, chosen.dtype[name].shape, units.get(name, "")) for name in chosen.dtype.names]
            return Hdf5Table(path, fields, remarks, chosen.name, records=True)
        vectors = {name: item for name, item in datasets.items() if item.ndim >= 1 and item.shape[0] and item.dtype}
        lengths = {item.shape[0] for item in vectors.values() if item.ndim == 1}
        if not lengths:
            groups = [name for name, item in getattr(inside, "items", dict)() if isinstance(item, h5py.Group)]
            hint = f"hdu takes one of its groups: {', '.join(groups[:8])}" if groups else None
            raise SourceError(f"{path}: holds no table with one value for each row", hint=hint)
        if len(lengths) > 1:
            raise SourceError(f"{path}: the vectors in it have {sorted(lengths)} entries, one length was expected")
        fields = [_field(name, item.shape[1:]) for name, item in vectors.items() if item.shape[0] in lengths]
        return Hdf5Table(path, fields, remarks, place, records=False)


def _units(records: Any) -> dict[str, str]:  # noqa: ANN401  # a dataset of h5py
    """The units that astropy wrote beside a dataset of records."""
    about = records.file.get(f"{records.name}.{_ABOUT}")
    if about is None or about.ndim != 1:
        return {}
    lines = [line.decode("utf-8", "replace") if isinstance(line, bytes) else str(line) for line in about[()].tolist()]
    return units_described("\n".join(lines))


def _field(name: str, shape: Any, unit: str = "") -> Field:  # noqa: ANN401  # h5py's shapes
    return Field(name, unit, f"values of the shape {tuple(shape)} in each row" if shape else "")
