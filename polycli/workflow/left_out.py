"""Says which rows `prepare` leaves out, or keeps though they are strange: a line for each kind of reason."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from polycli.console import counted, first_few, warn
from polycli.store.manifest import LeftOut

#: Rows that a line names; the manifest has them all.
SHOWN = 3


def beginning(*ends: str) -> Callable[[LeftOut], str]:
    """Returns a function that groups reasons by their beginning, up to the first of `ends`."""

    def kind(entry: LeftOut) -> str:
        reason = entry.reason
        for end in ends:
            reason = reason.split(end)[0]
        return reason

    return kind


def summarise(
    what: str,
    entries: Sequence[LeftOut],
    *,
    kind: Callable[[LeftOut], str],
    show: Callable[[LeftOut], str],
    rows: tuple[str, str] | None = None,
) -> None:
    """One line on stderr for each kind of reason, with the first few rows.

    Args:
        what: how the line begins, such as `NAME: rejected`.
        entries: the rows.
        kind: which of them are told together.
        show: how one row is named.
        rows: what one row and what several are called, where `what` does not say so.
    """
    kinds: dict[str, list[LeftOut]] = {}
    for entry in entries:
        kinds.setdefault(kind(entry), []).append(entry)
    for name, members in kinds.items():
        count = f"{len(members)}" if rows is None else counted(len(members), *rows)
        warn(f"{what} {count} ({name}): {first_few(members, SHOWN, show)}")


def reasons_of(entries: Sequence[LeftOut]) -> str:
    """The first few reasons, each once, for the sentence that says that no row is left."""
    return "; ".join(dict.fromkeys(left.reason for left in entries[:SHOWN]))
