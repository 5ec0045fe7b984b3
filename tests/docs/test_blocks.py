"""Every block says how it runs, or why not, and nearly all run."""

import re

import pytest
from markdown_it import MarkdownIt

from tests.docs.blocks import EXECUTABLE, PAGES, ROOT, blocks_of, parts_of
from tests.docs.given import GIVEN
from tests.docs.session import Command, commands_of

BLOCKS = [block for page in PAGES for block in blocks_of(page)]
TO_RUN = [block for block in BLOCKS if block.language in EXECUTABLE]
#: Of all blocks of commands and of Python, at least so many run.
LEAST_SHARE = 0.85


def test_every_block_of_commands_and_of_python_says_how_it_runs():
    assert [block.place for block in TO_RUN if not block.mark] == []
    assert len(TO_RUN) > 40


def test_blocks_that_do_not_run_say_why():
    assert [block.place for block in BLOCKS if block.mark == "not run" and len(block.said.split()) < 3] == []


def test_nearly_all_blocks_run():
    run = [block for block in TO_RUN if block.mark in {"run", "slow", "file"}]
    assert len(run) / len(TO_RUN) >= LEAST_SHARE, [block.place for block in TO_RUN if block not in run]


def test_no_block_is_only_indented_or_of_another_language_of_commands():
    """Indented blocks have no language, so that nobody could tell whether they should run."""
    for page in PAGES:
        tokens = MarkdownIt().parse(page.read_text(encoding="utf-8"))
        assert [f"{page.relative_to(ROOT)}:{token.map[0] + 1}" for token in tokens if token.type == "code_block"] == []
    assert [block.place for block in BLOCKS if block.language in {"bash", "sh", "shell", "py", "pycon"}] == []


def test_every_line_of_a_console_block_that_runs_is_typed_or_printed():
    for block in TO_RUN:
        if block.language == "console" and block.mark != "not run":
            assert block.source.startswith("$ "), block.place


def test_no_block_that_runs_waits_for_somebody():
    """`serve` ends when it is told to, `sbatch` needs a cluster, and `make` installs."""
    running = [block for block in TO_RUN if block.mark in {"run", "slow"} and block.language == "console"]
    lines = [(block.place, command.line) for block in running for command in commands_of(block.source)]
    assert [(place, line) for place, line in lines if line.startswith(("polycli serve", "sbatch", "make "))] == []


def test_what_is_given_can_be_made():
    assert [(block.place, name) for block in BLOCKS if block.mark == "given" for name in block.said.split()
            if name not in GIVEN] == []  # fmt: skip


def test_files_and_outputs_say_what_they_are():
    assert [block.place for block in BLOCKS if block.mark == "file" and not block.said] == []
    assert [block.place for block in BLOCKS if block.mark == "output" and block.language != "text"] == []


@pytest.mark.parametrize(
    ("source", "commands"),
    [
        ("$ a\n$ b\n", [("a", ""), ("b", "")]),
        ("$ a \\\n    --c\nsaid\n\nmore\n$ b\n", [("a \\\n    --c", "said\n\nmore"), ("b", "")]),
    ],
)
def test_a_console_block_is_cut_into_what_is_typed_and_what_is_shown(source, commands):
    assert list(commands_of(source)) == [Command(*pair) for pair in commands]


def test_a_page_is_cut_where_it_begins_afresh(tmp_path):
    block = "<!-- run -->\n```console\n$ {}\n```\n"
    page = tmp_path / "page.md"
    page.write_text(f"<!-- given: a b -->\n{block.format('one')}\n<!-- afresh -->\n{block.format('two')}")
    assert [[part.source or part.said for part in parts] for parts in parts_of(page)] == [
        ["a b", "$ one\n"],
        ["$ two\n"],
    ]


def test_a_part_that_begins_afresh_uses_no_file_that_a_part_above_wrote():
    """Of what commands write with `--output`, the names are looked for in the lines of the other parts."""
    for page in PAGES:
        parts = [
            [command.line for block in part if block.language == "console" for command in commands_of(block.source)]
            for part in parts_of(page)
        ]
        for number, lines in enumerate(parts):
            above = " ".join(line for earlier in parts[:number] for line in earlier)
            written = set(re.findall(r"--output (\S+)", above)) - set(re.findall(r"--output (\S+)", " ".join(lines)))
            words = {word for line in lines for word in line.split()}
            assert written & words == set(), page
