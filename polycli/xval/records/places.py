"""The tree of places where a record's values stand, as the walk meets them, and what is decided there by key path."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class TokenRules:
    """The rules by which the walk treats the values at some key paths differently."""

    #: Numbers here are identifiers: they stay text.
    text_keys: tuple[str, ...] = ()
    #: Keys here are spelled in bytes instead of getting a token.
    spell_keys: tuple[str, ...] = ()
    #: Nulls here become a [NUM] whose value is NaN: to be filled in.
    nulls: tuple[str, ...] = ()
    #: By key path: what is written for a null right behind its key, for a class that is to be filled in.
    blanks: Mapping[str, str] = field(default_factory=dict)
    #: In free text, a mark that stands for a number to be filled in.
    gap: str | None = None


NO_RULES = TokenRules()


class Place:
    """One key path: its token, its number in the table of key paths, and where its keys lead."""

    __slots__ = ("blank", "children", "fill", "is_text", "number", "path", "texts", "token")

    def __init__(self, path: str, token: str, *, is_text: bool, fill: bool, blank: str | None = None) -> None:
        self.path = path
        self.token = token
        self.is_text = is_text
        self.fill = fill
        #: Of a class: what is written for a null.
        self.blank = blank
        self.number = -1
        #: How many texts stand here, besides numbers perhaps.
        self.texts = 0
        self.children: dict[str, Place] = {}
