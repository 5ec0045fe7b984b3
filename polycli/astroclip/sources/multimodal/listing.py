"""Puts files of one set together: bands in one order by name, wavelengths on one grid, objects in one listing."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from polycli.astroclip.data.description import SpectrumDescription
from polycli.astroclip.data.source import Listing, Reader
from polycli.astroclip.recipe.preparing import PrepareRecipe
from polycli.astroclip.sources.multimodal.layout import Part, good_redshifts, joined_ids, stacked_parts
from polycli.astroclip.sources.row_grids import RowGrid, plan_grid
from polycli.errors import SourceError


def band_places(part: Part, first: Part) -> tuple[int, ...]:
    """Finds by name where the bands of the first file are in another file's images.

    Raises:
        SourceError: one holds images and the other spectra, or their bands, sizes or pixel scales differ.
    """
    if (part.image is None, part.scan is None) != (first.image is None, first.scan is None):
        kinds = ["images" if each.scan is None else "spectra" for each in (first, part)]
        raise SourceError(
            f"{first.path} holds {kinds[0]}, {part.path} {kinds[1]}",
            hint="pair two sets: --source mmu+mmu, with one --input for the images and one for the spectra",
        )
    if part.image is None or first.image is None:
        return ()
    for what, here, there in (
        ("bands", tuple(sorted(part.image.bands)), tuple(sorted(first.image.bands))),
        ("sizes in pixels", part.image.size, first.image.size),
        ("pixel scales in arcsec", part.image.pixel_scale_arcsec, first.image.pixel_scale_arcsec),
    ):
        if here != there:
            raise SourceError(
                f"{part.path}: {what} {here}, and {there} in {first.path}", hint="prepare them into different stores"
            )
    return tuple(part.image.bands.index(band) for band in first.image.bands)


def grid_of(parts: Sequence[Part], recipe: PrepareRecipe) -> RowGrid | None:
    """The grid for the spectra of all files; None where there are none."""
    scans = [(part.name, part.scan) for part in parts if part.scan is not None]
    return plan_grid(scans, recipe.resample) if scans else None


def spectrum_of(parts: Sequence[Part], grid: RowGrid | None) -> SpectrumDescription | None:
    """Describes the spectra of all files on their grid; None where there are none."""
    if grid is None:
        return None
    ivar = "measured" if all(part.has_ivar for part in parts) else "unknown"
    return grid.describe(what=parts[0].name).model_copy(update={"ivar": ivar})


def joined_listing(
    source: str,
    reader: Reader,
    parts: Sequence[Part],
    recipe: PrepareRecipe,
    grid: RowGrid | None,
    *,
    id_name: str,
    exported: bool,
) -> Listing:
    """One listing of the objects of all files, one file behind the other; images are as in the first that has some.

    `exported`: whether the files are of the Hugging Face export, as `good_redshifts` has it.
    """
    lengths = [len(part.ids) for part in parts]
    return Listing(
        source=source,
        reader=reader,
        ids=joined_ids([part.ids for part in parts]),
        id_name=id_name,
        ra=np.concatenate([part.ra for part in parts]),
        dec=np.concatenate([part.dec for part in parts]),
        redshift=np.concatenate([part.redshift for part in parts]),
        good_redshift=good_redshifts(parts, recipe.mmu, exported=exported),
        file=np.repeat(np.arange(len(parts), dtype=np.int32), lengths),
        row=np.concatenate([np.arange(length) for length in lengths]),
        files=tuple(part.path for part in parts),
        file_names=tuple(part.name for part in parts),
        image=next((part.image for part in parts if part.image is not None), None),
        spectrum=spectrum_of(parts, grid),
        wavelength=None if grid is None else grid.axis,
        columns=tuple(stacked_parts(parts)),
    )
