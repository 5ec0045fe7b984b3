"""`polycli study astroclip`: a grid of runs, evaluated alike, and one table."""

from __future__ import annotations

from polycli.requests import JsonDocument, StudyRequest
from polycli.workflow.study.running import run_study


def run(request: StudyRequest) -> JsonDocument:
    """Run what is missing of the study; returns DIR/study.json, or with `dry_run` the commands.

    Raises:
        RecipeError: the recipe is wrong, or names values that the results do not have.
        PolycliError: a command failed; it carries that command's exit code.
    """
    return run_study(request, "astroclip")
