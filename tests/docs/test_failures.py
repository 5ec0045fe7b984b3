"""The page "When it fails" has every entry of its catalogue, every kind of error, and messages that lines gave."""

from tests.docs.blocks import blocks_of
from tests.docs.failures import PAGE, catalogue, kinds, page
from tests.docs.session import commands_of

ENTRIES = [entry for part in catalogue() for entry in part.entry]
COMMANDS = [found for block in blocks_of(PAGE) if block.language == "console" for found in commands_of(block.source)]


def test_the_page_is_the_catalogues_with_messages_that_another_test_compares():
    """`test_pages.py` runs the lines of the page; a page that differs is written by `python -m tests.docs.failures`."""
    assert [command.line for command in COMMANDS] == [f"polycli {entry.line}" for entry in ENTRIES]
    assert PAGE.read_text(encoding="utf-8") == page([command.shown for command in COMMANDS])


def test_every_entry_fails_by_a_sentence_of_its_own():
    errors = [command.shown[command.shown.lower().index("error:") :] for command in COMMANDS]
    assert len(set(errors)) == len(ENTRIES) >= 36


def test_every_kind_of_error_is_on_the_page():
    text = PAGE.read_text(encoding="utf-8")
    assert len(kinds()) > 10
    assert [kind.__name__ for kind in kinds() if f"| `{kind.__name__}` | " not in text] == []
