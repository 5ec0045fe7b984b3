"""A store on its way: a draft when its sources were looked at, a plan when what decides its content was hashed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, Protocol, TypeVar

from polycli.store.building import BuildPlace

Content = TypeVar("Content")
Task = TypeVar("Task")
Task_co = TypeVar("Task_co", covariant=True)


@dataclass(frozen=True)
class Draft(Generic[Content]):
    """A store that could be made, before anything but the look of its sources is known."""

    name: str
    target: Path
    #: What a source has opened.
    content: Content
    #: The files that are read, and what the manifest calls them.
    files: tuple[tuple[Path, str], ...]
    #: Into how many pieces the work is cut, whoever does it.
    pieces: int
    #: Bytes that are needed while the store is made, where that can be told.
    bytes: int | None = None


class Plan(Protocol[Task_co]):
    """A store on its way: its fingerprint is of everything that decides its content."""

    @property
    def target(self) -> Path:
        """The path that the store will have."""
        ...

    @property
    def fingerprint(self) -> str:
        """A hash of everything that decides the store's content, 64 hex digits."""
        ...

    @property
    def keys(self) -> Sequence[str]:
        """The names of the pieces, in order."""
        ...

    def task(self, key: str) -> Task_co:
        """One piece of the work; picklable."""
        ...

    def is_staged(self, key: str) -> bool:
        """Whether the piece of this key is done."""
        ...

    def publish(self) -> object:
        """Make the store, of which every piece is done.

        Raises:
            UserError: the rows are such that no store can be made of them.
        """
        ...


def place_of(plan: Plan[Task]) -> BuildPlace:
    """Returns the folder where the store of a plan is built."""
    return BuildPlace(plan.target.absolute(), plan.fingerprint)
