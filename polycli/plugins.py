"""Finds what installed packages add by entry points: families (`polycli.families`) and sources of families."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from functools import cache
from typing import TYPE_CHECKING, Any

from polycli import console
from polycli.errors import UserError

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint


def plugin_names(group: str, taken: Collection[str]) -> tuple[str, ...]:
    """The names that installed packages add to `group`; those in `taken`, which polycli ships, are not for others."""
    return tuple(_plugins(group, frozenset(taken)))


def load_plugin(group: str, taken: Collection[str], name: str, *, what: str) -> Any | None:  # noqa: ANN401
    """The object that an installed package adds to `group` under `name`; None where no package does.

    Raises:
        UserError: the package's own code fails to be imported; `what` says in the message what it was to bring.
    """
    entry = _plugins(group, frozenset(taken)).get(name)
    if entry is None:
        return None
    try:
        return entry.load()
    except Exception as error:  # A package's own code may raise anything.
        problem = f"{type(error).__name__}: {error}"
        raise UserError(f"{what} {name} of {_package(entry)} cannot be imported: {problem}") from error


@cache
def _plugins(group: str, taken: frozenset[str]) -> Mapping[str, EntryPoint]:
    # It takes a sixth of the time of the rest of `polycli --help`; those who ask for a shipped name never come here.
    from importlib.metadata import entry_points

    found: dict[str, EntryPoint] = {}
    for entry in entry_points(group=group):
        if entry.name in taken or entry.name in found:
            console.warn(f"{entry.name} of {_package(entry)} is not used: {group} has one of this name already")
            continue
        found[entry.name] = entry
    return found


def _package(entry: EntryPoint) -> str:
    return "an installed package" if entry.dist is None else f"the package {entry.dist.name}"
