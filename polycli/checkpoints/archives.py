"""Zip archives as PyTorch writes them: members by name and size, from the list at the end; nothing is unpacked."""

from __future__ import annotations

import struct
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path

from polycli.errors import CheckpointError


def members_of(path: Path) -> dict[str, int]:
    """The size of each member of a zip archive once it is unpacked, by name.

    Raises:
        CheckpointError: the list of members is missing or damaged.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            return {entry.filename: entry.file_size for entry in archive.infolist()}
    # struct.error and NotImplementedError: fields that are cut short, and a zip format of the future.
    except (zipfile.BadZipFile, struct.error, NotImplementedError, OSError, ValueError, OverflowError) as error:
        raise CheckpointError(f"{path}: a damaged or truncated zip archive ({error})") from error


def holds_weights(names: Iterable[str]) -> bool:
    """Whether these are the members of an archive of `torch.save`."""
    return any(name.endswith("data.pkl") for name in names)


def holds_program(names: Iterable[str]) -> bool:
    """Whether these are the members of a TorchScript archive, which is compiled and run where it is loaded.

    Both kinds of archive keep everything in one folder. `torch.save` never writes constants or code.
    """
    inside = [name.partition("/")[2] or name for name in names]
    return any(name == "constants.pkl" or name.startswith("code/") for name in inside)


def refuse_packed(path: Path, members: Mapping[str, int]) -> None:
    """Refuse an archive whose members are larger than itself: `torch.save` packs nothing, and a bomb must not unpack.

    Raises:
        CheckpointError: the members say that they are.
    """
    unpacked, size = sum(members.values()), path.stat().st_size
    if unpacked > size:
        raise CheckpointError(
            f"{path}: its members are {unpacked} bytes once unpacked, in a file of {size}; torch.save packs nothing"
        )
