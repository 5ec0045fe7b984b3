"""`polycli inspect`: what a file or folder is, found out by looking into it. Nothing that it contains is ever run."""

from __future__ import annotations

from pathlib import Path

from polycli.errors import UserError
from polycli.inspection.finding import Finding
from polycli.inspection.folders import inspect_folder

__all__ = ["Finding", "inspect_path"]


def inspect_path(path: Path, *, verify: bool = False) -> Finding:
    """What `path` is; `verify` reads and hashes all of it, where it says what it should be.

    Raises:
        PolycliError: there is nothing at `path`, or it is damaged: the sentence says how.
    """
    if path.is_dir():
        return inspect_folder(path, verify=verify)
    if path.exists():
        # Pickle scanning, HDF5 and FITS are only needed for files.
        from polycli.inspection.files import inspect_file

        return inspect_file(path)
    raise UserError(f"{path}: no such file or folder")
