"""Runs a study: every command line as its own process, so that a study does what a user would type, and can go on.

A store, run or evaluation that is complete is found so and left alone. Commands run one after the other, because their
times are results.
"""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from collections.abc import Sequence

from polycli import console
from polycli.errors import PolycliError
from polycli.recipes import load_recipe
from polycli.requests import JsonDocument, StudyRequest
from polycli.studies.plan import Experiment, Layout, evaluate_line, experiments, prepare_line, train_line
from polycli.studies.recipe import StudyRecipe
from polycli.studies.report import write_report
from polycli.studies.results import run_document


def run_study(request: StudyRequest, family: str) -> JsonDocument:
    """Run what is missing of the study, then write DIR/{study.json,tables.md,report.html}.

    Raises:
        RecipeError: the recipe is wrong, or names values that the results do not have.
        PolycliError: a command failed; it carries that command's exit code.
    """
    recipe = load_recipe(request.recipe, family=family, verb="study", overrides=request.overrides, schema=StudyRecipe)
    layout = Layout(request.output)
    if request.dry_run:
        return _dry_run(recipe, layout, request)
    for name in recipe.stores:
        _polycli(prepare_line(recipe, name, layout, request.limit))
    runs: dict[str, dict[str, JsonDocument]] = {}
    for entry in recipe.runs:
        runs[entry] = {}
        for experiment in experiments(entry, recipe.runs[entry]):
            _polycli(train_line(recipe, experiment, layout, _matched_steps(recipe, experiment, layout)))
            runs[entry][experiment.name] = {"run": run_document(layout.run(experiment))}
    # An evaluation of the same name as its run has all that the run has, and stands in its place.
    documents = dict(runs)
    for name, evaluation in recipe.evaluations.items():
        documents[name] = {}
        for experiment in experiments(evaluation.run, recipe.runs[evaluation.run]):
            folder = layout.evaluation(name, experiment)
            if not (folder / "scores.json").is_file():
                _polycli(evaluate_line(recipe, name, experiment, layout, request.limit))
            scores = json.loads((folder / "scores.json").read_text(encoding="utf-8"))
            documents[name][experiment.name] = {**runs[evaluation.run][experiment.name], "scores": scores}
    return write_report(recipe, documents, layout)


def _matched_steps(recipe: StudyRecipe, experiment: Experiment, layout: Layout) -> int | None:
    """As many steps as fit into the reference run's time, by what a step of this kind took in the other entry."""
    match = recipe.runs[experiment.entry].match_time
    if match is None:
        return None
    entry = match.steps_of
    keys = recipe.runs[entry].grid
    own = Experiment(entry, {key: experiment.values[key] for key in keys})
    reference = Experiment(entry, {key: match.reference.get(key, experiment.values[key]) for key in keys})
    budget = float(run_document(layout.run(reference))["seconds"])
    return max(1, round(budget / float(run_document(layout.run(own))["step_seconds"])))


def _dry_run(recipe: StudyRecipe, layout: Layout, request: StudyRequest) -> JsonDocument:
    """The lines that would run; `train.steps` of runs that are matched in time is not known before."""
    lines = [prepare_line(recipe, name, layout, request.limit) for name in recipe.stores]
    for entry, run in recipe.runs.items():
        lines += [train_line(recipe, experiment, layout, None) for experiment in experiments(entry, run)]
    for name, evaluation in recipe.evaluations.items():
        for experiment in experiments(evaluation.run, recipe.runs[evaluation.run]):
            lines.append(evaluate_line(recipe, name, experiment, layout, request.limit))
    commands = [shlex.join(["polycli", *line]) for line in lines]
    if not request.json:
        console.result("\n".join(commands))
    return {"dry_run": True, "commands": commands}


def _polycli(words: Sequence[str]) -> None:
    line = shlex.join(words)
    console.say(f"$ polycli {line}")
    # stdout belongs to the study's own result.
    code = subprocess.run([sys.executable, "-m", "polycli", *words], check=False, stdout=subprocess.DEVNULL).returncode
    if code:
        problem = PolycliError(
            f"the study stopped: `polycli {line}` ended with exit code {code}", hint="run the same line again to go on"
        )
        problem.exit_code = code if code > 0 else 128 - code
        raise problem
