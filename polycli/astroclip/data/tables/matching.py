"""Finds the row of a catalogue that belongs to each object by its id, however either of them writes ids."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from polycli.astroclip.data.columns import Column
from polycli.errors import SourceError

_BYTES = re.compile(r"""^b(['"])(.*)\1$""", re.DOTALL)
_INTEGER = re.compile(r"[+-]?[0-9]+")
_WHOLE_FLOAT = re.compile(r"([+-]?[0-9]+)\.0*")
#: Integers below are the same as floats.
_EXACT = 2**53


@dataclass(frozen=True)
class Found:
    """The row for each object, -1 where there is none, and what a user should hear."""

    rows: NDArray[np.int64]
    remarks: tuple[str, ...] = ()


def rows_by_id(ids: NDArray[Any], key: Column, path: Path, *, hint: str = "leave one row for each id") -> Found:
    """The row that has each object's id.

    Texts are compared without blanks around them; where the objects' ids are integers, texts count as the integers that
    they spell. Ids of text with leading zeros are compared as they are, and by their numbers where nothing is equal.

    Raises:
        SourceError: the catalogue's ids are floats that may have changed, or no ids at all, or one that is needed
            stands twice.
    """
    there = np.arange(len(key.values)) if key.valid is None else np.flatnonzero(key.valid)
    where = _Where(ids, key.name, path, hint)
    if ids.dtype != object and key.kind == "integer":
        return Found(_rows_of_integers(ids, key.values[there], there, where))
    keys, remarks = _plain_keys(key, there, path)
    own = _texts(ids)
    if ids.dtype != object:
        numbers = _numbers(keys)
        if numbers is None and keys:
            raise SourceError(
                f"{path}: column {key.name} is text, the objects' ids are integers: {keys[0]!r} is none",
                hint="id_column names another column",
            )
        return Found(_rows(own, numbers or keys, there, where), tuple(remarks))
    spelled, other = _numbers(own), _numbers(keys)
    alike = spelled is not None and other is not None and len(set(spelled)) == len(set(own))
    if not (key.kind == "integer" and alike and all(_INTEGER.fullmatch(text) for text in own)):
        found = _rows(own, keys, there, where)
        if (found >= 0).any() or not alike:
            return Found(found, tuple(remarks))
    assert spelled is not None and other is not None  # noqa: S101, PT018  # for the type checker; `alike` says so
    found = _rows(spelled, other, there, where)
    if (found >= 0).any() and spelled != own:
        remarks.append("ids are compared as numbers, without their leading zeros")
    return Found(found, tuple(remarks))


@dataclass(frozen=True)
class _Where:
    """The names that a sentence about an id that stands twice needs."""

    ids: NDArray[Any]
    name: str
    path: Path
    hint: str

    def refuse(self, place: int, times: int, others: int) -> NoReturn:
        more = f", and {others} more of the objects' ids several times" if others else ""
        raise SourceError(
            f"{self.path}: id {self.ids[place]} stands in {self.name} {times} times{more}: which row belongs to the "
            "object cannot be told",
            hint=self.hint,
        )


def _rows_of_integers(
    ids: NDArray[Any], keys: NDArray[Any], there: NDArray[np.int64], where: _Where
) -> NDArray[np.int64]:
    order = np.argsort(keys, kind="stable")
    ordered = keys[order]
    start, stop = np.searchsorted(ordered, ids, "left"), np.searchsorted(ordered, ids, "right")
    twice = np.flatnonzero(stop - start > 1)
    if twice.size:
        where.refuse(int(twice[0]), int((stop - start)[twice[0]]), twice.size - 1)
    rows = np.full(len(ids), -1, np.int64)
    found = stop > start
    rows[found] = there[order[start[found]]]
    return rows


def _plain_keys(key: Column, there: NDArray[np.int64], path: Path) -> tuple[list[str], list[str]]:
    """The catalogue's ids as texts, and what to say of them."""
    values = key.values[there]
    if key.kind == "float":
        known = np.isfinite(values)
        if not known.any() or (values[known] != np.floor(values[known])).any() or np.abs(values[known]).max() >= _EXACT:
            raise SourceError(
                f"{path}: column {key.name} holds floats, which change ids such as 39633297352951412",
                hint="write the ids as integers or text",
            )
        texts = [str(int(value)) if ok else "" for value, ok in zip(values.tolist(), known.tolist(), strict=True)]
        return texts, [f"the ids {key.name} are floats without fractions, taken for integers"]
    texts = _texts(values)
    if key.kind == "text" and texts and all(_BYTES.match(text) for text in texts[:100]):
        unwrapped = [_BYTES.match(text) for text in texts]
        texts = [found[2].strip() if found else text for found, text in zip(unwrapped, texts, strict=True)]
        return texts, [f"the ids {key.name} are bytes written as b'...', and are read without that"]
    if key.kind == "text" and texts and all(_WHOLE_FLOAT.fullmatch(text) for text in texts[:100]):
        whole = [_WHOLE_FLOAT.fullmatch(text) for text in texts]
        if any(found is not None and abs(int(found[1])) >= _EXACT for found in whole):
            raise SourceError(
                f"{path}: column {key.name} holds floats, which change ids such as 39633297352951412",
                hint="write the ids as integers or text",
            )
        return [found[1] if found else text for found, text in zip(whole, texts, strict=True)], []
    return texts, []


def _texts(values: NDArray[Any]) -> list[str]:
    if values.dtype == object:
        return [str(value).strip() for value in values.tolist()]
    return [str(value) for value in values.tolist()]


def _numbers(texts: Sequence[str]) -> list[str] | None:
    """The texts as integers spell them; None where none is one. What is none stays as it is."""
    matched = [_INTEGER.fullmatch(text) for text in texts]
    if not any(matched):
        return None
    return [str(int(text)) if found else text for found, text in zip(matched, texts, strict=True)]


def _rows(own: Sequence[str], keys: Sequence[str], there: NDArray[np.int64], where: _Where) -> NDArray[np.int64]:
    wanted = set(own)
    first: dict[str, int] = {}
    often: dict[str, int] = {}
    for place, text in enumerate(keys):
        if text in wanted:
            if text in first:
                often[text] = often.get(text, 1) + 1
            else:
                first[text] = place
    twice = [place for place, text in enumerate(own) if text in often and text]
    if twice:
        where.refuse(twice[0], often[own[twice[0]]], len(twice) - 1)
    return np.array([int(there[first[text]]) if text and text in first else -1 for text in own], np.int64)
