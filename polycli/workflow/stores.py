"""Opens the stores that a verb works on, each once, under names that tell them apart."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import count
from pathlib import Path

from polycli.console import note
from polycli.errors import UserError
from polycli.paths import expand_paths
from polycli.store.reader import Store, Verify, find_stores, open_store


def open_stores(
    paths: Sequence[str | Path],
    *,
    family: str,
    verify: Verify = "sizes",
    hint: str | None = None,
    by_name: bool = True,
) -> list[Store]:
    """The stores that `paths` name (files, folders, globs, `@list.txt`), in the order of their names or as given.

    A store that is reached in two ways is opened once. Stores of one name are all opened, each under a name of its own
    (`unique_names`), which is then said; data.json, model.json, metrics and scores call them by it.

    Raises:
        UserError: a path does not exist or holds no store of the family; `hint` then stands in place of the usual one.
        StoreError: a store is incomplete or damaged.
    """
    try:
        found = find_stores(expand_paths(paths), family=family)
    except UserError as error:
        raise type(error)(error.message, hint=hint or error.hint) from error
    # A link and its target are one store: by itself it must not be drawn twice as often as the others.
    places = {path.resolve(): path for path in reversed(found)}
    stores = {place: open_store(path, family=family, verify=verify) for place, path in places.items()}
    names = unique_names({place: store.name for place, store in stores.items()})
    _say_new_names(stores, names)
    opened = [stores[place].named(names[place]) for place in dict.fromkeys(path.resolve() for path in found)]
    return sorted(opened, key=lambda store: store.name) if by_name else opened


def unique_names(names: Mapping[Path, str]) -> dict[Path, str]:
    """A name for each resolved path: its own where no other store has it, else one from its path.

    Stores that share a name are called by the name of their folder or, where these are equal too, by as many of the
    last parts of their paths as tell them apart, joined by hyphens. The order of `names` does not matter.

    >>> unique_names({Path("/a/waves.zarr"): "waves", Path("/b/waves.zarr"): "waves", Path("/b/swe.zarr"): "swe"})
    {PosixPath('/a/waves.zarr'): 'a-waves', PosixPath('/b/waves.zarr'): 'b-waves', PosixPath('/b/swe.zarr'): 'swe'}
    """
    frequency = Counter(names.values())
    taken = {name for name in names.values() if frequency[name] == 1}
    chosen: dict[Path, str] = {}
    for shared in sorted(name for name in frequency if frequency[name] > 1):
        group = sorted(path for path, name in names.items() if name == shared)
        told_apart = next(candidates for candidates in _candidates(group) if len(set(candidates) - taken) == len(group))
        taken.update(told_apart)
        chosen.update(zip(group, told_apart, strict=True))
    return {path: chosen.get(path, name) for path, name in names.items()}


def _candidates(paths: Sequence[Path]) -> Iterator[list[str]]:
    """Names for stores at `paths`, each list longer than the one before; some list tells any paths apart."""
    parts = [[*path.parent.parts[1:], path.name.removesuffix(".zarr")] for path in paths]
    longest = max(map(len, parts))
    for length in range(1, longest + 1):
        yield ["-".join(part[-length:]) for part in parts]
    # Hyphens in the parts themselves, as in /a-b/c and /a/b-c.
    for number in count(1):
        yield [f"{'-'.join(part)}-{index}" for index, part in enumerate(parts, start=number)]


def _say_new_names(stores: Mapping[Path, Store], names: Mapping[Path, str]) -> None:
    frequency = Counter(store.name for store in stores.values())
    renamed: dict[str, list[str]] = {}
    for place, store in sorted(stores.items()):
        if names[place] != store.name:
            renamed.setdefault(store.name, []).append(f"{store.path} as {names[place]}")
    for name, sentences in sorted(renamed.items()):
        note(f"{frequency[name]} stores have the name {name}; used under other names: {', '.join(sentences)}")
