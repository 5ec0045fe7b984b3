"""Flags of DESI's fibres: which of them leave an exposure out, and which one camera of it alone.

The bits are those of desispec's `fibermask`. Its coaddition (`use_for_coadd`, with `fiberbitmasking`) leaves out
exposures with a fatal flag, and of those with a bad amplifier the camera that it reads.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polycli.astroclip.recipe.preparing import DesiSection, FibreFlag

_BITS: dict[FibreFlag, int] = {
    "UNASSIGNED": 0,
    "STUCKPOSITIONER": 1,
    "BROKENFIBER": 2,
    "RESTRICTED": 3,
    "MISSINGPOSITION": 8,
    "BADPOSITION": 9,
    "POORPOSITION": 10,
    "LOWEFFTIME": 15,
    "BADFIBER": 16,
    "BADTRACE": 17,
    "BADFLAT": 18,
    "BADARC": 19,
    "MANYBADCOL": 20,
    "MANYREJECTED": 21,
    "BADAMPB": 22,
    "BADAMPR": 23,
    "BADAMPZ": 24,
}
#: Flags of one camera alone, by camera.
_OF_CAMERA: dict[str, FibreFlag] = {"B": "BADAMPB", "R": "BADAMPR", "Z": "BADAMPZ"}


@dataclass(frozen=True)
class FibreMask:
    """The flags that leave out an exposure."""

    #: Bits that leave all of it out.
    whole: int
    #: Bits that leave out one camera of it, by camera.
    cameras: tuple[tuple[str, int], ...]

    @classmethod
    def of(cls, flags: Sequence[FibreFlag]) -> FibreMask:
        """Make the mask of some flags; ANY is every bit there is."""
        if "ANY" in flags:
            return cls(-1, ())
        whole = sum(1 << _BITS[flag] for flag in set(flags) if flag not in _OF_CAMERA.values())
        cameras = tuple((camera, 1 << _BITS[flag]) for camera, flag in _OF_CAMERA.items() if flag in flags)
        return cls(whole, cameras)

    def bad(self, status: NDArray[np.int64]) -> NDArray[np.bool_]:
        """(n,) where the fibre's status leaves out all of an exposure."""
        return np.asarray((status & self.whole) != 0)

    def bad_in(self, status: NDArray[np.int64], camera: str) -> NDArray[np.bool_]:
        """(n,) where the fibre's status leaves out what this camera saw."""
        return np.asarray((status & dict(self.cameras).get(camera, 0)) != 0)


#: What desispec's coaddition leaves out.
AS_COADDED = FibreMask.of(DesiSection().fibre_mask)


def fibre_status(table: Any) -> NDArray[np.int64]:  # noqa: ANN401  # astropy's object
    """Flags of the fibre that each spectrum was taken with; 0 is good."""
    names = set(table.names)
    name = next((name for name in ("COADD_FIBERSTATUS", "FIBERSTATUS") if name in names), None)
    return np.zeros(len(table), np.int64) if name is None else np.asarray(table[name]).astype(np.int64)


def flags_named(status: int) -> str:
    """The names of the flags of a status, with the number: `512 (BADPOSITION)`."""
    named = [flag for flag, bit in _BITS.items() if status >> bit & 1]
    return f"{status} ({', '.join(named)})" if named else str(status)
