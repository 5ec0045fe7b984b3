"""The tree of places where a record's values stand, as the walk meets them, and what is decided there by key path."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class TokenRules:
    """The rules by which the walk treats the values at some key paths differently."""

    #: Numbers here are identifiers: they stay text.
    text_keys: tuple[str, ...] = ()
    #: Keys here are spelled in bytes instead of getting a token.
    spell_keys: tuple[str, ...] = ()
    #: Nulls here become a [NUM] whose value is NaN: to be filled in.
    nulls: tuple[str, ...] = ()


NO_RULES = TokenRules()


class Place:
    """One key path: its token, its number in the table of key paths, and where its keys lead."""

    __slots__ = ("children", "fill", "is_text", "number", "path", "texts", "token")

    def __init__(self, path: str, token: str, *, is_text: bool, fill: bool) -> None:
        self.path = path
        self.token = token
        self.is_text = is_text
        self.fill = fill
        self.number = -1
        #: How many texts stand here, besides numbers perhaps.
        self.texts = 0
        self.children: dict[str, Place] = {}
