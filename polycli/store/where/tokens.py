"""Cuts the text of a condition into words, numbers, texts and signs."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal, NoReturn

from polycli.errors import UserError
from polycli.names import shortened_name

Kind = Literal["name", "word", "number", "text", "sign", "end"]
#: Words of the grammar, in any case; a column with such a name stands between backticks.
WORDS = frozenset({"and", "or", "not", "in", "is", "null", "between", "true", "false"})
#: Longer conditions are nobody's.
_LONGEST = 10_000
_TOKEN = re.compile(
    r"""\s*(?:
    (?P<number>(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?(?![\w.]))
    | (?P<name>[^\W\d][\w.]*)
    | (?P<quoted>`(?:[^`]|``)+`)
    | (?P<text>'(?:[^']|'')*'|"(?:[^"]|"")*")
    | (?P<sign><=|>=|==|!=|<>|\*\*|[-+*/%<>=(),])
    )""",
    re.VERBOSE,
)


@dataclass(frozen=True)
class Token:
    """A piece of the text and where it begins, counted from 1."""

    kind: Kind
    #: A word in small letters, a name, a sign, or what a number or a text says.
    value: str
    place: int


def cut(text: str) -> list[Token]:
    """The pieces of a condition in order, the last one its end.

    Raises:
        UserError: a character belongs to none, or the condition is empty or far too long.
    """
    if not text.strip():
        raise UserError("--where: the condition is empty", hint="--where 'redshift < 0.1'")
    if len(text) > _LONGEST:
        raise UserError(f"--where: the condition has {len(text):,} characters, and {_LONGEST:,} are the most")
    tokens, place = [], 0
    while text[place:].strip():
        found = _TOKEN.match(text, place)
        if found is None:
            place += len(text[place:]) - len(text[place:].lstrip())
            _refuse_character(text, place)
        tokens.append(_token(found))
        place = found.end()
    return [*tokens, Token("end", "the end", len(text) + 1)]


def _token(found: re.Match[str]) -> Token:
    group = found.lastgroup or ""
    value, place = found[group], found.start(group) + 1
    if group == "quoted":
        return Token("name", value[1:-1].replace("``", "`"), place)
    if group == "text":
        return Token("text", value[1:-1].replace(value[0] * 2, value[0]), place)
    if group == "name" and value.lower() in WORDS:
        return Token("word", value.lower(), place)
    kinds: dict[str, Kind] = {"name": "name", "number": "number", "sign": "sign"}
    return Token(kinds[group], value, place)


def _refuse_character(text: str, place: int) -> NoReturn:
    character = text[place]
    if character in "'\"`":
        raise UserError(f"--where: the {character} at character {place + 1} is never closed")
    hints = {"&": "write `and`", "|": "write `or`", "!": "write `not`", "~": "write `not`", "^": "write `**`"}
    raise UserError(
        f"--where: character {place + 1}, {shortened_name(character)!r}, has no meaning in a condition",
        hint=hints.get(
            character, "a column whose name has other characters than letters, digits, _ and . needs `name`"
        ),
    )
