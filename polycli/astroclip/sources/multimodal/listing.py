"""Puts files of one set together: bands in one order by name, wavelengths on one grid."""

from __future__ import annotations

from collections.abc import Sequence

from polycli.astroclip.recipe.preparing import PrepareRecipe
from polycli.astroclip.sources.multimodal.layout import Part
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
