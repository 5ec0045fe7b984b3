"""Columns of few different texts as classes: their candidates as token sequences, and where these part.

A class is answered for token by token, as a text that is written: at each place where candidates part, the model says
which token comes next. What is hidden is then one [MASK], whatever the length of the text behind it, so nothing tells
how long the answer is; and what all candidates share is never asked for.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from polycli.xval.records.keypaths import last_key
from polycli.xval.records.structure import FALSE, MASK_CHAR, QUOTE, TRUE, spelled
from polycli.xval.records.vocabulary import Vocabulary

#: A text, or true and false.
Class = str | bool
#: By key path: the values that training has there, the commonest first.
Classes = Mapping[str, tuple[Class, ...]]


def spelling(value: Class) -> str:
    """The tokens of a class as it stands in a record, one character each."""
    if isinstance(value, bool):
        return TRUE if value else FALSE
    return f"{QUOTE}{spelled(value)}{QUOTE}"


@dataclass(frozen=True)
class Fork:
    """A place where candidates part."""

    #: The tokens before it, from the beginning of the value.
    prefix: str
    #: The tokens that may come next, and for each the candidates that then remain.
    branches: Mapping[str, tuple[int, ...]]

    @property
    def blank(self) -> str:
        """Returns what stands for a value of which the prefix alone is given; a text that was opened is closed."""
        return f"{self.prefix}{MASK_CHAR}{QUOTE if self.prefix else ''}"


class Column:
    """The candidates of one key path."""

    def __init__(self, path: str, values: Sequence[Class]) -> None:
        self.path, self.values = path, tuple(values)
        self._spellings = [spelling(value) for value in values]
        self.forks = tuple(_forks(self._spellings, range(len(values)), 0))

    @property
    def blank(self) -> str:
        """The tokens of a value that is asked for: what all candidates share, and the place where the first part."""
        return self.forks[0].blank

    def forks_of(self, tokens: str) -> list[int]:
        """The places in a value at which it parts from other candidates; none of a value that is no candidate."""
        if tokens not in self._spellings:
            return []
        return [len(fork.prefix) for fork in self.forks if tokens.startswith(fork.prefix)]


def _forks(spellings: Sequence[str], among: Sequence[int], start: int) -> list[Fork]:
    """The forks of some candidates that are alike before `start`, those nearest to the beginning first."""
    if len(among) < 2:
        return []
    end = start
    # No candidate is the beginning of another: a closing quote ends each.
    while len({spellings[place][end] for place in among}) == 1:
        end += 1
    branches: dict[str, list[int]] = {}
    for place in among:
        branches.setdefault(spellings[place][end], []).append(place)
    own = Fork(spellings[among[0]][:end], {token: tuple(places) for token, places in branches.items()})
    return [own, *(fork for places in branches.values() for fork in _forks(spellings, places, end + 1))]


def columns_of(classes: Classes, vocabulary: Vocabulary) -> dict[int, Column]:
    """Maps the token of each column's key, behind which its values stand, to the column."""
    return {
        vocabulary.key_ids[last_key(path)]: Column(path, values)
        for path, values in classes.items()
        if last_key(path) in vocabulary.key_ids and len(values) > 1
    }
