"""Says which checkpoints a run should not go on from: those of a streak of bad steps, whose weights may be broken."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path

from polycli.checkpoints.manifest import Checkpoint

TRAINER_NAME = "trainer.json"
#: Lies in a checkpoint from which no step could be taken; whoever deletes it trusts the checkpoint again.
DOUBT_NAME = "DOUBTFUL.txt"
_DOUBT = (
    "Every step that was tried from this checkpoint had a loss or gradient that is not finite, so its weights may be\n"
    "broken. The run goes on from an older one; delete this file to have it go on from here all the same.\n"
)


def reason_for_doubt(checkpoint: Checkpoint) -> str | None:
    """Say why a run does not go on from this checkpoint where it has an older one; None for a good one."""
    if (checkpoint.directory / DOUBT_NAME).exists():
        return "every step that was tried from it was bad"
    with suppress(OSError, ValueError, LookupError, TypeError):
        document = json.loads((checkpoint.directory / TRAINER_NAME).read_text(encoding="utf-8"))
        if streak := int(document["state"]["consecutive_bad_steps"]):
            return f"it was saved in a streak of {streak} bad step{'s' * (streak > 1)}"
    return None


def mark_doubtful(directory: Path) -> None:
    """Leave a mark in a checkpoint; a disk that refuses leaves it as good as it seemed."""
    with suppress(OSError):
        (directory / DOUBT_NAME).write_text(_DOUBT, encoding="utf-8")
