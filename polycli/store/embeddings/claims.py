"""Who embeds which unit at the moment: a file for each unit in hand, touched while its process lives.

Claims save double work and tell `status` what runs. They are no locks: a unit that two processes embed comes out the
same, and the first one counts, so that a process that hangs somewhere holds nobody up.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from polycli.store.embeddings.owners import Owner, owned_name, owner_in, this_process

#: Seconds between two touches of a claim.
_BEAT_SECONDS = 5.0
#: A claim of another machine that nobody has touched for so long is of a process that is gone.
_LAPSED_SECONDS = 180.0


@dataclass(frozen=True)
class Claim:
    """A unit that a process has in hand, or had when it was killed."""

    path: Path
    unit: int
    owner: Owner

    @property
    def is_live(self) -> bool:
        """Whether its process seems to be at work."""
        if self.owner.is_here:
            return self.owner.lives
        try:
            return time.time() - self.path.stat().st_mtime < _LAPSED_SECONDS
        except FileNotFoundError:
            return False


@contextmanager
def claiming(folder: Path, unit: int) -> Iterator[Callable[[], None]]:
    """Claim a unit for as long as the block lasts; what is given is called now and then to keep the claim alive."""
    path = folder / owned_name(f"{unit:06d}")
    beaten = time.monotonic()

    def beat() -> None:
        nonlocal beaten
        if time.monotonic() - beaten > _BEAT_SECONDS:
            beaten = time.monotonic()
            with suppress(OSError):
                path.touch()

    # Where the folder is gone, the embeddings were published meanwhile, and writing the unit will tell.
    with suppress(FileNotFoundError):
        path.touch()
    try:
        yield beat
    finally:
        path.unlink(missing_ok=True)


def claims_in(folder: Path, unit: int | None = None) -> list[Claim]:
    """The claims of all processes on all units or on one, those of killed ones included."""
    pattern = "[0-9]*" if unit is None else f"{unit:06d}.*"
    owners = [(path, owner_in(path.name)) for path in sorted(folder.glob(pattern))]
    return [Claim(path, int(path.name.partition(".")[0]), owner) for path, owner in owners if owner is not None]


def is_claimed(folder: Path, unit: int) -> bool:
    """Whether another process, which lives, has this unit in hand."""
    return any(claim.is_live for claim in claims_in(folder, unit) if claim.owner != this_process())
