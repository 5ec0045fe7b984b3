r"""Names that came with files, of stores, fields, columns and files themselves, are data: here they are made harmless.

On a terminal an escape sequence moves the cursor or recolours what stands there, in a path `../x` leaves the folder,
in a figure `$` begins a formula, and a table program computes a cell that begins with `=`.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Collection, Sequence
from pathlib import Path

#: Longer ones are cut on terminals and in figures.
LONGEST_SHOWN = 120
#: Characters of a file name on every file system in use.
_LONGEST_FILE_NAME = 120
#: Control characters and halves of characters; and what changes the direction of writing.
_NEVER_SHOWN = {"Cc", "Cs"}
_DIRECTIONS = {*map(chr, range(0x202A, 0x202F)), *map(chr, range(0x2066, 0x206A)), "\u200e", "\u200f", "\u061c"}
_PLAIN = re.compile(r"[A-Za-z0-9._+ -]*")
_UNSAFE_IN_PATHS = re.compile(r"[^\w.+-]+")
_NUMBER = re.compile(r"[+-]?[\d.]+(?:[eE][+-]?\d+)?")
_FORMULA = re.compile(r"[=+\-@\t\r]")


def clean(text: object) -> str:
    r"""A name for a message: control characters, bidirectional marks and half characters as escapes such as `\x1b`."""
    plain = str(text)
    if _PLAIN.fullmatch(plain):
        return plain
    return "".join(_escaped(character) if _is_control(character) else character for character in plain)


def clean_lines(text: str) -> str:
    """A whole message for a terminal: as `clean`, with its line ends and tabs."""
    return "\n".join("\t".join(clean(part) for part in line.split("\t")) for line in text.split("\n"))


def shortened_name(text: object, most: int = LONGEST_SHOWN) -> str:
    """Cleans a name as `clean` does, and cuts it where it is longer than anybody reads."""
    plain = clean(text)
    return plain if len(plain) <= most else f"{plain[: most - 3]}..."


def file_stem(name: str) -> str:
    """A name as part of a file name: it stays in its folder, on any file system, and different names stay different."""
    stem = _UNSAFE_IN_PATHS.sub("_", name).strip(".")[:_LONGEST_FILE_NAME] or "_"
    if stem == name:
        return stem
    return f"{stem}-{hashlib.sha256(name.encode('utf-8', 'surrogatepass')).hexdigest()[:8]}"


def picture_file(folder: Path, *parts: str) -> Path:
    """The PNG file in a folder whose name says what it shows, such as the store and the kind of picture.

    >>> picture_file(Path("figures"), "turbulence", "growth").as_posix()
    'figures/turbulence.growth.png'
    """
    return folder / f"{file_stem('.'.join(parts))}.png"


def without_formulas(text: object) -> str:
    """A name in a figure: cleaned, cut, and with every dollar as itself, not as the beginning of a formula."""
    return shortened_name(text).replace("$", r"\$")


def cell(text: str) -> str:
    """A name in a table that other programs open: what they would compute gets a quote before it; numbers do not."""
    return f"'{text}" if is_formula(text) else text


def is_formula(text: str) -> bool:
    """Whether a table program would compute a cell of this text."""
    return bool(_FORMULA.match(text)) and not _NUMBER.fullmatch(text)


def free_names(names: Sequence[str], *, taken: Collection[str], prefix: str) -> list[str]:
    """Renames columns that come into a table with columns of its own, so that all names are unique.

    >>> free_names(["mass", "split"], taken=["split"], prefix="catalogue_")
    ['mass', 'catalogue_split']
    """
    used = {*taken}
    chosen: list[str] = []
    for name in names:
        free, number = name, 2
        if name in used:
            free = f"{prefix}{name}"
            while free in used or free in names:
                free, number = f"{prefix}{name}_{number}", number + 1
        used.add(free)
        chosen.append(free)
    return chosen


def problem_of_name(name: str) -> str | None:
    """Says why a dataset cannot have this name in reports, paths and messages; None where it can."""
    if not name.strip():
        return "is empty"
    if len(name) > LONGEST_SHOWN:
        return f"has {len(name)} characters, {LONGEST_SHOWN} at most were expected"
    if name in {".", ".."} or "/" in name or "\\" in name:
        return "could lead to another folder"
    if any(_is_control(character) for character in name):
        return "holds characters that cannot be shown"
    return None


def _is_control(character: str) -> bool:
    return unicodedata.category(character) in _NEVER_SHOWN or character in _DIRECTIONS


def _escaped(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")
