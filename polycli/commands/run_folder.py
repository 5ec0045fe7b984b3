"""A look at the run folder before torch is imported: what is refused, and what is complete already, is said at once."""

from __future__ import annotations

from operator import attrgetter
from pathlib import Path

from polycli import console
from polycli.checkpoints.manifest import list_checkpoints, verify
from polycli.checkpoints.resolve import hash_of_weights
from polycli.engine.changes import as_begun, data_changes, read_starts, recipe_changes, start_changes
from polycli.engine.run import check_folder, read_status
from polycli.errors import PolycliError
from polycli.paths import expand_paths
from polycli.requests import JsonDocument, TrainRequest
from polycli.sections import Section
from polycli.store.manifest import read_manifest
from polycli.store.reader import find_stores


def look_at_run(request: TrainRequest, recipe: Section) -> JsonDocument | None:
    """Returns the result of a run that is complete, without taking a step; None for all others.

    A run of another recipe or of other data is for the engine to refuse, as is data that cannot be found.

    Raises:
        RunError: the folder and `--resume` do not fit each other.
    """
    folder = request.run_folder
    if not check_folder(folder, request.resume):
        return None
    status = read_status(folder) or {}
    steps = getattr(getattr(recipe, "train", None), "steps", None)
    if steps is None or status.get("state") != "complete" or status.get("step") != steps:
        return None
    try:
        if not _is_asked_for(folder, request, recipe):
            return None
        checkpoints = list_checkpoints(folder)
        if not checkpoints or checkpoints[-1].manifest.step != steps:
            return None
        verify(checkpoints[-1].directory)
    except PolycliError:
        # Damage and bad input are said by whoever reads in earnest.
        return None
    console.say(f"{folder}: complete already, at step {steps}")
    return {
        "run": str(folder),
        "step": steps,
        "checkpoint": str(checkpoints[-1].directory),
        "validation": {},
        "bad_steps": 0,
    }


def _is_asked_for(folder: Path, request: TrainRequest, recipe: Section) -> bool:
    """Whether the run is of this recipe and this data; False also where the family has to fill in the recipe first."""
    if request.checkpoint is not None and "checkpoint" not in type(recipe).model_fields:
        return False
    recipe, remarks = as_begun(folder, _with_command_line(recipe, request))
    began = read_starts(folder)
    changes = [change for change in recipe_changes(folder, recipe) if change.key not in began]
    changes += data_changes(folder, _stores(request, recipe))
    named = {key: _value(recipe, key) for key in began}
    changes += start_changes(folder, {key: hash_of_weights(Path(path)) for key, path in named.items() if path})
    if any(change.changes_results(complete=True) for change in changes):
        return False
    for remark in remarks:
        console.note(remark)
    return True


def _value(recipe: Section, key: str) -> str | None:
    """Returns the text that the recipe has under a dotted key; None where it has none."""
    try:
        value = attrgetter(key)(recipe)
    except AttributeError:
        return None
    return value if isinstance(value, str) else None


def _with_command_line(recipe: Section, request: TrainRequest) -> Section:
    """The recipe with `--limit` and `--checkpoint` in it, as families write it into the run."""
    given: dict[str, object] = {}
    if request.limit is not None:
        given["data"] = getattr(recipe, "data").model_copy(update={"limit": request.limit})  # noqa: B009
    if request.checkpoint is not None:
        given["checkpoint"] = str(request.checkpoint.resolve())
    return recipe.model_copy(update=given)


def _stores(request: TrainRequest, recipe: Section) -> JsonDocument:
    """The stores that would train, as data.json has them."""
    paths = request.data or getattr(getattr(recipe, "data", None), "stores", ())
    family = str(getattr(recipe, "family", ""))
    # A store that is reached in two ways is one.
    found = {path.resolve() for path in find_stores(expand_paths(paths), family=family)}
    manifests = {str(path): read_manifest(path) for path in found}
    return {
        path: {"store_hash": manifest.store_hash, "described": manifest.described}
        for path, manifest in manifests.items()
    }
