"""Runs a study: every command line as its own process, so that a study does what a user would type, and can go on.

A store, run or evaluation that is complete is found so and left alone, where the line that made it is the one that the
recipe now stands for (see `lines`): a changed run is refused, a changed evaluation is made again. Commands run one
after the other, because their times are results, or as many at a time as `--jobs` says.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from polycli import console
from polycli.errors import PolycliError, UserError
from polycli.recipes import load_recipe
from polycli.requests import JsonDocument, StudyRequest
from polycli.store.staging import write_text
from polycli.workflow.study.lines import (
    changes_since,
    check_lines,
    keep_line,
    line_of_evaluation,
    line_of_run,
    refuse_changed,
    set_aside,
)
from polycli.workflow.study.plan import (
    Experiment,
    Layout,
    evaluate_line,
    experiments,
    matched_runs,
    prepare_line,
    read_by_evaluation,
    read_by_training,
    train_line,
)
from polycli.workflow.study.recipe import StudyRecipe
from polycli.workflow.study.report import refuse_foreign, write_report
from polycli.workflow.study.results import run_document
from polycli.workflow.study.schedule import TASKS_NAME, Processes, Task, run_tasks


def run_study(request: StudyRequest, family: str) -> JsonDocument:
    """Run what is missing of the study, then write DIR/{study.json,tables.md,report.html,measurement.json}.

    Raises:
        RecipeError: the recipe, or one that it names, is wrong, or it names values that the results do not have.
        RunError: runs are there that other lines made.
        UserError: files are there, of the names that results have, that no study wrote.
        PolycliError: a command failed; it carries that command's exit code.
        PreemptedError: a signal came; the commands were asked to save and end, and have ended.
    """
    recipe = load_recipe(request.recipe, family=family, verb="study", overrides=request.overrides, schema=StudyRecipe)
    layout = Layout(request.output)
    refuse_foreign(layout.folder)
    check_lines(recipe, layout, request.limit)
    if request.dry_run:
        return _dry_run(recipe, layout, request)
    processes = Processes(request.jobs)
    results: dict[Path, JsonDocument] = {}
    tasks = _tasks(recipe, layout, request.limit, processes, results)
    _note_tasks(layout.folder, tasks)
    run_tasks(tasks, processes)
    # An evaluation of the same name as its run has all that the run has, and stands in its place.
    documents: dict[str, dict[str, JsonDocument]] = {}
    for entry, run in recipe.runs.items():
        documents[entry] = {
            experiment.name: {"run": results[layout.run(experiment)]} for experiment in experiments(entry, run)
        }
    for name, evaluation in recipe.evaluations.items():
        documents[name] = {
            experiment.name: {
                "run": results[layout.run(experiment)],
                "scores": results[layout.evaluation(name, experiment)],
            }
            for experiment in experiments(evaluation.run, recipe.runs[evaluation.run])
        }
    return write_report(recipe, documents, layout, command=_command(request, family))


def _note_tasks(folder: Path, tasks: Sequence[Task]) -> None:
    """Write for `polycli status` which folders the study makes, stores elsewhere left out."""
    made = [task.writes.relative_to(folder).as_posix() for task in tasks if task.writes.is_relative_to(folder)]
    folder.mkdir(parents=True, exist_ok=True)
    write_text(folder / TASKS_NAME, json.dumps({"tasks": made}, indent=1) + "\n")


def _command(request: StudyRequest, family: str) -> str:
    """The line that runs the study again, without the folders of this machine."""
    words = ["polycli", "study", family, "--recipe", Path(request.recipe).stem, "--output", request.output.name]
    words += [word for override in request.overrides for word in ("--set", override)]
    words += [] if request.limit is None else ["--limit", str(request.limit)]
    return shlex.join([*words, "--jobs", str(request.jobs)])


def _tasks(
    recipe: StudyRecipe, layout: Layout, limit: int | None, processes: Processes, results: dict[Path, JsonDocument]
) -> list[Task]:
    """Every command of the study, in the order of the recipe; what runs and evaluations say goes into `results`."""

    def prepare(name: str) -> None:
        _polycli(prepare_line(recipe, name, layout, limit), processes)

    def train(experiment: Experiment) -> None:
        line = line_of_run(recipe, experiment, layout)
        refuse_changed({line.writes: changes_since(layout, line)}, layout)
        keep_line(layout, line)
        _polycli(train_line(recipe, experiment, layout, _matched_steps(recipe, experiment, layout)), processes)
        results[layout.run(experiment)] = run_document(layout.run(experiment))

    def evaluate(name: str, experiment: Experiment) -> None:
        folder = layout.evaluation(name, experiment)
        line = line_of_evaluation(recipe, name, experiment, layout, limit)
        if (folder / "scores.json").is_file() and (changes := changes_since(layout, line)):
            set_aside(layout, folder, changes)
        if not (folder / "scores.json").is_file():
            keep_line(layout, line)
            _polycli(evaluate_line(recipe, name, experiment, layout, limit), processes)
        results[folder] = json.loads((folder / "scores.json").read_text(encoding="utf-8"))

    tasks = [Task(layout.store(name), frozenset(), partial(prepare, name)) for name in recipe.stores]
    for entry, run in recipe.runs.items():
        for experiment in experiments(entry, run):
            reads = read_by_training(recipe, experiment, layout)
            tasks.append(Task(layout.run(experiment), reads, partial(train, experiment)))
    for name, evaluation in recipe.evaluations.items():
        for experiment in experiments(evaluation.run, recipe.runs[evaluation.run]):
            reads = read_by_evaluation(recipe, name, experiment, layout)
            tasks.append(Task(layout.evaluation(name, experiment), reads, partial(evaluate, name, experiment)))
    return tasks


def _matched_steps(recipe: StudyRecipe, experiment: Experiment, layout: Layout) -> int | None:
    """Counts the steps that fit into the reference run's time, by what a step of this kind took in the other entry."""
    matched = matched_runs(recipe, experiment)
    if matched is None:
        return None
    own, reference = (run_document(layout.run(run)) for run in matched)
    return max(1, round(float(reference["seconds"]) / float(own["step_seconds"])))


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


def _polycli(words: Sequence[str], processes: Processes) -> None:
    code = processes.run(words)
    if code:
        problem = PolycliError(
            f"the study stopped: `polycli {shlex.join(words)}` ended with exit code {code}",
            # What is wrong with the input is said above, and the same line would find it wrong again.
            hint=None if code == UserError.exit_code else "run the same line again to go on",
        )
        problem.exit_code = code if code > 0 else 128 - code
        raise problem
