"""Refuses data that a model was not trained on, by name, or allows them where the user does and says so."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from polycli.console import warn
from polycli.errors import StoreError, UserError

#: The key that lets data pass that differ from those of the training, the same in all families.
ALLOW_KEY = "allow_untrained"
ALLOW_DESCRIPTION = "take data of other fields, time steps, bands, wavelengths or units than the model was trained on"


@dataclass(frozen=True)
class Difference:
    """One thing in which data are not as those of the training."""

    #: A whole sentence without its stop: what was found, and what the training had.
    sentence: str
    #: The way out that is better than allowing it.
    hint: str | None = None


def refuse_untrained(
    differences: Sequence[Difference], *, allow: bool | None, error: type[UserError] = StoreError
) -> None:
    """Return where there is nothing to say; with `allow`, warn of every difference. None: the verb has no such key.

    Raises:
        UserError: there is a difference, and it is not allowed; of the kind `error`.
    """
    if differences and not allow:
        ways = [difference.hint for difference in differences if difference.hint is not None]
        if allow is not None:
            ways.append(f"--set {ALLOW_KEY}=true, if the model is to be tried all the same")
        hint = "; or ".join(dict.fromkeys(ways)) or None
        raise error("; ".join(difference.sentence for difference in differences), hint=hint)
    for difference in differences:
        warn(f"{difference.sentence}; allowed")
