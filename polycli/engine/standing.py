"""The run that already lies in a folder, as a dry run tells of it: nothing there is locked, written or refused."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from polycli.checkpoints.manifest import list_checkpoints
from polycli.engine.changes import check_changes, data_changes, read_starts, recipe_changes, start_changes, steps_of
from polycli.engine.run import check_folder, read_status
from polycli.errors import RunError
from polycli.requests import JsonDocument, ResumePolicy
from polycli.sections import Section


@dataclass(frozen=True)
class Standing:
    """A folder's run, and what the same line without `--dry-run` would do with it."""

    #: As status.json says it; None where there is no run.
    state: str | None
    #: That of the newest whole checkpoint; None where there is none.
    step: int | None
    #: `begin`, `resume`, `nothing` (it is complete) or `refuse`.
    would: str
    #: What people read; for a refusal why, and the way out.
    sentence: str

    def document(self) -> JsonDocument:
        """Returns the standing as `--json` has it."""
        return asdict(self)


def standing_of(
    path: Path, recipe: Section, *, resume: ResumePolicy, data: JsonDocument, starts: Mapping[str, str]
) -> Standing:
    """Look at the folder in which a training would run; the arguments are those that would be compared at its start."""
    try:
        if not check_folder(path, resume):
            return Standing(None, None, "begin", "begins anew")
        state = str((read_status(path) or {}).get("state", "begun"))
        checkpoints = list_checkpoints(path)
        step = checkpoints[-1].manifest.step if checkpoints else None
        # Weights are told apart by their hashes where those are known, and by their paths elsewhere.
        hashed = read_starts(path)
        changes = [change for change in recipe_changes(path, recipe) if change.key not in hashed]
        changes += [*start_changes(path, starts), *(data_changes(path, data) if data else [])]
        steps = steps_of(recipe)
        check_changes(path, changes, steps=steps, resume=resume, saved_step=step)
    except RunError as error:
        hint = f" ({error.hint})" if error.hint else ""
        return Standing(None, None, "refuse", f"would be refused: {error.message.removeprefix(f'{path}: ')}{hint}")
    if step is None:
        return Standing(state, None, "begin", f"holds a run that is {state}, without a checkpoint: it begins anew")
    if steps is not None and step == steps:
        return Standing(state, step, "nothing", f"complete already, at step {step}: nothing would be trained")
    if steps is not None and step > steps:
        return Standing(
            state, step, "refuse", f"would be refused: it is at step {step}, past the {steps} of train.steps"
        )
    return Standing(state, step, "resume", f"holds a run that is {state}: it goes on from step {step}")
