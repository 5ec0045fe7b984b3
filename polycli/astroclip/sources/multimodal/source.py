"""The source `mmu`: image sets and spectrum sets of the Multimodal Universe, folders of healpix cells or HATS.

A set holds images or spectra. Two sets pair as two sources do, `--source mmu+mmu`, by id or position over all of their
cells together: a pair whose halves lie on both sides of a border is not lost.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from polycli.astroclip.data.sky.cells import refuse_mixed_orders
from polycli.astroclip.data.source import Listing, find_files
from polycli.astroclip.recipe.preparing import PrepareRecipe
from polycli.astroclip.sources.hats.source import HatsSource
from polycli.astroclip.sources.hdf5_files import holds
from polycli.astroclip.sources.multimodal.hdf5_sets import Hdf5Reader, read_part
from polycli.astroclip.sources.multimodal.layout import Part, say_of_magnitudes
from polycli.astroclip.sources.multimodal.listing import band_places, grid_of, joined_listing
from polycli.errors import SourceError
from polycli.files.hats_folders import is_hats
from polycli.paths import files_below

SUFFIXES = (".hdf5", ".h5")


class MmuSource:
    """All cells of the inputs as one listing."""

    def accepts(self, path: Path) -> bool:
        """HDF5 files with ids and images with named bands, or ids and spectra with wavelengths; Parquet as `hats`."""
        return HatsSource().accepts(path) or any(
            holds(path, SUFFIXES, names)
            for names in (
                ("object_id", "image_array", "image_band"),
                ("object_id", "spectrum_flux", "spectrum_lambda"),
                ("object_id", "spectrum_flux", "spectrum_lambda_min"),
            )
        )

    def open(self, inputs: Sequence[Path], recipe: PrepareRecipe, limit: int | None) -> Listing:
        """Lists the objects of all cells from the columns beside the data; see `Source.open`."""
        if inputs and not any(_files_of(path) for path in inputs):
            return replace(HatsSource().open(inputs, recipe, limit), source="mmu")
        files = find_files(inputs, SUFFIXES, source="mmu")
        parts: list[Part] = []
        for path, name in files:
            if limit is not None and sum(len(part.ids) for part in parts) >= limit:
                break
            part = read_part(path, name, recipe)
            if len(part.ids):
                parts.append(part)
        if not parts:
            raise SourceError(f"the {len(files)} files of the inputs hold no objects")
        refuse_mixed_orders((part.path, part.ra, part.dec) for part in parts)
        return listing_of(parts, recipe)


def listing_of(parts: Sequence[Part], recipe: PrepareRecipe) -> Listing:
    """One listing of what lies in several files.

    Raises:
        SourceError: some hold images and others spectra, or images or wavelengths differ.
    """
    bands = tuple(band_places(part, parts[0]) for part in parts)
    grid = grid_of(parts, recipe)
    say_of_magnitudes(parts)
    reader = Hdf5Reader(tuple(part.path for part in parts), recipe.mmu, bands, grid)
    return joined_listing("mmu", reader, parts, recipe, grid, id_name="object_id", exported=False)


def _files_of(path: Path) -> list[Path]:
    """The files of an input that may be HDF5."""
    found = files_below(path) if path.is_dir() and not is_hats(path) else [path]
    return [file for file in found if file.name.lower().endswith(SUFFIXES)]
