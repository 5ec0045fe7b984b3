"""Names of columns: each of an output is unique, whatever the columns of the user's data are called."""

from __future__ import annotations

from collections.abc import Collection, Iterable


def free_names(names: Iterable[str], *, taken: Collection[str], prefix: str) -> dict[str, str]:
    """By name the name that a column gets: its own, or where that is taken, one with the prefix.

    >>> free_names(["mass", "split"], taken=["split"], prefix="catalogue_")
    {'mass': 'mass', 'split': 'catalogue_split'}
    """
    wanted = list(names)
    used = {*taken, *(name for name in wanted if name not in taken)}
    chosen: dict[str, str] = {}
    for name in wanted:
        free, number = name, 2
        if name in taken:
            free = f"{prefix}{name}"
            while free in used:
                free, number = f"{prefix}{name}_{number}", number + 1
        chosen[name] = free
        used.add(free)
    return chosen
