"""`polycli inspect`: what a file or folder is, found out by looking into it. Nothing that it contains is ever run."""

from __future__ import annotations

from collections.abc import Callable
from glob import escape
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from polycli.console import counted, say_where
from polycli.errors import UserError
from polycli.files.plain import reason_of
from polycli.inspection.finding import Finding
from polycli.inspection.folders import inspect_folder
from polycli.inspection.verifying import verify_content

if TYPE_CHECKING:
    from polycli.inspection.contents.head import Head

#: What looking for a key, a length or a time where there is none raises.
_UNEXPECTED = (ArithmeticError, AttributeError, LookupError, OSError, RecursionError, TypeError, ValueError)

__all__ = ["Finding", "draw_path", "head_of", "inspect_path"]

Answer = TypeVar("Answer")


def inspect_path(path: Path, *, verify: bool = False) -> Finding:
    """Describes whatever is at `path`; `verify` reads all of it, and compares it with hashes where there are any.

    Raises:
        PolycliError: there is nothing at `path`, or it is damaged: the sentence says how.
    """
    return _told(path, lambda: _inspected(path, verify=verify))


def head_of(path: Path, rows: int) -> Head:
    """The first rows of whatever is at `path`.

    Raises:
        PolycliError: there is nothing at `path`, it is damaged, or it has no rows.
    """
    from polycli.inspection.contents.head import read_head

    return _told(path, lambda: read_head(path, rows))


def draw_path(path: Path, file: Path) -> None:
    """Draw whatever is at `path` into a file.

    Raises:
        PolycliError: there is nothing at `path`, it is damaged, or nothing in it can be drawn.
    """
    from polycli.inspection.picture import draw

    panels = _told(path, lambda: draw(path, file))
    say_where(counted(panels, "picture", "pictures"), file)


def _told(path: Path, look: Callable[[], Answer]) -> Answer:
    if not path.exists():
        is_made = any(path.parent.glob(f"*{escape(path.name)}.partial-*"))
        told = "is being made, or was begun and did not finish" if is_made else "no such file or folder"
        raise UserError(f"{path}: {told}", hint=f"polycli status {path}" if is_made else None)
    try:
        return look()
    except _UNEXPECTED as error:
        # What is written in it reads as JSON, zarr or a name, and yet is not what anybody's writer would write there.
        raise UserError(f"{path}: damaged or forged: its description makes no sense: {reason_of(error)}") from error


def _inspected(path: Path, *, verify: bool) -> Finding:
    # Before anything else: what is damaged may not be recognised for what it was.
    verified = verify_content(path) if verify else None
    if path.is_dir():
        finding = inspect_folder(path, verify=verify)
    else:
        # Pickle scanning, HDF5 and FITS are only needed for files.
        from polycli.inspection.files import inspect_file

        finding = inspect_file(path)
    return finding if verified is None else finding.extended("verified", verified)
