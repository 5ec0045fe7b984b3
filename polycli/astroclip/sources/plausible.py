"""Whether arrays of one's own are what they are said to be: the order of bands, and the unit of wavelengths.

A file of plain arrays says neither, and a wrong guess trains without a complaint.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polycli.astroclip.recipe.preparing import WavelengthUnit
from polycli.console import warn
from polycli.errors import SourceError

#: Bands from blue to red: nearly every galaxy has more nanomaggies in each than in the one before.
_REDDER = ("g", "r", "z")
#: Not half: of noise without a galaxy half are.
_MOST = 0.75
#: By unit of wavelengths: how many Angstrom it is.
ANGSTROM: dict[WavelengthUnit, float] = {"Angstrom": 1.0, "nanometre": 10.0, "micrometre": 1e4}
#: Spectra that end below so many Angstrom are of the far ultraviolet, and seldom; of other units all end there.
_SHORTEST_END = 2000.0
#: A spectrum of visible light that ends below this is in micrometres, else in nanometres.
_MICROMETRES = 100.0


def warn_of_band_order(images: NDArray[Any], bands: Sequence[str], *, what: str) -> None:
    """Warn where most of some galaxies, (n, bands, y, x), get fainter from the first to the last of g, r, z."""
    known = [band for band in _REDDER if band in bands]
    if len(known) < 2:
        return
    rows, columns = (slice(side // 4, side - side // 4) for side in images.shape[2:])
    planes = [images[:, bands.index(band), rows, columns] for band in (known[0], known[-1])]
    blue, red = (np.nansum(plane, axis=(1, 2), dtype=np.float64) for plane in planes)
    fainter, count = int((red < blue).sum()), len(images)
    if fainter >= _MOST * count:
        warn(
            f"{what}: {fainter} of {count} objects are fainter in {known[-1]} than in {known[0]}, as galaxies are not: "
            f"do the bands lie in the order {', '.join(bands)}? arrays.bands says in which"
        )


def refuse_other_units(wavelength: NDArray[np.float64], *, what: str, key: str = "arrays.wavelength_unit") -> None:
    """Make sure that rising wavelengths whose unit nobody named, with the recipe's `key`, are in Angstrom.

    Raises:
        SourceError: they look like nanometres or micrometres.
    """
    first, last = float(wavelength[0]), float(wavelength[-1])
    if last >= _SHORTEST_END:
        return
    likely = "micrometre" if last < _MICROMETRES else "nanometre"
    raise SourceError(
        f"{what}: wavelengths are {first:g} to {last:g}, which in Angstrom is not visible light: "
        f"are they in {likely}s?",
        hint=f"--set {key}={likely}, or =Angstrom if that is what they are",
    )
