"""Conditions that rows fulfil: read from a text once, then asked block by block."""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from polycli.errors import UserError
from polycli.store.where.parser import parse
from polycli.store.where.tree import Column, Node
from polycli.store.where.values import NAMES, ColumnArray

if TYPE_CHECKING:
    import pyarrow as pa

_NEAR_NAMES = 3
#: What stores of objects call the redshift, and what the catalogues that it was read from may have called it.
_REDSHIFT = "redshift"
_REDSHIFTS = re.compile(
    r"z|z_?(spec|best|phot|noqso|hp|helio|cmb|training)|(photo?|spec)_?z|z?redshift_?\w*|\w+_redshift"
)


@dataclass(frozen=True)
class Condition:
    """A condition over columns."""

    text: str
    #: The columns that it needs.
    columns: frozenset[str]
    tree: Node = field(repr=False)

    def rows(self, columns: Mapping[str, ColumnArray]) -> NDArray[np.bool_]:
        """(n,) which rows fulfil it; those for which that is not known do not.

        Args:
            columns: by name, of n rows each, as numpy or Arrow arrays; more than are needed do no harm.

        Raises:
            UserError: values of different kinds are compared, or it is no condition but a value.
        """
        found = self.tree.values(columns)
        if found.kind not in ("logical", "nothing"):
            hint = f"write a comparison, such as {found.name} != 0" if found.kind == "number" else None
            raise UserError(f"--where: {found.name} is {NAMES[found.kind]}, and a condition is expected", hint=hint)
        count = len(next(iter(columns.values()))) if columns else 0
        return np.array(np.broadcast_to(found.data.astype(np.bool_) & found.known, (count,)))

    def check(self, schema: pa.Schema) -> None:
        """Return if a table with these columns can be asked.

        Raises:
            UserError: it has not all columns that are needed, or values of different kinds would be compared.
        """
        self.refuse_unknown(schema.names)
        self.rows({name: _empty(schema, name) for name in self.columns})

    def refuse_unknown(self, known: Collection[str]) -> None:
        """Return if all columns are among the `known` ones.

        Raises:
            UserError: one is not; the sentence names those that are called much like it.
        """
        for name in sorted(self.columns):
            if name not in known:
                if _REDSHIFT in known and _REDSHIFTS.fullmatch(name.lower()):
                    raise UserError(
                        f"--where: there is no column {name!r}",
                        hint=f"did you mean {_REDSHIFT}? Stores call the redshift so, whatever its catalogue called it",
                    )
                lower = {other.lower(): other for other in known}
                near = [lower[like] for like in difflib.get_close_matches(name.lower(), lower, _NEAR_NAMES, 0.5)]
                raise UserError(
                    f"--where: there is no column {name!r}",
                    hint=f"did you mean {', '.join(near)}?" if near else f"there are {', '.join(sorted(known))}",
                )


def parse_condition(text: str) -> Condition:
    """Read a condition.

    Raises:
        UserError: it is none; the sentence names the character and what was expected there.

    Example:
        >>> bright = parse_condition("mag_r < 19 and redshift is not null")
        >>> sorted(bright.columns)
        ['mag_r', 'redshift']
        >>> bright.rows({"mag_r": np.array([18.5, 18.5, 20.0]), "redshift": np.array([0.1, np.nan, 0.2])}).tolist()
        [True, False, False]
    """
    tree = parse(text)
    return Condition(text, frozenset(_columns(tree)), tree)


def _columns(node: object) -> Iterator[str]:
    if isinstance(node, Column):
        yield node.name
    elif isinstance(node, tuple):
        for part in node:
            yield from _columns(part)
    elif is_dataclass(node):
        for part in fields(node):
            yield from _columns(getattr(node, part.name))


def _empty(schema: pa.Schema, name: str) -> pa.Array:
    import pyarrow as pa

    return pa.array([], schema.field(name).type)
