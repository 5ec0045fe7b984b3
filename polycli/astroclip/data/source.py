"""The interface by which `prepare` reads any source of objects: a listing, small and whole, and a reader."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from polycli.astroclip.data.columns import Column
from polycli.astroclip.data.description import ImageDescription, SpectrumDescription
from polycli.astroclip.recipe.preparing import PrepareRecipe
from polycli.errors import SourceError
from polycli.paths import files_below
from polycli.store.manifest import LeftOut
from polycli.workflow import sources


@dataclass(frozen=True)
class Payload:
    """Images and spectra of some objects, in the units of a store. What the source lacks is None."""

    #: (n, band, y, x) float32, nanomaggies.
    image: NDArray[np.float32] | None = None
    #: (n, wavelength) float32, 1e-17 erg/s/cm2/A.
    spectrum: NDArray[np.float32] | None = None
    #: (n, wavelength) float32, 0 where nothing was measured.
    ivar: NDArray[np.float32] | None = None
    #: (n, wavelength), True where a pixel is not to be used.
    mask: NDArray[np.bool_] | None = None
    #: (n, wavelength) Angstrom, 0 in padding, where spectra have wavelengths of their own.
    wavelength: NDArray[np.float64] | None = None
    #: (n,) where the reader alone knows them, as a simulation does.
    redshift: NDArray[np.float64] | None = None
    columns: tuple[Column, ...] = ()


class Reader(Protocol):
    """Reads objects of one source. Picklable, and small when pickled: worker processes get one each."""

    def read(self, files: NDArray[np.int32], rows: NDArray[np.int64]) -> Payload:
        """The objects at row `rows[i]` of file number `files[i]`, in this order."""
        ...

    def narrowed(self, files: Sequence[int]) -> Reader:
        """A reader of these files alone, numbered anew from 0."""
        ...


@dataclass(frozen=True)
class Listing:
    """All objects of a source in order, with what is small about them; one array entry for each object."""

    source: str
    reader: Reader
    ids: NDArray[Any]
    id_name: str
    ra: NDArray[np.float64]
    dec: NDArray[np.float64]
    redshift: NDArray[np.float64]
    #: Where each object is: number of the file in `files`, and row in it.
    file: NDArray[np.int32]
    row: NDArray[np.int64]
    files: tuple[Path, ...]
    #: What the manifest calls the files: names relative to the input.
    file_names: tuple[str, ...]
    #: What `file` counts, where that is not files.
    place_names: tuple[str, ...] = ()
    image: ImageDescription | None = None
    spectrum: SpectrumDescription | None = None
    #: Of the spectra, Angstrom; None where each has its own.
    wavelength: NDArray[np.float64] | None = None
    columns: tuple[Column, ...] = ()
    #: True where a redshift is to be trusted.
    good_redshift: NDArray[np.bool_] | None = None
    #: Set of objects that the source keeps out before they are read, with the reason.
    rejected: tuple[LeftOut, ...] = ()
    #: Names of the columns that each payload brings, with what they are.
    promised: tuple[Column, ...] = ()
    #: Whether the ids are the data's own; else the source numbered the objects.
    ids_given: bool = True
    #: Seconds of work for one object and process, where the source can tell; else estimated from bytes.
    seconds: float | None = None

    def __len__(self) -> int:
        return len(self.ids)

    def file_name(self, index: int) -> str:
        """The file that the object at `index` is in; the source's name where there are none."""
        names = self.place_names or self.file_names
        return names[int(self.file[index])] if names else self.source

    def take(self, places: NDArray[np.int64]) -> Listing:
        """The same listing with some of its objects."""
        return replace(
            self,
            ids=self.ids[places],
            ra=self.ra[places],
            dec=self.dec[places],
            redshift=self.redshift[places],
            file=self.file[places],
            row=self.row[places],
            columns=tuple(column.take(places) for column in self.columns),
            good_redshift=None if self.good_redshift is None else self.good_redshift[places],
        )


#: What `polycli.workflow.sources` finds for this family. A source that makes objects makes `limit` of them at most.
Source: TypeAlias = "sources.Source[PrepareRecipe, Listing]"


def find_files(inputs: Sequence[Path], suffixes: tuple[str, ...], *, source: str) -> list[tuple[Path, str]]:
    """The files of the inputs with these endings, in order and each once: path, and name relative to its input.

    Raises:
        SourceError: there are no inputs, one does not exist, or a folder holds no such file.
    """
    if not inputs:
        raise SourceError(f"the source {source} needs input files", hint="name them with --input FILE or FOLDER")
    found: dict[Path, tuple[Path, str]] = {}
    for entry in inputs:
        if entry.is_dir():
            files = [path for path in files_below(entry) if path.name.lower().endswith(suffixes)]
            if not files:
                raise SourceError(f"{entry}: no file with the ending {' or '.join(suffixes)} in this folder")
            for path in files:
                found.setdefault(path.resolve(), (path, path.relative_to(entry).as_posix()))
        elif entry.exists():
            found.setdefault(entry.resolve(), (entry, entry.name))
        else:
            raise SourceError(f"{entry}: no such file or folder")
    names = Counter(name for _, name in found.values())
    return [(path, name if names[name] == 1 else path.as_posix()) for path, name in found.values()]


def file_ids(names: Sequence[str]) -> NDArray[np.object_]:
    """The names of files without their endings; with them, and their folders, where these alone tell them apart."""
    stems = [Path(name).name.partition(".")[0] for name in names]
    often = Counter(stems)
    ids = np.empty(len(names), dtype=object)
    ids[:] = [stem if often[stem] == 1 else name for stem, name in zip(stems, names, strict=True)]
    return ids
