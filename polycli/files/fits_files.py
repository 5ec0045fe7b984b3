"""FITS files from anybody: opened with a sentence for what astropy cannot make sense of, checksums looked at on demand.

astropy only warns of a checksum that does not fit, and of a file that ends too early; here both are refused.
"""

from __future__ import annotations

import struct
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from polycli.errors import SourceError
from polycli.files.plain import check_plain, reason_of, refuse_claim

GZIP = b"\x1f\x8b"
#: How the header of every HDU but the first begins.
_NEXT = b"XTENSION"
#: What astropy raises for cards and tables that it cannot read, besides its own VerifyError.
_DAMAGE = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    EOFError,
    LookupError,
    OSError,
    RuntimeError,
    struct.error,
    TypeError,
    # Of astropy itself, for formats of columns that nobody writes.
    UnboundLocalError,
    ValueError,
    zlib.error,
)


def _refuse_torn_header(path: Path, last: Any) -> None:  # noqa: ANN401  # astropy's dict
    """Make sure that no further HDU begins behind the last one: astropy passes over a header that has no end.

    Raises:
        OSError: one does.
    """
    with path.open("rb") as file:
        if file.read(2) == GZIP or last is None:
            return
        file.seek(last["datLoc"] + last["datSpan"])
        behind = file.read(len(_NEXT))
    if behind and _NEXT.startswith(behind):
        raise OSError("it ends within the header of an HDU")


def _refuse_claims(path: Path, file: Any) -> None:  # noqa: ANN401  # astropy's list of HDUs
    """Go through the headers of all HDUs, as far as what they claim can be in the file.

    astropy looks for the next HDU where the last one ends by its own header. Behind a header that it cannot make sense
    of, it takes the rest of the file for data, which in a compressed file, of unknown length, ends before it begins:
    the HDUs would be found again without end.

    Raises:
        OSError: a header cannot be read, or claims data of a negative size.
        SourceError: they claim to hold far more than the file can.
    """
    claimed = 0
    for number, unit in enumerate(file):
        # Where the header says nothing that astropy knows, it offers no place of the data either.
        if not hasattr(unit, "fileinfo"):
            raise OSError(f"the header of HDU {number}, counted from 0, cannot be read")
        # By headers: astropy's filebytes() would write out every HDU in memory to count.
        size = int(unit.size)
        if size < 0:
            raise OSError(f"the header of HDU {number}, counted from 0, claims {size} bytes of data")
        claimed += size
        refuse_claim(path, claimed)


@contextmanager
def open_fits(path: Path, *, checksums: bool = False) -> Iterator[Any]:
    """The file as a list of astropy's HDUs, read as they are asked for.

    `checksums` reads all of it, and compares every HDU that has CHECKSUM or DATASUM with them.

    Raises:
        SourceError: it is no FITS file, truncated or damaged, here or where the block reads it, or claims to hold far
            more than it can.
    """
    from astropy.io import fits
    from astropy.utils.exceptions import AstropyWarning

    check_plain(path)
    try:
        with warnings.catch_warnings():
            # Cards that are not by the standard are no concern of who reads numbers; of a damaged file there are many.
            warnings.simplefilter("ignore", AstropyWarning)
            warnings.filterwarnings("error", message=".*(Checksum|Datasum) verification failed.*")
            warnings.filterwarnings("error", message=".*may have been truncated.*")
            # Unsigned integers are stored with an offset, which memory maps cannot undo; sections read parts alone.
            with fits.open(path, memmap=False, checksum=checksums) as file:
                _refuse_claims(path, file)
                _refuse_torn_header(path, file[-1].fileinfo())
                yield file
    except (*_DAMAGE, fits.VerifyError, UserWarning) as error:
        raise SourceError(
            f"{path}: the FITS file is truncated or damaged: {reason_of(error)}", hint="fetch it again"
        ) from error
