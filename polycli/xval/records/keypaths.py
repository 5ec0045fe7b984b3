r"""Names of places in a record: `description.planet0.a`, for every number that stands there.

Keys are joined by dots; lists add nothing, so `{"data": [[1, 2], [3, 4]]}` has four numbers at `data`. The top itself
is `$`. A dot, star or backslash in a key is written with a backslash before it. In a pattern `*` stands for any
characters of one key, `**` for any characters at all.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Sequence

from polycli.errors import RecipeError

TOP = "$"
_STARS = ("*", "**")
_SPECIAL = re.compile(r"([\\.*])")
_ESCAPED_TOP = r"\$"


def child_path(parent: str, key: str) -> str:
    """The path of `key` in the object at `parent`."""
    name = _ESCAPED_TOP if key == TOP else printable(_SPECIAL.sub(r"\\\1", key))
    return name if parent == TOP else f"{parent}.{name}"


def printable(text: str) -> str:
    r"""The text with lone surrogates, which JSON allows and no file of text can hold, as escapes: `\ud800`."""
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode("utf-8")


def last_key(path: str) -> str:
    """The last key of a path, as it is written in the data; `$` for the top."""
    parts = re.split(r"(?<!\\)(?:\\\\)*\.", path)
    return TOP if path == TOP else re.sub(r"\\(.)", r"\1", parts[-1])


class KeyPattern:
    """A pattern of key paths: `*` stands for any characters of one key, `**` for any characters at all."""

    def __init__(self, text: str) -> None:
        self.text = text
        #: Characters that stand for themselves, or one of the stars.
        self._parts: list[str] = []
        for token in re.findall(r"\\.|\*\*|\*|.", text, flags=re.DOTALL):
            if token in _STARS or not self._parts or self._parts[-1] in _STARS:
                self._parts.append(token)
            else:
                self._parts[-1] += token

    def fullmatch(self, path: str) -> bool:
        """Whether the whole path fits, in a time that grows as the lengths do; a regular expression may take ages."""
        # The places in the path that what came before in the pattern can end at.
        ends = {0}
        for part in self._parts:
            if not ends:
                return False
            if part == "**":
                ends = set(range(min(ends), len(path) + 1))
            elif part == "*":
                ends = _within_key(path, ends)
            else:
                ends = {end + len(part) for end in ends if path.startswith(part, end)}
        return len(path) in ends


def _within_key(path: str, ends: set[int]) -> set[int]:
    """Positions that the characters of one key can lead to: a dot after a backslash belongs to the key, a plain one
    ends it.
    """
    found: set[int] = set()
    for end in sorted(ends):
        place = end
        while place not in found and place <= len(path):
            found.add(place)
            if path[place : place + 1] == ".":
                break
            place += 2 if path[place : place + 1] == "\\" else 1
    return found


def pattern_of(text: str) -> KeyPattern:
    """Compiles a pattern that key paths can be matched with."""
    return KeyPattern(text)


class KeyPatterns:
    """Several patterns of key paths, any of which may fit."""

    def __init__(self, patterns: Iterable[str]) -> None:
        self.patterns = tuple(patterns)
        self._expressions = [pattern_of(pattern) for pattern in self.patterns]

    def __bool__(self) -> bool:
        return bool(self.patterns)

    def match(self, path: str) -> bool:
        """Whether any pattern fits the whole path."""
        return any(expression.fullmatch(path) for expression in self._expressions)

    def first(self, path: str) -> str | None:
        """Returns the first pattern that fits."""
        for pattern, expression in zip(self.patterns, self._expressions, strict=True):
            if expression.fullmatch(path):
                return pattern
        return None


def refuse_unknown(patterns: Iterable[str], paths: Sequence[str], *, where: str) -> None:
    """Refuse a pattern that fits no key path of the data.

    Raises:
        RecipeError: names the pattern, the recipe key that it stands under, and the nearest key paths that exist.
    """
    for pattern in patterns:
        expression = pattern_of(pattern)
        if any(expression.fullmatch(path) for path in paths):
            continue
        near = difflib.get_close_matches(pattern.replace("*", ""), paths, n=3, cutoff=0.4)
        ends = [path for path in paths if path.endswith(f".{pattern}") or last_key(path) == pattern]
        nearest = list(dict.fromkeys([*ends, *near]))[:3]
        shown = ", ".join(nearest or paths[:5]) or "none"
        what = "the nearest are" if nearest else "there are"
        raise RecipeError(
            f"{where}: no key path of the data fits {pattern!r}; {what} {shown}",
            hint="lists add nothing to a path, * stands for any characters of one key, and the top itself is $",
        )
