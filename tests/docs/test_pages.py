"""Every block of README and of the documentation runs, in order, in a folder of its page, and prints what is shown."""

import os
import sys
from pathlib import Path

import pytest

from tests.docs.blocks import NEW_USERS, PAGES, ROOT, Block, blocks_of, parts_of
from tests.docs.given import GIVEN
from tests.docs.session import Session

FAST = {"run", "file", "output", "given"}
ALL = {*FAST, "slow"}


def name(page: Path) -> str:
    return str(page.relative_to(ROOT))


def has(blocks: list[Block], mark: str) -> bool:
    return any(block.mark == mark for block in blocks)


def slow_parts() -> list:
    """Each part of a page that has slow blocks; the parts of one page are numbered."""
    return [
        pytest.param(part, id=name(page) if len(parts) == 1 else f"{name(page)}, part {number}")
        for page in [*PAGES, *NEW_USERS]
        for parts in [parts_of(page)]
        for number, part in enumerate(parts, 1)
        if has(part, "slow")
    ]


@pytest.fixture
def session(tmp_path, monkeypatch):
    """A folder, where output is as wide as on the pages and has no colours."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("PYTHONUNBUFFERED", "1")
    return Session(tmp_path, GIVEN)


@pytest.fixture
def one_processor():
    """`prepare` then works in this process, where it would start one for each processor, which takes seconds."""
    if not hasattr(os, "sched_setaffinity"):
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {max(before)})
    yield
    os.sched_setaffinity(0, before)


def run_page(session: Session, blocks: list[Block], marks: set[str]) -> None:
    """Run the blocks of these marks; what is given for others alone is not made."""
    waiting: list[Block] = []
    before = ""
    for block in blocks:
        if block.mark == "given":
            waiting.append(block)
        elif block.mark in marks and not (block.mark == "output" and before not in marks):
            if block.mark in {"run", "slow"}:
                for given in waiting:
                    session.run(given)
                waiting.clear()
            session.run(block)
        before = block.mark if block.mark != "given" else before


@pytest.fixture
def telling(session, capsys):
    """The session, which says to the terminal what it has run, while it runs: minutes pass otherwise without a word."""

    def tell(line):
        with capsys.disabled():
            print(line, file=sys.stderr, flush=True)

    session.tell = tell
    return session


@pytest.mark.parametrize("page", [page for page in [*PAGES, *NEW_USERS] if has(blocks_of(page), "run")], ids=name)
def test_every_fast_block_of_a_page_runs(session, one_processor, page):
    run_page(session, blocks_of(page), FAST)


@pytest.mark.docs
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("part", slow_parts())
def test_every_block_of_a_page_runs(telling, part):
    try:
        run_page(telling, part, ALL)
    except Exception as error:
        # At once: the other pages, and pytest's own account of this one, take many minutes more.
        telling.tell(f"FAILED: {error}")
        raise
