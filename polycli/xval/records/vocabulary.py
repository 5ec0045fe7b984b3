"""The closed vocabulary of a store and of a model: structure, 256 bytes, and one token for every key of the data.

Nothing is ever out of vocabulary: a key that it lacks is spelled in bytes, as every text is.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cached_property
from typing import Any

from polycli.errors import CheckpointError
from polycli.json_records import JsonObject
from polycli.xval.records.structure import FIRST_KEY, STRUCTURE

__all__ = ["Vocabulary"]

_FIXED = (*STRUCTURE, *(f"byte:{byte:02x}" for byte in range(256)))
#: The rules of the neutral form: what other rules wrote is not read with these.
FORM = 1


class Vocabulary:
    """Names of all tokens, by id. Immutable; ids never change, keys are only appended."""

    def __init__(self, keys: Iterable[str] = ()) -> None:
        self.keys: tuple[str, ...] = tuple(keys)
        if len(set(self.keys)) != len(self.keys):
            raise ValueError("a key stands twice in the vocabulary")

    def __len__(self) -> int:
        return FIRST_KEY + len(self.keys)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Vocabulary) and self.keys == other.keys

    def __hash__(self) -> int:
        return hash(self.keys)

    def __repr__(self) -> str:
        return f"Vocabulary({len(self.keys)} keys)"

    @cached_property
    def tokens(self) -> tuple[str, ...]:
        """Names by id, each once: `[NUM]`, `{`, `byte:41`, `key:stepsize`."""
        return (*_FIXED, *(f"key:{key}" for key in self.keys))

    @cached_property
    def key_ids(self) -> dict[str, int]:
        """The token id of every key."""
        return {key: FIRST_KEY + index for index, key in enumerate(self.keys)}

    def id(self, name: str) -> int:
        """The id of a token by its name.

        Raises:
            KeyError: there is no such token.
        """
        if name.startswith("key:"):
            return self.key_ids[name[len("key:") :]]
        try:
            return _FIXED.index(name)
        except ValueError:
            raise KeyError(name) from None

    def extended(self, keys: Iterable[str]) -> Vocabulary:
        """This vocabulary with those of `keys` that it lacks behind it, so that all ids stay."""
        return Vocabulary(dict.fromkeys((*self.keys, *keys)))

    def to_json(self) -> JsonObject:
        """Returns the vocabulary as it stands in a manifest or in model.json."""
        return {"form": FORM, "keys": list(self.keys)}

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Vocabulary:
        """Rebuilds a vocabulary from what `to_json` wrote.

        Raises:
            CheckpointError: it was written by other rules, or is no vocabulary.
        """
        if document.get("form") != FORM:
            raise CheckpointError(
                f"the vocabulary is of form {document.get('form')!r}, this polycli reads form {FORM}",
                hint="update polycli, or prepare the store again",
            )
        keys = document.get("keys")
        if not isinstance(keys, list) or not all(isinstance(key, str) for key in keys) or len(set(keys)) != len(keys):
            raise CheckpointError("the vocabulary's keys are not a list of different texts")
        return cls(keys)
