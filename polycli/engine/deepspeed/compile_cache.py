"""Finds what a kill has cut short in the cache of torch.compile, and clears it, so that later runs compile it again.

Inductor has the linker write libraries under their final names. One that was cut ends every later run on the machine:
with an error ("file too short"), or with a bus error in the loader, which nobody can catch. So libraries are looked at
before the first of them is loaded. Precompiled headers, which say nothing of their length, are not used.
"""

from __future__ import annotations

import struct
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from pathlib import Path

import torch

from polycli.console import counted

#: A library that another process is linking at this moment looks cut too. This long after its last write it is.
SETTLED_SECONDS = 5.0
_MAGIC = b"\x7fELF"
_HEADER = struct.Struct("<16sHHIQQQIHHHHHH")
_PROGRAM_HEADER = struct.Struct("<IIQQQQQQ")
_LITTLE_ENDIAN_64_BIT = b"\x02\x01"


def cache_folders() -> set[Path]:
    """Return the folders of torch.compile; some of its files stay in the default one wherever the others go."""
    from torch._inductor.runtime.cache_dir_utils import cache_dir, default_cache_dir

    return {Path(cache_dir()), Path(default_cache_dir())}


def clear_cut_libraries(folders: Iterable[Path]) -> list[Path]:
    """Delete shared libraries that are shorter than they say themselves, and return them."""
    if sys.platform != "linux":
        return []
    cut = [path for folder in folders for path in folder.rglob("*.so") if is_cut(path)]
    return [path for path in cut if _stays_cut(path) and _deleted(path)]


def is_cut(path: Path) -> bool:
    """Whether an ELF file lacks its end, or is none."""
    try:
        with path.open("rb") as file:
            header = file.read(_HEADER.size)
            size = path.stat().st_size
            if len(header) < _HEADER.size or not header.startswith(_MAGIC):
                return True
            if header[4:6] != _LITTLE_ENDIAN_64_BIT:
                return False
            return size < max(_ends(header, file.seek, file.read))
    except OSError:
        return False


def leave_headers_alone() -> None:
    """Have torch.compile neither read nor write precompiled headers, of which nobody can tell whether they are whole.

    They are 150 MB each, so a kill often meets one, and the compiler fails with it ever after. Writing one takes about
    as long as it saves in ten kernels, and a training of a few shapes has no more.
    """
    # Versions of torch that lack the key write none.
    with suppress(AttributeError):
        torch._inductor.config.cpp_cache_precompile_headers = False  # noqa: SLF001


def sentence(cleared: list[Path]) -> str:
    """Say what was cleared."""
    folders = ", ".join(sorted({str(path.parent) for path in cleared})[:3])
    libraries = counted(len(cleared), "library that was", "libraries that were")
    return f"cleared {libraries} cut short from the cache of torch.compile, which makes them again ({folders})"


def _ends(header: bytes, seek: Callable[[int], int], read: Callable[[int], bytes]) -> Iterator[int]:
    """The offsets at which the parts of an ELF file end that its header speaks of."""
    fields = _HEADER.unpack(header)
    programs, sections = fields[5], fields[6]
    program_size, program_count, section_size, section_count = fields[9:13]
    yield programs + program_size * program_count
    yield sections + section_size * section_count
    seek(programs)
    table = read(program_size * program_count)
    for start in range(0, len(table) - _PROGRAM_HEADER.size + 1, max(program_size, 1)):
        _, _, offset, _, _, in_file, _, _ = _PROGRAM_HEADER.unpack_from(table, start)
        yield offset + in_file


def _stays_cut(path: Path) -> bool:
    """Whether it is still cut once nobody has written to it for a while."""
    try:
        while (wait := SETTLED_SECONDS - (time.time() - path.stat().st_mtime)) > 0:
            time.sleep(min(wait, SETTLED_SECONDS))
            if not is_cut(path):
                return False
    except OSError:
        return False
    return True


def _deleted(path: Path) -> bool:
    with suppress(OSError):
        path.unlink()
        return True
    return False
