"""Which differences between a run and a start change results."""

import re
from pathlib import Path

import pytest

from polycli.engine.changes import MAY_DIFFER, Change

GUIDE = Path(__file__).parents[2] / "docs/training.md"


def test_the_guide_has_every_key_that_may_differ_and_no_other():
    section = GUIDE.read_text(encoding="utf-8").split("## The same line again")[1].split("\n## ")[0]
    rows = [line.split("|")[1:3] for line in section.splitlines() if line.startswith("| `")]
    named = {
        key.removesuffix(".*"): "always" if when.strip().startswith("always") else "unfinished"
        for keys, when in rows
        if "always" in when or "while steps are left:" in when
        for key in re.findall(r"`([a-z_.*]+)`", keys)
    }
    assert named == dict(MAY_DIFFER)


@pytest.mark.parametrize(
    ("key", "complete", "unfinished"),
    [
        ("log.every", False, False),
        ("logs.every", True, True),
        ("data.workers", False, False),
        ("data.micro_batch_size.swe", True, False),
        ("train.micro_batch_size", True, False),
        ("train.global_batch_size", True, True),
        ("engine.precision", True, True),
        ("optim.learning_rate", True, True),
        ("data", True, True),
    ],
)
def test_a_key_may_differ_always_while_steps_are_left_or_never(key, complete, unfinished):
    change = Change(key, f"{key} was 1, is 2")
    assert change.changes_results(complete=True) is complete
    assert change.changes_results(complete=False) is unfinished


def test_more_steps_are_no_other_results():
    assert not Change("train.steps", "", extends=True).changes_results(complete=False)
    assert Change("train.steps", "").changes_results(complete=False)
