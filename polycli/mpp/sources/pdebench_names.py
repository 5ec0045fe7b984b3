"""Reads from the names of PDEBench files what the files omit: constants, initial condition, boundaries."""

from __future__ import annotations

import re

from polycli.mpp.recipe.physics import Boundary

_NUMBER = r"(\d+\.?(?:\d+)?(?:e[+-]?\d+)?)"
#: In whatever order: Data_Merge writes Eta before M, the published files M before Eta.
_CONSTANTS = {
    key: re.compile(rf"(?:^|_){name}{_NUMBER}(?=_|$)", re.IGNORECASE)
    for key, name in (("M", "M"), ("eta", "Eta"), ("zeta", "Zeta"))
}
_KIND = re.compile(r"(?:^|_)(rand|turb)(?:_|$)", re.IGNORECASE)
_BOUNDARY = re.compile(r"(?:^|_)(periodic|trans)(?:_|$)", re.IGNORECASE)
#: `trans` lets waves leave.
_BOUNDARIES: dict[str, Boundary] = {"periodic": "periodic", "trans": "open"}


def named_constant(stem: str, key: str) -> str | None:
    """The text of a constant (`M`, `eta` or `zeta`) in a file's name."""
    found = _CONSTANTS[key].search(stem)
    return found.group(1).rstrip(".") if found else None


def named_kind(stem: str) -> str | None:
    """`rand` or `turb`, the initial condition."""
    found = _KIND.search(stem)
    return found.group(1).lower() if found else None


def named_boundary(stem: str) -> Boundary | None:
    """The boundary condition along both axes."""
    found = _BOUNDARY.search(stem)
    return _BOUNDARIES[found.group(1).lower()] if found else None
