"""Keeps beside each result of a study the line that made it, so that no older result stands for a changed line.

DIR/lines/KIND/NAME.json says what the line asked for (recipe or settings, resolved), what it read (stores and models
by the hash of their content), and the hash of both. Where a study lies makes no difference.
"""

from __future__ import annotations

import itertools
import json
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from polycli import console
from polycli.console import counted
from polycli.engine.changes import changes_between
from polycli.errors import RunError, StoreError
from polycli.paths import expand_paths
from polycli.recipes import default_recipe, load_recipe, settings_schema
from polycli.requests import JsonDocument
from polycli.store.hashing import canonical_hash
from polycli.store.manifest import MANIFEST_NAME
from polycli.workflow.study.plan import (
    Experiment,
    Layout,
    evaluation_settings,
    experiments,
    runs_read_by_evaluation,
    runs_read_by_training,
    store_paths,
    training_settings,
)
from polycli.workflow.study.recipe import StudyRecipe
from polycli.workflow.study.results import model_hash

_HERE = "{study}"
_SHOWN_DIGITS = 12
_SHOWN_RUNS = 8


@dataclass(frozen=True)
class Line:
    """One command of a study: what it is asked for, and what it reads."""

    #: The folder that the command writes.
    writes: Path
    asks: JsonDocument
    #: By name: the hash of a store or a model; None for what is not there yet.
    reads: Mapping[str, str | None]
    #: Of what it asks for; None where settings are free.
    schema: type[BaseModel] | None

    @property
    def document(self) -> JsonDocument:
        """Returns the line as it is kept on disk."""
        content = {"asks": self.asks, "reads": dict(self.reads)}
        return {"hash": canonical_hash(content), **content}

    def differences(self, before: JsonDocument) -> list[str]:
        """A sentence for everything in which this line differs from the one that is kept and results depend on."""
        changes = changes_between(self._with_new_keys(before["asks"]), self.asks)
        found = [change.sentence for change in changes if change.changes_results(complete=True)]
        known = {name: value for name, value in self.reads.items() if value is not None}
        # What is not there yet is made before the command runs, and is compared then.
        old = {name: value for name, value in before["reads"].items() if name in known or name not in self.reads}
        return found + [
            _sentence(name, old.get(name), known.get(name))
            for name in sorted({*old, *known})
            if old.get(name) != known.get(name)
        ]

    def _with_new_keys(self, asked: JsonDocument) -> JsonDocument:
        """Gives keys that there were none of then their defaults, as `pretrain` does where it reads kept recipes."""
        if self.schema is None:
            return asked
        try:
            known = self.schema.model_validate(
                {name: asked[name] for name in asked if name in self.schema.model_fields}
            )
        except ValidationError:
            return asked  # Keys that there are none of today differ by themselves.
        return {**asked, **known.model_dump(mode="json")}


def line_of_run(recipe: StudyRecipe, experiment: Experiment, layout: Layout) -> Line:
    """The line that trains an experiment. Steps that follow from another run's time are none of what it asks for."""
    run = recipe.runs[experiment.entry]
    settings = training_settings(recipe, experiment, layout)
    asked = load_recipe(run.recipe, family=recipe.family, verb=run.verb, overrides=settings)
    paths = store_paths(recipe, run.stores, experiment, layout)
    others = [layout.run(other) for other in runs_read_by_training(recipe, experiment)]
    return _line(layout, layout.run(experiment), asked.model_dump(mode="json"), paths, others, schema=type(asked))


def line_of_evaluation(
    recipe: StudyRecipe, name: str, experiment: Experiment, layout: Layout, limit: int | None
) -> Line:
    """The line that evaluates an experiment."""
    evaluation = recipe.evaluations[name]
    settings = evaluation_settings(recipe, name, experiment, layout)
    schema = settings_schema(recipe.family, "eval")
    asked: JsonDocument = {"split": evaluation.split, "limit": limit}
    if schema is None:
        asked["set"] = list(settings)
    else:
        asked |= default_recipe(recipe.family, "eval", settings, schema=schema).model_dump(mode="json")
    paths = store_paths(recipe, evaluation.stores, experiment, layout)
    runs = [layout.run(run) for run in runs_read_by_evaluation(recipe, name, experiment)]
    return _line(layout, layout.evaluation(name, experiment), asked, paths, runs, schema=schema)


def keep_line(layout: Layout, line: Line) -> None:
    """Write down what makes a folder, before it is made."""
    path = layout.line(line.writes)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(line.document, indent=1) + "\n", encoding="utf-8")


def changes_since(layout: Layout, line: Line) -> list[str]:
    """A sentence for each difference from the line that made the folder; none where nothing has been made there.

    Runs of studies of earlier versions, of which no line is kept, are compared by `pretrain` itself; evaluations of
    such are made by nobody knows what.
    """
    if not line.writes.exists():
        return []
    before = _kept(layout, line.writes)
    if before is None:
        return ["nothing says by which line it was made"] if (line.writes / "scores.json").is_file() else []
    return line.differences(before)


def check_lines(recipe: StudyRecipe, layout: Layout, limit: int | None) -> None:
    """Check every line of the study before any of them runs.

    Raises:
        RecipeError: a recipe, or what `set` says of it, is wrong.
        RunError: runs were made by other lines; the message names them and what differs, the hint the ways out.
    """
    runs = [line_of_run(recipe, one, layout) for entry, run in recipe.runs.items() for one in experiments(entry, run)]
    for name, evaluation in recipe.evaluations.items():
        for experiment in experiments(evaluation.run, recipe.runs[evaluation.run]):
            line_of_evaluation(recipe, name, experiment, layout, limit)
    refuse_changed({line.writes: changes_since(layout, line) for line in runs}, layout)


def refuse_changed(changes: Mapping[Path, Sequence[str]], layout: Layout) -> None:
    """Refuse the folders of runs for which there are changes.

    Raises:
        RunError: there are some.
    """
    changed = {folder: sentences for folder, sentences in changes.items() if sentences}
    if not changed:
        return
    shown = [f"{folder}: {'; '.join(sentences)}" for folder, sentences in list(changed.items())[:_SHOWN_RUNS]]
    more = len(changed) - _SHOWN_RUNS
    folders = shlex.join(map(str, changed))
    raise RunError(
        f"the study has {counted(len(changed), 'run', 'runs')} that another recipe made, and so another result:\n  "
        + "\n  ".join([*shown, *([f"and {more} more"] if more > 0 else [])]),
        hint=f"another --output than {layout.folder} keeps both; rm -r {folders} has them trained again",
    )


def set_aside(layout: Layout, folder: Path, changes: Sequence[str]) -> None:
    """Give an evaluation of another line another name, so that it is kept and made again."""
    before = _kept(layout, folder)
    label = "unknown" if before is None else str(before["hash"])[:_SHOWN_DIGITS]
    endings = itertools.chain([""], (f".{count}" for count in itertools.count(2)))
    places = (folder.with_name(f"{folder.name}.of-{label}{ending}") for ending in endings)
    target = next(place for place in places if not place.exists())
    folder.rename(target)
    console.say(f"{folder} is made again: {'; '.join(changes)}; what it was is in {target.name}")


def _kept(layout: Layout, folder: Path) -> JsonDocument | None:
    """The line that made a folder; None where none is kept."""
    path = layout.line(folder)
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise StoreError(f"{path}: cannot be read: {error}", hint=f"rm -r {path} {folder} has it made again") from error
    if not isinstance(document, dict) or not {"hash", "asks", "reads"} <= document.keys():
        raise StoreError(f"{path}: not the line of a study", hint=f"rm -r {path} {folder} has it made again")
    return document


def _line(
    layout: Layout,
    writes: Path,
    asked: JsonDocument,
    stores: Sequence[str],
    runs: Sequence[Path],
    *,
    schema: type[BaseModel] | None,
) -> Line:
    reads: dict[str, str | None] = {}
    for path in stores:
        reads |= _store_hashes(layout, path)
    for run in runs:
        reads[_moved(str(run), layout)] = model_hash(run)
    return Line(writes, _moved(asked, layout), reads, schema)


def _store_hashes(layout: Layout, path: str) -> dict[str, str | None]:
    """Maps the path of each store at `path`, which may be a folder of stores, to its hash."""
    if Path(path).is_relative_to(layout.folder) and not Path(path).exists():
        return {_moved(path, layout): None}
    found: dict[str, str | None] = {}
    for place in expand_paths([path]):
        for manifest in sorted([*place.glob(MANIFEST_NAME), *place.glob(f"*/{MANIFEST_NAME}")]):
            content = json.loads(manifest.read_text(encoding="utf-8"))
            found[_moved(str(manifest.parent), layout)] = content.get("store_hash")
    return found


def _sentence(name: str, before: str | None, now: str | None) -> str:
    if before is None:
        return f"{name} is new"
    if now is None:
        return f"{name} is left out"
    return f"{name} had the hash {before[:_SHOWN_DIGITS]}, has {now[:_SHOWN_DIGITS]}"


def _moved(value: Any, layout: Layout) -> Any:  # noqa: ANN401  # A JSON document.
    """The document with the study's own folder under a name that does not depend on where it lies."""
    if isinstance(value, str):
        folders = (str(layout.folder), str(layout.folder.resolve()))
        return next((_HERE + value[len(f) :] for f in folders if value == f or value.startswith(f"{f}/")), value)
    if isinstance(value, list):
        return [_moved(item, layout) for item in value]
    if isinstance(value, dict):
        return {key: _moved(item, layout) for key, item in value.items()}
    return value
