"""The sessions of new users type the lines of the pages that they follow, with other names, and nothing else."""

import shlex

import pytest

from tests.docs.blocks import NEW_USERS, ROOT, blocks_of
from tests.docs.session import commands_of


def shapes(page):
    """Verb, family and options of every line, in order, with the keys that `--set` names."""
    for block in blocks_of(page):
        if block.language == "console" and block.mark in {"run", "slow"}:
            for command in commands_of(block.source):
                words = shlex.split(command.line.replace("\\\n", " "), comments=True)
                options = [word for word in words if word.startswith("-")]
                keys = [words[place + 1].partition("=")[0] for place, word in enumerate(words) if word == "--set"]
                yield words[1], tuple(options), tuple(keys)


@pytest.mark.parametrize("name", ["simulation", "survey"])
def test_a_session_has_the_lines_of_its_page(name):
    page, session = (ROOT / "docs" / f"your-own-{name}.md"), (ROOT / "tests" / "docs" / "new_users" / f"{name}.md")
    assert list(shapes(session)) == list(shapes(page))


def test_every_session_ends_with_a_number_that_is_checked():
    assert len(NEW_USERS) == 3
    for session in NEW_USERS:
        blocks = blocks_of(session)
        assert (blocks[-1].mark, blocks[-2].language, blocks[-2].mark) == ("output", "python", "slow"), session
