"""Units of numbers by key path: those of the data that a model learned from, and whether other data have the same."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from polycli.console import first_few, warn
from polycli.errors import SourceError, StoreError
from polycli.workflow.untrained import Difference, refuse_untrained
from polycli.xval.records.cells import same_unit
from polycli.xval.records.keypaths import pattern_of

#: Key paths that a warning shows.
_SHOWN = 5


def unit_of(path: str, units: Mapping[str, str]) -> str | None:
    """The unit of a key path, from patterns of them."""
    return next((unit for pattern, unit in units.items() if pattern_of(pattern).fullmatch(path)), None)


def joined_units(sources: Iterable[tuple[str, Mapping[str, str]]]) -> dict[str, str]:
    """The units of several data sets, each with its name; the first one that states a unit counts.

    Raises:
        StoreError: two state different units for one key path, whose numbers would be mixed up.
    """
    found: dict[str, str] = {}
    said_by: dict[str, str] = {}
    for name, units in sources:
        for path, unit in units.items():
            known = unit_of(path, found)
            if known is None:
                found[path], said_by[path] = unit, name
            elif not same_unit(known, unit):
                first = next(said_by[pattern] for pattern in found if pattern_of(pattern).fullmatch(path))
                raise StoreError(
                    f"{name}: {path} is in {unit}, in {first} it is in {known}",
                    hint="convert the values of one of them, and name the unit in its header",
                )
    return found


def refuse_other_units(
    units: Mapping[str, str], known: Mapping[str, str], *, learned_at: Iterable[str], source: str, allow: bool = False
) -> None:
    """Return if no key path of the data is in another unit than the model learned it in, or if that is allowed.

    A unit at a key path that the model learned without one is warned of: its numbers may have been of any unit.

    Args:
        units: patterns of key paths to units, as the data has them.
        known: the same, as the model learned them.
        learned_at: the key paths where the model learned numbers.
        source: what messages call the data.
        allow: whether other units are warned of, too.

    Raises:
        SourceError: one is; its numbers would be read as what they are not.
    """
    different, unsaid = [], dict[str, str]()
    for path, unit in units.items():
        learned = unit_of(path, known)
        if learned is None:
            covered = pattern_of(path)
            unsaid |= {key: unit for key in learned_at if covered.fullmatch(key) and unit_of(key, known) is None}
        elif not same_unit(learned, unit):
            sentence = f"{source}: {path} is in {unit}, the model learned it in {learned}"
            hint = f"convert the values to {learned}, and say so in the header"
            different.append(Difference(sentence, hint))
    refuse_untrained(different, allow=allow, error=SourceError)
    if unsaid:
        stated = first_few([f"{path} in {unit}" for path, unit in unsaid.items()], _SHOWN)
        warn(
            f"{source}: states {stated}, which the model learned without a unit: "
            "make sure that its training data were in the same"
        )
