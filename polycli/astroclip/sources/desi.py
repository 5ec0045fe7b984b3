"""The source `desi`: coadd and spectra files of DESI, cameras joined on one grid, with redshifts of redrock files.

A file has one HDU for each camera B, R, Z and each of WAVELENGTH, FLUX, IVAR and MASK, and a FIBERMAP with one row for
each spectrum. HDUs are found by name. In a file with several exposures of a target these are averaged.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from polycli.astroclip.data.columns import Column, stacked
from polycli.astroclip.data.resampling import describe_grid
from polycli.astroclip.data.source import Listing, Payload, find_files
from polycli.astroclip.data.tables.positions import separations
from polycli.astroclip.recipe.preparing import PrepareRecipe
from polycli.astroclip.sources.desi_fibres import FibreMask, fibre_status, flags_named
from polycli.astroclip.sources.desi_files import (
    GRID,
    FileKind,
    camera_names,
    camera_slices,
    hdu,
    kind_of,
    table_columns,
)
from polycli.astroclip.sources.desi_spectra import read_spectra
from polycli.console import note, warn
from polycli.errors import SourceError
from polycli.files.fits_files import open_fits
from polycli.store.manifest import LeftOut

SUFFIXES = (".fits", ".fits.gz")
#: Columns of FIBERMAP that become properties, beside the targeting bits.
_KEPT = (
    *("RELEASE", "BRICKID", "BRICK_OBJID", "BRICKNAME", "MORPHTYPE", "PHOTSYS", "EBV", "MASKBITS", "SERSIC"),
    *("SHAPE_R", "SHAPE_E1", "SHAPE_E2", "COADD_NUMEXP", "COADD_EXPTIME", "REF_ID"),
    *(f"FLUX_{band}" for band in ("G", "R", "Z", "W1", "W2")),
    *(f"FLUX_IVAR_{band}" for band in ("G", "R", "Z", "W1", "W2")),
    *(f"{kind}_{band}" for kind in ("FIBERFLUX", "FIBERTOTFLUX") for band in ("G", "R", "Z")),
)
_KEPT_ENDINGS = ("DESI_TARGET", "BGS_TARGET")
#: Statuses of fibres that a sentence names.
_FLAGS_SHOWN = 6
#: Arcsec within which two positions are those of one object.
_ONE_PLACE = 5.0
#: Of redrock's table.
_REDROCK = ("ZERR", "ZWARN", "SPECTYPE", "SUBTYPE", "DELTACHI2")


@dataclass(frozen=True)
class DesiReader:
    """Reads spectra of coadd and spectra files."""

    files: tuple[Path, ...]
    fibres: FibreMask

    def narrowed(self, files: Sequence[int]) -> DesiReader:
        """A reader of these files alone."""
        return DesiReader(tuple(self.files[number] for number in files), self.fibres)

    def read(self, files: NDArray[np.int32], rows: NDArray[np.int64]) -> Payload:
        """Flux, inverse variance and mask on the grid of all cameras."""
        flux = np.zeros((len(rows), GRID.size), np.float32)
        ivar, mask = np.zeros_like(flux), np.ones(flux.shape, np.bool_)
        for number in np.unique(files).tolist():
            places = np.flatnonzero(files == number)
            flux[places], ivar[places] = read_spectra(self.files[number], rows[places], self.fibres)
            mask[places] = ivar[places] == 0
        return Payload(spectrum=flux, ivar=ivar, mask=mask)


class DesiSource:
    """Finds out what files are by their HDUs; names decide nothing."""

    def accepts(self, path: Path) -> bool:
        """Whether the file is named like a FITS file."""
        return path.name.lower().endswith(SUFFIXES)

    def open(self, inputs: Sequence[Path], recipe: PrepareRecipe, limit: int | None) -> Listing:
        """The spectra of all files, less sky fibres and those whose fibre was not well; see `Source.open`."""
        del limit
        fibres = FibreMask.of(recipe.desi.fibre_mask)
        spectra, redshifts = _sorted_files(inputs)
        parts = [_read_fibermap(path, name, fibres) for path, name in spectra]
        _say_left_out(parts)
        columns = stacked([part.columns for part in parts], [len(part.ids) for part in parts])
        ids = np.concatenate([part.ids for part in parts])
        found = _redshifts(redshifts, ids)
        files = (*spectra, *redshifts)
        return Listing(
            source="desi",
            reader=DesiReader(tuple(path for path, _ in spectra), fibres),
            ids=ids,
            id_name="TARGETID",
            ra=np.concatenate([part.ra for part in parts]),
            dec=np.concatenate([part.dec for part in parts]),
            redshift=found.redshift,
            file=np.concatenate([np.full(len(part.ids), number, np.int32) for number, part in enumerate(parts)]),
            row=np.concatenate([part.rows for part in parts]),
            files=tuple(path for path, _ in files),
            file_names=tuple(name for _, name in files),
            spectrum=describe_grid(GRID, what="desi").model_copy(update={"step": 0.8}),
            wavelength=GRID,
            columns=(*columns, *found.columns),
            good_redshift=found.good if redshifts else None,
            rejected=tuple(left for part in parts for left in part.rejected),
        )


def _sorted_files(inputs: Sequence[Path]) -> tuple[list[tuple[Path, str]], list[tuple[Path, str]]]:
    """Files with spectra, and files with redshifts: of the input, or beside the files with spectra."""
    named = {path.resolve() for path in inputs}
    sorted_by: dict[FileKind, list[tuple[Path, str]]] = {"spectra": [], "redshifts": [], "other": []}
    for path, name in find_files(inputs, SUFFIXES, source="desi"):
        kind = kind_of(path)
        if kind == "other":
            with open_fits(path) as file:
                if path.resolve() in named:
                    hdu(file, "FIBERMAP", path)
                    camera_names(file, path)
            warn(f"left out: {path} has neither spectra nor redshifts of DESI")
        sorted_by[kind].append((path, name))
    if not sorted_by["spectra"]:
        raise SourceError(
            "no file with spectra among the inputs: HDUs FIBERMAP and B_FLUX, R_FLUX, Z_FLUX were expected",
            hint="give coadd-*.fits or spectra-*.fits",
        )
    known = {path.resolve() for path, _ in sorted_by["redshifts"]}
    for path, name in sorted_by["spectra"]:
        for start in ("coadd-", "spectra-"):
            beside = path.with_name(path.name.replace(start, "redrock-", 1))
            if path.name.startswith(start) and beside.is_file() and beside.resolve() not in known:
                known.add(beside.resolve())
                note(f"redshifts from {beside}")
                sorted_by["redshifts"].append((beside, name.replace(path.name, beside.name)))
    return sorted_by["spectra"], sorted_by["redshifts"]


@dataclass(frozen=True)
class _Part:
    """Everything that the FIBERMAP of one file says of the spectra that can be kept."""

    ids: NDArray[np.int64]
    ra: NDArray[np.float64]
    dec: NDArray[np.float64]
    rows: NDArray[np.int64]
    columns: list[Column]
    rejected: tuple[LeftOut, ...]
    #: The fibre's status of each exposure that is left out of a target which has others.
    left_out: NDArray[np.int64]
    #: How many exposures these targets have.
    exposures: int


def _read_fibermap(path: Path, name: str, fibres: FibreMask) -> _Part:
    with open_fits(path) as file:
        camera_slices(file, path)
        table = hdu(file, "FIBERMAP", path)
        columns = {column.name: column for column in table_columns(table, path, name)}
        for needed in ("TARGETID", "TARGET_RA", "TARGET_DEC"):
            if needed not in columns:
                raise SourceError(f"{path}: HDU FIBERMAP has no column {needed}")
        status = fibre_status(table.data)
    bad = fibres.bad(status)
    ids = columns["TARGETID"].values
    group = np.unique(ids, return_inverse=True)[1]
    # Of several exposures the first that is good stands for the target.
    order = np.lexsort((np.arange(len(ids)), bad, group))
    representative = order[np.unique(group[order], return_index=True)[1]]
    chosen = np.sort(representative)
    kinds = columns["OBJTYPE"].values if "OBJTYPE" in columns else None
    found = {
        row: _reason(None if kinds is None else kinds[row], int(status[row]), bad=bool(bad[row]))
        for row in chosen.tolist()
    }
    reasons = {row: reason for row, reason in found.items() if reason is not None}
    kept = np.array([row for row in chosen.tolist() if row not in reasons], np.int64)
    _refuse_two_positions(path, columns, representative[group], ids)
    of_kept = np.isin(ids, ids[kept])
    wanted = [column.take(kept) for key, column in columns.items() if key in _KEPT or key.endswith(_KEPT_ENDINGS)]
    return _Part(
        ids=ids[kept],
        ra=columns["TARGET_RA"].values[kept].astype(np.float64),
        dec=columns["TARGET_DEC"].values[kept].astype(np.float64),
        rows=kept,
        columns=wanted,
        rejected=tuple(LeftOut(source=name, id=str(ids[row]), reason=reason) for row, reason in reasons.items()),
        left_out=status[of_kept & bad],
        exposures=int(of_kept.sum()),
    )


def _say_left_out(parts: Sequence[_Part]) -> None:
    """Say how many exposures are left out of targets that have others, and for which flags."""
    status = np.concatenate([part.left_out for part in parts])
    if len(status):
        flags = ", ".join(flags_named(value) for value in np.unique(status).tolist()[:_FLAGS_SHOWN])
        total = sum(part.exposures for part in parts)
        note(
            f"desi: {len(status):,} of {total:,} exposures are left out of targets that have others: FIBERSTATUS "
            f"{flags}; desi.fibre_mask names the flags"
        )


def _refuse_two_positions(
    path: Path, columns: Mapping[str, Column], first: NDArray[np.int64], ids: NDArray[np.int64]
) -> None:
    """Make sure that exposures of one target are of one place; `first` is the row that stands for each row's target."""
    ra, dec = (columns[name].values.astype(np.float64) for name in ("TARGET_RA", "TARGET_DEC"))
    apart = separations((ra, dec), (ra[first], dec[first]))
    far = np.flatnonzero(np.nan_to_num(apart) > _ONE_PLACE)
    if far.size:
        row = int(far[0])
        raise SourceError(
            f"{path}: TARGETID {ids[row]} is at {ra[row]:.5f} {dec[row]:.5f} in row {row}, and at {ra[first[row]]:.5f} "
            f"{dec[first[row]]:.5f} in row {first[row]}, {apart[row]:.0f} arcsec away: one id, two positions",
            hint="these are two objects, whose exposures cannot be averaged",
        )


def _reason(kind: str | None, status: int, *, bad: bool) -> str | None:
    """Says why a fibre has no spectrum of an object; None where it has one."""
    if kind is not None and kind != "TGT":
        return f"not a target: OBJTYPE is {kind or 'empty'}, a sky fibre or one that was not assigned"
    if bad:
        return f"bad fibre: COADD_FIBERSTATUS is {flags_named(status)}"
    return None


@dataclass(frozen=True)
class _Found:
    redshift: NDArray[np.float64]
    good: NDArray[np.bool_]
    columns: list[Column]


def _redshifts(files: Sequence[tuple[Path, str]], ids: NDArray[np.int64]) -> _Found:
    """Finds the best fit of each object in all files: without warning before with one, then by the chi-square
    difference.
    """
    if not files:
        return _Found(np.full(len(ids), np.nan), np.zeros(len(ids), np.bool_), [])
    parts, lengths = [], []
    for path, name in files:
        with open_fits(path, checksums=True) as file:
            table = hdu(file, "REDSHIFTS", path)
            part = table_columns(table, path, name)
            names = {column.name for column in part}
            for needed in ("TARGETID", "Z", "ZWARN"):
                if needed not in names:
                    raise SourceError(f"{path}: HDU REDSHIFTS has no column {needed}")
            parts.append([column for column in part if column.name in ("TARGETID", "Z", *_REDROCK)])
            lengths.append(len(table.data))
    columns = {column.name: column for column in stacked(parts, lengths)}
    keys, warning = columns["TARGETID"].values, columns["ZWARN"].values
    gain = columns["DELTACHI2"].values if "DELTACHI2" in columns else np.zeros(len(keys))
    order = np.lexsort((-np.nan_to_num(gain), warning != 0, keys))
    # Of each id the first in this order.
    unique, first = np.unique(keys[order], return_index=True)
    _, places, found = np.intersect1d(ids, unique, return_indices=True)
    rows = np.full(len(ids), -1, np.int64)
    rows[places] = order[first[found]]
    there = rows >= 0
    redshift = columns["Z"].take(rows).values.astype(np.float64)
    sure = columns["ZWARN"].take(rows)
    good = there & np.isfinite(redshift) & (sure.values == 0)
    if "SPECTYPE" in columns:
        good &= columns["SPECTYPE"].take(rows).values == "GALAXY"
    return _Found(redshift, good, [columns[name].take(rows) for name in _REDROCK if name in columns])
