"""Names of files that say which process of which machine they belong to, and whether that process lives."""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass


@dataclass(frozen=True)
class Owner:
    """A process of a machine."""

    host: str
    process: int

    @property
    def is_here(self) -> bool:
        """Whether it is a process of this machine."""
        return self.host == socket.gethostname()

    @property
    def lives(self) -> bool:
        """Whether a process of this machine is still there; always False of other machines' processes."""
        if not self.is_here:
            return False
        try:
            os.kill(self.process, 0)
        except ProcessLookupError:
            return False
        except PermissionError:
            return True
        return True


def this_process() -> Owner:
    """The process that asks."""
    return Owner(socket.gethostname(), os.getpid())


def owned_name(stem: str) -> str:
    """A file name that says that its file belongs to this process: `000012.node7.4711`."""
    owner = this_process()
    return f"{stem}.{owner.host}.{owner.process}"


def owner_in(name: str) -> Owner | None:
    """The owner that `owned_name` put into a file name; None where it made no such name."""
    _, _, rest = name.removeprefix(".").partition(".")
    host, _, process = rest.rpartition(".")
    return Owner(host, int(process)) if host and process.isdigit() else None
