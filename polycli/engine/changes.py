"""Compares a start with the run that it finds in its folder: which differences change results, and which may be.

Imports nothing heavy: a run that is complete is answered before torch is imported.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import ValidationError

from polycli.errors import RecipeError, RunError
from polycli.recipes import dump_recipe
from polycli.recipes.documents import read_document, read_value
from polycli.requests import ResumePolicy
from polycli.sections import Section

RECIPE_NAME = "recipe.yaml"
DATA_NAME = "data.json"
START_NAME = "start.json"
#: Recipe keys, or whole sections, that may differ from those of a run that is there. `always`: no number that the run
#: leaves depends on them. `unfinished`: steps that are left may be computed so, but what is complete was not.
#: docs/training.md has this table too.
MAY_DIFFER: Mapping[str, Literal["always", "unfinished"]] = {
    "calibrate": "always",  # It comes after the last step.
    "log": "always",
    "data.stores": "always",  # Stores are compared by their hashes, wherever they lie.
    "data.verify": "always",
    "data.workers": "always",
    "engine.activation_checkpointing": "always",
    "engine.compile": "always",
    "engine.memory_check": "always",
    "engine.offload": "always",
    "engine.zero_stage": "always",
    "train.checkpoint_every": "always",
    "train.keep_every": "always",
    "train.keep_last": "always",
    "train.max_bad_steps": "always",
    "train.save_in_background": "always",
    "train.validate_every": "always",
    # The samples of a step stay; batch normalisation and dropout see them in other groups.
    "data.micro_batch_size": "unfinished",
    "data.mixed_micro_batches": "unfinished",
    "train.micro_batch_size": "unfinished",
}
#: What no run can change: its weights are those of one model.
FIXED_SECTIONS = ("family", "verb", "model")
#: Nor this, from the first checkpoint on, which holds its state.
OPTIMIZER = "optim.name"
#: By family: keys that came with a value of their own which is not how earlier versions trained, and how those did.
#: Runs that do not say them go on as they began.
ONCE_OTHERWISE: Mapping[str, Mapping[str, Any]] = {"xval": {"objective.classes": "never"}}
#: Runs of earlier versions do not say it, and are believed.
_ONCE_UNSAID = "checkpoint"
_STEPS = "train.steps"
_SHOWN_CHANGES = 8
_SHOWN_DIGITS = 12

#: A recipe by dotted keys.
Leaves = dict[str, object]


@dataclass(frozen=True)
class Change:
    """One difference between a run and a start that finds it."""

    #: The dotted key of the recipe, or `data`.
    key: str
    sentence: str
    #: Whether it asks for more steps and for nothing else.
    extends: bool = False

    def changes_results(self, *, complete: bool) -> bool:
        """Whether the run, as it would go on or as it is, is not the one that this start asks for."""
        allowed = next((when for name, when in MAY_DIFFER.items() if _is_or_lies_in(self.key, name)), None)
        return not (self.extends or allowed == "always" or (allowed == "unfinished" and not complete))

    def cannot_be(self, *, saved: bool) -> bool:
        """Whether no run can go on so; `saved` says that there is a checkpoint."""
        return self.key.split(".")[0] in FIXED_SECTIONS or (saved and self.key == OPTIMIZER)


def recipe_changes(run: Path, recipe: Section | str) -> list[Change]:
    """List the differences between the recipe in the folder of a run and `recipe`, which may be the text of one.

    Raises:
        RunError: the run's recipe cannot be read.
    """
    try:
        written = read_document(run / RECIPE_NAME).data
    except RecipeError as error:
        raise RunError(error.message, hint="choose another --output") from error
    said = before = _leaves(written)
    now = _leaves_of(recipe)
    if isinstance(recipe, Section):
        # Runs of earlier versions lack keys that have come since; what these stand at by themselves is how they ran.
        with suppress(ValidationError):
            before = _leaves_of(type(recipe).model_validate(written))
        before |= {key: value for key, value in _once_otherwise(recipe).items() if key not in said}
    return [change for change in _changes(before, now) if change.key in said or change.key != _ONCE_UNSAID]


def as_begun(run: Path, recipe: Section) -> tuple[Section, list[str]]:
    """The recipe with which a run that lies in the folder goes on as it began, and what there is to say of that.

    Where a run was begun by an earlier version, keys that have another value by themselves today, and that the start
    does not say, are as they were then.
    """
    try:
        said = _leaves(read_document(run / RECIPE_NAME).data)
    except RecipeError:
        return recipe, []  # There is none, or who compares says what is wrong with it.
    remarks = []
    for key, value in _once_otherwise(recipe).items():
        name, _, leaf = key.partition(".")
        section = getattr(recipe, name)
        # A run that went on once says the value by which it did.
        if said.get(key, value) == value and leaf not in section.model_fields_set:
            recipe = recipe.model_copy(update={name: section.model_copy(update={leaf: value})})
            remarks.append(f"{run}: goes on as it began, with {key}={value}, as earlier versions trained")
    return recipe, remarks


def _once_otherwise(recipe: Section) -> Mapping[str, Any]:
    return ONCE_OTHERWISE.get(str(getattr(recipe, "family", "")), {})


def changes_between(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[Change]:
    """List the differences between two recipes, or two other documents of settings, that were read already."""
    return _changes(_leaves(dict(before)), _leaves(dict(now)))


def data_changes(run: Path, data: Mapping[str, Any]) -> list[Change]:
    """List the differences between the stores that a run was trained on and `data`, both as data.json has them.

    Stores are told apart by the hash of their content: names and paths may be others. What is said of equal content
    (scaling, time step, units) is compared where both say it; runs of earlier versions do not.

    Raises:
        RunError: the run's data.json cannot be read.
    """
    path = run / DATA_NAME
    try:
        written = json.loads(path.read_text(encoding="utf-8"))
        before = {str(name): str(entry["store_hash"]) for name, entry in written.items()}
    except FileNotFoundError:
        return []  # A start that was killed before it wrote it.
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise RunError(
            f"{path}: damaged, so nothing says which data the run was trained on ({error})",
            hint="choose another --output, or delete it to go on without a comparison",
        ) from error
    now = {name: str(entry["store_hash"]) for name, entry in data.items()}
    gone, new = Counter(before.values()) - Counter(now.values()), Counter(now.values()) - Counter(before.values())
    lost = {name: store_hash for name, store_hash in before.items() if store_hash in gone}
    added = {name: store_hash for name, store_hash in now.items() if store_hash in new}
    sentences = [_sentence(name, lost.get(name), added.get(name)) for name in sorted({*lost, *added})]
    return [Change("data", sentence) for sentence in [*sentences, *_described_otherwise(written, data)]]


def start_changes(run: Path, starts: Mapping[str, str]) -> list[Change]:
    """List the differences between the weights that a run began from and `starts`, hashes of weights by recipe key.

    Raises:
        RunError: the run's start.json cannot be read.
    """
    before = read_starts(run)
    return [
        Change(key, f"{key} had weights of the hash {_short(before.get(key))}, has {_short(starts.get(key))}")
        for key in sorted({*before, *starts})
        if before and before.get(key) != starts.get(key)
    ]


def read_starts(run: Path) -> dict[str, str]:
    """Read the hashes of the weights that a run began from, by recipe key; empty for runs of earlier versions.

    Raises:
        RunError: start.json cannot be read.
    """
    path = run / START_NAME
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        return {str(key): str(entry["weights_sha256"]) for key, entry in document.items()}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise RunError(
            f"{path}: damaged, so nothing says which weights the run began from ({error})",
            hint="choose another --output, or delete it to go on without a comparison",
        ) from error


def steps_of(recipe: Section | str) -> int | None:
    """`train.steps` of a recipe, which may be the text of one; None where it says none."""
    steps = _leaves_of(recipe).get(_STEPS)
    return steps if isinstance(steps, int) else None


def check_changes(
    run: Path, changes: Sequence[Change], *, steps: int | None, resume: ResumePolicy, saved_step: int | None
) -> None:
    """Refuse to take the run for what a start asks for, or to go on with it unasked, where results would differ.

    `steps` are those that the start asks for, `saved_step` is that of the run's newest checkpoint, if it has one.

    Raises:
        RunError: the message names every difference that matters, the hint the ways out.
    """
    impossible = [change for change in changes if change.cannot_be(saved=saved_step is not None)]
    if impossible:
        raise RunError(
            f"{run}: this run was begun with another recipe: {_listed(impossible)}", hint="choose another --output"
        )
    if saved_step is None:
        return  # Nothing is trained yet, so nothing is mixed.
    complete = steps is not None and saved_step >= steps
    differing = [change for change in changes if change.changes_results(complete=complete)]
    if differing and complete:
        raise RunError(
            f"{run}: holds a complete run, of {saved_step} steps, that was trained otherwise: {_listed(differing)}",
            hint="--output OTHER trains what this line asks for",
        )
    if differing and resume != "must":
        raise RunError(
            f"{run}: holds a run that was begun otherwise: {_listed(differing)}",
            hint="--output OTHER begins another run; --resume must goes on with this one, changed from here on",
        )


def _changes(before: Leaves, now: Leaves) -> list[Change]:
    keys = sorted(key for key in {*before, *now} if before.get(key) != now.get(key))
    return [_change(key, before, now) for key in keys]


def _change(key: str, before: Leaves, now: Leaves) -> Change:
    sentence = f"{key} was {_shown(before, key)}, is {_shown(now, key)}"
    old, new = before.get(key), now.get(key)
    extends = key == _STEPS and isinstance(old, int) and isinstance(new, int) and new > old
    return Change(key, sentence, extends)


def _sentence(name: str, before: str | None, now: str | None) -> str:
    if before is None:
        return f"the store {name} is new (hash {_short(now)})"
    if now is None:
        return f"the store {name} (hash {_short(before)}) is left out"
    return f"the store {name} had the hash {_short(before)}, has {_short(now)}"


def _described_otherwise(before: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[str]:
    """A sentence for each store of equal numbers of which something else is said now."""
    trained = {entry["store_hash"]: entry.get("described") for entry in before.values()}
    for name, entry in sorted(now.items()):
        old, new = trained.get(entry["store_hash"]), entry.get("described")
        if not isinstance(old, dict) or not isinstance(new, dict):
            continue
        differing = sorted(key for key in old.keys() & new.keys() if old[key] != new[key])
        if differing:
            yield f"the store {name} was prepared otherwise: its numbers are equal, its {', '.join(differing)} not"


def _short(store_hash: str | None) -> str:
    return str(store_hash)[:_SHOWN_DIGITS]


def _listed(changes: Sequence[Change]) -> str:
    shown = "; ".join(change.sentence for change in changes[:_SHOWN_CHANGES])
    more = len(changes) - _SHOWN_CHANGES
    return f"{shown}; and {more} more" if more > 0 else shown


def _is_or_lies_in(key: str, name: str) -> bool:
    return key == name or key.startswith(f"{name}.")


def _leaves_of(recipe: Section | str) -> Leaves:
    return _leaves(read_value(recipe if isinstance(recipe, str) else dump_recipe(recipe), source="the recipe"))


def _leaves(document: Any, prefix: str = "") -> Leaves:  # noqa: ANN401  # YAML holds anything.
    """A nested mapping by dotted keys."""
    if not isinstance(document, dict) or not document:
        return {prefix.removesuffix("."): document}
    leaves: Leaves = {}
    for key, value in document.items():
        leaves.update(_leaves(value, f"{prefix}{key}."))
    return leaves


def _shown(leaves: Leaves, key: str) -> str:
    return json.dumps(leaves[key], default=str) if key in leaves else "absent"
