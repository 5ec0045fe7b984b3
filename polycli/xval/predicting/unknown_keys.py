"""Keys of records that a model never saw: said and kept out of its view, or refused."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

from polycli.console import counted, first_few, note
from polycli.errors import SourceError
from polycli.xval.data.collate import Tokenization
from polycli.xval.data.store import RecordStore
from polycli.xval.recipe.settings import UnknownKeysChoice
from polycli.xval.records.keypaths import TOP, KeyPatterns, child_path
from polycli.xval.records.values import Record, Value

#: Names that a message shows.
_SHOWN = 8
_WAY_OUT = "leave the keys out, or polycli finetune xval, which learns tokens for new keys"


def known_keys(tokenization: Tokenization) -> Callable[[str, str], bool]:
    """Returns a function that says of a key and its path whether the model has seen such a key.

    A model that does not say how its data were read takes every key as it comes.
    """
    if tokenization.reading is None:
        return lambda key, path: True  # noqa: ARG005  # called by place
    known, spelled = tokenization.language.vocabulary.key_ids, KeyPatterns(tokenization.reading.spell_keys)
    return lambda key, path: key in known or spelled.match(path)


def unknown_paths(value: Value, is_known: Callable[[str, str], bool], path: str = TOP) -> Iterator[str]:
    """The paths of keys that are not known; what stands below such a key is not looked at.

    >>> list(unknown_paths({"a": 1, "b": [{"a": 2, "c": 3}]}, lambda key, path: key != "c"))
    ['b.c']
    """
    if isinstance(value, Mapping):
        for key, part in value.items():
            below = child_path(path, key)
            if is_known(key, below):
                yield from unknown_paths(part, is_known, below)
            else:
                yield below
    elif isinstance(value, Sequence) and not isinstance(value, str):
        for part in value:
            yield from unknown_paths(part, is_known, path)


class UnknownKeys:
    """The unknown keys of the records of some files, as they are met."""

    def __init__(self, tokenization: Tokenization, choice: UnknownKeysChoice) -> None:
        self._is_known, self._choice = known_keys(tokenization), choice
        self._met: dict[str, int] = {}

    def meet(self, record: Record) -> None:
        """Look at one more record.

        Raises:
            SourceError: it has a key that the model does not know, and such are to be refused.
        """
        for path in unknown_paths(record.value, self._is_known):
            if self._choice == "refuse":
                raise SourceError(f"{record.id}: the model has never seen the key {path}", hint=_WAY_OUT)
            self._met[path] = self._met.get(path, 0) + 1

    def say(self) -> None:
        """Say once what was left out of the model's view, and of how many records."""
        if self._met:
            most = max(self._met.values())
            note(
                f"keys that the model has never seen, and does not look at: {_listed(list(self._met))} "
                f"(in up to {counted(most, 'record', 'records')})"
            )


def settle_unknown_keys(store: RecordStore, tokenization: Tokenization, choice: UnknownKeysChoice) -> None:
    """Say which keys of a store the model has never seen and does not look at.

    Raises:
        SourceError: there are some, and they are to be refused.
    """
    if tokenization.reading is None:
        return
    known = tokenization.language.vocabulary.key_ids
    strange = [key for key in store.vocabulary.keys if key not in known]
    if strange and choice == "refuse":
        raise SourceError(f"{store.path}: the model has never seen the keys {_listed(strange)}", hint=_WAY_OUT)
    if strange:
        note(f"{store.path}: keys that the model has never seen, and does not look at: {_listed(strange)}")


def _listed(keys: Sequence[str]) -> str:
    return first_few(keys, _SHOWN, repr)
