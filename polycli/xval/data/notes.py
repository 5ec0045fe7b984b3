"""Describes the notes on a staged block, which are kept as JSON beside its columns until the store is published."""

from __future__ import annotations

from typing import TypedDict

from polycli.requests import JsonDocument


class BlockNote(TypedDict):
    """Facts about the records of one block, for the store's vocabulary and its coverage report."""

    #: Keys that have a token, key paths where numbers stand, and all key paths, each in the order they were met.
    keys: list[str]
    key_paths: list[str]
    all_paths: list[str]
    #: By key path, how many texts stand there.
    texts: dict[str, int]
    #: `source`, `id` and `reason` of records that were left out.
    rejected: list[JsonDocument]
    #: What was met and is worth telling, with how often.
    notes: dict[str, int]
    characters: int
    records: int
    numbers: int
    tokens: int
    #: Tokens of the longest record.
    longest: int
    #: Records that were decoded again and compared.
    verified: int
