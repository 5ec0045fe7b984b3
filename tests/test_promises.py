"""SECURITY.md promises nothing without a test that holds it."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
ROWS = [
    line
    for line in (ROOT / "SECURITY.md").read_text(encoding="utf-8").partition("the test that holds it")[2].splitlines()
    if line.startswith("| ") and not line.startswith("| promise ")
]
NAMED = [name for row in ROWS for name in re.findall(r"`(tests/[\w/]+\.py::\w+)`", row)]


def test_every_promise_names_a_test():
    assert len(ROWS) > 20
    for row in ROWS:
        assert "`tests/" in row or "`make attack`" in row, row


@pytest.mark.parametrize("name", NAMED)
def test_the_tests_that_hold_promises_exist(name):
    file, _, function = name.partition("::")
    tree = ast.parse((ROOT / file).read_text(encoding="utf-8"))
    assert function in {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}


def test_attacks_are_part_of_the_makefile_and_not_of_the_fast_tests():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert "pytest -m attack" in makefile
    assert 'pytest -m "not slow and not attack' in makefile
