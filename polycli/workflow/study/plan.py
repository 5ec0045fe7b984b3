"""A study recipe as the command lines that it stands for, in the order in which they run."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from polycli.errors import RecipeError
from polycli.workflow.study.recipe import RunSection, Scalar, StudyRecipe, folder_name

_RUN_FOLDER = re.compile(r"\{run:([^{}]+)\}")


@dataclass(frozen=True)
class Experiment:
    """One combination of grid values of one entry under `runs`."""

    entry: str
    values: Mapping[str, Scalar]

    @property
    def name(self) -> str:
        """Folder name: the entry and its values."""
        return folder_name(self.entry, self.values)

    @property
    def row(self) -> tuple[tuple[str, Scalar], ...]:
        """The values that all runs of one row of a table share: all but the seed."""
        return tuple((key, value) for key, value in self.values.items() if key != "seed")


@dataclass(frozen=True)
class Layout:
    """The paths of the parts of a study."""

    folder: Path

    def store(self, name: str) -> Path:
        """The path to which `prepare` writes a store."""
        return self.folder / "stores" / name

    def run(self, experiment: Experiment) -> Path:
        """The folder to which `pretrain` and `finetune` write."""
        return self.folder / "runs" / experiment.name

    def evaluation(self, name: str, experiment: Experiment) -> Path:
        """The folder to which `eval` writes."""
        return self.folder / "evaluations" / folder_name(name, experiment.values)

    def line(self, folder: Path) -> Path:
        """The file that says by which line a run or an evaluation was made."""
        return self.folder / "lines" / folder.parent.name / f"{folder.name}.json"


def experiments(entry: str, run: RunSection) -> list[Experiment]:
    """Every combination of the grid, the last key fastest."""
    return [Experiment(entry, values) for values in run.combinations()]


def prepare_line(recipe: StudyRecipe, name: str, layout: Layout, limit: int | None) -> list[str]:
    """The words after `polycli` that make a store."""
    store = recipe.stores[name]
    line = ["prepare", recipe.family, "--source", store.source, "--output", str(layout.store(name))]
    if store.recipe is not None:
        line += ["--recipe", store.recipe]
    for path in store.inputs:
        line += ["--input", path]
    return [*line, *_limit(limit), *_settings(store.set)]


def train_line(recipe: StudyRecipe, experiment: Experiment, layout: Layout, steps: int | None) -> list[str]:
    """The words that train one experiment; `steps` where they follow from another run's time."""
    run = recipe.runs[experiment.entry]
    line = [run.verb, recipe.family, "--recipe", run.recipe, "--output", str(layout.run(experiment))]
    for path in store_paths(recipe, run.stores, experiment, layout):
        line += ["--data", path]
    if run.checkpoint is not None:
        line += ["--checkpoint", str(layout.run(_sibling(recipe, run.checkpoint, experiment)))]
    if run.nproc is not None:
        line += ["--nproc", str(run.nproc)]
    settings = training_settings(recipe, experiment, layout)
    if steps is not None:
        settings = (*settings, f"train.steps={steps}")
    return [*line, *_settings(settings)]


def training_settings(recipe: StudyRecipe, experiment: Experiment, layout: Layout) -> tuple[str, ...]:
    """Returns the `--set` arguments of one experiment, each KEY=VALUE."""
    run = recipe.runs[experiment.entry]
    chosen = [options[str(experiment.values[key])] for key, options in run.choices.items()]
    return tuple(
        _filled(setting, recipe, experiment, layout) for settings in (run.set, *chosen) for setting in settings
    )


def evaluate_line(
    recipe: StudyRecipe, name: str, experiment: Experiment, layout: Layout, limit: int | None
) -> list[str]:
    """The words that evaluate one experiment."""
    evaluation = recipe.evaluations[name]
    line = ["eval", recipe.family, "--checkpoint", str(layout.run(experiment)), "--split", evaluation.split]
    line += ["--output", str(layout.evaluation(name, experiment))]
    for path in store_paths(recipe, evaluation.stores, experiment, layout):
        line += ["--data", path]
    return [*line, *_limit(limit), *_settings(evaluation_settings(recipe, name, experiment, layout))]


def evaluation_settings(recipe: StudyRecipe, name: str, experiment: Experiment, layout: Layout) -> tuple[str, ...]:
    """Returns the `--set` arguments of one evaluation of an experiment, each KEY=VALUE."""
    return tuple(_filled(setting, recipe, experiment, layout) for setting in recipe.evaluations[name].set)


def store_paths(recipe: StudyRecipe, stores: Iterable[str], experiment: Experiment, layout: Layout) -> tuple[str, ...]:
    """Returns the paths of the stores that a run or an evaluation names: in the study, or wherever they are."""
    return tuple(_store(recipe, name, experiment, layout) for name in stores)


def matched_runs(recipe: StudyRecipe, experiment: Experiment) -> tuple[Experiment, Experiment] | None:
    """The runs that the steps of one matched in time are computed from: of its own kind, and the reference."""
    match = recipe.runs[experiment.entry].match_time
    if match is None:
        return None
    own = _sibling(recipe, match.steps_of, experiment)
    return own, Experiment(
        match.reference_of or own.entry, {key: match.reference.get(key, value) for key, value in own.values.items()}
    )


def read_by_training(recipe: StudyRecipe, experiment: Experiment, layout: Layout) -> frozenset[Path]:
    """Folders that must be complete before `train_line` can run: all stores, runs that it names or is matched with."""
    others = runs_read_by_training(recipe, experiment)
    return frozenset([*map(layout.store, recipe.stores), *map(layout.run, others)])


def read_by_evaluation(recipe: StudyRecipe, name: str, experiment: Experiment, layout: Layout) -> frozenset[Path]:
    """Folders that must be complete before `evaluate_line` can run: all stores, its run, and runs that it names."""
    runs = runs_read_by_evaluation(recipe, name, experiment)
    return frozenset([*map(layout.store, recipe.stores), *map(layout.run, runs)])


def runs_read_by_training(recipe: StudyRecipe, experiment: Experiment) -> list[Experiment]:
    """The runs that a run names, starts from or is matched with."""
    run = recipe.runs[experiment.entry]
    others = [*_named(recipe, (*run.stores, *run.set), experiment), *(matched_runs(recipe, experiment) or ())]
    if run.checkpoint is not None:
        others.append(_sibling(recipe, run.checkpoint, experiment))
    return others


def runs_read_by_evaluation(recipe: StudyRecipe, name: str, experiment: Experiment) -> list[Experiment]:
    """The run that an evaluation is of, and those that it names."""
    evaluation = recipe.evaluations[name]
    return [experiment, *_named(recipe, (*evaluation.stores, *evaluation.set), experiment)]


def _named(recipe: StudyRecipe, texts: Iterable[str], experiment: Experiment) -> list[Experiment]:
    return [_sibling(recipe, entry, experiment) for text in texts for entry in _RUN_FOLDER.findall(text)]


def _settings(settings: tuple[str, ...]) -> list[str]:
    return [word for setting in settings for word in ("--set", setting)]


def _limit(limit: int | None) -> list[str]:
    return [] if limit is None else ["--limit", str(limit)]


def _store(recipe: StudyRecipe, name: str, experiment: Experiment, layout: Layout) -> str:
    filled = _filled(name, recipe, experiment, layout)
    return str(layout.store(filled)) if filled in recipe.stores else filled


def _filled(text: str, recipe: StudyRecipe, experiment: Experiment, layout: Layout) -> str:
    """`text` with grid values and run folders put in; other braces are YAML's and stay."""
    text = _RUN_FOLDER.sub(lambda match: str(layout.run(_sibling(recipe, match[1], experiment))), text)
    for key, value in experiment.values.items():
        # As YAML writes it: true, not True.
        shown = str(value).lower() if isinstance(value, bool) else str(value)
        text = text.replace(f"{{{key}}}", shown)
    return text


def _sibling(recipe: StudyRecipe, entry: str, experiment: Experiment) -> Experiment:
    """The experiment of another entry that has the same values for all of its own grid keys."""
    if entry not in recipe.runs:
        raise RecipeError(f"runs.{experiment.entry} names the run {entry!r}, and there are {', '.join(recipe.runs)}")
    missing = [key for key in recipe.runs[entry].grid if key not in experiment.values]
    if missing:
        raise RecipeError(
            f"runs.{experiment.entry}: its grid has no {', '.join(missing)}, by which runs.{entry} differ"
        )
    return Experiment(entry, {key: experiment.values[key] for key in recipe.runs[entry].grid})
