"""Which families and verbs there are, and which module answers: the one table behind help, completion and dispatch."""

from __future__ import annotations

import difflib
import importlib
from importlib.util import find_spec
from types import ModuleType

from polycli.errors import UserError

#: By name: what the family is, in one line.
FAMILIES: dict[str, str] = {
    "mpp": "Multiple Physics Pretraining: one axial vision transformer for many PDEs",
    "xval": "xVal: text with continuous numbers",
    "astroclip": "AstroCLIP: galaxy images and spectra in one space",
}
#: The verbs that take a family, in the order of use; `polycli VERB FAMILY` is `polycli.FAMILY.VERB.run`.
VERBS: tuple[str, ...] = ("prepare", "pretrain", "finetune", "eval", "predict", "embed", "study")


def check_family(name: str) -> str:
    """`name` itself.

    Raises:
        UserError: no family has this name.
    """
    if name in FAMILIES:
        return name
    near = difflib.get_close_matches(name.lower(), FAMILIES, n=1)
    suggestion = f"; did you mean {near[0]}?" if near else ""
    raise UserError(f"there is no family {name!r}: the families are {', '.join(FAMILIES)}{suggestion}")


def verbs_of(family: str) -> tuple[str, ...]:
    """The verbs that `family` has in this version."""
    return tuple(verb for verb in VERBS if find_spec(f"polycli.{family}.{verb}") is not None)


def require_verb(family: str, verb: str) -> None:
    """Make sure that `polycli VERB FAMILY` exists.

    Raises:
        UserError: no such family, or it does not have this verb in this version.
    """
    check_family(family)
    present = verbs_of(family)
    if verb not in present:
        instead = f"it has {', '.join(present)}" if present else "it has no verbs yet"
        raise UserError(
            f"{family} does not have the verb `{verb}` in this version: {instead}",
            hint="polycli --help lists what there is",
        )


def verb_module(family: str, verb: str) -> ModuleType:
    """The module whose `run` does `polycli VERB FAMILY`.

    Raises:
        UserError: as `require_verb`.
    """
    require_verb(family, verb)
    return importlib.import_module(f"polycli.{family}.{verb}")
