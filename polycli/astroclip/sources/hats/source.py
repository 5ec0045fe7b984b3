"""The source `hats`: images and spectra in catalogues in HATS, partition by partition, and in other Parquet files.

Columns are found by name: structs as the Multimodal Universe writes them, `image` with flux, band and scale, `spectrum`
with flux, ivar, lambda and mask; or lists of numbers, which the recipe's `arrays` section names and describes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polycli.astroclip.data.source import Listing, find_files
from polycli.astroclip.data.table_files import nearest_names
from polycli.astroclip.recipe.preparing import ArraysSection, PrepareRecipe
from polycli.astroclip.sources.hats.layout import Layout, layout_of
from polycli.astroclip.sources.hats.nested import vector_of
from polycli.astroclip.sources.hats.reader import ParquetReader, look_at_images, look_at_wavelengths
from polycli.astroclip.sources.multimodal.layout import (
    WARNINGS,
    Part,
    columns_of,
    plain_ids,
    redshift_column,
    say_of_magnitudes,
)
from polycli.astroclip.sources.multimodal.listing import band_places, grid_of, joined_listing
from polycli.astroclip.sources.plausible import refuse_other_flux, refuse_other_pixels, say_pixels
from polycli.errors import SourceError
from polycli.files.hats_folders import HatsCatalogue, is_hats, open_hats
from polycli.files.parquet import open_parquet
from polycli.store.embeddings.hats_layout import HEALPIX

SUFFIXES = (".parquet", ".pq")
#: Objects that are looked at for units.
_SAMPLED = 32


@dataclass(frozen=True)
class _Files:
    """The Parquet files of the inputs with their names, and what catalogues say of their positions."""

    named: tuple[tuple[Path, str], ...]
    positions: tuple[str | None, str | None]
    in_hats: bool


class HatsSource:
    """All partitions of the inputs as one listing."""

    def accepts(self, path: Path) -> bool:
        """HATS catalogues, and Parquet files with a nested column of images or spectra."""
        if is_hats(path):
            return True
        if not path.name.lower().endswith(SUFFIXES) or not path.is_file():
            return False
        with open_parquet(path) as file:
            schema = file.schema_arrow
        try:
            layout_of(schema, ArraysSection(), path)
        except SourceError:
            return False
        return True

    def open(self, inputs: Sequence[Path], recipe: PrepareRecipe, limit: int | None) -> Listing:
        """Lists the objects of all partitions from their columns of single values; see `Source.open`."""
        files = _files(inputs, "hats")
        parts: list[Part] = []
        layouts: list[Layout] = []
        for path, name in files.named:
            if limit is not None and sum(len(part.ids) for part in parts) >= limit:
                break
            layout, part = _read_part(path, name, recipe, files.positions)
            if len(part.ids):
                parts.append(part)
                layouts.append(layout)
        if not parts:
            raise SourceError(f"the {len(files.named)} files of the inputs hold no objects")
        layout = layouts[0]
        first = next((part for part in parts if part.image is not None), parts[0])
        for part, other in zip(parts, layouts, strict=True):
            if (other.image, other.spectrum) != (layout.image, layout.spectrum):
                raise SourceError(f"{part.path}: has other columns of images or spectra than {first.path}")
        say_of_magnitudes(parts)
        exported = not files.in_hats and HEALPIX not in layout.plain
        grid = grid_of(parts, recipe)
        reader = ParquetReader(
            files=tuple(part.path for part in parts),
            image=layout.image,
            spectrum=layout.spectrum,
            arrays=recipe.arrays,
            mmu=recipe.mmu,
            bands=tuple(band_places(first if part.image is None else part, first) for part in parts),
            grid=grid,
            shape=None if first.image is None else (len(first.image.bands), *first.image.size),
        )
        listing = joined_listing(
            "hats", reader, parts, recipe, grid, id_name=recipe.arrays.object_id, exported=exported
        )
        if listing.spectrum is not None:
            said = {"medium": recipe.arrays.medium, "frame": recipe.arrays.frame}
            listing = replace(listing, spectrum=listing.spectrum.model_copy(update=said))
        _refuse_other_numbers(listing, layout, recipe.arrays, what=str(parts[0].path))
        return listing


def _refuse_other_numbers(listing: Listing, layout: Layout, section: ArraysSection, *, what: str) -> None:
    """Make sure that lists of numbers, whose units nobody named, can be in those of a store; structs have theirs.

    Raises:
        SourceError: the first objects' fluxes or pixels cannot.
    """
    flux = layout.spectrum is not None and not layout.spectrum.is_struct and section.flux_unit is None
    named = section.pixel_unit is not None or section.zero_point is not None
    pixels = layout.image is not None and not layout.image.is_struct and not named
    if not (flux or pixels):
        return
    first = np.flatnonzero(listing.file == 0)[:_SAMPLED]
    payload = listing.reader.read(listing.file[first], listing.row[first])
    if flux and payload.spectrum is not None:
        refuse_other_flux(payload.spectrum.astype(np.float64), what=f"{what}: {section.spectrum}")
    if pixels and payload.image is not None:
        refuse_other_pixels(payload.image, what=f"{what}: {section.image}")
        say_pixels(section, what=f"{what}: {section.image}")


def _files(inputs: Sequence[Path], source: str) -> _Files:
    named: list[tuple[Path, str]] = []
    catalogues: list[HatsCatalogue] = []
    plain = [path for path in inputs if not is_hats(path)]
    for path in inputs:
        if path not in plain:
            catalogue = open_hats(path)
            catalogues.append(catalogue)
            named += [(file, file.relative_to(catalogue.folder).as_posix()) for file in catalogue.files]
    if plain or not inputs:
        named += find_files(plain, SUFFIXES, source=source)
    names = [(catalogue.ra, catalogue.dec) for catalogue in catalogues]
    return _Files(tuple(named), names[0] if names else (None, None), bool(catalogues))


def _read_part(
    path: Path, name: str, recipe: PrepareRecipe, positions: tuple[str | None, str | None]
) -> tuple[Layout, Part]:
    section = recipe.arrays
    with open_parquet(path) as file:
        layout = layout_of(file.schema_arrow, section, path)
        vectors = _vectors(file, layout)
        count = file.metadata.num_rows
    key = layout.named(section.object_id)
    if key is None:
        raise SourceError(
            f"{path}: has no column {section.object_id} with the objects' ids",
            hint=nearest_names(section.object_id, list(layout.plain), "The key arrays.object_id names it."),
        )
    ra, dec = (
        _numbers(vectors, (given, layout.named(wanted)), count, path)
        for given, wanted in zip(positions, (section.ra, section.dec), strict=True)
    )
    redshift = layout.named(section.redshift)
    if redshift is None and (usual := redshift_column(layout.own_names())) is not None:
        redshift = layout.named(usual)
    warning = next((found for name in WARNINGS if (found := layout.named(name)) is not None), None)
    own = {key, redshift, layout.named(section.ra), layout.named(section.dec), *positions}
    image = None if layout.image is None or not count else look_at_images(path, layout.image, recipe)
    scan = None
    if layout.spectrum is not None and count:
        scan = look_at_wavelengths(path, layout.spectrum, section, whole=recipe.resample.looks_at_all)
    part = Part(
        path=path,
        name=name,
        ids=plain_ids(vectors[key], what=f"{path}: {key}"),
        ra=ra,
        dec=dec,
        redshift=_numbers(vectors, (redshift,), count, path),
        warning=None if warning is None else vectors[warning],
        columns=columns_of({name: values for name, values in vectors.items() if name not in own}, source=name),
        image=image,
        scan=scan,
        has_ivar=layout.spectrum is None or bool(layout.spectrum.ivar or layout.spectrum.error),
    )
    return layout, part


def _vectors(file: Any, layout: Layout) -> dict[str, NDArray[Any]]:  # noqa: ANN401  # pyarrow's ParquetFile
    """The columns of numbers, truth values and texts; those with gaps, but for floats, are masked arrays."""
    table = file.read(columns=list(layout.plain))
    vectors = {name: vector_of(table[name]) for name in table.column_names}
    return {name: values for name, values in vectors.items() if values is not None}


def _numbers(
    vectors: dict[str, NDArray[Any]], names: Sequence[str | None], count: int, path: Path
) -> NDArray[np.float64]:
    """The first of these columns that is there, as numbers; NaN where none is."""
    name = next((name for name in names if name in vectors), None)
    if name is None:
        return np.full(count, np.nan)
    if vectors[name].dtype.kind not in "fiu":
        raise SourceError(f"{path}: {name} holds {vectors[name].dtype}, numbers were expected")
    return np.asarray(np.ma.filled(vectors[name].astype(np.float64), np.nan))
