"""Prepare in parts (`--part i/n`, `--finalize`): which work is whose, and which part must run again.

Work is cut into the same pieces whoever does it; part i of n does pieces i, i + n, i + 2n, ... Nothing but the pieces
themselves says what is done, so that parts may run at once, be killed, be repeated, or be cut anew with another n.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

from polycli.errors import StoreError
from polycli.store.staging import write_error

Piece = TypeVar("Piece")
_NAMED = 5
_PIECES = "pieces"


def mine(pieces: Sequence[Piece], part: tuple[int, int] | None) -> list[Piece]:
    """The pieces of this part: all of them where there are no parts."""
    if part is None:
        return list(pieces)
    index, count = part
    return list(pieces[index::count])


def note_part(work: Path, part: tuple[int, int]) -> None:
    """Leave word in the folder of a build that this part has begun, so that `refuse_missing` can name it.

    Raises:
        PolycliError: the disk is full or refuses the write.
    """
    index, count = part
    try:
        (work / "parts").mkdir(parents=True, exist_ok=True)
        (work / "parts" / f"{index}-of-{count}").touch()
    except OSError as error:
        raise write_error(work, error) from error


def note_pieces(work: Path, count: int) -> None:
    """Note in the folder of a build of how many pieces the work consists, for `polycli status`.

    Raises:
        PolycliError: the disk is full or refuses the write.
    """
    try:
        work.mkdir(parents=True, exist_ok=True)
        (work / _PIECES).write_text(str(count), encoding="ascii")
    except OSError as error:
        raise write_error(work, error) from error


def pieces_of(work: Path) -> int | None:
    """Returns of how many pieces a build consists; None where that was not noted."""
    try:
        return int((work / _PIECES).read_text(encoding="ascii"))
    except (OSError, ValueError):
        return None


def refuse_missing(
    works: Sequence[Path], missing: Sequence[int], pieces: int, *, output: Path, line: Sequence[str] = ()
) -> None:
    """Return if no piece is missing; `missing` are their numbers among all pieces, `line` the words after `polycli`.

    `works` are the folders of the builds, one for each store.

    Raises:
        StoreError: some are; it names the parts that they belong to and the line that makes them.
    """
    if not missing:
        return
    count = _parts_begun(works)
    found = f"{output}: {len(missing)} of {pieces} pieces of work are not done"
    if count is None:
        raise StoreError(
            f"{found}: no part has begun",
            hint=f"run every part first: {_typed(line, '--part I/N')} for I from 0 to N - 1",
        )
    parts = sorted({number % count for number in missing})
    named = ", ".join(f"{part}/{count}" for part in parts[:_NAMED]) + (", ..." if len(parts) > _NAMED else "")
    again = _typed(line, f"--part {parts[0]}/{count}")
    raise StoreError(
        f"{found}: {'part' if len(parts) == 1 else 'parts'} {named} did not finish",
        hint=f"run {again}{' and the others' if len(parts) > 1 else ''}, then --finalize again",
    )


def _parts_begun(works: Sequence[Path]) -> int | None:
    """Returns into how many parts the work was cut last; None where no part has begun."""
    found = [note for work in works for note in (work / "parts").glob("*-of-*")]
    notes = [note for note in found if re.fullmatch(r"\d+-of-\d+", note.name)]
    if not notes:
        return None
    latest = max(notes, key=lambda note: note.stat().st_mtime_ns)
    return int(latest.name.rpartition("-")[2])


def _typed(line: Sequence[str], part: str) -> str:
    """The user's line with this part in place of --finalize."""
    words = [word for word in line if word != "--finalize"]
    return f"{shlex.join(['polycli', *words])} {part}" if words else f"the same line with {part}"
