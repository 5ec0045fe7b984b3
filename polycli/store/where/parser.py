"""Reads the pieces of a condition into a tree, by recursive descent; `polycli.store.where` shows the grammar."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Sequence

from polycli.errors import UserError
from polycli.names import shortened_name
from polycli.store.where.tokens import Token, cut
from polycli.store.where.tree import (
    COMPARISONS,
    FUNCTIONS,
    Arithmetic,
    Call,
    Column,
    Comparison,
    Constant,
    IsIn,
    IsNull,
    Joined,
    Node,
    Not,
)

#: Parentheses, signs and `not` within each other; more would be nobody's condition.
_DEEPEST = 60
#: Signs such as + in all of a condition: each is a level of the tree, which is worked through by recursion.
_MOST_SIGNS = 100


def parse(text: str) -> Node:
    """The tree of a condition.

    Raises:
        UserError: it is none; the sentence names the character and what was expected there.
    """
    parser = _Parser(cut(text))
    tree = parser.condition()
    if parser.now.kind != "end":
        raise parser.refusal("and, or, or the end")
    return tree


class _Parser:
    """The pieces, and how far they have been read."""

    def __init__(self, tokens: Sequence[Token]) -> None:
        self.tokens, self.next, self.depth, self.signs = tokens, 0, 0, 0

    @property
    def now(self) -> Token:
        return self.tokens[self.next]

    def takes(self, *values: str) -> str | None:
        """Go on behind the next piece if it is one of these words or signs; returns it."""
        token = self.now
        if token.kind in ("word", "sign") and token.value in values:
            self.next += 1
            return token.value
        return None

    def expect(self, value: str) -> None:
        if self.takes(value) is None:
            raise self.refusal(repr(value))

    def refusal(self, expected: str) -> UserError:
        token = self.now
        found = token.value if token.kind == "end" else repr(shortened_name(token.value))
        return UserError(f"--where: character {token.place}: {expected} is expected, and there is {found}")

    def within(self, read: Callable[[], Node]) -> Node:
        """Read something one level deeper."""
        self.depth += 1
        if self.depth > _DEEPEST:
            raise UserError(f"--where: character {self.now.place}: more than {_DEEPEST} levels within each other")
        node = read()
        self.depth -= 1
        return node

    def condition(self) -> Node:
        return self.joined("or", lambda: self.joined("and", self.negation))

    def joined(self, word: str, read: Callable[[], Node]) -> Node:
        conditions = [read()]
        while self.takes(word):
            conditions.append(read())
        return conditions[0] if len(conditions) == 1 else Joined(word, tuple(conditions))

    def negation(self) -> Node:
        return Not(self.within(self.negation)) if self.takes("not") else self.comparison()

    def comparison(self) -> Node:
        left = self.sum()
        if self.takes("is"):
            negated = self.takes("not")
            self.expect("null")
            return Not(IsNull(left)) if negated else IsNull(left)
        negated = self.takes("not")
        if self.takes("between"):
            low = self.sum()
            self.expect("and")
            between = Joined("and", (Comparison("<=", low, left), Comparison("<=", left, self.sum())))
            return Not(between) if negated else between
        if self.takes("in"):
            return Not(self.choices(left)) if negated else self.choices(left)
        if negated:
            raise self.refusal("in or between")
        links = []
        while sign := self.takes(*COMPARISONS):
            right = self.sum()
            links.append(Comparison(sign, left, right))
            left = right
        return left if not links else links[0] if len(links) == 1 else Joined("and", tuple(links))

    def choices(self, value: Node) -> Node:
        self.expect("(")
        found = [self.constant()]
        while self.takes(","):
            found.append(self.constant())
        self.expect(")")
        return IsIn(value, tuple(found))

    def constant(self) -> Constant:
        negative = self.takes("-")
        token = self.now
        if token.kind == "number":
            self.next += 1
            value = _number(token.value)
            return Constant(-value if negative else value)
        if not negative and token.kind == "text":
            self.next += 1
            return Constant(token.value)
        if not negative and (word := self.takes("true", "false", "null")):
            return Constant({"true": True, "false": False, "null": None}[word])
        raise self.refusal("a number or a text in quotes")

    def sum(self) -> Node:
        return self.chain(("+", "-"), lambda: self.chain(("*", "/", "%"), self.signed))

    def chain(self, signs: tuple[str, ...], read: Callable[[], Node]) -> Node:
        left = read()
        while sign := self.takes(*signs):
            self.signs += 1
            if self.signs > _MOST_SIGNS:
                place = self.tokens[self.next - 1].place
                raise UserError(f"--where: character {place}: more than {_MOST_SIGNS} signs such as {sign}")
            left = Arithmetic(sign, left, read())
        return left

    def signed(self) -> Node:
        if self.takes("-"):
            if self.now.kind == "number" and self.tokens[self.next + 1].value != "**":
                return Constant(-_number(self._taken().value))
            return Arithmetic("-", Constant(0), self.within(self.signed))
        if self.takes("+"):
            return self.within(self.signed)
        base = self.atom()
        return Arithmetic("**", base, self.within(self.signed)) if self.takes("**") else base

    def atom(self) -> Node:
        if self.takes("("):
            inside = self.within(self.condition)
            self.expect(")")
            return inside
        token = self.now
        if token.kind == "name":
            self.next += 1
            return self.call(token) if self.takes("(") else Column(token.value)
        if token.kind in ("number", "text") or token.value in ("true", "false", "null"):
            return self.constant()
        raise self.refusal("a column, a number or a text in quotes")

    def call(self, name: Token) -> Node:
        function = name.value.lower()
        if function not in FUNCTIONS:
            near = difflib.get_close_matches(function, FUNCTIONS, n=1)
            known = f"did you mean {near[0]}?" if near else f"there are {', '.join(FUNCTIONS)}"
            raise UserError(
                f"--where: character {name.place}: there is no function {shortened_name(name.value)!r}", hint=known
            )
        arguments = [self.within(self.condition)]
        while self.takes(","):
            arguments.append(self.within(self.condition))
        self.expect(")")
        if len(arguments) != FUNCTIONS[function]:
            count = f"takes {FUNCTIONS[function]} values, found {len(arguments)}"
            raise UserError(f"--where: character {name.place}: {function} {count}")
        return Call(function, tuple(arguments))

    def _taken(self) -> Token:
        self.next += 1
        return self.tokens[self.next - 1]


def _number(text: str) -> float:
    """An integer where the text is one that 64 bits hold, so that ids are compared exactly; else a float."""
    whole = int(text) if text.isdigit() else None
    return float(text) if whole is None or whole > 2**64 - 1 else whole
